package caddymodule

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/icholy/digest"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
)

const digestSite = `
	user johndow {
		password a-password-for-johndow
		from     +15550001111
	}
	user hashed {
		password $2a$04$VLfM/BxVdxdIuoCZZOfHOe9FjCx0Pv0Yq7V5PjVJ8y2LZbK/ZgBXK
	}
	default_region US
	digest
	realm sms.example.com
	lockout off
	adapter sandbox
`

const sendTo = "to=%2B15551231234&body=hi"

// answering answers the first challenge of a reply that knows the algorithm.
func answering(t *testing.T, w *httptest.ResponseRecorder, algorithm, user, password string, r *http.Request) *http.Request {
	t.Helper()
	for _, header := range w.Header()["Www-Authenticate"] {
		c, err := digest.ParseChallenge(header)
		if err != nil {
			t.Fatal(err)
		}
		if c.Algorithm != algorithm {
			continue
		}
		answer, err := digest.Digest(c, digest.Options{Method: r.Method, URI: r.RequestURI, Username: user, Password: password})
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", answer.String())
		return r
	}
	t.Fatalf("no challenge for %s in %q", algorithm, w.Header()["Www-Authenticate"])
	return nil
}

func TestDigest(t *testing.T) {
	s := newSite(t, digestSite)
	challenge := s.send(t, get(sendTo))
	if r := read(t, challenge); challenge.Code != 401 || r.Message == "" || r.ID != "" {
		t.Fatalf("a request without a credential: %d %+v", challenge.Code, r)
	}
	if lines := s.events(); len(lines) != 1 || lines[0]["sms_id"] != nil || lines[0]["adapter"] != nil {
		t.Errorf("the challenge: %v", lines)
	}
	for name, c := range map[string]struct {
		request *http.Request
		status  int
	}{
		"MD5":                {answering(t, challenge, "MD5", "johndow", "a-password-for-johndow", get(sendTo)), 200},
		"SHA-256":            {answering(t, challenge, "SHA-256", "johndow", "a-password-for-johndow", get(sendTo)), 200},
		"POST":               {answering(t, challenge, "MD5", "johndow", "a-password-for-johndow", post("application/json", `{"to":"+15551231234","body":"hi"}`)), 200},
		"with a domain":      {answering(t, challenge, "MD5", "johndow@Example.com", "a-password-for-johndow", get(sendTo)), 200},
		"with a caller ID":   {answering(t, challenge, "MD5", "johndow", "a-password-for-johndow", get(sendTo+"&from=%2B15550001111")), 200},
		"with his own name":  {answering(t, challenge, "MD5", "johndow", "a-password-for-johndow", get(sendTo+"&from=johndow")), 200},
		"another's number":   {answering(t, challenge, "MD5", "johndow", "a-password-for-johndow", get(sendTo+"&from=%2B15550009999")), 403},
		"wrong password":     {answering(t, challenge, "MD5", "johndow", "guess", get(sendTo)), 401},
		"no such user":       {answering(t, challenge, "MD5", "nobody", "decoy", get(sendTo)), 401},
		"hashed password":    {answering(t, challenge, "MD5", "hashed", "decoy", get(sendTo)), 401},
		"password beside it": {answering(t, challenge, "MD5", "johndow", "guess", get(sendTo+"&user=johndow&password=a-password-for-johndow")), 401},
		"password":           {get(sendTo + "&user=johndow&password=a-password-for-johndow"), 200},
		"a wrong one":        {get(sendTo + "&user=johndow&password=guess"), 401},
	} {
		w := s.send(t, c.request)
		if r := read(t, w); w.Code != c.status || (r.ID != "") != (c.status == 200) {
			t.Errorf("%s: %d %+v, want %d", name, w.Code, r, c.status)
		}
		if w.Header()["Www-Authenticate"] != nil {
			t.Errorf("%s: a request with a credential is challenged", name)
		}
	}
	// An answer belongs to one address.
	other := get(sendTo + "1")
	other.Header = answering(t, challenge, "MD5", "johndow", "a-password-for-johndow", get(sendTo)).Header
	if w := s.send(t, other); w.Code != 401 {
		t.Errorf("an answer for another address: %d", w.Code)
	}
	// Where digest is off, an answer is no credential.
	off := newSite(t, demo+"adapter sandbox")
	if w := off.send(t, answering(t, challenge, "MD5", "johndow", "12345678", get(sendTo))); w.Code != 401 || w.Header()["Www-Authenticate"] != nil {
		t.Errorf("an answer where none is asked for: %d %v", w.Code, w.Header())
	}
}

