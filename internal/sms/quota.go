package sms

import (
	"strconv"
	"time"
)

// Scope is the scope of a quota at a provider: the account, a sender or a recipient.
type Scope uint8

// The scopes. The zero value is the widest.
const (
	ForAccount Scope = iota
	ForSender
	ForRecipient
	scopes
)

var scopeNames = [scopes]string{"account", "sender", "recipient"}

// String returns the scope's name as definitions write it.
func (s Scope) String() string { return scopeNames[s] }

// ParseScope finds a scope by its name.
func ParseScope(name string) (Scope, bool) {
	for s, known := range scopeNames {
		if known == name {
			return Scope(s), true
		}
	}
	return ForAccount, false
}

// ReachedQuota is the refusal of a message that exceeds a limit of minutes, hours or a day at a
// provider. wait is the time until the quota allows messages again, 0 if the provider does not
// return it.
func ReachedQuota(wait time.Duration) *Refusal {
	r := &Refusal{Cause: Quota, ByProvider: true}
	if wait > 0 {
		r.Variant, r.RetryAfter = QuotaWait, wait
		r.Values = []string{"minutes", strconv.Itoa(int((wait + time.Minute - 1) / time.Minute))}
	}
	return r
}
