// Package limit implements rate limits and quotas on messages, segments and pictures, because every
// message costs the operator money.
//
// It never counts a message that it refuses. Package gateway makes a Charge for each message;
// counts are kept in memory here, or in a store of package journal. Counters are safe for
// concurrent use, a Charge is not.
package limit

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/cache"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// Scope selects the messages that a rule counts together.
type Scope uint8

// The scopes.
const (
	User    Scope = iota
	Sender        // the number or ID that a message is sent from
	Country       // the country of the recipient
	Site          // all messages that share the counters
)

// Unit is the unit of a rule's maximum.
type Unit uint8

// The units. A message counts as 1, even if it is sent in several parts. Pictures are files of any
// type.
const (
	Messages Unit = iota
	Segments
	Pictures
)

// Period is the period of a rule's maximum.
type Period uint8

// The periods. Minutes and hours are windows that refill steadily; days and months follow the
// calendar.
const (
	Minute Period = iota
	Hour
	Day
	Month
)

var (
	scopeNames  = []string{"user", "sender", "country", "site"}
	unitNames   = []string{"messages", "segments", "pictures"}
	periodNames = []string{"minute", "hour", "day", "month"}
)

// Rule is the maximum number of messages, segments or pictures in a period.
type Rule struct {
	Scope  Scope
	Unit   Unit
	Period Period
	Max    int
	// Zone is the time zone of days and months, nil for UTC.
	Zone *time.Location
}

// Default contains the rules that apply if the operator configures none. Rules on pictures are last.
var Default = []Rule{
	{Scope: User, Unit: Messages, Period: Minute, Max: 30},
	{Scope: User, Unit: Segments, Period: Day, Max: 1000},
	{Scope: Site, Unit: Segments, Period: Day, Max: 10_000},
	{Scope: User, Unit: Pictures, Period: Minute, Max: 10},
	{Scope: User, Unit: Pictures, Period: Day, Max: 100},
}

// maxCount bounds the maximum of a rule, so that the windows are exact.
const maxCount = 1_000_000

// ErrUsage describes the syntax of a rule.
var ErrUsage = errors.New("write a limit such as: user 30 messages per minute, or: site 10000 segments per day Europe/Berlin; " +
	"it is for a user, sender, country or the site, in messages, segments or pictures, per minute, hour, day or month")

// Parse reads a rule: SCOPE COUNT UNIT per PERIOD [ZONE]. ZONE is a name of the IANA time zone
// database, for days and months.
func Parse(words []string) (Rule, error) {
	var r Rule
	if len(words) < 5 || len(words) > 6 || words[3] != "per" {
		if len(words) > 0 && !slices.Contains(scopeNames, words[0]) {
			if _, err := Parse(append([]string{scopeNames[User]}, words...)); err == nil { // the error quotes only a valid rule
				return r, fmt.Errorf("the scope is missing, such as: user %s; %w", strings.Join(words, " "), ErrUsage)
			}
		}
		return r, ErrUsage
	}
	scope, unit, period := slices.Index(scopeNames, words[0]), slices.Index(unitNames, words[2]), slices.Index(periodNames, words[4])
	if scope < 0 || unit < 0 || period < 0 {
		return r, ErrUsage
	}
	count, err := strconv.Atoi(words[1])
	if err != nil || count < 1 || count > maxCount {
		return r, fmt.Errorf("a limit is a number from 1 to %d, not%s", maxCount, cmp.Or(suggest.QuoteNumber(words[1]), " a word"))
	}
	r = Rule{Scope: Scope(scope), Unit: Unit(unit), Period: Period(period), Max: count}
	if len(words) == 6 {
		if r.Period < Day {
			return r, errors.New("only days and months have a time zone")
		}
		if r.Zone, err = time.LoadLocation(words[5]); err != nil || words[5] == "Local" {
			return r, errors.New("unknown time zone; write a name such as Europe/Berlin")
		}
	}
	return r, nil
}

// String returns the rule in the form that Parse reads.
func (r Rule) String() string {
	s := fmt.Sprintf("%s %d %s per %s", scopeNames[r.Scope], r.Max, unitNames[r.Unit], periodNames[r.Period])
	if r.Zone != nil {
		s += " " + r.Zone.String()
	}
	return s
}

// Merge returns base with rules added. A rule replaces a base rule of the same scope, unit and
// period. Two rules with the same scope, unit and period are an error. Rules on pictures are last.
func Merge(base, rules []Rule) ([]Rule, error) {
	merged := slices.Clone(base)
	for i, r := range rules {
		same := func(other Rule) bool { return other.identity() == r.identity() }
		if slices.ContainsFunc(rules[:i], same) {
			return nil, fmt.Errorf("%s is limited twice per %s, in %s", scopeNames[r.Scope], periodNames[r.Period], unitNames[r.Unit])
		}
		if at := slices.IndexFunc(merged, same); at >= 0 {
			merged[at] = r
		} else {
			merged = append(merged, r)
		}
	}
	slices.SortStableFunc(merged, func(a, b Rule) int { return cmp.Compare(a.Unit/Pictures, b.Unit/Pictures) })
	return merged, nil
}

// ForTexts returns the rules that apply to a message without pictures, of rules that Merge or Default
// returned.
func ForTexts(rules []Rule) []Rule {
	n := len(rules)
	for n > 0 && rules[n-1].Unit == Pictures {
		n--
	}
	return rules[:n]
}

// identity returns the rule without its maximum and zone.
func (r Rule) identity() Rule { return Rule{Scope: r.Scope, Unit: r.Unit, Period: r.Period} }

