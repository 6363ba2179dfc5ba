package sendmessage

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/corpus"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// testCase is a case of testdata/acrobits; README.md there describes it.
type testCase struct {
	Name, Why string
	Covers    []string
	Request   corpus.Request
	Settings  struct {
		Path    string
		Params  map[string][]string
		MaxSize int64 `json:"max_size"`
	}
	Reading   *reading
	Refusal   *refusal
	Malformed bool
}

type reading struct {
	User, Secret, Sender, Body, Kind, Reply string
	To                                      []string
	ContentType                             string `json:"content_type"`
	Disposition                             struct {
		ID     string
		Wishes []string
	}
	Smart     bool
	InstallID string
}

type refusal struct {
	Status         int
	Cause, Message string
}

func cases(t testing.TB) []testCase {
	return corpus.Load[testCase](t, "../../../testdata/acrobits/*.json")
}

func (c testCase) decoder(t testing.TB) *Decoder {
	t.Helper()
	names, err := ParseNames(c.Settings.Params)
	if err != nil {
		t.Fatal(err)
	}
	d := &Decoder{Names: names, MaxSize: params.DefaultMaxSize}
	if c.Settings.MaxSize > 0 {
		d.MaxSize = c.Settings.MaxSize
	}
	if c.Settings.Path != "" {
		if d.Path, err = params.ParsePattern(c.Settings.Path, names); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// form names how a case carries its parameters.
func (c testCase) form() string {
	switch contentType := c.Request.Headers["Content-Type"]; {
	case c.Request.Method == http.MethodGet:
		return "GET"
	case contentType == "application/x-www-form-urlencoded":
		return "form"
	case contentType == "application/json":
		return "JSON"
	}
	return "another form"
}

func TestCorpus(t *testing.T) {
	covered, named := make(map[string]int), make(map[string]bool)
	for _, c := range cases(t) {
		for _, what := range c.Covers {
			covered[what]++
			covered[what+" as "+c.form()]++
		}
		if c.Why == "" || named[c.Name] {
			t.Errorf("the case %q is there twice, or does not say why", c.Name)
		}
		named[c.Name] = true
		t.Run(c.Name, func(t *testing.T) {
			r, err := c.Request.HTTP()
			if c.Malformed || err != nil {
				if !c.Malformed || err == nil || c.Reading != nil || c.Refusal != nil {
					t.Fatalf("malformed is %t, and net/http says: %v", c.Malformed, err)
				}
				return
			}
			if (c.Reading == nil) == (c.Refusal == nil) {
				t.Fatal("a case has either a reading or a refusal")
			}
			req, err := c.decoder(t).Decode(r)
			var kind Kind
			if err == nil {
				kind, err = req.Classify()
			}
			var said *sms.Refusal
			if errors.As(err, &said) {
				got := refusal{said.Cause.Status(), said.Error(), said.Fill(said.Sentence(), "")}
				if c.Refusal == nil {
					t.Fatalf("refused: %+v", got)
				}
				if diff := cmp.Diff(*c.Refusal, got); diff != "" {
					t.Error(diff)
				}
				return
			}
			if err != nil || c.Reading == nil {
				t.Fatalf("read with error %v, want it refused: %+v", err, c.Refusal)
			}
			got := reading{
				User: req.User, Secret: req.Secret.Reveal(), Sender: req.Sender, Body: req.Body.Reveal(), Kind: kind.String(),
				Reply: "xml", To: req.To, ContentType: req.ContentType, Smart: req.Smart, InstallID: req.InstallID,
			}
			if req.Form == params.JSON {
				got.Reply = "json"
			}
			got.Disposition.ID, got.Disposition.Wishes = req.Disposition.ID, req.Disposition.Wishes
			if diff := cmp.Diff(*c.Reading, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for section, last := range map[string]int{"1.10": 25, "2.2": 16, "4.0": 8} {
		for i := 1; i <= last; i++ {
			if what := fmt.Sprintf("%s/%d", section, i); covered[what] == 0 {
				t.Errorf("no case covers %s", what)
			}
		}
	}
	for row := 1; row <= 25; row++ {
		for _, form := range []string{"GET", "form", "JSON"} {
			if what := fmt.Sprintf("1.10/%d as %s", row, form); covered[what] == 0 {
				t.Errorf("no case covers %s", what)
			}
		}
	}
	for _, what := range []string{"4.1", "4.4", "4.5"} {
		if covered[what] == 0 {
			t.Errorf("no case covers %s", what)
		}
	}
}
