package adapters

import (
	"encoding/csv"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/wire"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// codeTable is a file of the folder codes: the published error codes of an API beside the causes of
// its definition. The section "The table of codes" of docs/adapter-language.md documents its form.
type codeTable struct {
	words map[string][]string // the lines in front of the table, by their first word
	rows  []codeRow
}

type codeRow struct{ code, meaning, cause, reason string }

// wordsOfTable are the words of the lines in front of a table.
var wordsOfTable = []string{"source", "read", "codes", "part", "searched", "same", "note"}

// TestCodes compares every definition with the published codes of its provider.
func TestCodes(t *testing.T) {
	files, err := filepath.Glob("codes/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".csv"); !slices.Contains(Names(), name) {
			t.Errorf("%s: no adapter has this name", file)
		}
	}
	for _, name := range Names() {
		if name == "sandbox" { // which is no provider
			continue
		}
		t.Run(name, func(t *testing.T) {
			d, err := Builtin(name)
			if err != nil {
				t.Fatal(err)
			}
			table := readCodes(t, name)
			if same := table.words["same"]; same != nil {
				if len(table.words)+len(table.rows) != 1 || len(same) != 1 || same[0] == name {
					t.Fatal("a file that names another one contains this line only")
				}
				if table = readCodes(t, same[0]); table.words["same"] != nil {
					t.Fatalf("%s has no rows of its own", same[0])
				}
			}
			table.check(t)
			table.compare(t, d)
		})
	}
}

func readCodes(t *testing.T, name string) codeTable {
	t.Helper()
	data, err := os.ReadFile("codes/" + name + ".csv")
	if err != nil {
		t.Fatal(err)
	}
	table := codeTable{words: map[string][]string{}}
	text := string(data)
	for strings.HasPrefix(text, "#") {
		line, rest, _ := strings.Cut(text, "\n")
		word, value, _ := strings.Cut(strings.TrimPrefix(line, "# "), " ")
		if !slices.Contains(wordsOfTable, word) || value == "" {
			t.Errorf("%q: write # and one of %s, and a value", line, strings.Join(wordsOfTable, ", "))
		}
		table.words[word] = append(table.words[word], value)
		text = rest
	}
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord = 4
	records, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(records) == 0 {
		return table
	}
	if head := strings.Join(records[0], ","); head != "code,meaning,cause,reason" {
		t.Fatalf("the columns are %s, want code,meaning,cause,reason", head)
	}
	for _, f := range records[1:] {
		table.rows = append(table.rows, codeRow{f[0], f[1], f[2], f[3]})
	}
	return table
}

// check holds a table against its own rules.
func (c codeTable) check(t *testing.T) {
	w := c.words
	if sources := len(w["source"]); len(w["codes"]) != sources || len(w["read"]) != 1 || !regexp.MustCompile(`^20\d\d-\d\d$`).MatchString(w["read"][0]) {
		t.Error("the lines in front are: source ADDRESS and codes N for each published table, and read YYYY-MM once")
	}
	if (len(w["source"]) == 0) != (len(w["searched"]) == 1) {
		t.Error("a table has a source, or a line that says what was searched")
	}
	for _, source := range w["source"] {
		if !strings.HasPrefix(source, "https://") && !strings.HasPrefix(source, "http://") && len(w["part"])+len(w["note"]) == 0 {
			t.Errorf("source %s has no address: a line `# part` says what is missing of the published table", source)
		}
	}
	if len(c.rows) == 0 && len(w["searched"]) == 0 {
		t.Error("a table without rows says what was searched")
	}
	published := 0
	for _, s := range w["codes"] {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Errorf("codes %s is no number", s)
		}
		published += n
	}
	if published != len(c.rows) {
		t.Errorf("%d rows, but the published tables have %d codes", len(c.rows), published)
	}
	seen := map[string]bool{}
	for _, row := range c.rows {
		if seen[row.code] {
			t.Errorf("%s appears twice", row.code)
		}
		seen[row.code] = true
		if row.code == "" || row.meaning == "" {
			t.Errorf("%v has no code or no meaning", row)
		}
		if cause, ok := sms.ParseCause(row.cause); row.cause == "" && row.reason == "" || row.cause != "" && !(ok && cause.FromProvider()) {
			t.Errorf("%s has neither a cause that a provider can cause nor a reason why not", row.code)
		}
	}
}

