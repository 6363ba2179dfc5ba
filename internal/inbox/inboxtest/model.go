package inboxtest

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/inbox"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// model checks that after any sequence of actions of two processes, each device has each message of
// its user exactly once and in order, and no message of anybody else.
func model(t *testing.T, p Place) {
	stores := [2]inbox.Store{p.Open(t), p.Open(t)}
	c := &clock{now: time.Date(2026, 11, 30, 6, 0, 0, 0, time.UTC)}
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++ // each round has gateways of its own
		w := &world{T: rt, clock: c, number: map[*place]map[string]*numberState{}}
		c.add(inbox.History * 4) // what is left of other rounds is over
		for g := range 2 {
			g := &place{name: fmt.Sprint("gateway ", round, g)}
			for _, s := range stores {
				g.boxes = append(g.boxes, inbox.New(s, inbox.Options{Gateway: g.name, Keep: keep, Clock: c.read}))
			}
			w.places = append(w.places, g)
			w.number[g] = map[string]*numberState{}
			for _, n := range modelNumbers {
				w.number[g][n] = &numberState{holders: map[string]*hold{}, had: map[string]bool{}}
			}
			for _, name := range []string{"alice", "bob"} {
				u := &user{place: g, name: name}
				w.users = append(w.users, u)
				for d := range 2 {
					w.devices = append(w.devices, &device{user: u, name: fmt.Sprint(d), sentMoves: d == 1, got: map[inbox.ID]bool{}})
				}
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"receive": w.receive, "again": w.again, "send": w.send, "fetch": w.fetch, "any cursor": w.anyCursor,
			"numbers": w.changeNumbers, "wait": w.wait, "delete": w.deleteExpired, "hide": w.hide,
		})
		w.T = rt
		w.finish()
	})
}

const keep = 60 * day

var modelNumbers = []string{ours, second, "+15550003333"}

// world is what the databases should contain.
type world struct {
	*rapid.T
	clock      *clock
	places     []*place
	users      []*user
	devices    []*device
	number     map[*place]map[string]*numberState
	items      []*modelItem // in the order of their ids
	deliveries []*inbox.Incoming
	at         []*place // of the deliveries
	count      int
}

type place struct {
	name  string
	boxes []*inbox.Inbox
}

type user struct {
	*place
	name    string
	numbers []string // that the user has now
}

// device is an app. One kind moves its cursor of sent items when it sends, the other kind only when
// it fetches.
type device struct {
	*user
	name           string
	sentMoves      bool
	received, sent string
	complete       time.Time // the last time when it had all
	base           inbox.ID  // it never asked for items up to this one
	baseSent       inbox.ID
	got            map[inbox.ID]bool
	newest         inbox.ID // received
}

type modelItem struct {
	id       inbox.ID
	place    *place
	number   string
	sent     bool
	until    time.Time
	deleted  bool
	holders  map[string]bool // users who had the number when it became visible
	hiddenBy map[string]bool
}

type numberState struct {
	holders map[string]*hold
	had     map[string]bool
}

type hold struct {
	since, begun time.Time // begun is when the user got the number, since when items may be read
	after        inbox.ID
	seen         time.Time
}

func (w *world) now() time.Time { return w.clock.read(time.Time{}) }

func (w *world) check(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) box(g *place) *inbox.Inbox { return g.boxes[rapid.IntRange(0, 1).Draw(w.T, "process")] }

func (w *world) last() (last inbox.ID) {
	if n := len(w.items); n > 0 {
		return w.items[n-1].id
	}
	return 0
}

// appear adds an item, whose id must be the greatest.
func (w *world) appear(g *place, number string, isSent bool, id inbox.ID) {
	if id <= w.last() || id.Time().Sub(w.now()).Abs() > time.Second {
		w.Fatalf("the id %v comes after %v, at %v", id, w.last(), w.now())
	}
	i := &modelItem{id: id, place: g, number: number, sent: isSent, until: w.now().Add(keep),
		holders: map[string]bool{}, hiddenBy: map[string]bool{}}
	for name := range w.number[g][number].holders {
		i.holders[name] = true
	}
	w.items = append(w.items, i)
}

func (w *world) receive(t *rapid.T) {
	w.T = t
	w.count++
	g := rapid.SampledFrom(w.places).Draw(t, "gateway")
	m := text(fmt.Sprint("SM", w.count), fmt.Sprint("text ", w.count))
	m.Account = g.name
	m.To = phone(rapid.SampledFrom(modelNumbers).Draw(t, "number"))
	r, err := w.box(g).Receive(m)
	w.check(err)
	w.deliveries, w.at = append(w.deliveries, m), append(w.at, g)
	w.appear(g, m.To.Value, false, r.Item)
}

