// Package burst detects messages that look like fraud with a stolen account: many new countries
// within an hour, or many close numbers within minutes.
//
// It never sees a text, and it forgets everything on a restart. Package gateway calls it before a
// message is sent. A Detector is safe for concurrent use and bounded in memory.
package burst

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/cache"
)

const (
	// maxCountries bounds the countries new to a user that the user may text within countryWindow.
	maxCountries  = 5
	countryWindow = time.Hour

	// maxRun is the maximum number of recipients within a span of numbers that a user may
	// text within runWindow. A span contains maxRun+1 numbers with a distance of 11.
	maxRun    = 9
	span      = 11*maxRun + 1
	runWindow = 10 * time.Minute

	// maxNumbers bounds the numbers of a user. Rate limits keep users from texting more
	// numbers within runWindow.
	maxNumbers = 512

	// size bounds the users with a history.
	size = 1 << 12
)

// Kind is the kind of a burst.
type Kind uint8

// The kinds.
const (
	None          Kind = iota
	ManyCountries      // many countries that the user never texted before
	NumbersInARow      // numbers close together
)

// Detector stores the recent recipients of users. It is safe for concurrent use and bounded in
// memory.
type Detector struct {
	mu    sync.Mutex
	users *cache.Table[string, *history]
}

// history contains the recipients of one user.
type history struct {
	countries []string
	fresh     []time.Time // times at which recent countries were new, oldest first
	numbers   []dialed    // oldest first
}

type dialed struct {
	number uint64
	at     time.Time
}

// NewDetector makes a detector without history.
func NewDetector() *Detector {
	return &Detector{users: cache.NewTable[string, *history](size)}
}

// Observe records a message to a telephone number. If the message belongs to a burst, it returns
// the kind and the time for which messages are refused.
func (w *Detector) Observe(user, e164, country string, now time.Time) (Kind, time.Duration) {
	number, err := strconv.ParseUint(strings.TrimPrefix(e164, "+"), 10, 64)
	if err != nil {
		return None, 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	h, ok := w.users.Get(user)
	if !ok {
		h = new(history)
		w.users.Put(user, h)
	}
	if h.addNumber(number, now) > maxRun {
		return NumbersInARow, runWindow
	}
	if wait := h.addCountry(country, now); wait > 0 {
		return ManyCountries, wait
	}
	return None, 0
}

// addNumber records a number and returns the largest number of recent recipients in a span that
// contains it.
func (h *history) addNumber(number uint64, now time.Time) int {
	old := 0
	for old < len(h.numbers) && now.Sub(h.numbers[old].at) >= runWindow {
		old++
	}
	h.numbers = slices.DeleteFunc(h.numbers[old:], func(d dialed) bool { return d.number == number })
	if len(h.numbers) == maxNumbers {
		h.numbers = h.numbers[1:]
	}
	h.numbers = append(h.numbers, dialed{number, now})
	var near [2*span - 1]bool // the recent numbers around number, which is in the middle
	for _, d := range h.numbers {
		if at := d.number - number + span - 1; at < uint64(len(near)) {
			near[at] = true
		}
	}
	most, count := 0, 0
	for i, is := range near {
		if is {
			count++
		}
		if i >= span && near[i-span] {
			count--
		}
		if i >= span-1 {
			most = max(most, count)
		}
	}
	return most
}

// addCountry records a country and returns 0. If the country is one too many, it returns the time
// to wait instead.
func (h *history) addCountry(country string, now time.Time) time.Duration {
	if slices.Contains(h.countries, country) {
		return 0
	}
	for len(h.fresh) > 0 && now.Sub(h.fresh[0]) >= countryWindow {
		h.fresh = h.fresh[1:]
	}
	if len(h.fresh) >= maxCountries {
		return h.fresh[0].Add(countryWindow).Sub(now)
	}
	h.countries, h.fresh = append(h.countries, country), append(h.fresh, now)
	return 0
}