// compare holds a table against a definition: they name the same causes, and the engine reads them
// so.
func (c codeTable) compare(t *testing.T, d *Definition) {
	causes := map[string]string{}
	for _, row := range c.rows {
		causes[row.code] = row.cause
	}
	for _, v := range d.sends {
		for _, rule := range v.reply.causes {
			for _, code := range rule.codes {
				if cause, ok := causes[code]; !ok || cause != rule.cause.String() {
					t.Errorf("the definition says %s of code %s, the table %q", rule.cause, code, cause)
				}
			}
		}
	}
	source, err := Source(d.Name)
	if err != nil {
		t.Fatal(err)
	}
	list := exchanges(t, d.Name)
	for _, row := range c.rows {
		if predicate, ok := strings.CutPrefix(row.code, "when "); ok {
			// TestConformance has an exchange for the condition.
			line := regexp.MustCompile(`(?m)^\s*cause\s+` + row.cause + `\s+when\s+` + regexp.QuoteMeta(predicate) + `$`)
			if row.cause == "" || !line.MatchString(source) {
				t.Errorf("the definition has no line: cause %s %s", row.cause, row.code)
			}
			continue
		}
		if !slices.ContainsFunc(list, func(x exchange) bool { return x.replies(t, d, row) }) {
			t.Errorf("no recorded failure with %s instead of what it has is read as %q (%s)", row.code, row.cause, row.reason)
		}
	}
}

// replies reports whether a recorded failure that says what a row says is read as the row's cause,
// or, if the row has none, as no line of the definition but the status alone has it.
func (x exchange) replies(t *testing.T, d *Definition, row codeRow) bool {
	if x.Reply == nil || x.Result.Outcome == "accepted" || x.Token != nil && x.Token.Access == "" {
		return false
	}
	sent, err := x.adapter(t, d).Prepare(t.Context(), x.message(), x.token(), now)
	if err != nil {
		t.Fatal(err)
	}
	read := func(status int, body string) sms.Result { return sent.Read(status, http.Header{}, []byte(body), true) }
	byStatus := func(r sms.Result) bool {
		return r.Cause() == sms.CauseOfStatus(r.Status) || r.Cause() == sms.Unconfirmed
	}
	// An exchange is of no use if something else in it than the row's sign has a cause: other holds
	// another sign.
	status, body, code, other := x.Reply.Status, x.Reply.Body, "", read(http.StatusTeapot, x.Reply.Body)
	if s, ok := strings.CutPrefix(row.code, "status "); ok {
		if status, err = strconv.Atoi(s); err != nil {
			t.Fatalf("%s is no status", row.code)
		}
	} else if words, ok := strings.CutPrefix(row.code, "message "); ok {
		old := read(status, body).Detail
		if d.sends[0].reply.format == wire.JSON {
			old, words = inJSON(old), inJSON(words)
		}
		if old == "" || !strings.Contains(body, old) {
			return false
		}
		other, body = read(status, strings.ReplaceAll(body, old, "x")), strings.ReplaceAll(body, old, words)
	} else {
		if code = row.code; x.Result.Code == "" {
			return false
		}
		if row.cause != "" && status >= 400 {
			status = http.StatusTeapot // so that the cause is the code's and not the status's
		}
		whole := regexp.MustCompile(`(^|\W)` + regexp.QuoteMeta(x.Result.Code) + `(\W|$)`)
		other = read(status, whole.ReplaceAllString(body, "${1}99999${2}"))
		body = whole.ReplaceAllString(body, "${1}"+strings.ReplaceAll(code, "$", "$$")+"${2}")
	}
	named := slices.ContainsFunc(sent.request.reply.causes, func(c causeRule) bool { return code != "" && slices.Contains(c.codes, code) })
	if !named && !byStatus(other) {
		return false
	}
	r := read(status, body)
	if r.Outcome == sms.Accepted {
		return row.cause == "" && strings.HasPrefix(row.reason, "success")
	}
	if code != "" && r.Code != code {
		return false
	}
	if row.cause == "" {
		return byStatus(r)
	}
	return r.Cause().String() == row.cause
}

// inJSON writes a text as it stands between the quotes of a JSON string.
func inJSON(s string) string {
	quoted := appendQuoted(s)
	return string(quoted[1 : len(quoted)-1])
}
