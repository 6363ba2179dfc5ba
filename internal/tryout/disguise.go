package tryout

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/recording"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/text"
)

// What is recorded instead of real numbers, tokens and hosts.
const (
	fictionalFrom  = "+15550001111"
	fictionalTo    = "+15551231234"
	fictionalToken = "fictional-token"
	fictionalBase  = "https://sms.example.com"
)

// fictional is the value of an option that is nobody's. It is base64, as some keys have to be.
func fictional(option string) string {
	s := "fictional" + strings.ReplaceAll(option, "_", "")
	return s + strings.Repeat("0", 3-(len(s)+3)%4)
}

// fictionalOptions has a value for each option that has one, and for those that need one.
func (a *Account) fictionalOptions() map[string]string {
	options := make(map[string]string)
	for _, o := range a.Definition.Options {
		if a.Options[o.Name] != "" || a.needed(o) {
			options[o.Name] = fictional(o.Name)
		}
	}
	return options
}

// fictionalNumber is a number of the same kind that is nobody's. Outside of North America it is the example that the
// country gives, since an adapter may ask for its country.
func fictionalNumber(n sms.Number, ours string) string {
	switch n.Kind {
	case sms.ShortCode:
		return "12345"
	case sms.Alphanumeric:
		return "Example"
	case sms.Phone:
		if parsed, err := phonenumbers.Parse(n.Value, ""); err == nil && parsed.GetCountryCode() != 1 {
			example := phonenumbers.GetExampleNumberForType(phonenumbers.GetRegionCodeForNumber(parsed), phonenumbers.MOBILE)
			if example != nil {
				return phonenumbers.Format(example, phonenumbers.E164)
			}
		}
		return ours
	}
	return ""
}

// disguise replaces in replies everything that belongs to the account and the people.
type disguise struct {
	whole   map[string]string // what is too short to be found within other words
	within  *strings.Replacer
	numbers [][2]string // digits
	adapter *adapters.Adapter
	token   sms.Hidden
}

// newDisguise makes one for the replies to a message. An adapter with the real options, if there is one, has the last
// word on whether a reply may be written.
func newDisguise(a *Account, m *sms.Message, token sms.Hidden, adapter *adapters.Adapter) *disguise {
	d := &disguise{whole: make(map[string]string), adapter: adapter, token: token}
	var pairs [][2]string
	replace := func(old, with string) {
		if len(old) < 4 {
			d.whole[old] = with
			return
		}
		forms, fictional := text.Quotations(old), text.Quotations(with)
		for i, form := range forms {
			plain, _ := json.Marshal(form)
			escaped := strings.Trim(string(plain), `"`)
			pairs = append(pairs, [2]string{form, fictional[i]}, [2]string{escaped, fictional[i]}, [2]string{strings.ReplaceAll(escaped, "/", `\/`), fictional[i]})
		}
	}
	for _, o := range a.Definition.Options {
		replace(a.Options[o.Name], fictional(o.Name))
		for _, other := range a.Definition.Options { // as basic authentication encodes them
			if a.Options[o.Name] != "" && a.Options[other.Name] != "" {
				replace(a.Options[o.Name]+":"+a.Options[other.Name], fictional(o.Name)+":"+fictional(other.Name))
			}
		}
	}
	replace(token.Reveal(), fictionalToken)
	replace(m.ID, recording.MessageID)
	replace(strings.ReplaceAll(m.ID, "-", ""), strings.ReplaceAll(recording.MessageID, "-", ""))
	if base, err := url.Parse(a.BaseURL); err == nil && base.Host != "" {
		replace(strings.TrimSuffix(a.BaseURL, "/"), fictionalBase)
		replace(base.Host, strings.TrimPrefix(fictionalBase, "https://"))
	}
	for _, n := range []struct {
		real sms.Number
		with string
	}{{m.To, fictionalTo}, {m.From, fictionalFrom}} {
		with := fictionalNumber(n.real, n.with)
		if n.real.Kind == sms.Phone {
			d.numbers = append(d.numbers, [2]string{n.real.Value[1:], with[1:]})
		} else {
			replace(n.real.Value, with)
		}
	}
	slices.SortStableFunc(pairs, func(a, b [2]string) int { return cmp.Compare(len(b[0]), len(a[0])) })
	var flat []string
	for _, pair := range pairs {
		flat = append(flat, pair[0], pair[1])
	}
	d.within = strings.NewReplacer(flat...)
	return d
}

// errPrivate says that something was found that no replacement caught.
var errPrivate = errors.New("the reply holds a secret in a writing that cannot be replaced, so nothing is written")

// errNoToken says that a token may stand in a reply where nobody knows which of it is the token.
var errNoToken = errors.New("the definition finds no token in a reply that may hold one, so nothing is written; correct access and accepted of the token block")

// hide disguises the replies of an exchange.
func (d *disguise) hide(x *recording.Exchange) error {
	var replies []*recording.Reply
	if x.Token != nil {
		r := &x.Token.Reply
		if d.token.Empty() && r.Status < 400 {
			return errNoToken
		}
		r.Body = d.otherTokens(r.Body)
		replies = append(replies, r)
	}
	if x.Reply != nil {
		replies = append(replies, x.Reply)
	}
	for _, r := range replies {
		r.Body = d.in(r.Body)
		for name, value := range r.Headers {
			r.Headers[name] = d.in(value)
		}
		if d.adapter != nil && d.adapter.Quotes(r.Body, d.token) {
			return errPrivate
		}
	}
	return nil
}

// in disguises a text.
func (d *disguise) in(s string) string {
	s = d.within.Replace(s)
	for short, with := range d.whole {
		if short != "" {
			s = strings.ReplaceAll(s, `"`+short+`"`, `"`+with+`"`)
		}
	}
	s = number.Like.ReplaceAllStringFunc(s, d.number)
	return international.ReplaceAllStringFunc(s, func(found string) string {
		if slices.ContainsFunc(d.numbers, func(n [2]string) bool { return found[1:] == n[1] }) {
			return found
		}
		return fictionalFrom
	})
}

// international finds numbers in international writing, which may be others of the account.
var international = regexp.MustCompile(`\+\d{8,15}\b`)

// number gives a fictional number for a writing of one of the message's.
func (d *disguise) number(found string) string {
	digits := strings.TrimLeft(strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, found), "0")
	for _, n := range d.numbers {
		switch real, with := n[0], n[1]; {
		case strings.HasSuffix(digits, real):
			return strings.TrimSuffix(digits, real) + with
		case len(digits) >= 6 && strings.HasSuffix(real, digits):
			return with[max(len(with)-len(digits), 0):]
		}
	}
	return found
}

// otherTokens replaces what else a token reply hands out, at any depth: whatever is long and no sentence.
func (d *disguise) otherTokens(body string) string {
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.UseNumber()
	var reply any
	if decoder.Decode(&reply) != nil {
		return body
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if e.Encode(d.withoutTokens(reply, "token")) != nil {
		return body
	}
	return strings.TrimSpace(out.String())
}

func (d *disguise) withoutTokens(value any, name string) any {
	switch v := value.(type) {
	case map[string]any:
		for name := range v {
			v[name] = d.withoutTokens(v[name], name)
		}
	case []any:
		for i := range v {
			v[i] = d.withoutTokens(v[i], name)
		}
	case string:
		if v != d.token.Reveal() && len(v) >= 16 && !strings.ContainsFunc(v, unicode.IsSpace) {
			return fictional(name)
		}
	}
	return value
}
