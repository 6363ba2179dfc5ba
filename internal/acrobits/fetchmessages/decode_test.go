package fetchmessages

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
	"pgregory.net/rapid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/corpus"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// testCase is a case of testdata/acrobits/fetch; README.md beside it describes it.
type testCase struct {
	Name, Why string
	Request   corpus.Request
	Reading   *reading
	Refusal   *refusal
}

type reading struct {
	User, Secret, InstallID, Reply string
	LastID                         int64 `json:"last_id"`
	LastSentID                     int64 `json:"last_sent_id"`
	NoLastID                       bool  `json:"no_last_id"`
}

type refusal struct {
	Status int
	Cause  string
}

func cases(t testing.TB) []testCase {
	return corpus.Load[testCase](t, "../../../testdata/acrobits/fetch/requests.json")
}

func newDecoder(t testing.TB, own map[string][]string) *Decoder {
	t.Helper()
	names, err := ParseNames(own)
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
			req, err := newDecoder(t, nil).Decode(r)
			var said *sms.Refusal
			if errors.As(err, &said) {
				if diff := cmp.Diff(c.Refusal, &refusal{said.Cause.Status(), said.Error()}); diff != "" {
					t.Error(diff)
				}
				return
			}
			got := &reading{
				User: req.User, Secret: req.Secret.Reveal(), InstallID: req.InstallID, Reply: "xml",
				LastID: req.LastID, LastSentID: req.LastSentID, NoLastID: req.NoLastID,
			}
			if req.Form == params.JSON {
				got.Reply = "json"
			}
			if diff := cmp.Diff(c.Reading, got); diff != "" || err != nil {
				t.Error(err, diff)
			}
		})
	}
}

// The names that an operator gives to user and password for Send Message count here too, and the
// others do not disturb.
func TestOwnNames(t *testing.T) {
	d := newDecoder(t, map[string][]string{"user": {"kennung"}, "password": {"auth.key", "last_id"}, "sms_to": {"ziel"}})
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"kennung":"johndow","auth":{"key":"12345678"},"last_id":"7","ziel":"8"}`))
	req, err := d.Decode(r)
	if err != nil || req.User != "johndow" || req.Secret.Reveal() != "12345678" || req.LastID != 7 {
		t.Errorf("%+v, %v", req, err)
	}
}

func TestNothingPrints(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/?user=johndow&password=canary&last_id=1", nil)
	r.Header.Set("Authorization", "Digest canary")
	req, err := newDecoder(t, nil).Decode(r)
	for _, layout := range []string{"%v", "%+v", "%#v", "%s"} {
		if printed := fmt.Sprintf(layout, req); err != nil || strings.Contains(printed, "canary") {
			t.Errorf("%s, %v", printed, err)
		}
	}
}

func TestIDs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Int64Range(1, 9_999_999_999_999_999).Draw(t, "a"), rapid.Int64Range(1, 9_999_999_999_999_999).Draw(t, "b")
		if ParseID(FormatID(a)) != a || a < b != (FormatID(a) < FormatID(b)) {
			t.Fatalf("%s, %s", FormatID(a), FormatID(b))
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, c := range cases(f) {
		f.Add(c.Request.Method, c.Request.Target, c.Request.Headers["Content-Type"], c.Request.Bytes())
	}
	d := newDecoder(f, nil)
	f.Fuzz(func(t *testing.T, method, target, contentType string, body []byte) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Method, r.URL = method, u
		r.Header.Set("Content-Type", contentType)
		req, err := d.Decode(r)
		var refusal *sms.Refusal
		if req == nil || err != nil && !errors.As(err, &refusal) || err == nil && (req.LastID < 0 || req.LastSentID < 0) {
			t.Fatalf("%+v, %v", req, err)
		}
	})
}
