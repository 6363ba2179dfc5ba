package gateway

import (
	"strconv"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/burst"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/destination"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/limit"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// retryLater is the Retry-After of refusals whose end is not known.
const retryLater = time.Minute

// checkMaySend refuses while sending is paused, the user is blocked, or a limit is reached. A
// message that was sent in part before was charged then, and is not charged again.
func (s *send) checkMaySend() error {
	if s.journal.Blocked(s.User.Name, s.req.Host) {
		return sms.RefuseAs(sms.Held, sms.UserBlocked)
	}
	if s.Paused() {
		refusal := sms.Refuse(sms.Held)
		refusal.RetryAfter = retryLater
		return refusal
	}
	if _, _, accepted := s.claim.Sent(); accepted > 0 {
		return nil
	}
	return s.chargeLimits()
}

// chargeLimits charges the message to the limits of its user, sender, country and site.
func (s *send) chargeLimits() error {
	m := &s.Message
	country := destination.Country(m.To, s.region())
	if refusal := s.checkBurst(country, time.Now()); refusal != nil {
		return refusal
	}
	limits := s.Limits
	if s.User.Limits != nil {
		limits = s.User.Limits
	}
	if m.FilesDigest == "" {
		limits = limit.ForTexts(limits)
	}
	if len(limits) == 0 {
		return nil
	}
	charge := limit.Charge{BillingKey: s.BillingKey, Rules: limits, Usage: limit.Usage{
		User: m.User, Sender: m.From.Value, Country: country, Segments: m.Segments, Pictures: len(s.transfer.Files),
	}}
	if err := s.journal.Count(&charge); err != nil {
		s.Journal.NoteFailure()
		return refuseBecause(err.Error(), sms.Internal, sms.JournalUnavailable)
	}
	if charge.Exceeded == nil {
		return nil
	}
	return exceeded(&charge.Usage, charge.Exceeded)
}

// exceeded is the refusal of a message that exceeds a limit. With Wait 0, the message is too large
// for the limit at any time.
func exceeded(use *limit.Usage, over *limit.Exceeded) *sms.Refusal {
	refusal := sms.RefuseAs(sms.Limited, sms.OverLimit, "minutes", strconv.Itoa(int((over.Wait+time.Minute-1)/time.Minute)))
	switch {
	case over.Wait == 0 && over.Rule.Unit == limit.Pictures:
		refusal = sms.TooMany(use.Pictures, over.Rule.Max)
	case over.Wait == 0:
		refusal = sms.RefuseAs(sms.TooLong, sms.TextTooLong, "length", strconv.Itoa(use.Segments), "unit", "segments", "limit", strconv.Itoa(over.Rule.Max))
	}
	refusal.RetryAfter, refusal.Limit = over.Wait, over.Rule.String()
	return refusal
}

// checkBurst refuses messages that look like fraud: many new countries within an hour, or
// consecutive numbers.
func (s *send) checkBurst(country string, now time.Time) error {
	if s.Bursts == nil || s.Message.To.Kind != sms.Phone {
		return nil
	}
	kind, wait := s.Bursts.Observe(s.Message.User, s.Message.To.Value, country, now)
	var variant sms.Variant
	switch kind {
	case burst.None:
		return nil
	case burst.ManyCountries:
		variant = sms.ManyCountries
	case burst.NumbersInARow:
		variant = sms.NumbersInARow
	}
	refusal := sms.RefuseAs(sms.Held, variant)
	refusal.RetryAfter = wait
	return refusal
}
