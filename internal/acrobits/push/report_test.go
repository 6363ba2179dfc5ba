package push

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/corpus"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// testCase is a case of testdata/acrobits/push; README.md beside it describes it.
type testCase struct {
	Name, Why string
	Request   corpus.Request
	Reading   *reading
	Refusal   *refusal
}

type reading struct{ User, Secret, InstallID, Selector, Token, App, Reply string }

type refusal struct {
	Status int
	Cause  string
}

func cases(t testing.TB) []testCase {
	return corpus.Load[testCase](t, "../../../testdata/acrobits/push/requests.json")
}

func newDecoder(t testing.TB) *Decoder {
	t.Helper()
	names, err := ParseNames(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Decoder{Names: names, MaxSize: params.DefaultMaxSize}
}

func TestCorpus(t *testing.T) {
	for _, c := range cases(t) {
		t.Run(c.Name, func(t *testing.T) {
			r, err := c.Request.HTTP()
			if err != nil || (c.Reading == nil) == (c.Refusal == nil) {
				t.Fatalf("a case is a request with either a reading or a refusal: %v", err)
			}
			report, err := newDecoder(t).Decode(r)
			var said *sms.Refusal
			if errors.As(err, &said) {
				if diff := cmp.Diff(c.Refusal, &refusal{said.Cause.Status(), said.Error()}); diff != "" {
					t.Error(diff)
				}
				return
			}
			got := &reading{
				report.User, report.Secret.Reveal(), report.InstallID, report.Selector.Reveal(), report.Token.Reveal(), report.App, "xml",
			}
			if report.Form == params.JSON {
				got.Reply = "json"
			}
			if diff := cmp.Diff(c.Reading, got); diff != "" || err != nil {
				t.Error(err, diff)
			}
		})
	}
}

func TestNothingPrints(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/?user=johndow&password=canary&selector=canary&push_token=canary&push_appid=app", nil)
	report, err := newDecoder(t).Decode(r)
	_, long := newDecoder(t).Decode(httptest.NewRequest(http.MethodGet, "/?user=a&password=canary&push_token="+strings.Repeat("canary", 1000), nil))
	var refusal *sms.Refusal
	if err != nil || !errors.As(long, &refusal) {
		t.Fatal(err, long)
	}
	for _, value := range []any{report, report.Device, Notification{Device: report.Device, Text: sms.Hide("canary")}, refusal, *refusal} {
		for _, layout := range []string{"%v", "%+v", "%#v", "%s"} {
			if printed := fmt.Sprintf(layout, value); strings.Contains(printed, "canary") {
				t.Error(printed)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range cases(f) {
		f.Add(c.Request.Method, c.Request.Target, c.Request.Headers["Content-Type"], c.Request.Bytes())
	}
	d := newDecoder(f)
	f.Fuzz(func(t *testing.T, method, target, contentType string, body []byte) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Method, r.URL = method, u
		r.Header.Set("Content-Type", contentType)
		report, err := d.Decode(r)
		var refusal *sms.Refusal
		if report == nil || err != nil && !errors.As(err, &refusal) {
			t.Fatalf("%+v, %v", report, err)
		}
		if token := report.Token.Reveal(); strings.Contains(token, " ") || len(token) > maxToken || len(report.Selector.Reveal()) > maxSelector || len(report.App) > maxApp {
			t.Errorf("%q, %q, %q", token, report.Selector.Reveal(), report.App)
		}
	})
}
