package adapters

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// TestLanguagePage holds the page against the parser: its definitions are definitions, and it names
// all that there is.
func TestLanguagePage(t *testing.T) {
	page, err := os.ReadFile("../docs/adapter-language.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	definitions := 0
	for _, block := range regexp.MustCompile("(?ms)^( *)```caddyfile\n(.*?)^ *```$").FindAllStringSubmatchIndex(text, -1) {
		indent, source := text[block[2]:block[3]], text[block[4]:block[5]]
		source = strings.ReplaceAll("\n"+source, "\n"+indent, "\n")[1:]
		if !strings.Contains(source, "\nsend {") {
			continue
		}
		definitions++
		line := strings.Count(text[:block[4]], "\n") + 1
		d, err := Parse("page", "adapter-language.md", line, source)
		if err != nil {
			t.Error(err)
			continue
		}
		options := map[string]string{}
		for _, o := range d.Options {
			options[o.Name] = "x"
		}
		a, err := d.Bind("", "", options)
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := a.Prepare(t.Context(), saying("Hello"), noToken, now); err != nil {
			t.Errorf("adapter-language.md:%d: %v", line, err)
		}
	}
	if definitions < 3 {
		t.Errorf("%d definitions found, the page has more", definitions)
	}

	var words []string
	for _, kind := range [][]string{definitionWords, requestWords, tokenWords, mediaWords, {"upload"}, methods, operators, slices.Collect(maps.Keys(numberFormNames)), slices.Collect(maps.Keys(comparisons)),
		slices.Collect(maps.Keys(replyFormats)), slices.Collect(maps.Keys(signers)), {"when", "{token}", "characters", "septets", "utf16", "octets", "media", "unicode", "alphanumeric"}} {
		words = append(words, kind...)
	}
	for hole := range holes {
		words = append(words, "{"+hole+"}")
	}
	for _, c := range sms.Causes() {
		if c.FromProvider() {
			words = append(words, c.String())
		}
	}
	code := strings.Join(regexp.MustCompile("`[^`\n]+`").FindAllString(text, -1), "\n")
	for _, w := range words {
		if !regexp.MustCompile(`(^|[^a-z0-9_.])` + regexp.QuoteMeta(w) + `($|[^a-z0-9_.])`).MatchString(code) {
			t.Errorf("the page does not name %s", w)
		}
	}
	// And the other way round: the holes and causes of its tables exist.
	for _, hole := range regexp.MustCompile(`\{((sms|message|attempt)\.[a-z0-9_.]+)\}`).FindAllStringSubmatch(text, -1) {
		if holes[hole[1]] == nil && !strings.HasPrefix(hole[1], mediaHole) {
			t.Errorf("the page has the hole %s, which names nothing", hole[0])
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\|((?: `[a-z_]+`)+) \\| (yes|no)").FindAllStringSubmatch(text, -1) {
		for _, name := range strings.Fields(row[1]) {
			c, ok := sms.ParseCause(strings.Trim(name, "`"))
			if !ok || c.TryNext(true) != (row[2] == "yes") {
				t.Errorf("%s: the page says %s to the next adapter", name, row[2])
			}
		}
	}
	for status, cause := range map[int]string{401: "misconfigured", 403: "misconfigured", 404: "misconfigured", 405: "misconfigured", 415: "misconfigured",
		301: "misconfigured", 402: "no_credit", 413: "too_long", 429: "busy", 422: "rejected", 500: "unknown"} {
		if got := sms.CauseOfStatus(status).String(); got != cause {
			t.Errorf("the page says that %d is %s, it is %s", status, cause, got)
		}
	}
}
