package adapters

import (
	"context"
	"testing"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Prepare makes the request of a message that is sent in one part.
func (a *Adapter) Prepare(ctx context.Context, m *sms.Message, token sms.Hidden, now time.Time) (*Call, error) {
	plan, err := planOf(a, m, 1)
	if err != nil {
		return nil, err
	}
	return plan.requestUploaded(ctx, 0, token, now)
}

// requestUploaded is Request after uploads that got made-up ids.
func (p *Plan) requestUploaded(ctx context.Context, i int, token sms.Hidden, now time.Time) (*Call, error) {
	for p.Uploads(i) > 0 {
		p.Uploaded(i, "upload.jpg")
	}
	return p.Request(ctx, i, token, now)
}

// planOf is Plan with an error that is nil if there is no refusal.
func planOf(a *Adapter, m *sms.Message, maxParts int) (*Plan, error) {
	plan, refusal := a.Plan(m, maxParts)
	if refusal != nil {
		return nil, refusal
	}
	return plan, nil
}

// TestPlanServesAgain makes the request of one plan twice: nothing of the first attempt is left in
// the second.
func TestPlanServesAgain(t *testing.T) {
	a := define(t, "POST /\nbearer {token}\nform {\nt {sms.body}\nid {message.id}\n}", "token {\nPOST /token\naccess a\n}", nil)
	m := saying("Hello")
	m.ID = "1"
	plan, err := planOf(a, m, 1)
	if err != nil {
		t.Fatal(err)
	}
	var bodies [2]string
	for i, token := range []string{"old", "new"} {
		sent, err := plan.Request(t.Context(), 0, sms.Hide(token), now)
		if err != nil {
			t.Fatal(err)
		}
		if got := sent.Request.Header.Get("Authorization"); got != "Bearer "+token {
			t.Errorf("%q, want the token %s", got, token)
		}
		bodies[i] = readBody(t, sent.Request)
	}
	if bodies[0] != bodies[1] {
		t.Errorf("%q, then %q", bodies[0], bodies[1])
	}
}