// again delivers a message once more.
func (w *world) again(t *rapid.T) {
	w.T = t
	if len(w.deliveries) == 0 {
		t.Skip()
	}
	n := rapid.IntRange(0, len(w.deliveries)-1).Draw(t, "delivery")
	if n := w.items; len(n) > 0 && w.now().Sub(w.items[0].id.Time()) > keep-time.Hour {
		t.Skip()
	}
	r, err := w.box(w.at[n]).Receive(w.deliveries[n])
	if w.check(err); !r.Duplicate {
		t.Fatalf("delivered twice: %+v", r)
	}
}

// send sends with the first number of a device's user. A device that moves its cursor sends soon
// after it has fetched all, because the app fetches when it is opened.
func (w *world) send(t *rapid.T) {
	w.T = t
	d := rapid.SampledFrom(w.devices).Draw(t, "device")
	if len(d.numbers) == 0 || d.sentMoves && w.now().Sub(d.complete) >= inbox.SentRepeat {
		t.Skip()
	}
	w.authenticate(d.user)
	b, number := w.box(d.place), d.numbers[0]
	w.check(b.Authenticated(d.user.name, d.numbers))
	w.count++
	id, err := b.Sent(&inbox.Outgoing{Message: &sms.Message{ID: fmt.Sprint(d.place.name, w.count),
		From: phone(number), To: phone(bob), Body: sms.Hide(fmt.Sprint("sent ", w.count))}, Source: source})
	w.check(err)
	w.appear(d.place, number, true, id)
	if d.sentMoves {
		d.sent = id.String()
		d.got[id] = true // the app has it
	}
}

// authenticate does what the store notes when a user is authenticated.
func (w *world) authenticate(u *user) {
	for _, n := range modelNumbers {
		state := w.number[u.place][n]
		h := state.holders[u.name]
		switch has := slices.Contains(u.numbers, n); {
		case !has:
			delete(state.holders, u.name)
		case h == nil:
			h = &hold{begun: w.now(), seen: w.now(), after: w.last()}
			state.had[u.name] = true
			h.since = h.begun
			if len(state.had) == 1 {
				h.since = h.begun.Add(-day)
			}
			state.holders[u.name] = h
		case w.now().Sub(h.seen) >= day:
			h.seen = w.now()
		}
	}
}

// mayRead is what a user may read, by the words of the promise.
func (w *world) mayRead(u *user, i *modelItem) bool {
	h := w.number[i.place][i.number].holders[u.name]
	if i.place != u.place || h == nil || i.deleted || i.hiddenBy[u.name] || !slices.Contains(u.numbers, i.number) {
		return false
	}
	if h.since.Before(h.begun) { // the only user so far when they got the number
		return i.id > h.after || i.id.Time().After(h.since)
	}
	return i.id > h.after && i.holders[u.name]
}

// expected are the items of a poll.
func (w *world) expected(u *user, cursor string, isSent bool) (list []inbox.ID) {
	after, known := inbox.ParseID(cursor)
	if known = known && (after <= w.last() || after <= w.first()); !known {
		after = inbox.ID(w.now().Add(-inbox.History).UnixMicro())
	} else if isSent {
		after -= inbox.ID(inbox.SentRepeat.Microseconds())
	}
	for _, i := range w.items {
		if i.id > after && i.sent == isSent && w.mayRead(u, i) {
			list = append(list, i.id)
		}
	}
	return list
}

// first is a time before all items of this round, which is also an id that other rounds may have
// given.
func (w *world) first() inbox.ID { return inbox.ID(w.now().Add(-4 * inbox.History).UnixMicro()) }

func idsOf(items []inbox.Item) (list []inbox.ID) {
	for _, i := range items {
		list = append(list, i.ID)
	}
	return list
}

// poll fetches and compares with what is expected.
func (w *world) poll(u *user, device, received, sent string) inbox.Page {
	w.Helper()
	w.authenticate(u)
	page, err := w.box(u.place).Fetch(&inbox.Poll{User: u.name, Numbers: u.numbers, Device: device,
		Received: received, Sent: sent})
	w.check(err)
	for isSent, items := range map[bool][]inbox.Item{false: page.Received, true: page.Sent} {
		cursor := received
		if isSent {
			cursor = sent
		}
		if got, want := idsOf(items), w.expected(u, cursor, isSent); !slices.Equal(got, want) {
			w.Fatalf("%s of %s after %q, sent %t: got %v, want %v", u.name, u.place.name, cursor, isSent, got, want)
		}
	}
	return page
}

