package caddymodule

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/block"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/push"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/gateway"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/inbox"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// receiver is what a handler with receive has: its inbox, and the worker that sends pushes and
// deletes old messages. It is safe for concurrent use.
type receiver struct {
	name          string
	configuration [sha256.Size]byte // of the handler
	options       inbox.Options
	client        *push.Client // nil with push off
	withText      bool
	gateway       *gateway.Gateway
	journal       *pooledJournal
	logger        *zap.Logger

	woken  chan struct{}
	slots  chan struct{} // one for each push in flight
	cancel context.CancelFunc
	done   sync.WaitGroup
}

const (
	// pushesAtOnce bounds the pushes in flight of a receiver.
	pushesAtOnce = 16
	// pushLease is longer than a push takes with all its attempts. After it, another process sends
	// the push of a process that ended.
	pushLease = time.Minute
	// pushInterval is the time between two looks for pushes that another process made.
	pushInterval = time.Second
	// overdueInterval is the time between two looks for messages that wait for the rest of them.
	overdueInterval = 5 * time.Second
	// sweepInterval is the time between two deletions of old messages.
	sweepInterval = time.Hour
)

// newReceiver makes the receiver of the handler.
func (h *Handler) newReceiver() (*receiver, error) {
	configuration, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	r := &receiver{
		name: h.Receive.Name, configuration: sha256.Sum256(configuration), withText: h.Receive.Push != "hidden",
		gateway: h.gateway, journal: h.app.journal, logger: h.logger,
		woken: make(chan struct{}, 1), slots: make(chan struct{}, pushesAtOnce),
	}
	r.options = inbox.Options{
		Gateway: "receive " + r.name, Keep: cmp.Or(time.Duration(h.Receive.Keep), defaultReceiveKeep), Woken: r.wake,
		PushFailures: h.Receive.Receipts != "off",
	}
	if h.Receive.Push == "off" {
		return r, nil
	}
	url, err := resolve(caddy.NewReplacer(), h.Receive.PushURL)
	if err == nil {
		r.client, err = push.NewClient(url)
	}
	if err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	return r, nil
}

// inbox returns the inbox. The journal must be acquired.
func (r *receiver) inbox() *inbox.Inbox { return inbox.New(*r.journal.tables.Load(), r.options) }

// wake makes the worker look for pushes.
func (r *receiver) wake() {
	select {
	case r.woken <- struct{}{}:
	default:
	}
}

// start starts the worker.
func (r *receiver) start() {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.done.Go(func() { r.work(ctx) })
}

// stop ends the worker. Pushes in flight are sent again by the next worker, with the same ids.
func (r *receiver) stop() {
	if r.cancel != nil {
		r.cancel()
	}
	r.done.Wait()
	if r.client != nil {
		r.client.Close()
	}
}

// work sends pushes, shows messages that have waited long enough, and deletes old ones, until the
// context ends.
func (r *receiver) work(ctx context.Context) {
	ticker := time.NewTicker(pushInterval)
	defer ticker.Stop()
	var showed, swept time.Time
	for {
		now := time.Now()
		err := r.withInbox(func(_ *journal.Journal, b *inbox.Inbox) error { return r.sendPushes(ctx, b) })
		if err == nil && now.Sub(showed) >= overdueInterval {
			showed = now
			err = r.withInbox(func(_ *journal.Journal, b *inbox.Inbox) error {
				_, err := b.ShowOverdue()
				return err
			})
		}
		if err == nil && now.Sub(swept) >= sweepInterval {
			swept = now
			err = r.withInbox(func(_ *journal.Journal, b *inbox.Inbox) error { return b.DeleteExpired() })
		}
		if err != nil && ctx.Err() == nil {
			r.logger.Error("cannot read or write received messages", zap.Error(err))
			wait(ctx, overdueInterval)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-r.woken:
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// withInbox calls f with the journal acquired.
func (r *receiver) withInbox(f func(*journal.Journal, *inbox.Inbox) error) error {
	j, err := r.journal.Acquire()
	if err != nil {
		return err
	}
	defer j.Release()
	return f(j, r.inbox())
}

// sendPushes starts the pushes that are due, as many as there are free slots.
func (r *receiver) sendPushes(ctx context.Context, b *inbox.Inbox) error {
	free := cap(r.slots) - len(r.slots)
	if free == 0 { // the next one that ends wakes the worker
		return nil
	}
	list, err := b.TakePushes(free, pushLease)
	for i := range list {
		p := &list[i]
		r.slots <- struct{}{}
		r.done.Go(func() {
			defer func() {
				<-r.slots
				r.wake()
			}()
			if err := r.withInbox(func(j *journal.Journal, b *inbox.Inbox) error { return r.push(ctx, j, b, p) }); err != nil {
				r.logger.Error("cannot note a push", zap.String("user", p.User), zap.Error(err))
			}
		})
	}
	return err
}

// push sends one push, unless the user may no longer have it.
func (r *receiver) push(ctx context.Context, j *journal.Journal, b *inbox.Inbox, p *inbox.Push) error {
	scope, err := r.gateway.PushScope(p, time.Now())
	switch {
	case err != nil: // until PushAge
		r.logger.Warn("push waits: cannot look up its user", zap.String("user", p.User), zap.Error(err))
		return b.PushLater(p, 10*time.Second)
	case scope == gateway.NoDevice:
		return b.RemoveDevice(p.User, p.Selector)
	case scope == gateway.NoPush || r.client == nil || isBlocked(j, p.User):
		return b.PushDone(p)
	}
	outcome, err := r.client.Send(ctx, r.notification(p, scope))
	if ctx.Err() != nil {
		return nil // the next worker sends it
	}
	pushesTotal.WithLabelValues(outcome.String()).Inc()
	if err != nil {
		r.logger.Warn("push failed", zap.String("user", p.User), zap.String("sms_id", p.Item.ID.String()), zap.Error(err))
	}
	if outcome == push.Gone {
		r.logger.Info("push token is no longer registered", zap.String("user", p.User))
		return b.PushGone(p)
	}
	return b.PushDone(p)
}

// isBlocked reports whether a user is blocked on any site, because a push belongs to none.
func isBlocked(j *journal.Journal, user string) bool {
	for _, b := range j.Blocks() {
		b.Host = ""
		if block.NewSet([]block.Block{b}).Blocks(user, "") {
			return true
		}
	}
	return false
}

// notification returns what the push service gets.
func (r *receiver) notification(p *inbox.Push, scope gateway.PushScope) push.Notification {
	if p.Failed {
		return push.Notification{
			Device: push.Device{Token: p.Token, Selector: sms.Hide(p.Selector), App: p.AppID}, Alert: true,
			ID: p.Item.ID.String() + "-undelivered", ThreadID: p.Item.Stream(), UserName: p.Item.Recipient,
			Text: sms.Hide("Your message to " + p.Item.Recipient + " was not delivered."),
		}
	}
	n := push.Notification{
		Device: push.Device{Token: p.Token, Selector: sms.Hide(p.Selector), App: p.AppID},
		ID:     p.Item.ID.String(), ThreadID: p.Item.Stream(), UserName: p.Item.Sender, Badge: p.Badge,
	}
	if r.withText && scope == gateway.WithText {
		n.Text, n.ContentType = p.Item.Text, p.Item.ContentType
	}
	return n
}
