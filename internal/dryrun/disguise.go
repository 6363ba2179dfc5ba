package dryrun

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/recording"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/text"
)

// Recordings contain these values instead of real numbers, tokens and hosts.
const (
	fictionalFrom  = "+15550001111"
	fictionalTo    = "+15551231234"
	fictionalToken = "fictional-token"
	fictionalBase  = "https://sms.example.com"
)

// fictional returns a fictional value of an option: a number for an option in digits, a listed
// value for an option with a list.
func (a *Account) fictional(option string) string {
	for i, o := range a.Definition.Options {
		switch {
		case o.Name != option:
		case o.Number:
			return strconv.Itoa(70000001 + i)
		case len(o.Values) > 0:
			return cmp.Or(a.Options[option], o.Values[0]) // a listed value is not a secret
		}
	}
	return fictional(option)
}

// fictional returns a fictional value. It is valid base64, which some keys must be.
func fictional(option string) string {
	s := "fictional" + strings.ReplaceAll(option, "_", "")
	return s + strings.Repeat("0", 3-(len(s)+3)%4)
}

// fictionalOptions returns a fictional value for each option that has or needs a value.
func (a *Account) fictionalOptions() map[string]string {
	options := make(map[string]string)
	for _, o := range a.Definition.Options {
		if a.Options[o.Name] != "" || a.needed(o) {
			options[o.Name] = a.fictional(o.Name)
		}
	}
	return options
}

// fictionalNumber returns a fictional number of the same kind. Outside of North America it is the
// example number of the same country, because a definition may depend on the country.
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

// disguise replaces all values of the account and the people in replies.
type disguise struct {
	whole   map[string]string // replacements of values too short to be searched within words
	within  *strings.Replacer
	numbers [][2]string // pairs of real and fictional digits
	adapter *adapters.Adapter
	token   sms.Hidden
}

// newDisguise makes the disguise for the replies to a message. If adapter is not nil, it must have
// the real options, and its Quotes decides whether a disguised reply may be written.
func newDisguise(a *Account, m *sms.Message, token sms.Hidden, adapter *adapters.Adapter) *disguise {
	d := &disguise{whole: make(map[string]string), adapter: adapter, token: token}
	var pairs [][2]string
	replace := func(old, with string) {
		if len(old) < 4 {
			d.whole[old] = with
			return
		}
		forms, fictional := text.Encodings(old), text.Encodings(with)
		for i, form := range forms {
			plain, _ := json.Marshal(form)
			escaped := strings.Trim(string(plain), `"`)
			pairs = append(pairs, [2]string{form, fictional[i]}, [2]string{escaped, fictional[i]}, [2]string{strings.ReplaceAll(escaped, "/", `\/`), fictional[i]})
		}
	}
	for _, o := range a.Definition.Options {
		if len(o.Values) > 0 {
			continue
		}
		replace(a.Options[o.Name], a.fictional(o.Name))
		for _, other := range a.Definition.Options { // pairs, because basic authentication encodes user:password as a whole
			if a.Options[o.Name] != "" && a.Options[other.Name] != "" {
				replace(a.Options[o.Name]+":"+a.Options[other.Name], a.fictional(o.Name)+":"+a.fictional(other.Name))
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

// errPrivate means that a disguised reply still contains a secret.
var errPrivate = errors.New("the reply holds a secret in a form that cannot be replaced, so nothing is written")

// errNoToken means that a reply may contain a token, but its place in the reply is unknown.
var errNoToken = errors.New("the definition finds no token in a reply that may contain one, so nothing is written; correct `access` and `accepted` of the token block")

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
	for i := range x.Uploads {
		replies = append(replies, &x.Uploads[i].Reply)
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

// in returns a text with all replacements.
func (d *disguise) in(s string) string {
	s = d.within.Replace(s)
	for short, with := range d.whole {
		if short != "" {
			s = strings.ReplaceAll(s, `"`+short+`"`, `"`+with+`"`)
		}
	}
	s = number.Pattern.ReplaceAllStringFunc(s, d.number)
	return international.ReplaceAllStringFunc(s, func(found string) string {
		if slices.ContainsFunc(d.numbers, func(n [2]string) bool { return found[1:] == n[1] }) {
			return found
		}
		return fictionalFrom
	})
}

// international matches numbers in international format. They may be other numbers of the account.
var international = regexp.MustCompile(`\+\d{8,15}\b`)

// number returns the fictional number if found is one of the message's numbers in any format.
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

// otherTokens replaces other secrets in a token reply, at any depth: each string of at least 16
// bytes without white space.
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
