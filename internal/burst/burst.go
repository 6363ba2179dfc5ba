// Package burst notices how accounts are abused: fraud texts many countries, and numbers one after the other. People do
// not.
package burst

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/recent"
)

const (
	// mostCountries are the countries new to a user that he may text within countryWindow.
	mostCountries = 5
	countryWindow = time.Hour

	// longestRun is how many numbers in a row a user may text within runWindow.
	longestRun = 9
	runWindow  = 10 * time.Minute

	// mostNumbers bounds what is remembered of a user. Limits keep him from texting more within runWindow.
	mostNumbers = 512

	// size bounds the users that are remembered.
	size = 1 << 12
)

// Kind is what is suspicious.
type Kind uint8

// The kinds.
const (
	None      Kind = iota
	Countries      // many that the user never texted before
	Run            // numbers in a row
)

// Watch remembers whom users text. It is safe for concurrent use and bounded in memory.
type Watch struct {
	mu    sync.Mutex
	users *recent.Table[string, *history]
}

// history is whom one user texted.
type history struct {
	countries []string
	fresh     []time.Time // when the last of them were new, oldest first
	numbers   []dialed    // oldest first
}

type dialed struct {
	number uint64
	at     time.Time
}

// NewWatch makes a watch that has seen nothing.
func NewWatch() *Watch {
	return &Watch{users: recent.NewTable[string, *history](size)}
}

// See notes a message to a telephone number, and says whether it belongs to a burst and for how long that is held.
func (w *Watch) See(user, e164, country string, now time.Time) (Kind, time.Duration) {
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
	if h.run(number, now) > longestRun {
		return Run, runWindow
	}
	if wait := h.newCountry(country, now); wait > 0 {
		return Countries, wait
	}
	return None, 0
}

// run notes a number, and says how many in a row it belongs to.
func (h *history) run(number uint64, now time.Time) int {
	old := 0
	for old < len(h.numbers) && now.Sub(h.numbers[old].at) >= runWindow {
		old++
	}
	h.numbers = slices.DeleteFunc(h.numbers[old:], func(d dialed) bool { return d.number == number })
	if len(h.numbers) == mostNumbers {
		h.numbers = h.numbers[1:]
	}
	h.numbers = append(h.numbers, dialed{number, now})
	has := func(n uint64) bool {
		return slices.ContainsFunc(h.numbers, func(d dialed) bool { return d.number == n })
	}
	length := 1
	for n := number - 1; length <= longestRun && has(n); n-- {
		length++
	}
	for n := number + 1; length <= longestRun && has(n); n++ {
		length++
	}
	return length
}

// newCountry notes a country, unless it is one too many: then it says after how long it is not.
func (h *history) newCountry(country string, now time.Time) time.Duration {
	if slices.Contains(h.countries, country) {
		return 0
	}
	for len(h.fresh) > 0 && now.Sub(h.fresh[0]) >= countryWindow {
		h.fresh = h.fresh[1:]
	}
	if len(h.fresh) >= mostCountries {
		return h.fresh[0].Add(countryWindow).Sub(now)
	}
	h.countries, h.fresh = append(h.countries, country), append(h.fresh, now)
	return 0
}