// Usage contains the properties of a message that rules count by.
type Usage struct {
	User, Sender, Country string
	Segments, Pictures    int
}

func (u Usage) under(r Rule) (who string, amount int) {
	switch r.Scope {
	case User:
		who = u.User
	case Sender:
		who = u.Sender
	case Country:
		who = u.Country
	}
	switch amount = 1; r.Unit {
	case Segments:
		amount = max(u.Segments, 1)
	case Pictures:
		amount = u.Pictures
	}
	return who, amount
}

// Exceeded describes the rule that a message would exceed.
type Exceeded struct {
	Rule Rule
	// Wait is the time after which the message would fit, 0 if it never does.
	Wait time.Duration
}

// size is the number of latest counts that certainly stay in memory. Each user, sender and country
// has a count for each rule.
const size = 1 << 16

// Charge counts one message against rules, for one billing key.
type Charge struct {
	BillingKey [32]byte
	Rules      []Rule
	Usage      Usage
	// Exceeded is the exceeded rule with the longest wait, nil if the message was counted.
	Exceeded *Exceeded
}

// Key identifies a Count.
type Key struct {
	BillingKey [32]byte
	Rule       Rule // without maximum and zone
	Zone       string
	Subject    string
}

// Key returns the key of the count for the rule with the index.
func (c *Charge) Key(i int) Key {
	r := c.Rules[i]
	who, _ := c.Usage.under(r)
	return Key{c.BillingKey, r.identity(), r.Zone.String(), who}
}

// Count is the count for one rule. For a window, Full is the time when the window is completely
// refilled. For a calendar period, Amount is counted from Since to End.
type Count struct {
	Full       time.Time
	Since, End time.Time
	Amount     int
}

// Apply counts the message and returns true. If the message would exceed a rule, Apply sets
// Exceeded, counts nothing and returns false. counts contains the count for each rule, in the order
// of Rules.
func (c *Charge) Apply(counts []*Count, now time.Time) bool {
	c.Exceeded = nil
	for i, r := range c.Rules {
		_, amount := c.Usage.under(r)
		wait, ok := counts[i].apply(r, amount, now, false)
		if worst := c.Exceeded; !ok && (worst == nil || worst.Wait != 0 && (wait == 0 || wait > worst.Wait)) {
			c.Exceeded = &Exceeded{r, wait}
		}
	}
	if c.Exceeded != nil {
		return false
	}
	for i, r := range c.Rules {
		_, amount := c.Usage.under(r)
		counts[i].apply(r, amount, now, true)
	}
	return true
}

// Counters contains the counts in memory. It is safe for concurrent use. A rule with a changed
// maximum keeps its count.
type Counters struct {
	mu     sync.Mutex
	counts *cache.Table[Key, *Count]
}

// NewCounters makes counters without counts.
func NewCounters() *Counters {
	return &Counters{counts: cache.NewTable[Key, *Count](size)}
}

// Apply applies a charge to the counts of its rules.
func (c *Counters) Apply(charge *Charge, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := make([]*Count, 0, 8)
	for i := range charge.Rules {
		key := charge.Key(i)
		n, ok := c.counts.Get(key)
		if !ok {
			n = new(Count)
			c.counts.Put(key, n)
		}
		counts = append(counts, n)
	}
	charge.Apply(counts, now)
}

// apply reports whether the rule allows the amount now, and counts it if commit is set.
func (n *Count) apply(r Rule, amount int, now time.Time, commit bool) (wait time.Duration, ok bool) {
	if amount > r.Max {
		return 0, false
	}
	if r.Period >= Day {
		return n.applyCalendar(r, amount, now, commit)
	}
	length := time.Minute
	if r.Period == Hour {
		length = time.Hour
	}
	// Rounded up, so that a full window allows exactly r.Max.
	each := (length + time.Duration(r.Max) - 1) / time.Duration(r.Max)
	full := n.Full
	if full.Before(now) {
		full = now
	} else if most := now.Add(time.Duration(r.Max) * each); full.After(most) { // the clock was set back
		full = most
	}
	full = full.Add(time.Duration(amount) * each)
	if over := full.Sub(now) - time.Duration(r.Max)*each; over > 0 {
		return over, false
	}
	if commit {
		n.Full = full
	}
	return 0, true
}

func (n *Count) applyCalendar(r Rule, amount int, now time.Time, commit bool) (wait time.Duration, ok bool) {
	since, end, counted := n.Since, n.End, n.Amount
	if now.Before(since) || !now.Before(end) {
		var begin time.Time
		if begin, end = r.period(now); begin.After(since) { // a clock that was set back does not begin a new period
			since, counted = begin, 0
		}
	}
	if counted+amount > r.Max {
		return max(end.Sub(now), time.Second), false
	}
	if commit {
		n.Since, n.End, n.Amount = since, end, counted+amount
	}
	return 0, true
}

// period returns the day or month that contains a time.
func (r Rule) period(now time.Time) (begin, end time.Time) {
	zone := r.Zone
	if zone == nil {
		zone = time.UTC
	}
	year, month, day := now.In(zone).Date()
	first, next := day, time.Date(year, month, day+1, 0, 0, 0, 0, time.UTC)
	if r.Period == Month {
		first, next = 1, time.Date(year, month+1, 1, 0, 0, 0, 0, time.UTC)
	}
	begin, end = time.Date(year, month, first, 0, 0, 0, 0, zone), time.Date(next.Year(), next.Month(), next.Day(), 0, 0, 0, 0, zone)
	for end.In(zone).Day() != next.Day() { // this midnight does not exist in the zone
		end = end.Add(time.Hour)
	}
	return begin, end
}
