package adapters

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/wire"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// A recorded success stays one, whatever words the text has that the reply repeats, and whatever it
// says of errors that there are not.
func TestEcho(t *testing.T) {
	texts := []string{"error failed invalid", "Failed", "404", "REJECTED", `{"error":"x"}`, "<error>x</error>", "No. Log in?", "ERR\nstatus=failed\nerror=x", "Forbidden: access denied"}
	repeated := 0
	for _, name := range Names() {
		d, err := Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range exchanges(t, name) {
			if x.Result.Outcome != "accepted" || x.Reply == nil {
				continue
			}
			a := x.adapter(t, d)
			recorded, err := a.Prepare(t.Context(), x.message(), x.token(), now)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range texts {
				m := x.message()
				m.Body = sms.Hide(text)
				sent, err := a.Prepare(t.Context(), m, x.token(), now)
				if err != nil || sent.request.block != recorded.request.block {
					continue
				}
				was, is := quoted(t, x.Message.Body), quoted(t, text)
				bodies := []string{strings.ReplaceAll(x.Reply.Body, was, is)}
				if bodies[0] != x.Reply.Body {
					repeated++
				}
				if rest, ok := strings.CutPrefix(x.Reply.Body, "{"); ok && sent.request.reply.format == wire.JSON {
					for _, more := range []string{`"text":` + is, `"echo":{"body":` + is + `}`, `"errors":0,"error_count":0,"failed":[]`, `"warnings":[{"message":"ported"}]`} {
						bodies = append(bodies, "{"+more+","+rest)
					}
				}
				for _, body := range bodies {
					if r := sent.Read(x.Reply.Status, x.Reply.Header(), []byte(body), true); r.Outcome != sms.Accepted {
						t.Errorf("%s/%s: %q is %s %s: %.200s", name, x.Name, text, r.Outcome, r.Cause(), body)
					}
				}
			}
		}
	}
	if repeated == 0 {
		t.Error("no reply repeats its text")
	}
}

// quoted is a text as a JSON string.
func quoted(t *testing.T, s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}
