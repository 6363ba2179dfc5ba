package gateway

import (
	"strings"
	"testing"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/sendmessage"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/destination"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

func policy(t *testing.T, allow, deny string) *destination.Policy {
	t.Helper()
	p, err := destination.Parse(strings.Fields(allow), strings.Fields(deny))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A message has one recipient, whatever it is written like, and a sender that is the user's, or
// nothing is sent.
func TestAdmit(t *testing.T) {
	noRegion := func(f *fixture) { f.Region = "" }
	user := func(change func(*users.User)) func(*fixture) {
		return func(f *fixture) { change(f.users.list[0]) }
	}
	for name, c := range map[string]struct {
		set     func(*fixture)
		request changes
		want    string
		from    string
		to      string
		detail  string
	}{
		"one recipient in several writings is one": {request: changes{to("2125550123", "(212) 555-0123", "+12125550123", "0012125550123", "sip:12125550123@pbx")}, to: "+12125550123"},
		"two recipients are refused": {request: changes{to("2125550123", "2125550124")},
			want: "bad_request.several_recipients"},
		"no recipient is refused":            {request: changes{to()}, want: "bad_request.no_recipient"},
		"a number that cannot be is refused": {request: changes{to("12")}, want: "invalid_recipient"},
		"so is one beside a good one":        {request: changes{to("2125550123", "12")}, want: "invalid_recipient"},
		"a name is no recipient":             {request: changes{to("ACME")}, want: "invalid_recipient"},
		"a number without a country needs a region": {set: noRegion, request: changes{to("2125550123")}, want: "invalid_recipient",
			detail: "numbers without a country need default_region"},
		"one with a country does not":            {set: noRegion, to: "+12125550123"},
		"the user's own region comes first":      {set: user(func(u *users.User) { u.Region, u.Numbers = "GB", numbers(t, "+442071838750") }), request: changes{to("07400123456")}, from: "+442071838750", to: "+447400123456"},
		"and is the user's alone":                {request: changes{by("bob"), to("07400123456")}, want: "invalid_recipient"},
		"the first number is the default":        {from: "+12125550101"},
		"a user may choose another of their own": {request: changes{as("(212) 555-0102")}, from: "+12125550102"},
		"or a name of their own":                 {request: changes{as("ACME")}, from: "ACME"},
		"or a short code of their own":           {request: changes{as("72227")}, from: "72227"},
		"the user's name stands for the default": {request: changes{as("ann@sms.example.com")}, from: "+12125550101"},
		"another's number is refused and told": {request: changes{as("+13105550101")},
			want: "sender_not_allowed", from: "+13105550101"},
		"so is a short code of nobody":                   {request: changes{as("72228")}, want: "sender_not_allowed", from: "72228"},
		"so is a name in another case":                   {request: changes{as("Acme")}, want: "sender_not_allowed", from: "Acme"},
		"so is what is no sender":                        {request: changes{as("???")}, want: "sender_not_allowed"},
		"of a user without numbers the provider chooses": {request: changes{by("eve")}, to: "+12125550123"},
		"such a user has no number to choose": {request: changes{by("eve"), as("+12125550101")},
			want: "sender_not_allowed", from: "+12125550101"},
		"an unusable number of a user is told first": {set: user(func(u *users.User) { u.NumberProblem = "the directory says ?" }), request: changes{to("12")},
			want: "sender_not_allowed.no_number", detail: "the directory says ?"},
		"an empty text is refused": {request: changes{saying("")}, want: "bad_request.no_text"},
		"a text of invisible characters is empty": {request: changes{saying("\u200b\u2060 \ufeff\u00ad")},
			want: "bad_request.no_text"},
	} {
		t.Run(name, func(t *testing.T) {
			f, sent, want := newFixture(t), 1, "accepted"
			if c.set != nil {
				c.set(f)
			}
			if c.want != "" {
				sent, want = 0, "refused "+c.want
			}
			r := f.send(t, c.request...)
			f.check(t, "the request", r, want, sent)
			if m := &r.Message; c.from != "" && m.From.Value != c.from || c.to != "" && m.To.Value != c.to || r.Claimed != (sent == 1) {
				t.Errorf("from %q to %q, claimed %t", m.From.Value, m.To.Value, r.Claimed)
			}
			if r.Result.Detail != c.detail {
				t.Errorf("detail %q", r.Result.Detail)
			}
		})
	}
}

// All that a request says of a message is in the message.
func TestMessageIsWhole(t *testing.T) {
	f := newFixture(t)
	f.users.list[0].Groups = []string{"sales"}
	m := &f.send(t, withID("x1"), func(r *Request) {
		r.ContentType, r.Disposition.Wishes, r.Smart, r.InstallID = "text/html", []string{"display"}, true, "i1"
	}).Message
	if m.Site != "sms.example.com/send" || m.User != "ann" || len(m.Groups) != 1 || m.Body.Reveal() != "Hello World" || m.Segments != 1 || m.ContentType != "text/html" ||
		m.Disposition.ID != "x1" || len(m.Disposition.Wishes) != 1 || !m.Smart || m.InstallID != "i1" {
		t.Errorf("%+v", m)
	}
	if got := f.send(t).Message.ContentType; got != "text/plain" {
		t.Errorf("without a content type: %s", got)
	}
}

// Notices are accepted without an id and never sent; their sender is a user all the same.
func TestNotices(t *testing.T) {
	f := newFixture(t)
	notice := func(r *Request) { r.ContentType, r.To = "message/imdn+xml", []string{"bob@example.com"} }
	r := f.send(t, notice)
	f.check(t, "a notice", r, "accepted", 0)
	if r.Kind != sendmessage.Notice || r.Claimed || r.Result.PhoneID() != "" {
		t.Errorf("kind %s, claimed %t, id %q", r.Kind, r.Claimed, r.Result.PhoneID())
	}
	f.check(t, "of a stranger", f.send(t, notice, guessing), "refused unauthorized", 0)
	f.check(t, "an unknown document", f.send(t, func(r *Request) { r.ContentType = "image/png" }), "refused unsupported_content.unknown_content", 0)
}

// A message goes where the sender's country, the site and the user allow, and nowhere else.
func TestDestinations(t *testing.T) {
	f := newFixture(t)
	f.Destinations = policy(t, "GB", "+1310")
	f.users.list[1].Destinations = f.Destinations.With(policy(t, "FR short_codes", "GB"))
	sent := 0
	for _, c := range []struct{ user, to, want string }{
		{"ann", "2125550123", ""},
		{"ann", "+18762101234", "country Jamaica"},
		{"ann", "+447400123456", ""},
		{"ann", "+13105550123", " "},
		{"ann", "+33612345678", "country France"},
		{"ann", "72227", "kind short codes"},
		{"ann", "911", "kind emergency numbers"},
		{"bob", "+33612345678", ""},
		{"bob", "+447400123456", "country United Kingdom"},
		{"bob", "72227", ""},
		{"bob", "911", "kind emergency numbers"},
	} {
		r := f.send(t, by(c.user), to(c.to))
		if c.want == "" {
			sent++
			f.check(t, c.user+" to "+c.to, r, "accepted", sent)
			continue
		}
		refusal := r.Result.Refusal
		if refusal == nil || refusal.Cause != sms.DestinationNotAllowed {
			t.Errorf("%s to %s: %s", c.user, c.to, said(r))
			continue
		}
		if got := string(refusal.Variant) + " " + refusal.Value(string(refusal.Variant)); got != c.want || f.transport.count() != sent {
			t.Errorf("%s to %s: %s, want %s; %d sent, want %d", c.user, c.to, got, c.want, f.transport.count(), sent)
		}
	}
}

// A range that the operator allows by its beginning is reached, also where the tables know no such
// numbers; a slip in another is not.
func TestUnlistedRange(t *testing.T) {
	f := newFixture(t)
	f.Destinations = policy(t, "+371300", "")
	sent := 0
	for _, c := range []struct{ to, want string }{
		{"+371300123456", "accepted"}, {"00371300123", "accepted"}, {"+371301123456", "refused invalid_recipient"},
		{"+1 123 123 12321", "refused invalid_recipient"}, {"0911", "refused destination_not_allowed.kind"},
	} {
		if c.want == "accepted" {
			sent++
		}
		f.check(t, c.to, f.send(t, to(c.to)), c.want, sent)
	}
}
