//go:build !race

package users

import (
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/nyaruka/phonenumbers"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// A credential that was verified before costs at most 5 allocations and a tenth of the time of
// parsing a telephone number.
func TestVerifiedIsCheap(t *testing.T) {
	l := list(t)
	o := &oracle{answer: says(200, `{"allowed": true, "user": "ann"}`)}
	s, _ := o.service(t)
	q, _, _ := newSQL(t, allColumns)
	realms, _, _ := newSQL(t, `SELECT name, ha1, realm FROM users WHERE name = 'md5@x' AND {user} = 'ann@example.com'`)
	j := newJWT(t, jwtSecret, nil)
	token := signed(t, jose.HS256, []byte(jwtSecret), "", claims(nil))
	for name, c := range map[string]struct {
		users Users
		Credential
	}{
		"token":       {l, Credential{Secret: sms.Hide("a+token")}},
		"sql, plain":  {q, Credential{User: "plain", Secret: sms.Hide("12345678")}},
		"sql, bcrypt": {q, Credential{User: "bcrypt", Secret: sms.Hide("12345678")}},
		"sql, ha1":    {realms, Credential{User: "ann@example.com", Secret: sms.Hide("12345678")}},
		"domain":      {l, Credential{User: "plain@example.com", Secret: sms.Hide("12345678")}},
		"suffix":      {l, Credential{User: "bcrypt@example.com@qrcode", Secret: sms.Hide("12345678")}},
		"capitals":    {l, Credential{User: "plain@Example.com", Secret: sms.Hide("12345678")}},
		"sha1, sent":  {l, Credential{User: "plain", Secret: sms.Hide("7c222fb2927d828af22f592134e8932480637c0d")}},
		"sha1, kept":  {l, Credential{User: "sha1", Secret: sms.Hide("12345678")}},
		"jwt":         {j, Credential{Secret: sms.Hide(token)}},
		"second":      {Chain{l, s}, Credential{User: "bcrypt", Secret: sms.Hide("12345678")}},
		"plain":       {l, Credential{User: "plain", Secret: sms.Hide("12345678")}},
		"bcrypt":      {l, Credential{User: "bcrypt", Secret: sms.Hide("12345678")}},
		"argon":       {l, Credential{User: "argon", Secret: sms.Hide("12345678")}},
		"http":        {s, Credential{User: "ann", Secret: sms.Hide("12345678")}},
	} {
		ask := func() {
			if _, err := c.users.Authenticate(t.Context(), c.Credential); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		ask()
		if n := testing.AllocsPerRun(100, ask); n > 5 {
			t.Errorf("%s: %v allocations, want at most 5", name, n)
		}
		took, parse := time.Hour, time.Hour
		for range 50 { // the shortest, because whatever else the machine does only adds to it
			took = min(took, timeOf(ask))
			parse = min(parse, timeOf(func() { _, _ = phonenumbers.Parse("+1 555 123 1234", "US") }))
		}
		if ratio := float64(took) / float64(parse); ratio > 0.1 {
			t.Errorf("%s: %.2f of a parsed number, want at most 0.10", name, ratio)
		} else {
			t.Logf("%s: %.2f of a parsed number", name, ratio)
		}
	}
}

func timeOf(f func()) time.Duration {
	began := time.Now()
	for range 200 {
		f()
	}
	return time.Since(began)
}
