package inboxtest

import (
	"fmt"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/inbox"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// A user reads what became visible while they had the number; the first one also the day before.
func holders(s *suite) {
	n := 0
	arrives := func() {
		s.receive(text(fmt.Sprint(n), fmt.Sprint(n)))
		n++
		s.clock.add(time.Minute)
	}
	arrives() // 0
	s.clock.add(day)
	arrives() // 1
	s.wants("alice", "1")
	s.wants("bob") // alice had it
	arrives()      // 2
	s.wants("alice", "1", "2")
	s.wants("bob", "2")
	same(s, s.received("alice", ""), nil) // alice loses the number
	arrives()                             // 3
	s.wants("bob", "2", "3")
	s.wants("alice")
	arrives() // 4
	s.wants("alice", "4")
	s.wants("bob", "2", "3", "4")
	s.clock.add(inbox.HolderAge - time.Hour)
	s.check(s.Authenticated("alice", []string{ours})) // bob is not seen
	s.clock.add(time.Hour)
	s.check(s.DeleteExpired())
	arrives() // 5
	s.wants("bob")
	s.wants("alice", "5")
	m := text("x", "other gateway")
	_, err := s.inbox("other", s.store).Receive(m)
	s.check(err)
	s.wants("alice", "5")
	// The number of another process, which still believes that alice has it, changes nothing here.
	other := s.inbox(s.Gateway, s.Open(s.T))
	same(s, s.received("alice", ""), nil)
	arrives() // 6
	page, err := other.Fetch(&inbox.Poll{User: "alice", Numbers: []string{ours}})
	s.check(err)
	same(s, len(page.Received), 0)
}

// Hidden items stay hidden for one user on all devices.
func hide(s *suite) {
	s.login("alice", ours)
	s.login("bob", ours)
	s.receive(text("1", "a"))
	b := s.receive(text("2", "b")).Item
	for user, want := range map[string]bool{"alice": true, "carol": false} {
		for range 2 {
			hidden, err := s.Hide(user, b)
			s.check(err)
			same(s, hidden, want)
		}
	}
	s.wants("alice", "a")
	s.wants("bob", "a", "b")
	hidden, err := s.inbox("other", s.store).Hide("alice", b)
	s.check(err)
	same(s, hidden, false)
}

func (s *suite) receipt(id string, status inbox.Delivery) inbox.Change {
	s.Helper()
	c, err := s.Receipt(&inbox.Receipt{Source: source, ID: id, Status: status, Code: "30003"})
	s.check(err)
	return c
}

// A receipt is written beside its message, and the last status stays.
func receipts(s *suite) {
	m := s.outgoing("yo", "SM1", "SM2")
	s.send(m)
	for i, c := range []struct {
		id      string
		status  inbox.Delivery
		want    inbox.Delivery
		changed bool
	}{
		{"SM1", inbox.DeliveryUnknown, inbox.DeliveryUnknown, false},
		{"SM1", inbox.Delivered, inbox.Pending, true},
		{"SM2", inbox.Pending, inbox.Pending, false},
		{"SM2", inbox.Delivered, inbox.Delivered, true},
		{"SM2", inbox.Delivered, inbox.Delivered, false},
		{"SM2", inbox.Failed, inbox.Delivered, false},
		{"SM1", inbox.Pending, inbox.Delivered, false},
	} {
		got := s.receipt(c.id, c.status)
		if got.Message != m.ID || got.User != "johndow" || got.Reference != "ref" || got.Number != ours || got.Recipient != bob ||
			got.Status != c.want || got.Changed != c.changed || got.Settled {
			s.Errorf("%d: %+v", i, got)
		}
	}
	failed := s.outgoing("yo", "SM3", "SM4")
	s.send(failed)
	s.receipt("SM3", inbox.Delivered)
	same(s, s.receipt("SM4", inbox.Failed).Status, inbox.Failed)
	own := s.outgoing("yo", "SM5")
	s.send(own)
	c, err := s.Receipt(&inbox.Receipt{Source: source, Message: own.ID, Status: inbox.Delivered})
	s.check(err)
	same(s, c.Status, inbox.Delivered)
	c, err = s.Receipt(&inbox.Receipt{Source: inbox.Source{Definition: "twilio", Account: "AC2"}, ID: "SM1",
		Status: inbox.Failed})
	s.check(err)
	same(s, c, inbox.Change{})
	c, err = s.Receipt(&inbox.Receipt{Source: source, Status: inbox.Failed})
	s.check(err)
	same(s, c, inbox.Change{})
	// A modem begins its ids again.
	again := s.outgoing("yo", "SM3")
	s.send(again)
	got := s.receipt("SM3", inbox.Pending)
	same(s, got.Message, again.ID)
	same(s, got.Status, inbox.Pending)
}

// A receipt waits a minute for its message.
func earlyReceipts(s *suite) {
	for wait, want := range map[time.Duration]inbox.Delivery{0: inbox.Delivered,
		inbox.EarlyReceipt - time.Second: inbox.Delivered, inbox.EarlyReceipt: inbox.DeliveryUnknown} {
		id := wait.String()
		same(s, s.receipt(id, inbox.Pending), inbox.Change{})
		same(s, s.receipt(id, inbox.Delivered), inbox.Change{})
		s.clock.add(wait)
		s.send(s.outgoing("yo", id))
		same(s, s.receipt(id, inbox.DeliveryUnknown).Status, want)
	}
	for deleted, want := range map[bool]inbox.Delivery{false: inbox.Failed, true: inbox.DeliveryUnknown} {
		m := s.outgoing("yo")
		c, err := s.Receipt(&inbox.Receipt{Source: source, Message: m.ID, Status: inbox.Failed})
		s.check(err)
		same(s, c, inbox.Change{})
		if deleted {
			s.clock.add(90 * day)
			s.check(s.DeleteExpired())
		}
		s.send(m)
		c, err = s.Receipt(&inbox.Receipt{Source: source, Message: m.ID, Status: inbox.DeliveryUnknown})
		s.check(err)
		same(s, c.Status, want)
	}
}

// A message with an unknown outcome becomes an item when a receipt says that it was sent.
func unknownBecomesKnown(s *suite) {
	s.login("johndow", ours)
	for i, status := range []inbox.Delivery{inbox.DeliveryUnknown, inbox.Pending, inbox.Delivered, inbox.Failed} {
		for early := range 2 {
			m := s.outgoing(fmt.Sprint(status, " ", early))
			m.Unknown = true
			receipt := &inbox.Receipt{Source: source, ID: fmt.Sprint("SM", i, early), Message: m.ID, Status: status}
			if early == 1 {
				c, err := s.Receipt(receipt)
				s.check(err)
				same(s, c, inbox.Change{})
			}
			s.send(m)
			if early == 1 {
				continue
			}
			c, err := s.Receipt(receipt)
			s.check(err)
			if sent := status == inbox.Pending || status == inbox.Delivered; c.Settled != (i > 0) || (c.Item > 0) != sent {
				s.Errorf("%v: %+v", status, c)
			}
			again, err := s.Receipt(receipt)
			s.check(err)
			same(s, again.Settled, false)
			same(s, again.Item, c.Item)
		}
	}
	same(s, texts(s.poll(inbox.Poll{User: "johndow", Numbers: []string{ours}}).Sent), []string{"pending 0",
		"pending 1", "delivered 0", "delivered 1"})
}

func (s *suite) device(user, selector string) *inbox.Device {
	s.Helper()
	d := &inbox.Device{User: user, Selector: selector, InstallID: "install " + selector, AppID: "app",
		Token: sms.Hide("canary+/=" + selector)}
	s.check(s.AddDevice(d))
	return d
}

func (s *suite) take() (list []string) {
	s.Helper()
	taken, err := s.TakePushes(10, time.Minute)
	s.check(err)
	for _, p := range taken {
		list = append(list, fmt.Sprint(p.Item.Text.Reveal(), " ", p.User, " ", p.Selector, " ", p.Token.Reveal(), " ",
			p.Badge, " ", p.Try))
	}
	return list
}

// Each device of each user of the number gets one push, until it is done.
func pushes(s *suite) {
	s.login("alice", ours)
	s.login("bob", ours)
	s.login("carol", second)
	s.device("alice", "1")
	s.device("alice", "2")
	s.device("bob", "1")
	s.device("carol", "1")
	first := s.receive(text("1", "hi")).Item
	same(s, s.woken, 1)
	all := []string{"hi alice 1 canary+/=1 1 1", "hi alice 2 canary+/=2 1 1", "hi bob 1 canary+/=1 1 1"}
	sameSet(s, s.take(), all)
	same(s, s.take(), nil)
	s.clock.add(time.Minute)
	taken, err := s.TakePushes(10, time.Minute)
	s.check(err)
	same(s, len(taken), 3)
	for i := range taken {
		p := &taken[i]
		if p.Item.ID != first || p.Item.Sender != bob || p.Item.Recipient != ours || p.Try != 2 || p.LastLogin.IsZero() {
			s.Errorf("%+v", p)
		}
		switch p.User + p.Selector {
		case "alice1":
			s.check(s.PushDone(p))
		case "alice2":
			s.check(s.PushLater(p, time.Second))
		case "bob1":
			s.check(s.PushGone(p))
		}
	}
	s.clock.add(time.Second)
	same(s, s.take(), []string{"hi alice 2 canary+/=2 1 3"})
	// The device has not fetched what it was pushed; another one has.
	s.poll(inbox.Poll{User: "alice", Numbers: []string{ours}, Device: "install 1", Received: first.String()})
	s.receive(text("2", "yo"))
	sameSet(s, s.take(), []string{"yo alice 1 canary+/=1 1 1", "yo alice 2 canary+/=2 2 1"})
	s.clock.add(inbox.PushAge)
	same(s, s.take(), nil)
	s.check(s.DeleteExpired())
	same(s, s.rows("SELECT count(*) FROM acrobits_sms_pushes"), []string{"0"})
	s.receive(text("3", "x"))
	s.login("alice") // loses the number before the push
	same(s, s.take(), nil)
}

func sameSet(s *suite, got, want []string) {
	s.Helper()
	found := make(map[string]bool)
	for _, g := range got {
		found[g] = true
	}
	for _, w := range want {
		if !found[w] || len(got) != len(want) {
			s.Errorf("got %q, want %q", got, want)
			return
		}
	}
}

// The devices of a user hear of a text that was not delivered.
func pushesOfFailures(s *suite) {
	s.device("johndow", "1")
	s.device("other", "1")
	id := s.send(s.outgoing("yo", "SM1"))
	same(s, s.take(), nil)
	for range 2 {
		s.receipt("SM1", inbox.Failed)
	}
	same(s, s.woken, 1)
	taken, err := s.TakePushes(10, time.Minute)
	s.check(err)
	if len(taken) != 1 || !taken[0].Failed || taken[0].User != "johndow" || taken[0].Item.ID != id || taken[0].Item.Recipient != bob {
		s.Errorf("%+v", taken)
	}
	s.check(s.PushDone(&taken[0]))
	s.clock.add(time.Hour)
	same(s, s.take(), nil)
}

// Devices are known by user and selector.
func devices(s *suite) {
	list := func(user string) (list []string) {
		found, err := s.Devices(user)
		s.check(err)
		for _, d := range found {
			list = append(list, d.Selector+" "+d.InstallID+" "+d.AppID+" "+d.Token.Reveal())
		}
		return list
	}
	d := s.device("alice", "1")
	d.Token = sms.Hide("new")
	s.check(s.AddDevice(d))
	s.check(s.AddDevice(d))
	s.device("alice", "2")
	same(s, list("alice"), []string{"1 install 1 app new", "2 install 2 app canary+/=2"})
	same(s, list("bob"), nil)
	s.check(s.RemoveDevice("bob", "1"))
	s.check(s.PushGone(&inbox.Push{Device: inbox.Device{User: "alice", Selector: "1", Token: sms.Hide("old")}}))
	s.check(s.RemoveDevice("alice", "2"))
	same(s, list("alice"), []string{"1 install 1 app new"})
	if got := fmt.Sprintf("%+v %v", *d, d.Token); len(got) == 0 || got != fmt.Sprintf("%+v REDACTED", *d) {
		s.Errorf("the token is printed: %s", got)
	}
}

// Expired messages are deleted with everything that belongs to them.
func retention(s *suite) {
	s.login("johndow", ours)
	s.receive(picture("1", "old"))
	gone := s.receive(text("2", "old")).Item
	s.receive(part("3", "1", 1, 2, "old"))
	s.send(s.outgoing("old", "SM1"))
	if _, err := s.Hide("johndow", gone); err != nil {
		s.Error(err)
	}
	s.clock.add(90*day - time.Second)
	s.login("johndow", ours)
	s.receive(text("4", "new"))
	s.clock.add(time.Second)
	s.check(s.DeleteExpired())
	same(s, s.received("johndow", inbox.ID(0).String(), ours), []string{"new"})
	for table, want := range map[string]string{"messages": "1", "media": "0", "deliveries": "1", "receipts": "0",
		"hidden": "0", "holders": "1"} {
		if got := s.rows("SELECT count(*) FROM acrobits_sms_" + table)[0]; got != want {
			s.Errorf("%s rows in %s, want %s", got, table, want)
		}
	}
	if r := s.receive(text("2", "old")); r.Duplicate {
		s.Error("the digest of an old message is still there")
	}
}

// After erase, the tables have nothing of a user or a number.
func erase(s *suite) {
	s.login("johndow", ours)
	s.login("alice", ours, second)
	s.device("johndow", "1")
	s.device("alice", "1")
	hidden := s.receive(text("1", "in")).Item
	s.receive(picture("2", "in"))
	m := text("3", "second")
	m.To = phone(second)
	s.receive(m)
	s.send(s.outgoing("out", "SM1"))
	_, err := s.Hide("johndow", hidden)
	s.check(err)
	n, err := s.EraseUser("johndow")
	s.check(err)
	same(s, n, 1)
	for _, table := range []string{"devices", "holders", "hidden", "pushes", "messages"} {
		same(s, s.rows("SELECT count(*) FROM acrobits_sms_"+table+" WHERE username = 'johndow'"), []string{"0"})
	}
	same(s, s.received("alice", "", ours, second), []string{"in", "second"})
	n, err = s.EraseNumber(ours)
	s.check(err)
	same(s, n, 2)
	same(s, s.rows("SELECT body FROM acrobits_sms_messages"), []string{"second"})
	same(s, s.rows("SELECT number FROM acrobits_sms_holders"), []string{second})
	for _, table := range []string{"media", "receipts", "hidden"} {
		same(s, s.rows("SELECT count(*) FROM acrobits_sms_"+table), []string{"0"})
	}
	if r := s.receive(text("1", "in")); !r.Duplicate {
		s.Error("an erased message comes back")
	}
	same(s, s.received("alice", "", ours, second), []string{"second"})
}

// A reply leaves from the number that the recipient last texted.
func replyNumber(s *suite) {
	reply := func(user, want string) {
		s.Helper()
		got, err := s.ReplyNumber(user, []string{ours, second}, phone(bob))
		s.check(err)
		same(s, got, want)
	}
	s.login("johndow", ours, second)
	s.send(s.outgoing("yo"))
	reply("johndow", "")
	s.receive(text("1", "hi"))
	reply("johndow", ours)
	m := text("2", "hi")
	m.To = phone(second)
	s.receive(m)
	reply("johndow", second)
	s.receive(text("3", "hi"))
	m.From, m.ID = phone(carol), "4"
	s.receive(m)
	reply("johndow", ours)
	s.login("alice", ours, second)
	reply("alice", "")
	s.clock.add(90 * day)
	s.login("johndow", ours, second)
	s.check(s.DeleteExpired())
	reply("johndow", "")
}
