package routing

import (
	"strings"
	"testing"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// like makes a message of what is said of it: to=, from=, user=, groups=, body=, media, smart.
func like(t testing.TB, said ...string) *sms.Message {
	t.Helper()
	m := &sms.Message{Body: sms.Hide("Hello World")}
	for _, s := range said {
		name, value, _ := strings.Cut(s, "=")
		ok := true
		switch name {
		case "to":
			m.To, ok = number.Recipient(value, "US")
		case "from":
			m.From, ok = number.Sender(value, "US")
		case "user":
			m.User = value
		case "groups":
			m.Groups = strings.Fields(value)
		case "body":
			m.Body = sms.Hide(value)
		case "media":
			m.Media = []sms.Media{{URL: sms.Hide("https://example.com/cat.png")}}
		case "smart":
			m.Smart = true
		default:
			ok = false
		}
		if !ok {
			t.Fatalf("no message has %s", s)
		}
	}
	return m
}

func parse(t testing.TB, line string) Condition {
	t.Helper()
	c, err := Parse(strings.Fields(line), "US")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Every condition holds for some messages and not for others, and the other way round after not.
func TestConditions(t *testing.T) {
	long := strings.Repeat("x", 161)
	for _, c := range []struct {
		line    string
		yes, no []string // messages, of one word each or of several divided by commas
	}{
		{"to DE", []string{"to=+4915112345678"}, []string{"to=+15551231234", "to=+447400123456", "to=72227"}},
		{"to DE FR +4420", []string{"to=+4915112345678", "to=+33612345678", "to=+442079460123"}, []string{"to=+447400123456", "to=+15551231234"}},
		{"to US", []string{"to=+12125551234", "to=5551231234", "to=72227"}, []string{"to=+14165551234", "to=+4915112345678"}},
		{"to +1 ", []string{"to=+12125551234", "to=+14165551234"}, []string{"to=12345", "to=+4915112345678"}},
		{"to all", []string{"to=+12125551234", "to=72227"}, nil},
		{"to short_codes", []string{"to=72227"}, []string{"to=+12125551234"}},
		{"to premium", []string{"to=+19005551234"}, []string{"to=+12125551234", "to=72227"}},
		{"from +15551234567", []string{"from=+15551234567", "from=(555) 123-4567"}, []string{"from=+15551234568", "from=ACME", ""}},
		{"from 5551234567 ACME 72227", []string{"from=+15551234567", "from=ACME", "from=72227"}, []string{"from=acme", "from=72228", ""}},
		{"user alice bob", []string{"user=alice", "user=bob"}, []string{"user=Alice", "user=carl", ""}},
		{"group sales it", []string{"groups=sales", "groups=staff it"}, []string{"groups=staff", "user=sales", ""}},
		{"text", []string{"", "smart"}, []string{"media"}},
		{"media", []string{"media", "media,body=x"}, []string{""}},
		{"smart", []string{"smart"}, []string{""}},
		{"segments > 1", []string{"body=" + long, "body=" + strings.Repeat("ы", 71)}, []string{"", "body=" + long[1:], "body=" + strings.Repeat("ы", 70)}},
		{"segments > 2", []string{"body=" + long + long}, []string{"body=" + long}},
		{"unicode", []string{"body=Привет", "body=👍"}, []string{"", "body=Grüße €"}},
	} {
		plain, turned := Filters([]Criteria{{Conditions: []Condition{parse(t, c.line)}}})[0], Filters([]Criteria{{Conditions: []Condition{parse(t, "not "+c.line)}}})[0]
		for i, list := range [][]string{c.yes, c.no} {
			for _, said := range list {
				var parts []string
				if said != "" {
					parts = strings.Split(said, ",")
				}
				m, want := like(t, parts...), i == 0
				if got := plain(m) == sms.NoCause; got != want {
					t.Errorf("%s for %.40q: %t", c.line, said, got)
				}
				if got := turned(m) == sms.NoCause; got == want {
					t.Errorf("not %s for %.40q: %t", c.line, said, got)
				}
			}
		}
	}
}

// Unknown conditions are refused, and the error says what to write instead.
func TestParseRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"":                     "when takes a condition, such as when to US +4420",
		"not":                  "when takes a condition, such as when to US +4420",
		"not not to US":        `when: unknown condition "not"`,
		"tp US":                `when: unknown condition "tp", did you mean to`,
		"no media":             `when: unknown condition "no", did you mean not or to`,
		"form +15551234567":    "did you mean from",
		"users alice":          "did you mean user",
		"not grup sales":       "did you mean group",
		"weather good":         `when: unknown condition; known conditions: not, to, from, user, group, text, media, smart, segments, unicode`,
		"to":                   "write: when to US +4420, or: when not to US +4420",
		"to us":                `when to: unknown destination "us", did you mean US?`,
		"to 4420":              "did you mean +4420?",
		"not to Germany":       "when to: unknown destination; write a country such as US",
		"from":                 "write: when from +15551234567",
		"from +1555":           `when from: invalid number, short code or sender ID "+1555"; write numbers as +15551234567`,
		"from ACME-IS-TOO-BIG": "invalid number, short code or sender ID; write",
		"user":                 "write: when user alice bob",
		"group":                "write: when group sales",
		"text media":           "write: when text, or: when not text",
		"media x":              "write: when media",
		"smart yes":            "write: when smart",
		"unicode 1":            "write: when unicode",
		"segments":             "write: when segments > 1",
		"segments 2":           "write: when segments > 1",
		"segments < 2":         "write: when segments > 1, or: when not segments > 1",
		"segments > 0":         `when segments: invalid number of segments "0"; write segments > 1`,
		"segments > many":      "invalid number of segments; write",
	} {
		if _, err := Parse(strings.Fields(line), "US"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
	if _, err := Parse([]string{"from", "5551234567"}, ""); err == nil || !strings.Contains(err.Error(), "or set default_region") {
		t.Errorf("a number without a country: %v", err)
	}
}

// A message that lacks nothing but another destination is told so, as is a picture that nobody
// takes.
func TestBarriers(t *testing.T) {
	way := func(senders string, lines ...string) (w Criteria) {
		w.Senders, _ = Numbers(strings.Fields(senders), "US")
		for _, line := range lines {
			w.Conditions = append(w.Conditions, parse(t, line))
		}
		return w
	}
	for _, c := range []struct {
		way  Criteria
		said []string
		want sms.Cause
	}{
		{way("", "to DE", "smart"), []string{"to=+4915112345678", "smart"}, sms.NoCause},
		{way("", "to DE", "smart"), []string{"to=+15551231234", "smart"}, sms.DestinationNotAllowed},
		{way("", "to DE", "smart"), []string{"to=+4915112345678"}, sms.Misconfigured},
		{way("", "to DE", "smart"), []string{"to=+15551231234"}, sms.Misconfigured},
		{way("", "to DE", "to +4915"), []string{"to=+15551231234"}, sms.DestinationNotAllowed},
		{way("", "text", "user bob"), []string{"media", "user=bob"}, sms.UnsupportedContent},
		{way("", "not media", "user bob"), []string{"media"}, sms.Misconfigured},
		{way("", "media"), nil, sms.Misconfigured},
		{way("", "to DE", "text"), []string{"to=+15551231234", "media"}, sms.Misconfigured},
		{way("ACME"), []string{"from=ACME"}, sms.NoCause},
		{way("ACME"), nil, sms.Misconfigured},
		{way("ACME +15551234567", "to DE"), []string{"from=5551234567", "to=+15551231234"}, sms.DestinationNotAllowed},
		{way("ACME", "to DE"), []string{"from=72227", "to=+15551231234"}, sms.Misconfigured},
	} {
		if got := Filters([]Criteria{c.way})[0](like(t, c.said...)); got != c.want {
			t.Errorf("%v: %s, want %s", c.said, got, c.want)
		}
	}
}

// A number goes only through the ways that list it, and these take no others.
func TestSenders(t *testing.T) {
	var ways []Criteria
	for _, senders := range []string{"ACME 5551234567", "", "ACME"} {
		numbers, err := Numbers(strings.Fields(senders), "US")
		if err != nil {
			t.Fatal(err)
		}
		ways = append(ways, Criteria{Senders: numbers})
	}
	barriers := Filters(ways)
	for from, want := range map[string]string{"from=ACME": "yny", "from=+15551234567": "ynn", "from=+15551234568": "nyn", "from=72227": "nyn", "": "nyn"} {
		m, got := like(t), ""
		if from != "" {
			m = like(t, from)
		}
		for _, bars := range barriers {
			if bars(m) == sms.NoCause {
				got += "y"
			} else {
				got += "n"
			}
		}
		if got != want {
			t.Errorf("%s goes %s, want %s", from, got, want)
		}
	}
	if _, err := Numbers([]string{"+15551234567", "???"}, ""); err == nil || !strings.Contains(err.Error(), "invalid number") {
		t.Errorf("no number: %v", err)
	}
}

// Ways that are open to all ask nothing, and what is asked allocates nothing.
func TestCost(t *testing.T) {
	if barriers := Filters(make([]Criteria, 2)); barriers[0] != nil || barriers[1] != nil {
		t.Error("a way that takes everything asks")
	}
	m := like(t, "to=+4915112345678", "from=+15551234567", "user=bob", "groups=staff sales", "smart", "body=Grüße")
	w := Criteria{Senders: []sms.Number{m.From}}
	for _, line := range []string{"to DE", "from +15551234567", "user alice bob", "group sales", "text", "not media", "smart", "not segments > 1", "not unicode"} {
		w.Conditions = append(w.Conditions, parse(t, line))
	}
	bars := Filters([]Criteria{w})[0]
	if n := testing.AllocsPerRun(100, func() {
		if bars(m) != sms.NoCause {
			t.Fatal("the message is barred")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
