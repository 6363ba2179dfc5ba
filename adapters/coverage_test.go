package adapters

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/wire"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// coverage remembers what of a definition the exchanges have reached.
type coverage struct {
	sends map[*sendBlock]bool
	paths map[string]bool
	rules map[string]bool
	// token is set if a token was fetched, noToken if one was refused
	token, noToken bool
	// upload is set if a file was uploaded, noUpload if one was refused
	upload, noUpload bool
}

func newCoverage() *coverage {
	return &coverage{sends: map[*sendBlock]bool{}, paths: map[string]bool{}, rules: map[string]bool{}}
}

func (c *coverage) reply(v *sendBlock, a answer, got sms.Result) {
	doc := v.reply.open(a)
	if doc == nil {
		// Of a reply of another kind only the status and the whole body count.
		for i, rule := range v.reply.causes {
			if rule.when != nil && (rule.when.of == "status" || rule.when.of == wholeBody) && got.Cause() == rule.cause {
				if holds, _ := rule.when.holds(nil, a, &sms.Result{}); holds {
					c.rules[fmt.Sprint("when ", i)] = true
					return
				}
			}
		}
		return
	}
	for _, p := range v.reply.paths() {
		if values, present := doc.Values(p); present && (len(values) == 0 || strings.Join(values, "") != "") {
			c.paths[p.String()] = true
		}
	}
	if got.Outcome == sms.Accepted {
		return
	}
	found := sms.Result{Status: a.status, Code: wire.First(doc, v.reply.code), Detail: wire.First(doc, v.reply.message)}
	for i, rule := range v.reply.causes {
		for _, code := range rule.codes {
			if code == found.Code && got.Cause() == rule.cause {
				c.rules[code] = true
				return
			}
		}
		if rule.when != nil && got.Cause() == rule.cause {
			if holds, _ := rule.when.holds(doc, a, &found); holds {
				c.rules[fmt.Sprint("when ", i)] = true
				return
			}
		}
	}
}

// check fails for everything that no exchange has reached.
func (c *coverage) check(t *testing.T, d *Definition) {
	if d.token != nil && !(c.token && c.noToken) {
		t.Error("record an exchange whose token is fetched, with its request, and one whose token is refused")
	}
	if d.upload != nil && !(c.upload && c.noUpload) {
		t.Error("record an exchange whose files are uploaded, with the requests, and one whose upload is refused")
	}
	for _, v := range d.sends {
		if !c.sends[v] {
			t.Errorf("no exchange with a request reaches the send block in line %d", v.at.Line)
		}
		for _, p := range v.reply.paths() {
			if !c.paths[p.String()] {
				t.Errorf("the path %s hits in no exchange", p.String())
			}
		}
		for i, rule := range v.reply.causes {
			for _, code := range rule.codes {
				if !c.rules[code] {
					t.Errorf("no exchange has code %s (%s)", code, rule.cause)
				}
			}
			if rule.when != nil && !c.rules[fmt.Sprint("when ", i)] {
				t.Errorf("no exchange meets the condition of %s in cause line %d", rule.cause, i+1)
			}
		}
	}
}

// paths are all paths of a reply, but those of predicates on the whole of a text.
func (r *reply) paths() []wire.Path {
	all := slices.Concat(r.id, r.code, r.message)
	for _, p := range r.accepted {
		if p.path.String() != "" {
			all = append(all, p.path)
		}
	}
	for _, rule := range r.causes {
		if rule.when != nil && rule.when.path.String() != "" {
			all = append(all, rule.when.path)
		}
	}
	return all
}

// hostile are texts that must arrive as they are.
var hostile = []string{
	"{env.HOME} {sms.to} {option.auth_token} {http.request.uri}", "{{ printf }} {% x %} ${x} %s %d %00", `"quoted" 'twice' \ back`,
	"line\r\nX-Header: injected\r\n\r\nbody", "NUL\x00NUL", "U+2028\u2028 and \u2029", "</Body></Message> <![CDATA[ ]]> &amp; &to=+1",
	"👨‍👩‍👧‍👦 e\u0301 \u202eright\u202c", "; rm -rf / && `id`", "--boundary\r\nContent-Disposition: form-data", "+ +1 %2B a=b&c=d#e?f/g",
}