// fetch is a poll of a device, whose reply may be lost.
func (w *world) fetch(t *rapid.T) {
	w.T = t
	d := rapid.SampledFrom(w.devices).Draw(t, "device")
	w.deviceFetch(d, rapid.IntRange(0, 3).Draw(t, "lost") == 0)
}

func (w *world) deviceFetch(d *device, lost bool) {
	page := w.poll(d.user, d.name, d.received, d.sent)
	if lost {
		return
	}
	history := inbox.ID(w.now().Add(-inbox.History).UnixMicro())
	if d.received == "" {
		d.base = history
	}
	if d.sent == "" {
		d.baseSent = history
	}
	for _, i := range page.Received {
		if d.got[i.ID] || i.ID <= d.newest && d.received != "" {
			if d.received != "" {
				w.Fatalf("the device gets %v again, or after %v", i.ID, d.newest)
			}
		}
		d.got[i.ID], d.newest = true, max(d.newest, i.ID)
		d.received = i.ID.String()
	}
	for _, i := range page.Sent {
		d.got[i.ID] = true
		if d.sent < i.ID.String() {
			d.sent = i.ID.String()
		}
	}
	d.complete = w.now()
}

// anyCursor polls with a cursor that no app has: of another number, of a deleted item, or none.
func (w *world) anyCursor(t *rapid.T) {
	w.T = t
	any := []string{"", "SM1", "9999999999999999", inbox.ID(1).String()}
	for _, i := range w.items {
		any = append(any, i.id.String(), (i.id - 1).String())
	}
	cursor := rapid.SampledFrom(any)
	w.poll(rapid.SampledFrom(w.users).Draw(t, "user"), "", cursor.Draw(t, "received"), cursor.Draw(t, "sent"))
}

// changeNumbers gives a user other numbers.
func (w *world) changeNumbers(t *rapid.T) {
	w.T = t
	u := rapid.SampledFrom(w.users).Draw(t, "user")
	u.numbers = rapid.SliceOfNDistinct(rapid.SampledFrom(modelNumbers), 0, 3, rapid.ID).Draw(t, "numbers")
	if rapid.Bool().Draw(t, "authenticated") {
		w.authenticate(u)
		w.check(w.box(u.place).Authenticated(u.name, u.numbers))
	}
}

func (w *world) wait(t *rapid.T) {
	times := []time.Duration{time.Millisecond, time.Minute, 9 * time.Minute, 11 * time.Minute, 25 * time.Hour,
		20 * day, 31 * day}
	w.clock.add(rapid.SampledFrom(times).Draw(t, "time"))
}

func (w *world) deleteExpired(t *rapid.T) {
	w.T = t
	w.check(w.box(w.places[0]).DeleteExpired())
	for _, i := range w.items {
		i.deleted = i.deleted || !i.until.After(w.now())
	}
	for _, numbers := range w.number {
		for _, n := range numbers {
			for name, h := range n.holders {
				if w.now().Sub(h.seen) >= inbox.HolderAge {
					delete(n.holders, name)
				}
			}
		}
	}
}

func (w *world) hide(t *rapid.T) {
	w.T = t
	if len(w.items) == 0 {
		t.Skip()
	}
	i := rapid.SampledFrom(w.items).Draw(t, "item")
	u := rapid.SampledFrom(w.users).Draw(t, "user")
	w.authenticate(u)
	b := w.box(u.place)
	w.check(b.Authenticated(u.name, u.numbers))
	may := w.mayRead(u, i)
	hidden, err := b.Hide(u.name, i.id)
	w.check(err)
	if hidden != may && !i.hiddenBy[u.name] {
		t.Fatalf("hidden %t, may be read %t", hidden, may)
	}
	if hidden {
		i.hiddenBy[u.name] = true
	}
}

// finish lets all devices fetch once more. Each then has all that its user may read, and what
// appeared after it began to ask.
func (w *world) finish() {
	for _, d := range w.devices {
		w.deviceFetch(d, false)
		w.deviceFetch(d, false)
		for _, i := range w.items {
			base := d.base
			if i.sent {
				base = d.baseSent
			}
			since := inbox.ID(0)
			if h := w.number[i.place][i.number].holders[d.user.name]; h != nil {
				since = cmp.Or(h.after, 0)
			}
			if w.mayRead(d.user, i) && i.id > max(base, since) && !d.got[i.id] {
				w.Fatalf("device %s of %s does not have %v (sent %t), its cursors are %s and %s", d.name, d.user.name, i.id,
					i.sent, d.received, d.sent)
			}
		}
	}
}