// An answer to an old challenge, or to none of ours, is asked for again and is no failure. Right and wrong ones are told the
// same, so that nobody learns which they are.
func TestStaleDigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, strings.Replace(digestSite, "lockout off", "lockout 1 5m", 1))
		challenge := s.send(t, get(sendTo))
		foreign := httptest.NewRecorder()
		foreign.Header()["Www-Authenticate"] = []string{`Digest realm="sms.example.com", nonce="mine", algorithm=MD5, qop="auth"`}
		time.Sleep(6 * time.Minute)
		for range 5 {
			for name, c := range map[string]*httptest.ResponseRecorder{"old": challenge, "foreign": foreign} {
				for _, password := range []string{"a-password-for-johndow", "guess"} {
					w := s.send(t, answering(t, c, "MD5", "johndow", password, get(sendTo)))
					header := w.Header()["Www-Authenticate"]
					if w.Code != 401 || len(header) != 2 || !strings.Contains(header[0], "stale=true") {
						t.Fatalf("an answer to an %s challenge by %s: %d %q", name, password, w.Code, header)
					}
					if w := s.send(t, answering(t, w, "MD5", "johndow", "a-password-for-johndow", get(sendTo))); w.Code != 200 {
						t.Fatalf("a new answer: %d", w.Code)
					}
				}
			}
		}
	})
}

// A path that an earlier handler has rewritten does not matter.
func TestDigestAfterRewrite(t *testing.T) {
	s := newSite(t, digestSite)
	r := answering(t, s.send(t, get(sendTo)), "MD5", "johndow", "a-password-for-johndow", get(sendTo))
	w := httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
	r.RequestURI, r.URL.Path = "/?"+sendTo, "/"
	if err := s.ServeHTTP(w, r, nil); err != nil || w.Code != 200 {
		t.Errorf("%d, %v", w.Code, err)
	}
}

func TestDigestConfig(t *testing.T) {
	s := newSite(t, digestSite)
	for _, c := range []struct {
		chain    users.Chain
		warnings int
	}{{users.Chain{s.gateway.Users}, 1}, {users.Chain{s.gateway.Users.(*users.List), new(users.Service)}, 2}, {users.Chain{new(users.List)}, 0}} {
		s.log.TakeAll()
		if err := s.provisionDigest(c.chain); err != nil || s.log.Len() != c.warnings {
			t.Errorf("%d warnings, want %d: %v", s.log.Len(), c.warnings, err)
		}
	}
	for block, want := range map[string]string{
		"realm x":                "realm is an option of digest",
		"digest\nstealth":        "digest challenges unauthenticated requests",
		"digest\nrealm \"a\\b\"": "realm:",
		"digest x":               "digest takes no value on its line",
	} {
		if _, err := provision(t, demo+"adapter sandbox\n"+block); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", block, err, want)
		}
	}
}

// A user whom an earlier handler has authenticated needs no credential; the request itself cannot claim it.
func TestAuthenticatedInFront(t *testing.T) {
	s := newSite(t, "user johndow {\nfrom +15550001111\n}\nuser jane {\npassword a-password-for-jane\n}\ndefault_region US\nlimit off\nauthenticated\n"+ownAPI)
	p := new(counting)
	s.gateway.Deliverer.Routes[0].Transport = p
	as := func(name string, r *http.Request) int {
		w := httptest.NewRecorder()
		repl := caddy.NewReplacer()
		if name != "" {
			repl.Set("http.auth.user.id", name)
		}
		if err := s.ServeHTTP(w, caddyhttp.PrepareRequest(r, repl, w, &caddyhttp.Server{}), nil); err != nil {
			t.Error(err)
		}
		return w.Code
	}
	forged := get(sendTo)
	forged.Header.Set("http.auth.user.id", "johndow")
	for what, c := range map[string]struct {
		name    string
		request *http.Request
		status  int
	}{
		"known":              {"johndow", get(sendTo), 200},
		"with blanks":        {" johndow ", get(sendTo), 200},
		"of another domain":  {"johndow@evil.example", get(sendTo), 401},
		"his number":         {"johndow", get(sendTo + "&from=%2B15550001111"), 200},
		"another's number":   {"johndow", get(sendTo + "&from=%2B15550002222"), 403},
		"another's name":     {"johndow", get(sendTo + "&user=jane&password=a-password-for-jane"), 200},
		"unknown":            {"nobody", get(sendTo), 401},
		"unknown but proven": {"nobody", get(sendTo + "&user=jane&password=a-password-for-jane"), 401},
		"nobody in front":    {"", get(sendTo), 401},
		"himself":            {"", get(sendTo + "&user=johndow&password=johndow"), 401},
		"an empty password":  {"", get(sendTo + "&user=johndow&password="), 401},
		"forged":             {"", forged, 401},
		"a password":         {"", get(sendTo + "&user=jane&password=a-password-for-jane"), 200},
	} {
		before := p.took
		if got := as(c.name, c.request); got != c.status || (p.took > before) != (c.status == 200) {
			t.Errorf("%s: %d, want %d; %d texts", what, got, c.status, p.took-before)
		}
		if c.status == 200 && c.name != "" {
			if line := s.events(); len(line) != 1 || line[0]["user"] != "johndow" {
				t.Errorf("%s: %v", what, line)
			}
		}
		s.events()
	}
	if _, err := provision(t, "user johndow {\nfrom +15550001111\n}\nadapter sandbox"); err == nil || !strings.Contains(err.Error(), "has no password") {
		t.Errorf("a user whom nobody authenticates: %v", err)
	}
}
