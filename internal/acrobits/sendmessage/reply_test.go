package sendmessage

import (
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
)

// The replies of the specification, byte for byte but for the line end.
func TestSpecifiedReplies(t *testing.T) {
	for _, c := range []struct {
		form   params.Form
		status int
		id     string
		text   string
		want   string
		kind   string
	}{
		{params.XML, 200, "afe3259dc234", "", "<response>\n    <sms_id>afe3259dc234</sms_id>\n</response>\n", "text/xml; charset=utf-8"},
		{params.XML, 402, "", "Not enough credit", "<response><message>Not enough credit</message></response>\n", "text/xml; charset=utf-8"},
		{params.JSON, 200, "12456", "", "{\n    \"sms_id\" : \"12456\"\n}\n", "application/json"},
		{params.JSON, 406, "", "Invalid recipient", "{\n    \"message\" : \"Invalid recipient\"\n}\n", "application/json"},
		{params.XML, 200, "", "", "<response></response>\n", "text/xml; charset=utf-8"},
		{params.JSON, 200, "", "", "{}\n", "application/json"},
		{params.FormByRequest, 200, "1", "", "<response>\n    <sms_id>1</sms_id>\n</response>\n", "text/xml; charset=utf-8"},
	} {
		w := httptest.NewRecorder()
		var err error
		if c.status == 200 {
			err = Replier{}.Accept(w, c.form, c.id)
		} else {
			err = Replier{}.Refuse(w, c.form, c.status, c.text, 0)
		}
		if err != nil || w.Code != c.status || w.Body.String() != c.want || w.Header().Get("Content-Type") != c.kind {
			t.Errorf("%d %s %q %v, want %d %q", w.Code, w.Header(), w.Body, err, c.status, c.want)
		}
		if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Length") != strconv.Itoa(len(c.want)) {
			t.Errorf("headers %v for %d bytes", w.Header(), len(c.want))
		}
	}
}

func TestReplyHeaders(t *testing.T) {
	for _, c := range []struct {
		status       int
		after        time.Duration
		retry, allow string
	}{
		{503, 0, "", ""},
		{503, time.Nanosecond, "1", ""},
		{429, 1500 * time.Millisecond, "2", ""},
		{429, time.Hour, "3600", ""},
		{405, 0, "", "GET, POST, PUT"},
	} {
		w := httptest.NewRecorder()
		if err := (Replier{}).Refuse(w, params.JSON, c.status, "no – нет", c.after); err != nil {
			t.Fatal(err)
		}
		if h := w.Header(); h.Get("Retry-After") != c.retry || h.Get("Allow") != c.allow || h.Get("Cache-Control") != "no-store" ||
			h.Get("Content-Length") != strconv.Itoa(w.Body.Len()) {
			t.Errorf("%d after %v: %v for %d bytes", c.status, c.after, h, w.Body.Len())
		}
	}
}

func TestLegacyReplies(t *testing.T) {
	for want, write := range map[string]func(w http.ResponseWriter) error{
		"<response>\n    <sms_id>1</sms_id>\n<error>0</error><description>Success</description></response>\n": func(w http.ResponseWriter) error {
			return Replier{Legacy: true}.Accept(w, params.XML, "1")
		},
		"<response><message>a &amp; b</message><error>402</error><description>a &amp; b</description></response>\n": func(w http.ResponseWriter) error {
			return Replier{Legacy: true}.Refuse(w, params.XML, 402, "a & b", 0)
		},
		"{\n    \"sms_id\" : \"1\",\n    \"error\" : 0,\n    \"description\" : \"Success\"\n}\n": func(w http.ResponseWriter) error {
			return Replier{Legacy: true}.Accept(w, params.JSON, "1")
		},
		"{\n    \"error\" : 0,\n    \"description\" : \"Success\"\n}\n": func(w http.ResponseWriter) error {
			return Replier{Legacy: true}.Accept(w, params.JSON, "")
		},
		"{\n    \"message\" : \"no\",\n    \"error\" : 402,\n    \"description\" : \"no\"\n}\n": func(w http.ResponseWriter) error {
			return Replier{Legacy: true, Form: params.JSON}.Refuse(w, params.XML, 402, "no", 0)
		},
	} {
		w := httptest.NewRecorder()
		if err := write(w); err != nil || w.Body.String() != want {
			t.Errorf("got %q %v, want %q", w.Body, err, want)
		}
	}
}

