package inboxtest

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/inbox"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// While two processes store messages of two numbers in both directions, a device that moves its
// cursors to the newest items misses none: no item appears behind a greater one.
func visibleInOrder(s *suite) {
	const each, writers = 25, 3
	numbers := []string{ours, second}
	s.login("johndow", numbers...)
	var all sync.WaitGroup
	for p, store := range []inbox.Store{s.store, s.Open(s.T)} {
		b := inbox.New(store, inbox.Options{Gateway: s.Gateway, Keep: day})
		for w := range writers {
			all.Go(func() {
				for n := range each {
					m := text(fmt.Sprint(p, w, n), fmt.Sprint("in ", p, w, n))
					m.To = phone(numbers[n%2])
					if _, err := b.Receive(m); err != nil {
						s.Error(err)
					}
					out := &inbox.Outgoing{Message: &sms.Message{ID: fmt.Sprint(p, w, n), From: phone(numbers[(n+w)%2]),
						To: phone(bob), Body: sms.Hide("out")}, Source: source}
					if _, err := b.Sent(out); err != nil {
						s.Error(err)
					}
				}
			})
		}
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	reader := inbox.New(s.Open(s.T), inbox.Options{Gateway: s.Gateway})
	var seen [2][]inbox.ID
	for last := false; ; {
		select {
		case <-done:
			last = true
		default:
		}
		p := inbox.Poll{User: "johndow", Numbers: numbers, Received: inbox.ID(0).String(), Sent: inbox.ID(0).String()}
		for i, c := range []*string{&p.Received, &p.Sent} {
			if n := len(seen[i]); n > 0 {
				*c = seen[i][n-1].String()
			}
		}
		page, err := reader.Fetch(&p)
		s.check(err)
		for i, items := range [][]inbox.Item{page.Received, page.Sent} {
			for _, item := range items {
				n := len(seen[i])
				if n == 0 || item.ID > seen[i][n-1] {
					seen[i] = append(seen[i], item.ID)
				}
			}
		}
		if last {
			break
		}
	}
	if len(seen[0]) != 2*writers*each || len(seen[1]) != 2*writers*each {
		s.Errorf("the device has %d and %d items, want %d of each", len(seen[0]), len(seen[1]), 2*writers*each)
	}
}

// Ids are 16 digits, grow in one sequence, and follow the clock unless it goes back.
func ids(s *suite) {
	first := s.receive(text("1", "1")).Item
	if got, want := first.String(), fmt.Sprint(s.clock.now.UnixMicro()); got != want || len(got) != 16 {
		s.Errorf("the id is %s, want %s", got, want)
	}
	same(s, s.send(s.outgoing("2")), first+1)
	s.clock.add(-time.Hour)
	same(s, s.receive(text("3", "3")).Item, first+2)
	s.clock.add(2 * time.Hour)
	same(s, s.inbox("other", s.Open(s.T)).Gateway, "other")
	if later := s.receive(text("4", "4")).Item; later.Time() != first.Time().Add(time.Hour) {
		s.Errorf("the id has the time %v", later.Time())
	}
	for _, id := range []inbox.ID{0, 1, first, 9_999_999_999_999_999} {
		if got, ok := inbox.ParseID(id.String()); !ok || got != id {
			s.Errorf("%d is read as %d", id, got)
		}
	}
}

func same[T any](s *suite, got, want T) {
	s.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		s.Error(diff)
	}
}

// A sent message is one item, with the id that Sent has returned.
func sentOnce(s *suite) {
	s.login("johndow", ours)
	m := s.outgoing("yo", "SM1")
	m.Disposition = sms.Disposition{ID: "x", Wishes: []string{"positive-delivery", "display"}}
	id := s.send(m)
	for range 2 {
		same(s, s.send(m), id)
		again, err := s.SentID(m.ID)
		s.check(err)
		same(s, again, id)
	}
	unknown := s.outgoing("perhaps")
	unknown.Unknown = true
	same(s, s.send(unknown), 0)
	none, err := s.SentID("none")
	s.check(err)
	same(s, none, 0)
	page := s.poll(inbox.Poll{User: "johndow", Numbers: []string{ours}})
	same(s, page.Sent, []inbox.Item{{
		ID: id, Sent: true, Number: ours, Sender: ours, Recipient: bob, Text: sms.Hide("yo"), ContentType: "text/plain", Disposition: "x:positive-delivery,display",
	}})
	same(s, page.Sent[0].Stream(), bob)
	same(s, len(page.Received), 0)
	same(s, page.Date, s.clock.now)
}

