package caddymodule

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Two users with every kind of credential: nothing of one is right for the other.
const credentialUsers = `
	user ann {
		password the-password-of-ann
		token    the-token-of-ann
		from     +15550001111
	}
	user bob {
		password the-password-of-bob
		token    the-token-of-bob
		from     +15550002222
	}
	default_region US
	lockout off
	bursts off
	digest
`

// said is what a request says to prove who sends: any of it may be missing, be there twice, or be of any type.
type said struct{ user, secret []string }

// credentialKinds are the ways in which an app can say it. A value in JSON is written as it is, everywhere else it is a text.
var credentialKinds = map[string]struct {
	token         bool                      // the secret needs no name
	named         bool                      // a name is part of it
	block         string                    // what stands in the site besides
	right, others func(t *testing.T) string // ann's secret and bob's, unless it is their password or token
	make          func(t *testing.T, s *site, c said) *http.Request
}{
	"query": {named: true, make: func(_ *testing.T, _ *site, c said) *http.Request {
		return get(c.pairs("username", "password") + sendTo)
	}},
	"form": {named: true, make: func(_ *testing.T, _ *site, c said) *http.Request {
		return post("application/x-www-form-urlencoded", c.pairs("cloud_username", "cloud_password")+sendTo)
	}},
	"json": {named: true, make: func(_ *testing.T, _ *site, c said) *http.Request {
		return post("application/json", "{"+c.members("from", "password")+`"to":"+15551231234","body":"hi"}`)
	}},
	"xml": {named: true, make: func(_ *testing.T, _ *site, c said) *http.Request {
		return post("text/xml", "<sms>"+c.elements("user", "pass")+"<to>+15551231234</to><body>hi</body></sms>")
	}},
	"sha1": {named: true, make: func(_ *testing.T, _ *site, c said) *http.Request {
		for i, secret := range c.secret {
			if strings.HasPrefix(secret, "the-") {
				sum := sha1.Sum([]byte(secret))
				c.secret[i] = hex.EncodeToString(sum[:])
			}
		}
		return get(c.pairs("u", "p") + sendTo)
	}},
	"token": {token: true, make: func(_ *testing.T, _ *site, c said) *http.Request {
		return get(c.pairs("", "token") + sendTo)
	}},
	"token in JSON": {token: true, make: func(_ *testing.T, _ *site, c said) *http.Request {
		return post("application/json", "{"+c.members("", "api_key")+`"to":"+15551231234","body":"hi"}`)
	}},
	"bearer": {token: true, make: func(_ *testing.T, _ *site, c said) *http.Request {
		r := get(sendTo)
		for _, secret := range c.secret {
			r.Header.Add("Authorization", "Bearer "+secret)
		}
		return r
	}},
	"token in a header": {token: true, make: func(_ *testing.T, _ *site, c said) *http.Request {
		r := get(sendTo)
		for _, secret := range c.secret {
			r.Header.Add("X-Token", secret)
		}
		return r
	}},
	"basic": {named: true, make: func(_ *testing.T, _ *site, c said) *http.Request {
		r := get(sendTo)
		for i := range max(len(c.user), len(c.secret)) {
			text := ""
			if i < len(c.user) {
				text = c.user[i]
			} else if len(c.user) > 0 {
				text = c.user[0]
			}
			if i < len(c.secret) {
				text += ":" + c.secret[i]
			} else if len(c.secret) > 0 {
				text += ":" + c.secret[0]
			}
			r.Header.Add("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(text)))
		}
		return r
	}},
	"digest":         {named: true, make: byDigest("MD5")},
	"digest SHA-256": {named: true, make: byDigest("SHA-256")},
	"token in the path": {token: true, block: "path /send/{token}/{to}/{body}\n", make: func(_ *testing.T, _ *site, c said) *http.Request {
		path, more := "/send", c
		if len(c.secret) > 0 {
			path, more = path+"/"+url.PathEscape(c.secret[0]), said{secret: c.secret[1:]}
		}
		return httptest.NewRequest(http.MethodGet, path+"/+15551231234/hi?"+more.pairs("", "token"), nil)
	}},
	"password in the path": {named: true, block: "path /send/{user}/{password}/{to}/{body}\n", make: func(_ *testing.T, _ *site, c said) *http.Request {
		path, more := "/send", c
		if len(c.user) > 0 {
			path, more.user = path+"/"+url.PathEscape(c.user[0]), c.user[1:]
		}
		if len(c.secret) > 0 {
			path, more.secret = path+"/"+url.PathEscape(c.secret[0]), c.secret[1:]
		}
		return httptest.NewRequest(http.MethodGet, path+"/+15551231234/hi?"+more.pairs("username", "password"), nil)
	}},
	"JSON Web Token": {token: true, block: aJWT, right: jwtFor("ann"), others: jwtFor("bob"), make: func(_ *testing.T, _ *site, c said) *http.Request {
		return get(c.pairs("", "token") + sendTo)
	}},
	"JSON Web Token as bearer": {token: true, block: aJWT, right: jwtFor("ann"), others: jwtFor("bob"), make: func(_ *testing.T, _ *site, c said) *http.Request {
		r := get(sendTo)
		for _, secret := range c.secret {
			r.Header.Add("Authorization", "Bearer "+secret)
		}
		return r
	}},
	"JSON Web Token and name": {named: true, block: aJWT, right: jwtFor("ann"), others: jwtFor("bob"), make: func(_ *testing.T, _ *site, c said) *http.Request {
		return get(c.pairs("username", "token") + sendTo)
	}},
}

const aJWT = "users jwt {\nsecret `" + jwtSecret + "`\naudience sms\n}\n"

func jwtFor(user string) func(*testing.T) string {
	return func(t *testing.T) string {
		return jwtOf(t, jwtSecret, map[string]any{"sub": user, "aud": "sms", "exp": time.Now().Add(time.Hour).Unix()})
	}
}

func byDigest(algorithm string) func(*testing.T, *site, said) *http.Request {
	return func(t *testing.T, s *site, c said) *http.Request {
		r := get(sendTo)
		challenge := s.send(t, get(sendTo))
		for _, user := range append(c.user, c.user...)[:max(len(c.user), min(len(c.secret), 2*len(c.user)))] {
			for _, secret := range c.secret {
				r.Header.Add("Authorization", answering(t, challenge, algorithm, user, secret, get(sendTo)).Header.Get("Authorization"))
			}
		}
		return r
	}
}

func (c said) each(user, secret string, write func(name, value string)) {
	for _, v := range c.user {
		if user != "" {
			write(user, v)
		}
	}
	for _, v := range c.secret {
		write(secret, v)
	}
}

func (c said) pairs(user, secret string) (s string) {
	c.each(user, secret, func(name, value string) { s += name + "=" + url.QueryEscape(value) + "&" })
	return s
}

func (c said) members(user, secret string) (s string) {
	c.each(user, secret, func(name, value string) {
		if !strings.ContainsAny(value[:min(1, len(value))], "{[\x01") {
			quoted, _ := json.Marshal(value)
			value = string(quoted)
		}
		s += fmt.Sprintf("%q:%s,", name, strings.TrimPrefix(value, "\x01"))
	})
	return s
}

func (c said) elements(user, secret string) (s string) {
	c.each(user, secret, func(name, value string) {
		s += "<" + name + ">" + strings.NewReplacer("&", "&amp;", "<", "&lt;", "\x00", "", "\x01", "").Replace(value) + "</" + name + ">"
	})
	return s
}

// Whatever a credential lacks, repeats, mistypes or overdoes, of whatever kind it is, the provider receives nothing.
func TestNoCredentialNoMessage(t *testing.T) {
	p := newProvider(t)
	p.say(201, `{"sid":"SM1"}`)
	long := strings.Repeat("x", 5000)
	for kind, k := range credentialKinds {
		s := newSite(t, credentialUsers+k.block+"limit off\nadapter twilio {\nbase_url "+p.URL+"\naccount_sid AC1\nauth_token the-auth-token\n}")
		right := "the-password-of-ann"
		if k.token {
			right = "the-token-of-ann"
		}
		others := strings.Replace(right, "ann", "bob", 1)
		if k.right != nil {
			right, others = k.right(t), k.others(t)
		}
		if w := s.send(t, k.make(t, s, said{[]string{"ann"}, []string{right}})); w.Code != 200 || p.count.Swap(0) != 1 {
			t.Errorf("%s: the right credential is refused: %d %s", kind, w.Code, w.Body)
			continue
		}
		wrong := map[string]said{
			"nothing":          {},
			"no secret":        {[]string{"ann"}, nil},
			"empty secret":     {[]string{"ann"}, []string{""}},
			"two secrets":      {[]string{"ann"}, []string{right, "another"}},
			"two, wrong first": {[]string{"ann"}, []string{"another", right}},
			"not filled in":    {[]string{"ann"}, []string{"%account[password]%"}},
			"stars":            {[]string{"ann"}, []string{"*******"}},
			"cut":              {[]string{"ann"}, []string{right[:len(right)-1]}},
			"longer":           {[]string{"ann"}, []string{right + "x"}},
			"upper case":       {[]string{"ann"}, []string{strings.ToUpper(right)}},
			"oversize secret":  {[]string{"ann"}, []string{long}},
			"very long":        {[]string{"ann"}, []string{right + strings.Repeat("x", 300<<10)}},
			"NUL":              {[]string{"ann"}, []string{right[:4] + "\x00" + right[4:]}},
			"null":             {[]string{"ann"}, []string{"\x01null"}},
			"true":             {[]string{"ann"}, []string{"\x01true"}},
			"a number":         {[]string{"ann"}, []string{"\x0112345678"}},
			"a list":           {[]string{"ann"}, []string{`["` + right + `"]`}},
			"a list of two":    {[]string{"ann"}, []string{`["` + right + `","x"]`}},
			"an object":        {[]string{"ann"}, []string{`{"x":"` + right + `"}`}},
		}
		if k.named {
			for what, c := range map[string]said{
				"no name":          {nil, []string{right}},
				"another's secret": {[]string{"ann"}, []string{others}},
				"empty name":       {[]string{""}, []string{right}},
				"nobody":           {[]string{"nobody"}, []string{right}},
				"another's name":   {[]string{"bob"}, []string{right}},
				"two names":        {[]string{"ann", "bob"}, []string{right}},
				"two names, again": {[]string{"bob", "ann"}, []string{right}},
				"both twice":       {[]string{"ann", "bob"}, []string{right, others}},
				"name in capitals": {[]string{"ANN"}, []string{right}},
				"name cut":         {[]string{"an"}, []string{right}},
				"oversize name":    {[]string{"ann" + long}, []string{right}},
				"unfilled name":    {[]string{"%account[username]%"}, []string{right}},
				"name is null":     {[]string{"\x01null"}, []string{right}},
				"name is a number": {[]string{"\x0112345"}, []string{right}},
				"name is a list":   {[]string{`["ann"]`}, []string{right}},
				"name is true":     {[]string{"\x01true"}, []string{right}},
				"name is the hash": {[]string{"the-password-of-ann"}, []string{"ann"}},
				"a token as such":  {[]string{"bob"}, []string{"the-token-of-ann"}},
			} {
				wrong[what] = c
			}
		}
		for what, c := range wrong {
			if odd := strings.ContainsAny(strings.Join(append(c.user, c.secret...), ""), "\x00\x01"); odd && (strings.HasPrefix(kind, "digest") || kind == "xml") {
				continue // it cannot be written so
			}
			if k.right != nil && (what == "no name" || what == "empty name") {
				continue // a JSON Web Token needs none
			}
			w := s.send(t, k.make(t, s, c))
			if w.Code/100 == 2 || read(t, w).ID != "" {
				t.Errorf("%s, %s: %d %s", kind, what, w.Code, w.Body)
			}
			if told := strings.ToLower(fmt.Sprint(w.Header()) + w.Body.String()); strings.Contains(told, "caddy") || strings.Contains(told, "acrobits") || strings.Contains(told, "twilio") {
				t.Errorf("%s, %s: a stranger is told what stands here: %s", kind, what, told)
			}
			if n := p.count.Swap(0); n != 0 {
				t.Errorf("%s, %s: the provider received %d requests", kind, what, n)
			}
		}
	}
}