// Whatever is to be said, the app gets one line of 1 to 100 characters, and reads it as it was
// meant.
func TestShorten(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "internal",
		"\r\n\t":                 "internal",
		"two\nlines  and blanks": "two lines and blanks",
		"NUL\x00 and \x7f":       "NUL and",
		strings.Repeat("x", 100): strings.Repeat("x", 100),
		strings.Repeat("x", 101): strings.Repeat("x", 99) + "…",
		strings.Repeat("é", 50) + strings.Repeat("e\u0301", 50): strings.Repeat("é", 50) + strings.Repeat("e\u0301", 24) + "…",
		"a\uFFFEb\uFFFF\u2028\u0085c":                           "a b c",
		strings.Repeat("abcdefg ", 20):                          strings.TrimSpace(strings.Repeat("abcdefg ", 12)) + "…",
		strings.Repeat("word ", 30):                             strings.TrimSpace(strings.Repeat("word ", 20)) + "…",
	} {
		if got := Shorten(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringN(90, 300, -1)).Draw(t, "text")
		short := Shorten(text)
		if n := utf8.RuneCountInString(short); n < 1 || n > MaxMessage || !utf8.ValidString(short) || strings.ContainsAny(short, "\r\n\t\x00") {
			t.Fatalf("%q became %q", text, short)
		}
		if Shorten(short) != short {
			t.Fatalf("%q changes again", short)
		}
		for _, form := range []params.Form{params.XML, params.JSON} {
			w := httptest.NewRecorder()
			if err := (Replier{}).Refuse(w, form, 402, text, 0); err != nil {
				t.Fatal(err)
			}
			var read struct {
				Message string `xml:"message" json:"message"`
			}
			var err error
			if form == params.JSON {
				err = json.Unmarshal(w.Body.Bytes(), &read)
			} else {
				err = xml.Unmarshal(w.Body.Bytes(), &read)
			}
			if err != nil || read.Message != short {
				t.Fatalf("%q is read as %q (%v)", short, read.Message, err)
			}
		}
	})
}

// An id of a provider is its own text: it stays what it is, on one line, and breaks no document.
func TestAcceptHostileID(t *testing.T) {
	for in, want := range map[string]string{
		`</sms_id><sms_id>"&'`: `</sms_id><sms_id>"&'`,
		"a\r\nb\x00c":          "a b c",
		" ":                    "",
		"gr\xfc":               "gr\uFFFD",
	} {
		for _, form := range []params.Form{params.XML, params.JSON} {
			for _, legacy := range []bool{false, true} {
				w := httptest.NewRecorder()
				if err := (Replier{Legacy: legacy}).Accept(w, form, in); err != nil {
					t.Fatal(err)
				}
				var read struct {
					ID *string `xml:"sms_id" json:"sms_id"`
				}
				unmarshal := xml.Unmarshal
				if form == params.JSON {
					unmarshal = json.Unmarshal
				}
				if err := unmarshal(w.Body.Bytes(), &read); err != nil || (read.ID != nil) != (want != "") || want != "" && *read.ID != want {
					t.Errorf("%q: %s is not read as %q (%v)", in, w.Body, want, err)
				}
			}
		}
	}
}

func BenchmarkReply(b *testing.B) {
	for name, form := range map[string]params.Form{"XML": params.XML, "JSON": params.JSON} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			w := httptest.NewRecorder()
			w.Body = nil
			for b.Loop() {
				if err := (Replier{}).Accept(w, form, "SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
