package caddymodule

import (
	"crypto/tls"
	"errors"
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
	"github.com/dustin/go-humanize"
	"github.com/google/go-cmp/cmp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// advice is what an operator can do about each cause.
var advice = map[sms.Cause]string{
	sms.BadRequest:            "Correct the app's settings as the sentence says.",
	sms.Unauthorized:          "Correct user name or password in the app. `claimed_user` in the log is the name, if such a user exists.",
	sms.NotFound:              "Correct the address in the app; it must be a path of the service (`/send_message`), and fit `path`.",
	sms.Method:                "Set the method in the app to POST, GET or PUT.",
	sms.InvalidRecipient:      "The user corrects the number. Numbers without country need `default_region`.",
	sms.UnreachableRecipient:  "Nothing: a landline or a dead number.",
	sms.OptedOut:              "The recipient must text START, or the word that the provider asks for.",
	sms.ContentRejected:       "The user writes it differently; ask the provider which rule blocked it.",
	sms.DestinationNotAllowed: "Enable the country at the provider, or add an adapter that reaches it.",
	sms.SenderNotAllowed:      "Add the number to `from` of the user, or correct the sender in the app.",
	sms.TooLong:               "The user shortens the text; another adapter may take longer ones.",
	sms.UnsupportedContent:    "Only texts are sent. If it was a text, correct the content type in the app's settings.",
	sms.Limited:               "The user tries again later: too many passwords are being checked.",
	sms.Held:                  "`curl -X POST localhost:2019/acrobits_sms/resume`.",
	sms.NoCredit:              "Top up the account at the provider.",
	sms.SenderUnregistered:    "Register the number at the provider (10DLC, sender ID), or correct `from`.",
	sms.Rejected:              "Find the reference in the log; its line has the provider's words.",
	sms.Misconfigured:         "Find the reference in the log: credentials, account or `base_url` are wrong.",
	sms.Quota:                 "The user waits, or another adapter takes over. `status` shows until when; the provider may raise the limit.",
	sms.Busy:                  "The user tries again.",
	sms.Unavailable:           "The log says why: check the network, the provider's host name and certificate, or wait until the circuit breaker closes (`status`).",
	sms.Internal:              "Find the reference in the log and report it here.",
	sms.Unconfirmed:           "The user asks the recipient before sending it again. The log says what broke.",
}

// exact is the same for the more exact sentences.
var exact = map[string]string{
	"internal.users_unknown":                  "The service or database of the users does not answer; the log says why.",
	"limited.over_limit":                      "The user waits. The line in the log names the limit; `limit` changes it.",
	"busy.large_requests":                     "The user tries again. If it happens often, find out who sends so many large requests.",
	"limited.no_time":                         "The phone's connection is slow, or this machine is; the user taps again.",
	"limited.locked_out":                      "The user corrects the password and waits, or you end all lockouts: `curl -X POST localhost:2019/acrobits_sms/unlock`. `lockout` changes it.",
	"destination_not_allowed.country":         "Add the country to `allow`, if users may text it.",
	"destination_not_allowed.kind":            "Add the kind to `allow`, if users may text it.",
	"sender_not_allowed.no_number":            "Correct the number of the user in its source. `detail` in the log says what is wrong with it.",
	"bad_request.contradiction":               "Remove one of the two from the app's settings.",
	"bad_request.no_recall":                   "Nothing: a sent SMS cannot be called back.",
	"bad_request.no_recipient":                "Add it to the app's settings.",
	"bad_request.no_body":                     "Add it to the app's settings.",
	"bad_request.no_text":                     "The user writes something.",
	"bad_request.not_replaced":                "Correct the variable between the percent signs.",
	"bad_request.several_recipients":          "The app sends to each recipient separately; the template must not list them.",
	"bad_request.attachment_unreadable":       "Correct `sms_body` in the app's settings: the template must send it whole and escaped.",
	"bad_request.attachment_address":          "Nothing: the app sent the address of something that no server has.",
	"bad_request.attachment_key":              "The user sends it again. If it happens often, the template cuts `sms_body`.",
	"bad_request.no_attachments":              "The user adds a picture or file.",
	"bad_request.file_host":                   "`detail` in the log names the host. If it is your media server, allow it.",
	"bad_request.file_private":                "If it is your media server, name it in the settings.",
	"bad_request.file_damaged":                "The user sends it again. Its checksum is wrong.",
	"bad_request.wrong_key":                   "The user sends it again. If it happens often, the template cuts or changes `sms_body`.",
	"too_long.file_too_large":                 "The user sends a smaller one.",
	"too_long.file_too_large_for_provider":    "The user sends a smaller one; another adapter may take larger ones.",
	"too_long.too_many_pixels":                "The user sends a smaller one.",
	"too_long.picture_too_complex":            "The user sends a smaller one, or the same not saved as progressive JPEG.",
	"unsupported_content.no_mms":              "Nothing, if no adapter sends pictures to this number. `pictures mms_or_link` sends a link there.",
	"unsupported_content.file_type_false":     "The user sends another file. If it happens often, find out who sends such files.",
	"unsupported_content.file_type":           "Nothing: no adapter takes files of this type.",
	"unsupported_content.file_unreadable":     "The user sends another one: this one is damaged.",
	"busy.many_pictures":                      "The user tries again.",
	"unavailable.file_gone":                   "The user sends it again.",
	"unavailable.file_cut":                    "The user sends it again: the connection to the media server broke, or its upload did.",
	"unavailable.file_slow":                   "The user tries again. If it happens often, the media server is slow or far away.",
	"unavailable.file_server":                 "`detail` in the log says why.",
	"internal.file_disk":                      "The disk of temporary files or the storage of Caddy is full or away; `detail` in the log says which.",
	"internal.file_space":                     "Raise the space for pictures and files, or keep them for a shorter time.",
	"too_long.too_many_files":                 "The user sends them in several messages.",
	"bad_request.unreadable":                  "Correct the POST data in the app's settings near this place.",
	"too_long.request_too_large":              "Raise `max_size`.",
	"too_long.text_too_long":                  "The user shortens the text, or raise `max_parts`.",
	"unauthorized.hidden_password":            "Write `https://` in the app's settings.",
	"held.many_countries":                     "Ask the user. If they sent it, wait an hour, or write `bursts off`.",
	"held.numbers_in_a_row":                   "Ask the user. If they sent it, wait ten minutes, or write `bursts off`.",
	"held.user_blocked":                       "`curl -X POST 'localhost:2019/acrobits_sms/unblock?user=NAME'`. The line in the log names the user.",
	"unauthorized.stale_answer":               "Nothing: the app answers a new challenge of HTTP Digest automatically.",
	"unauthorized.no_credential":              "Add `username` and `password` to the app's settings.",
	"quota.wait":                              "The user waits, or another adapter takes over. `status` shows until when.",
	"misconfigured.no_adapter":                "Find the reference in the log. No adapter's conditions hold for it: correct them, or add an adapter without conditions.",
	"unknown.partly":                          "Sending it again sends the missing parts, if it is certain that they did not go out. The log says what broke.",
	"internal.journal_away":                   "The journal's disk is full, or its database is away: the log says which.",
	"unsupported_content.compressed_request":  "Turn the compression of the app's requests off, in the app or in a proxy.",
	"unsupported_content.unknown_content":     "Nothing: the app sent something that is neither text nor file.",
	"unsupported_content.unsupported_request": "Set the content type in the app to `application/json` or leave it empty.",
}

// TestTables keeps the generated tables of docs true. Run it with -update to write them.
func TestTables(t *testing.T) {
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
	list.WriteString("| Adapter | API | Options | Pictures | Verified |\n|---|---|---|---|---|\n")
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
		fmt.Fprintf(&list, "| `%s` | %s | %s | %s | %s |\n", name, title, strings.Join(options, " "), picturesOf(d), d.Verified)
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if count := fmt.Sprintf("[%d of them]", len(adapters.Names())-1); !strings.Contains(string(readme), count) {
		t.Errorf("the README does not say %s", count)
	}
	for mark, table := range map[string]string{"causes": causes.String(), "adapters": list.String()} {
		file := map[string]string{"causes": "../docs/causes.md", "adapters": "../docs/providers.md"}[mark]
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		open, closing := "<!-- "+mark+" -->\n", "<!-- /"+mark+" -->"
		before, rest, ok := strings.Cut(string(data), open)
		old, after, end := strings.Cut(rest, closing)
		if !ok || !end {
			t.Fatalf("%s has no place for %s", file, mark)
		}
		switch {
		case old == table:
		case !*update:
			t.Errorf("the table of %s in %s is stale, run: go test ./caddymodule -run Tables -update", mark, file)
		default:
			if err := os.WriteFile(file, []byte(before+open+table+closing+after), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// picturesOf says how many pictures a provider accepts in a message, and of which size.
func picturesOf(d *adapters.Definition) string {
	limits, ok := d.MediaLimits()
	if !ok {
		return ""
	}
	var words []string
	if limits.Count > 0 {
		words = append(words, fmt.Sprint(limits.Count))
	}
	if limits.Each > 0 {
		words = append(words, humanize.Bytes(uint64(limits.Each))+" each")
	}
	if limits.Total > 0 {
		words = append(words, humanize.Bytes(uint64(limits.Total)))
	}
	return strings.Join(words, ", ")
}

// The site of the README can be adapted and provisioned as it stands.
func TestReadmeSite(t *testing.T) {
	data, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "```caddyfile\nsms.example.com {")
	site, _, found := strings.Cut(rest, "```")
	if lines := strings.Count(strings.TrimSpace(site), "\n"); !found || lines > 23 {
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
	ctx, cancel := caddy.NewContext(ctx)
	defer cancel()
	if err := errors.Join(handlers[0].Provision(ctx), handlers[0].Cleanup()); err != nil {
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
