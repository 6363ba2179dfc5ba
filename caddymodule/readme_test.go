package caddymodule

import (
	"crypto/tls"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/google/go-cmp/cmp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// advice is what an operator can do about each cause.
var advice = map[sms.Cause]string{
	sms.BadRequest:            "Correct the app's settings as the sentence says.",
	sms.Unauthorized:          "Correct user name or password in the app. The log says whose name it was, if there is such a user.",
	sms.NotFound:              "Correct the address in the app; it has to fit `path`.",
	sms.Method:                "Set the method in the app to POST, GET or PUT.",
	sms.InvalidRecipient:      "The user corrects the number. Numbers without country need `default_region`.",
	sms.UnreachableRecipient:  "Nothing: a landline or a dead number.",
	sms.OptedOut:              "The recipient has to text START, or whatever the provider asks for.",
	sms.ContentRejected:       "The user words it differently; ask the provider which rule was met.",
	sms.DestinationNotAllowed: "Enable the country at the provider, or add an adapter that reaches it.",
	sms.SenderNotAllowed:      "Add the number to `from` of the user, or correct the sender in the app.",
	sms.TooLong:               "The user shortens the text; another adapter may take longer ones.",
	sms.UnsupportedContent:    "Only text is sent. If it was one, correct the content type in the app's settings.",
	sms.Limited:               "The user waits: too many passwords are being checked.",
	sms.Held:                  "`curl -X POST localhost:2019/acrobits_sms/resume`.",
	sms.NoCredit:              "Top up the account at the provider.",
	sms.SenderUnregistered:    "Register the number at the provider (10DLC, sender ID), or correct `from`.",
	sms.Rejected:              "Find the reference in the log; the provider's words stand there.",
	sms.Misconfigured:         "Find the reference in the log: credentials, account or `base_url` are wrong.",
	sms.Busy:                  "The user tries again.",
	sms.Unavailable:           "Check network, name and certificate of the provider, or wait until the account has rested (`status`); the log says which.",
	sms.Internal:              "Find the reference in the log and report it here.",
	sms.Unknown:               "The user asks the recipient before sending it again. The log says what broke.",
}

// exact is the same for the more exact sentences.
var exact = map[string]string{
	"internal.users_unknown":                  "The service or database that knows the users gives no answer; the log says why.",
	"limited.over_limit":                      "The user waits. The line in the log names the limit; `limit` changes it.",
	"limited.no_time":                         "The phone's connection is slow, or this machine is; the user taps again.",
	"limited.locked_out":                      "The user corrects the password, and waits, or you let all try again: `curl -X POST localhost:2019/acrobits_sms/unlock`. `lockout` changes it.",
	"destination_not_allowed.country":         "Add the country to `allow`, if it is meant to be reached.",
	"destination_not_allowed.kind":            "Add the kind to `allow`, if it is meant to be reached.",
	"bad_request.contradiction":               "Remove one of the two from the app's settings.",
	"bad_request.no_recall":                   "Nothing: a sent SMS cannot be called back.",
	"bad_request.no_recipient":                "Add it to the app's settings.",
	"bad_request.no_body":                     "Add it to the app's settings.",
	"bad_request.no_text":                     "The user writes something.",
	"bad_request.not_replaced":                "Correct the variable between the percent signs.",
	"bad_request.several_recipients":          "The app sends to each recipient by itself; the template must not list them.",
	"bad_request.unreadable":                  "Correct the POST data in the app's settings near this place.",
	"too_long.request_too_large":              "Raise `max_size`.",
	"too_long.text_too_long":                  "The user shortens the text, or raise `max_parts`.",
	"unauthorized.hidden_password":            "Write `https://` in the app's settings.",
	"held.many_countries":                     "Ask who it was. If it is right, wait an hour, or write `bursts off`.",
	"held.numbers_in_a_row":                   "Ask who it was. If it is right, wait ten minutes, or write `bursts off`.",
	"unauthorized.stale_answer":               "Nothing: the app answers a new challenge of HTTP Digest by itself.",
	"unauthorized.no_credential":              "Add `username` and `password` to the app's settings.",
	"misconfigured.no_adapter":                "Find the reference in the log. The conditions of no adapter hold for it: correct them, or add an adapter without any.",
	"unknown.partly":                          "Sending it again sends the missing parts, if it is certain that they did not go out. The log says what broke.",
	"internal.journal_away":                   "The journal's disk is full, or its database is away: the log says which.",
	"unsupported_content.compressed_request":  "Whatever compresses the app's requests must not.",
	"unsupported_content.unknown_content":     "Nothing: the app sent something that is neither text nor file.",
	"unsupported_content.unsupported_request": "Set the content type in the app to `application/json` or leave it empty.",
}

// TestReadmeTables keeps the generated parts of the README true. Run it with -update to write them.
func TestReadmeTables(t *testing.T) {
	var causes, list strings.Builder
	causes.WriteString("| Your app shows | Status | Case | What to do |\n|---|---|---|---|\n")
	all := sms.Sentences()
	for _, c := range sms.Causes() {
		if advice[c] == "" {
			t.Errorf("no advice for %s", c)
		}
		fmt.Fprintf(&causes, "| %s | %d | `%s` | %s |\n", c.Sentence(), c.Status(), c, advice[c])
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if !strings.HasPrefix(name, c.String()+".") {
				continue
			}
			what, ok := exact[name]
			if !ok {
				t.Errorf("no advice for %s", name)
			}
			fmt.Fprintf(&causes, "| %s | %d | `%s` | %s |\n", all[name], c.Status(), name, what)
		}
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
	if count := fmt.Sprintf("[%d of them]", len(adapters.Names())-1); !strings.Contains(readme, count) {
		t.Errorf("the README does not say %s", count)
	}
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

// The site of the README can be adapted and provisioned as it stands.
func TestReadmeSite(t *testing.T) {
	data, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "```caddyfile\nsms.example.com {")
	site, _, found := strings.Cut(rest, "```")
	if lines := strings.Count(strings.TrimSpace(site), "\n"); !found || lines > 15 {
		t.Fatalf("the README's site has %d lines", lines)
	}
	site = "sms.example.com {" + site
	if diff := cmp.Diff(string(caddyfile.Format([]byte(site))), site); diff != "" {
		t.Errorf("it is not as caddy fmt writes it: %s", diff)
	}
	for _, name := range []string{"JOHNDOW_PASSWORD", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"} {
		t.Setenv(name, "correct horse battery")
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(site), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	handlers := handlersIn(config)
	if len(handlers) != 1 {
		t.Fatalf("%d handlers", len(handlers))
	}
	ctx, err := caddy.ProvisionContext(&caddy.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := handlers[0].Provision(ctx); err != nil {
		t.Error(err)
	}
}

// The template that the README gives for the app lacks nothing, once the app has filled it in.
func TestReadmeTemplate(t *testing.T) {
	data, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	template := regexp.MustCompile(`(?m)^\{ "username": .*\}$`).FindString(string(data))
	body := strings.NewReplacer("%account[username]%", "johndow", "%account[password]%", "12345678", "%sms_to%", "+15551231234", "%sms_body%", "Hello",
		"%content_type%", "text/plain", "%disposition_notification%", "xkXRBMCL.twvNcfC9:positive-delivery,display").Replace(template)
	if template == "" || strings.Contains(body, "%") {
		t.Fatalf("%s", body)
	}
	s := newSite(t, demo+"adapter sandbox")
	r := post("application/json", body)
	r.TLS = &tls.ConnectionState{}
	if w := s.send(t, r); w.Code != 200 || read(t, w).ID == "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, e := range s.log.TakeAll() {
		if e.ContextMap()["hint"] != nil {
			t.Errorf("the template lacks something: %s", e.Message)
		}
	}
}
