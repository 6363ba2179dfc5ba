package digest

import (
	"crypto/md5"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/icholy/digest"
)

var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

const (
	target   = "/send_message/?sms_to=%2B15551231234"
	password = "Circle of Life"
)

// answer is what a client answers to a challenge.
func answer(t testing.TB, challenge string, o digest.Options) string {
	t.Helper()
	c, err := digest.ParseChallenge(challenge)
	if err != nil {
		t.Fatal(err)
	}
	o.Method, o.URI = "POST", target
	if o.Username == "" {
		o.Username = "johndow"
	}
	if o.Password == "" {
		o.Password = password
	}
	given, err := digest.Digest(c, o)
	if err != nil {
		t.Fatal(err)
	}
	return given.String()
}

func realm(t testing.TB, name string) *Realm {
	t.Helper()
	r, err := NewRealm(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAnswers(t *testing.T) {
	r := realm(t, "sms")
	challenges := r.Challenges(false, now)
	for i, algorithm := range []string{"MD5", "SHA-256"} {
		c := challenges[i]
		for _, want := range []string{`realm="sms"`, `qop="auth"`, "algorithm=" + algorithm, `nonce="`} {
			if !strings.Contains(c, want) {
				t.Errorf("%s lacks %s", c, want)
			}
		}
		if strings.Contains(c, "stale") {
			t.Errorf("a first challenge says stale: %s", c)
		}
		for count := 1; count < 4; count++ { // a nonce is good more than once
			a, err := r.ParseResponse(answer(t, c, digest.Options{Count: count}), "POST", target, now.Add(4*time.Minute))
			if err != nil || a.User != "johndow" || a.Stale || !a.Verify(password) {
				t.Fatalf("%s: %v", algorithm, err)
			}
			if a.Verify("circle of life") || a.Verify("") || a.VerifyHA1("") {
				t.Error("another password is right")
			}
		}
	}
	sum := md5.Sum([]byte("johndow:sms:" + password))
	ha1 := hex.EncodeToString(sum[:])
	for i, right := range []bool{true, false} { // a hash of MD5 proves nothing made of SHA-256
		a, err := r.ParseResponse(answer(t, challenges[i], digest.Options{}), "POST", target, now)
		if err != nil || a.VerifyHA1(ha1) != right {
			t.Errorf("HA1: %v, want %v", err, right)
		}
	}
	if c := r.Challenges(true, now)[0]; !strings.Contains(c, "stale=true") {
		t.Errorf("it does not say stale: %s", c)
	}
}

// The examples of https://www.rfc-editor.org/rfc/rfc7616#section-3.9.1.
func TestPublishedAnswers(t *testing.T) {
	r := realm(t, "http-auth@example.org")
	const begin = `Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", ` +
		`nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, `
	for _, end := range []string{
		`algorithm=MD5, response="8ca523f5e9506fed4657c9700eebdbec"`,
		`algorithm=SHA-256, response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"`,
	} {
		a, err := r.ParseResponse(begin+end, "GET", "/dir/index.html", now)
		if err != nil || !a.Verify(password) {
			t.Fatalf("%s: %v", end, err)
		}
		if !a.Stale {
			t.Error("somebody else's nonce is fresh")
		}
	}
}

func TestStale(t *testing.T) {
	r := realm(t, "sms")
	nonce := r.nonce(now)
	tampered := "A" + nonce[1:]
	if nonce[0] == 'A' {
		tampered = "B" + nonce[1:]
	}
	for name, c := range map[string]struct {
		realm *Realm
		nonce string
		after time.Duration
		fresh bool
	}{
		"new":             {r, nonce, 0, true},
		"nearly old":      {r, nonce, lifetime - 1, true},
		"old":             {r, nonce, lifetime, false},
		"from the future": {r, nonce, -lifetime, false},
		"tampered":        {r, tampered, 0, false},
		"cut":             {r, nonce[:30], 0, false},
		"empty":           {r, "", 0, false},
		"another realm's": {realm(t, "other"), nonce, 0, false},
		"another process": {&Realm{"sms", []byte("other")}, nonce, 0, false},
	} {
		if got := c.realm.isFresh(c.nonce, now.Add(c.after)); got != c.fresh {
			t.Errorf("%s: fresh is %v", name, got)
		}
	}
}

// Whatever is changed in a right answer, it is wrong then.
func TestChangedAnswers(t *testing.T) {
	r := realm(t, "sms")
	for i := range algorithms {
		right := answer(t, r.Challenges(false, now)[i], digest.Options{Cnonce: "0a4f113b"})
		proven := func(header, method, target string) bool {
			a, err := r.ParseResponse(header, method, target, now)
			return err == nil && !a.Stale && a.Verify(password)
		}
		if !proven(right, "POST", target) {
			t.Fatal("a right answer is wrong")
		}
		if proven(right, "GET", target) || proven(right, "POST", "/send_message/?sms_to=%2B15551239999") || proven(right, "POST", "/send_message/") {
			t.Error("it is right for another request")
		}
		for _, change := range [][2]string{
			{`username="johndow"`, `username="janedow"`}, {`username="johndow"`, `username=""`}, {`realm="sms"`, `realm="SMS"`}, {`nonce="`, `nonce="A`},
			{`uri="/send`, `uri="/sent`}, {"nc=00000001", "nc=00000002"}, {"nc=00000001", "nc=00000000"}, {"nc=00000001", "nc=-0000001"}, {"nc=00000001", "nc=x"}, {`cnonce="0a4f113b"`, `cnonce="0a4f113c"`},
			{`cnonce="0a4f113b"`, `cnonce=""`}, {"qop=auth", "qop=auth-int"}, {"qop=auth, ", ""}, {`response="`, `response="0`}, {"algorithm=", "algorithm=X"}, {"MD5", "MD5-sess"}, {"SHA-256", "MD5"}, {"SHA-256", "SHA-512-256"},
			{"Digest ", "Basic "}, {"Digest ", ""}, {`"`, ""}, {", ", ""}, {"Digest ", "Digest userhash=true, "}, {"Digest ", "Digest username*=UTF-8''johndow, "},
			{`response="`, `response="", x="`},
		} {
			header := strings.Replace(right, change[0], change[1], 1)
			if header != right && proven(header, "POST", target) {
				t.Errorf("it is right with %q for %q", change[1], change[0])
			}
		}
	}
}

func TestRealmNames(t *testing.T) {
	for _, name := range []string{"", "a\"b", `a\b`, "a\nb", "ä"} {
		if _, err := NewRealm(name); err == nil {
			t.Errorf("%q is a realm", name)
		}
	}
	realm(t, "sip.example.com")
}

// FuzzRead finds no answer that is right without the password.
func FuzzRead(f *testing.F) {
	r := realm(f, "sms")
	for _, c := range r.Challenges(false, now) {
		f.Add(answer(f, c, digest.Options{Password: "guess"}))
	}
	f.Add(`Digest username="a\"b",realm=sms,nonce="",uri="/send_message/?sms_to=%2B15551231234",response="d41d8cd98f00b204e9800998ecf8427e"`)
	f.Add(`digest username="johndow" , realm="sms"`)
	f.Fuzz(func(t *testing.T, header string) {
		if a, err := r.ParseResponse(header, "POST", target, now); err == nil && a.Verify(password) {
			t.Errorf("%q is right", header)
		}
	})
}
