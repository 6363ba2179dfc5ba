// Package limit bounds how much is sent: the endpoint spends somebody's money.
package limit

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/recent"
)

// Scope is what a rule counts together.
type Scope uint8

// The scopes.
const (
	User    Scope = iota
	Sender        // the number or ID that a message is sent from
	Country       // that of the recipient
	Site          // all that share the counters
)

// Unit is what a rule counts.
type Unit uint8

// The units. A message of a user is one message, in however many parts it is sent.
const (
	Messages Unit = iota
	Segments
)

// Period is the time for which a rule counts.
type Period uint8

// The periods. Minutes and hours are windows that refill steadily; days and months are those of the calendar.
const (
	Minute Period = iota
	Hour
	Day
	Month
)

var (
	scopeNames  = []string{"user", "sender", "country", "site"}
	unitNames   = []string{"messages", "segments"}
	periodNames = []string{"minute", "hour", "day", "month"}
)

// Rule is how much may be sent.
type Rule struct {
	Scope  Scope
	Unit   Unit
	Period Period
	Most   int
	// Zone is where days and months begin and end, nil for UTC.
	Zone *time.Location
}

// Default are the rules where the operator says nothing.
var Default = []Rule{
	{Scope: User, Unit: Messages, Period: Minute, Most: 30},
	{Scope: User, Unit: Segments, Period: Day, Most: 1000},
	{Scope: Site, Unit: Segments, Period: Day, Most: 10_000},
}

// most bounds the number of a rule, so that its windows are counted exactly.
const most = 1_000_000

// ErrUsage says how a rule is written.
var ErrUsage = errors.New("write a limit such as: user 30 messages per minute, or: site 10000 segments per day Europe/Berlin; " +
	"it is for a user, sender, country or the site, in messages or segments, per minute, hour, day or month")

// Parse reads a rule: SCOPE COUNT UNIT per PERIOD [ZONE]. A zone is a name of the IANA database, for days and months.
func Parse(words []string) (Rule, error) {
	var r Rule
	if len(words) < 5 || len(words) > 6 || words[3] != "per" {
		if len(words) > 0 && !slices.Contains(scopeNames, words[0]) {
			return r, fmt.Errorf("say first for what, such as: user %s; %w", strings.Join(words, " "), ErrUsage)
		}
		return r, ErrUsage
	}
	scope, unit, period := slices.Index(scopeNames, words[0]), slices.Index(unitNames, words[2]), slices.Index(periodNames, words[4])
	if scope < 0 || unit < 0 || period < 0 {
		return r, ErrUsage
	}
	count, err := strconv.Atoi(words[1])
	if err != nil || count < 1 || count > most {
		return r, fmt.Errorf("a limit is a number from 1 to %d, not %q", most, words[1])
	}
	r = Rule{Scope: Scope(scope), Unit: Unit(unit), Period: Period(period), Most: count}
	if len(words) == 6 {
		if r.Period < Day {
			return r, errors.New("only days and months have a time zone")
		}
		if r.Zone, err = time.LoadLocation(words[5]); err != nil || words[5] == "Local" {
			return r, fmt.Errorf("%q is not a time zone; write a name such as Europe/Berlin", words[5])
		}
	}
	return r, nil
}

// String writes a rule as Parse reads it.
func (r Rule) String() string {
	s := fmt.Sprintf("%s %d %s per %s", scopeNames[r.Scope], r.Most, unitNames[r.Unit], periodNames[r.Period])
	if r.Zone != nil {
		s += " " + r.Zone.String()
	}
	return s
}

// Merge puts rules in the place of the base's that count the same, and adds the others. Two that count the same are an
// error.
func Merge(base, rules []Rule) ([]Rule, error) {
	merged := slices.Clone(base)
	for i, r := range rules {
		same := func(other Rule) bool { return other.counts() == r.counts() }
		if slices.ContainsFunc(rules[:i], same) {
			return nil, fmt.Errorf("%s is limited twice per %s, in %s", scopeNames[r.Scope], periodNames[r.Period], unitNames[r.Unit])
		}
		if at := slices.IndexFunc(merged, same); at >= 0 {
			merged[at] = r
		} else {
			merged = append(merged, r)
		}
	}
	return merged, nil
}

// counts is what a rule counts, however much of it may be.
func (r Rule) counts() Rule { return Rule{Scope: r.Scope, Unit: r.Unit, Period: r.Period} }

// Use is what a message takes.
type Use struct {
	User, Sender, Country string
	Segments              int
}

