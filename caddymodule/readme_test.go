package caddymodule

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// advice is what an operator can do about each cause.
var advice = map[sms.Cause]string{
	sms.BadRequest:            "Correct the app's settings as the sentence says.",
	sms.Unauthorized:          "Correct user name or password in the app. Asterisks mean that the address begins with `http://`.",
	sms.NotFound:              "Correct the address in the app; it has to fit `path`.",
	sms.Method:                "Set the method in the app to POST or GET.",
	sms.InvalidRecipient:      "The user corrects the number. Numbers without country need `default_region`.",
	sms.UnreachableRecipient:  "Nothing: a landline or a dead number.",
	sms.OptedOut:              "The recipient has to text START, or whatever the provider asks for.",
	sms.ContentRejected:       "The user words it differently; ask the provider which rule was met.",
	sms.DestinationNotAllowed: "Enable the country at the provider, or add an adapter that reaches it.",
	sms.SenderNotAllowed:      "Add the number to `from` of the user, or correct the sender in the app.",
	sms.TooLong:               "The user shortens the text; another adapter may take longer ones.",
	sms.UnsupportedContent:    "The user sends text. Correct the content type in the app if he did.",
	sms.Limited:               "The user waits.",
	sms.Held:                  "The administrator lets messages go on.",
	sms.NoCredit:              "Top up the account at the provider.",
	sms.SenderUnregistered:    "Register the number at the provider (10DLC, sender ID), or correct `from`.",
	sms.Rejected:              "Find the reference in the log; the provider's words stand there.",
	sms.Misconfigured:         "Find the reference in the log: credentials, account or `base_url` are wrong.",
	sms.Busy:                  "The user tries again.",
	sms.Unavailable:           "Check network, name and certificate of the provider; the log says which.",
	sms.Internal:              "Find the reference in the log and report it here.",
	sms.Unknown:               "The user asks the recipient before he sends it again. The log says what broke.",
}

// TestReadmeTables keeps the generated parts of the README true. Run it with -update to write them.
func TestReadmeTables(t *testing.T) {
	var causes, list strings.Builder
	causes.WriteString("| Your app shows | Status | Case | What to do |\n|---|---|---|---|\n")
	for _, c := range sms.Causes() {
		if advice[c] == "" {
			t.Errorf("no advice for %s", c)
		}
		fmt.Fprintf(&causes, "| %s | %d | `%s` | %s |\n", c.Sentence(), c.Status(), c, advice[c])
	}
	list.WriteString("| Adapter | API | Options | Verified |\n|---|---|---|---|\n")
	for _, name := range adapters.Names() {
		d, err := adapters.Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		var options []string
		for _, o := range d.Options {
			text := "`" + o.Name + "`"
			if o.Optional {
				text = "(" + text + ")"
			}
			options = append(options, text)
		}
		title := d.Title
		if strings.HasPrefix(d.Source, "https://") {
			title = "[" + title + "](" + d.Source + ")"
		}
		fmt.Fprintf(&list, "| `%s` | %s | %s | %s |\n", name, title, strings.Join(options, " "), d.Verified)
	}
	data, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(data)
	for mark, table := range map[string]string{"causes": causes.String(), "adapters": list.String()} {
		open, closing := "<!-- "+mark+" -->\n", "<!-- /"+mark+" -->"
		before, rest, ok := strings.Cut(readme, open)
		old, after, end := strings.Cut(rest, closing)
		if !ok || !end {
			t.Fatalf("the README has no place for %s", mark)
		}
		if old != table && !*update {
			t.Errorf("the table of %s in the README is stale, run: go test ./caddymodule -run Readme -update", mark)
		}
		readme = before + open + table + closing + after
	}
	if *update {
		if err := os.WriteFile("../README.md", []byte(readme), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
