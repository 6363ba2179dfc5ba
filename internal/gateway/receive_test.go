package gateway

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/block"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/inbox"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/store/sqlite"
)

// receiving is a fixture with an inbox, in which ann and bob receive for their telephone numbers.
func receiving(t *testing.T) (*fixture, *inbox.Inbox) {
	t.Helper()
	store, err := sqlite.Open(filepath.Join(t.TempDir(), "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	f := newFixtureOf(t, ownAPI, store)
	b := inbox.New(store, inbox.Options{Gateway: "g", Keep: 24 * time.Hour})
	f.Inbox = func() *inbox.Inbox { return b }
	for _, u := range f.users.list {
		for _, n := range u.Numbers {
			if n.Kind == sms.Phone {
				u.Receive = append(u.Receive, n)
			}
		}
	}
	return f, b
}

// arrives is a text from a sender to a number of ours.
func arrives(t *testing.T, b *inbox.Inbox, from, to, text string) {
	t.Helper()
	phone := func(n string) sms.Number { return sms.Number{Value: n, Kind: sms.Phone} }
	if _, err := b.Receive(&inbox.Incoming{ID: text, From: phone(from), To: phone(to), Text: sms.Hide(text)}); err != nil {
		t.Fatal(err)
	}
}

// fetched are the texts that a user gets after the cursors, received ones first, or the refusal.
func (f *fixture) fetched(t *testing.T, received, sent string, changes ...func(*Request)) string {
	t.Helper()
	r, page := f.Fetch(t.Context(), message(changes...), received, sent)
	defer r.Close()
	if r.Result.Outcome != sms.Accepted {
		return said(r)
	}
	var list []string
	for _, m := range append(page.Received, page.Sent...) {
		list = append(list, m.Sender+">"+m.Recipient+" "+m.Text.Reveal())
	}
	return strings.Join(list, ", ")
}

const friend = "+12125550199"

func TestFetch(t *testing.T) {
	f, b := receiving(t)
	if got := f.fetched(t, "", ""); got != "" {
		t.Errorf("nothing has arrived: %s", got)
	}
	arrives(t, b, friend, "+12125550101", "one")
	arrives(t, b, friend, "+13105550101", "for bob")
	sent := f.send(t, to(friend), saying("two"))
	if sent.PhoneID() != sent.Item.String() || sent.Item == 0 {
		t.Errorf("the phone gets the id %q", sent.PhoneID())
	}
	want := friend + ">+12125550101 one, +12125550101>" + friend + " two"
	for range 2 { // two devices, or one whose reply was lost
		if got := f.fetched(t, "", ""); got != want {
			t.Error(cmp.Diff(want, got))
		}
	}
	if got := f.fetched(t, sent.PhoneID(), sent.PhoneID()); got != "+12125550101>"+friend+" two" {
		t.Errorf("only what may have passed the cursor at Send is repeated: %s", got)
	}
	if got := f.fetched(t, "", "", by("bob")); got != friend+">+13105550101 for bob" {
		t.Errorf("bob: %s", got)
	}
	if got := f.fetched(t, "", "", by("eve")); got != "" {
		t.Errorf("a user without numbers: %s", got)
	}
}

// Every other service refuses whom Send refuses, and calls no inbox for them.
func TestOtherServicesAuthenticate(t *testing.T) {
	f, b := receiving(t)
	if err := f.journal.open.Block(block.Block{User: "bob", Since: time.Now()}); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		change func(*Request)
		want   string
	}{
		"wrong password": {guessing, "refused unauthorized"},
		"no password":    {without, "refused unauthorized.no_credential"},
		"blocked":        {by("bob"), "refused held.user_blocked"},
	} {
		if got := f.fetched(t, "", "", c.change); !strings.HasPrefix(got, strings.SplitN(c.want, ".", 2)[0]) {
			t.Errorf("%s: fetch: %s", what, got)
		}
		for name, r := range map[string]*Response{
			"push token": f.AddDevice(t.Context(), message(c.change), inbox.Device{Selector: "s", Token: sms.Hide("t")}),
			"removed":    f.RemoveDevice(t.Context(), message(c.change), "s"),
		} {
			if r.Close(); !strings.HasPrefix(said(r), strings.SplitN(c.want, ".", 2)[0]) {
				t.Errorf("%s: %s: %s", what, name, said(r))
			}
		}
	}
	for _, user := range []string{"ann", "bob"} {
		if list, err := b.Devices(user); err != nil || len(list) > 0 {
			t.Errorf("%s has devices %v, %v", user, list, err)
		}
	}
	f.journal.err = fmt.Errorf("away")
	if got := f.fetched(t, "", ""); got != "refused internal.journal_away" || f.journal.failures != 1 {
		t.Errorf("without a journal: %s", got)
	}
}

func TestDevices(t *testing.T) {
	f, b := receiving(t)
	report := func(token string) {
		r := f.AddDevice(t.Context(), message(), inbox.Device{Selector: "s", AppID: "app", Token: sms.Hide(token)})
		if r.Close(); said(r) != "accepted" {
			t.Error(said(r))
		}
	}
	tokens := func(want ...string) {
		t.Helper()
		list, err := b.Devices("ann")
		var got []string
		for _, d := range list {
			got = append(got, d.Selector+d.Token.Reveal())
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Error(err, diff)
		}
	}
	report("")
	tokens()
	report("1")
	tokens("s1")
	report("2")
	report("") // changes nothing
	tokens("s2")
	r := f.RemoveDevice(t.Context(), message(), "s")
	r.Close()
	tokens()
}

// A reply leaves from the number that the recipient has texted last.
func TestReplyNumber(t *testing.T) {
	f, b := receiving(t)
	sender := func(changes ...func(*Request)) string {
		r := f.send(t, append(changes, to(friend), saying(t.Name()+time.Now().String()))...)
		return r.Message.From.Value
	}
	if got := sender(); got != "+12125550101" {
		t.Errorf("nobody has texted: %s", got)
	}
	arrives(t, b, friend, "+12125550102", "one")
	if got := sender(); got != "+12125550102" {
		t.Errorf("a reply leaves from %s", got)
	}
	if got := sender(as("ann")); got != "+12125550102" {
		t.Errorf("a reply with the name of the user leaves from %s", got)
	}
	if got := sender(as("+12125550101")); got != "+12125550101" {
		t.Errorf("the app has named a sender: %s", got)
	}
	if got := sender(as("ACME")); got != "ACME" {
		t.Errorf("the app has named a sender: %s", got)
	}
	arrives(t, b, friend, "+12125550101", "two")
	if got := sender(); got != "+12125550101" {
		t.Errorf("a later reply leaves from %s", got)
	}
}

// A duplicate gets the id of the first message, also if that one was not stored.
func TestItemOfDuplicate(t *testing.T) {
	f, _ := receiving(t)
	first := f.send(t, withID("1"))
	if again := f.send(t, withID("1")); !again.Result.Duplicate || again.PhoneID() != first.PhoneID() || first.Item == 0 {
		t.Errorf("%q and %q", first.PhoneID(), again.PhoneID())
	}
	on := f.Inbox
	f.Inbox = nil // as if the process had ended between journal and inbox
	if r := f.send(t, withID("2"), saying("lost")); r.Item != 0 || r.PhoneID() == "" {
		t.Errorf("without receive the provider's id: %q", r.PhoneID())
	}
	f.Inbox = on
	r := f.send(t, withID("2"), saying("lost"))
	if r.Item == 0 || !strings.Contains(f.fetched(t, "", ""), "lost") {
		t.Errorf("%v", r.Item)
	}
	if f.transport.count() != 2 {
		t.Errorf("%d requests to the provider", f.transport.count())
	}
}

// A message that was refused or may have been sent is no item.
func TestNoItem(t *testing.T) {
	f, _ := receiving(t)
	f.transport.statuses = []int{402, 500}
	for _, want := range []string{"refused no_credit", "unknown unknown"} {
		r := f.send(t, saying(want))
		if said(r) != want || r.Item != 0 || r.PhoneID() != "" {
			t.Errorf("%s: %s with the id %q", want, said(r), r.PhoneID())
		}
	}
	if got := f.fetched(t, "", ""); got != "" {
		t.Error(got)
	}
}

func TestPushScope(t *testing.T) {
	f, _ := receiving(t)
	now := time.Now()
	for _, c := range []struct {
		user, number string
		unlisted     bool
		days         int
		want         PushScope
	}{
		{"ann", "+12125550101", false, 1, WithText},
		{"ann", "+12125550101", true, 300, WithText},
		{"ann", "+13105550101", false, 1, NoPush},
		{"gone", "+12125550101", false, 1, NoDevice},
		{"jwt", "+12125550101", true, 1, WithText},
		{"jwt", "+12125550101", true, 8, FixedWord},
		{"jwt", "+12125550101", true, 31, NoDevice},
	} {
		f.UnlistedUsers = c.unlisted
		p := &inbox.Push{Item: inbox.Item{Number: c.number}, LastLogin: now.AddDate(0, 0, -c.days)}
		p.User = c.user
		if got, err := f.PushScope(p, now); got != c.want || err != nil {
			t.Errorf("%+v: %d, %v", c, got, err)
		}
	}
	f.users.away = true
	if _, err := f.PushScope(&inbox.Push{}, now); err != users.ErrUnavailable {
		t.Error(err)
	}
}