// Each kind of cursor gets what it should.
func cursors(s *suite) {
	s.login("johndow", ours)
	s.receive(text("0", "old"))
	s.clock.add(inbox.History)
	var list []inbox.ID
	for n := range 3 {
		list = append(list, s.receive(text(fmt.Sprint(1+n), fmt.Sprint(n))).Item)
		s.clock.add(time.Minute)
	}
	for cursor, want := range map[string][]string{
		"":                           {"0", "1", "2"},
		"SM5ef8732a3c":               {"0", "1", "2"},
		inbox.ID(0).String():         {"old", "0", "1", "2"},
		list[0].String():             {"1", "2"},
		(list[0] + 1).String():       {"1", "2"}, // deleted
		list[2].String():             nil,
		(list[2] + 1).String():       {"0", "1", "2"}, // of another database
		"9999999999999999":           {"0", "1", "2"},
		strings.Repeat("0", 15):      {"0", "1", "2"},
		" " + list[2].String() + " ": {"0", "1", "2"},
	} {
		if diff := cmp.Diff(want, s.received("johndow", cursor, ours)); diff != "" {
			s.Errorf("%q: %s", cursor, diff)
		}
	}
	same(s, len(s.poll(inbox.Poll{User: "johndow"}).Received), 0)
}

// A phone that was away gets all in pages of bounded size, and a new one the newest.
func pages(s *suite) {
	s.login("johndow", ours)
	const n = 1200
	body := strings.Repeat("x", 1500)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if _, err := s.Receive(text(fmt.Sprint(i), body)); err != nil {
				s.Error(err)
			}
		})
	}
	all.Wait()
	cursor, got, calls := inbox.ID(0), 0, 0
	for ; calls < 10; calls++ {
		items := s.poll(inbox.Poll{User: "johndow", Numbers: []string{ours}, Received: cursor.String()}).Received
		if len(items) == 0 {
			break
		}
		if len(items) > inbox.MaxItems || len(items)*len(body) > inbox.MaxBytes || !isAscending(items) || items[0].ID <= cursor {
			s.Fatalf("%d items", len(items))
		}
		got, cursor = got+len(items), items[len(items)-1].ID
	}
	if got != n || calls > 3 {
		s.Errorf("%d items in %d calls", got, calls)
	}
	newest := s.poll(inbox.Poll{User: "johndow", Numbers: []string{ours}}).Received
	if len(newest) < 400 || !isAscending(newest) || newest[len(newest)-1].ID != cursor {
		s.Errorf("a new phone gets %d", len(newest))
	}
	// A longer text is cut, or the phone would never get beyond it.
	big := s.receive(text("big", "y"+strings.Repeat("ü", inbox.MaxBytes))).Item
	s.receive(text("small", "z"))
	want := []string{"y" + strings.Repeat("ü", inbox.MaxText/2-1), "z"}
	same(s, s.received("johndow", cursor.String(), ours), want)
	same(s, s.received("johndow", big.String(), ours), want[1:])
}

// More sent items than are repeated do not keep a phone from getting on.
func manySent(s *suite) {
	s.login("johndow", ours, second)
	const n = 800
	var all sync.WaitGroup
	for i := range n {
		m := s.outgoing("yo")
		m.From = phone([]string{ours, second}[i%2])
		all.Go(func() {
			if _, err := s.Sent(m); err != nil {
				s.Error(err)
			}
		})
	}
	all.Wait()
	got, cursor := map[inbox.ID]bool{}, inbox.ID(0)
	for calls := 0; len(got) < n; calls++ {
		items := s.poll(inbox.Poll{User: "johndow", Numbers: []string{ours, second}, Sent: cursor.String()}).Sent
		if calls > 5 || len(items) > inbox.MaxItems || !isAscending(items) {
			s.Fatalf("%d of %d items after %d calls", len(got), n, calls)
		}
		for _, i := range items {
			got[i.ID] = true
		}
		cursor = items[len(items)-1].ID
	}
	// Only the messages sent in the last 10 minutes are repeated.
	s.clock.add(time.Second)
	s.send(s.outgoing("another device"))
	s.clock.add(inbox.SentRepeat - time.Millisecond)
	mine := s.send(s.outgoing("this device"))
	same(s, texts(s.poll(inbox.Poll{User: "johndow", Numbers: []string{ours, second}, Sent: mine.String()}).Sent),
		[]string{"another device", "this device"})
}

// A user of more numbers than one statement has gets the items of all.
func manyNumbers(s *suite) {
	var numbers []string
	for n := range 130 {
		numbers = append(numbers, fmt.Sprintf("+1555%07d", n))
	}
	s.login("johndow", numbers...)
	for n := 129; n >= 0; n -= 43 {
		m := text(fmt.Sprint(n), fmt.Sprint(n))
		m.To = phone(numbers[n])
		s.receive(m)
	}
	same(s, s.received("johndow", "", numbers...), []string{"129", "86", "43", "0"})
}