func (u Use) of(r Rule) (who string, amount int) {
	switch r.Scope {
	case User:
		who = u.User
	case Sender:
		who = u.Sender
	case Country:
		who = u.Country
	}
	if amount = 1; r.Unit == Segments {
		amount = max(u.Segments, 1)
	}
	return who, amount
}

// Exceeded says which rule a message would break.
type Exceeded struct {
	Rule Rule
	// Wait is after how long it would not, 0 if it always would.
	Wait time.Duration
}

// size bounds what is counted: that many counters at least. Each user, sender and country has one for each rule.
const size = 1 << 16

// Claim is what a message takes, from one payer's counts.
type Claim struct {
	Payer [32]byte
	Rules []Rule
	Use   Use
	// Exceeded is the rule that the message would break for the longest, nil if it was counted.
	Exceeded *Exceeded
}

// Key is whose messages are counted, and how.
type Key struct {
	Payer [32]byte
	Rule  Rule // without its number and zone
	Zone  string
	Who   string
}

// Key is that of the count of the claim's rule with an index.
func (c *Claim) Key(i int) Key {
	r := c.Rules[i]
	who, _ := c.Use.of(r)
	return Key{c.Payer, r.counts(), r.Zone.String(), who}
}

// Count is how much was sent. A window counts in time: Full is when it will have been refilled. A calendar counts the amount
// since the period began.
type Count struct {
	Full       time.Time
	Since, End time.Time
	Amount     int
}

// Take counts the message, or says which rule it would break and counts nothing. The counts are those of the rules, one for each.
func (c *Claim) Take(counts []*Count, now time.Time) bool {
	c.Exceeded = nil
	for i, r := range c.Rules {
		_, amount := c.Use.of(r)
		wait, ok := counts[i].take(r, amount, now, false)
		if worst := c.Exceeded; !ok && (worst == nil || worst.Wait != 0 && (wait == 0 || wait > worst.Wait)) {
			c.Exceeded = &Exceeded{r, wait}
		}
	}
	if c.Exceeded != nil {
		return false
	}
	for i, r := range c.Rules {
		_, amount := c.Use.of(r)
		counts[i].take(r, amount, now, true)
	}
	return true
}

// Counters hold what was sent in memory. They are safe for concurrent use, and outlive the rules: a changed rule goes on with
// what was counted.
type Counters struct {
	mu     sync.Mutex
	counts *recent.Table[Key, *Count]
}

// NewCounters makes counters that have seen nothing.
func NewCounters() *Counters {
	return &Counters{counts: recent.NewTable[Key, *Count](size)}
}

// Take takes a claim.
func (c *Counters) Take(claim *Claim, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := make([]*Count, 0, 8)
	for i := range claim.Rules {
		key := claim.Key(i)
		n, ok := c.counts.Get(key)
		if !ok {
			n = new(Count)
			c.counts.Put(key, n)
		}
		counts = append(counts, n)
	}
	claim.Take(counts, now)
}

// take reports whether the rule allows the amount now, and counts it if it is to commit.
func (n *Count) take(r Rule, amount int, now time.Time, commit bool) (wait time.Duration, ok bool) {
	if amount > r.Most {
		return 0, false
	}
	if r.Period >= Day {
		return n.takeOfCalendar(r, amount, now, commit)
	}
	length := time.Minute
	if r.Period == Hour {
		length = time.Hour
	}
	// Rounded up, so that a full window holds exactly as many as the rule says.
	each := (length + time.Duration(r.Most) - 1) / time.Duration(r.Most)
	full := n.Full
	if full.Before(now) {
		full = now
	} else if most := now.Add(time.Duration(r.Most) * each); full.After(most) { // a clock that was set back
		full = most
	}
	full = full.Add(time.Duration(amount) * each)
	if over := full.Sub(now) - time.Duration(r.Most)*each; over > 0 {
		return over, false
	}
	if commit {
		n.Full = full
	}
	return 0, true
}

func (n *Count) takeOfCalendar(r Rule, amount int, now time.Time, commit bool) (wait time.Duration, ok bool) {
	since, end, counted := n.Since, n.End, n.Amount
	if now.Before(since) || !now.Before(end) {
		var begin time.Time
		if begin, end = r.period(now); begin.After(since) { // a clock that is set back begins nothing
			since, counted = begin, 0
		}
	}
	if counted+amount > r.Most {
		return max(end.Sub(now), time.Second), false
	}
	if commit {
		n.Since, n.End, n.Amount = since, end, counted+amount
	}
	return 0, true
}

// period is the day or month that a time belongs to.
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
	for end.In(zone).Day() != next.Day() { // where this midnight does not exist
		end = end.Add(time.Hour)
	}
	return begin, end
}
