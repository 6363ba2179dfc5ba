package fetchmessages

import (
	"encoding/json"
	"encoding/xml"
	"flag"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

var update = flag.Bool("update", false, "write the replies in testdata/acrobits/fetch")

// read is a reply as an app reads it, with the libraries of Go.
type read struct {
	XMLName  xml.Name   `xml:"response" json:"-"`
	Date     string     `xml:"date" json:"date"`
	Received []readItem `xml:"received_smss>item" json:"received_smss"`
	Unread   []readItem `xml:"unread_smss>item" json:"unread_smss"`
	Sent     []readItem `xml:"sent_smss>item" json:"sent_smss"`
}

type readItem struct {
	ID          string `xml:"sms_id" json:"sms_id"`
	Date        string `xml:"sending_date" json:"sending_date"`
	Sender      string `xml:"sender" json:"sender"`
	Recipient   string `xml:"recipient" json:"recipient"`
	Text        string `xml:"sms_text" json:"sms_text"`
	ContentType string `xml:"content_type" json:"content_type"`
	StreamID    string `xml:"stream_id" json:"stream_id"`
	Disposition string `xml:"disposition_notification" json:"disposition_notification"`
}

// as returns the item that an app should read.
func (i Item) as() readItem {
	i = i.Clean()
	return readItem{
		FormatID(i.ID), i.Date.UTC().Format("2006-01-02T15:04:05Z"), i.Sender, i.Recipient, i.Text.Reveal(), i.ContentType, i.StreamID, i.Disposition,
	}
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// parse writes a reply and reads it.
func parse(t fataler, form params.Form, p Reply) (got read, received, sent int) {
	t.Helper()
	w := httptest.NewRecorder()
	received, sent, err := p.Write(w, form)
	unmarshal, contentType := xml.Unmarshal, "text/xml; charset=utf-8"
	if form == params.JSON {
		unmarshal, contentType = json.Unmarshal, "application/json"
	}
	if err == nil {
		err = unmarshal(w.Body.Bytes(), &got)
	}
	if err != nil || w.Code != 200 || w.Header().Get("Content-Type") != contentType {
		t.Fatalf("%v: %d %s %.200s", err, w.Code, w.Header(), w.Body)
	}
	return got, received, sent
}

var at = time.Date(2026, 11, 30, 7, 0, 0, 5e8, time.FixedZone("CET", 3600))

// conversation has an item of each kind.
func conversation(t testing.TB) Reply {
	delivered, ok := Delivered(1764568805000005, at.Add(4*time.Second), sms.Disposition{ID: "xkXRBMCL.twvNcfC9", Wishes: []string{"positive-delivery", "display"}},
		"+15550001111", "+15551231234")
	if !ok {
		t.Fatal("no notification")
	}
	picture := `{"body":"look","attachments":[{"content-type":"image/jpeg","content-url":"https://sms.example.com/media/9f/1.jpg","content-size":102400,"hash":"1365477816"}]}`
	return Reply{
		Date: at.Add(10 * time.Second),
		Received: []Item{
			{ID: 1764568805000001, Date: at, Sender: "+15551231234", Recipient: "+15550001111", Text: sms.Hide("hi"), StreamID: "+15551231234"},
			{
				ID: 1764568805000002, Date: at.Add(time.Second), Sender: "+15551231234", Recipient: "+15550001111", StreamID: "+15551231234",
				Text: sms.Hide("<b>\"1 & 2\"</b>\r\n\\ ]]> 👋\x00\x07\uFFFE\xff"), Disposition: "aB3:display",
			},
			{
				ID: 1764568805000003, Date: at.Add(2 * time.Second), Sender: "ACME", Recipient: "+15550001111", StreamID: "ACME",
				Text: sms.Hide(picture), ContentType: FileTransfer,
			},
			delivered,
		},
		Sent: []Item{{ID: 1764568805000004, Date: at.Add(3 * time.Second), Sender: "+15550001111", Recipient: "+15551231234", Text: sms.Hide("yo"), StreamID: "+15551231234"}},
	}
}

func TestGolden(t *testing.T) {
	for name, reply := range map[string]Reply{"reply": conversation(t), "empty": {Date: at}} {
		for suffix, form := range map[string]params.Form{".json": params.JSON, ".xml": params.XML} {
			w := httptest.NewRecorder()
			if _, _, err := reply.Write(w, form); err != nil {
				t.Fatal(err)
			}
			file := "../../../testdata/acrobits/fetch/" + name + suffix
			if *update {
				if err := os.WriteFile(file, w.Body.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil || string(want) != w.Body.String() {
				t.Errorf("%s: %v, got\n%s", file, err, w.Body)
			}
			got, _, _ := parse(t, form, reply)
			if len(got.Received) != len(reply.Received) || len(got.Sent) != len(reply.Sent) || !slices.Equal(got.Unread, got.Received) ||
				got.Date != reply.Date.UTC().Format("2006-01-02T15:04:05Z") {
				t.Errorf("%s is read as %+v", file, got)
			}
		}
	}
}

// An empty list is a list, not null and not absent.
func TestEmptyLists(t *testing.T) {
	w := httptest.NewRecorder()
	_, _, _ = Reply{}.Write(w, params.JSON)
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || string(doc["received_smss"]) != "[]" || string(doc["unread_smss"]) != "[]" || string(doc["sent_smss"]) != "[]" {
		t.Errorf("%s, %v", w.Body, err)
	}
}

var anyText = rapid.OneOf(
	rapid.String(),
	rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
	rapid.Map(rapid.SliceOf(rapid.SampledFrom([]string{"\x00", "\x1b", "\r", "\n", "\t", "\ufffe", "\u2028", "\x7f", "\xff", "\xed\xa0\x80", "]]>", "</item>", "<", "&", "\"", "\\", "👋", "a"})),
		func(s []string) string { return strings.Join(s, "") }),
)

func anyItem(t *rapid.T) Item {
	return Item{
		ID: rapid.Int64Range(1, 1<<62).Draw(t, "id"), Date: time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "date"), 0),
		Sender: anyText.Draw(t, "sender"), Recipient: anyText.Draw(t, "recipient"), StreamID: anyText.Draw(t, "stream"),
		Text: sms.Hide(anyText.Draw(t, "text")), Disposition: anyText.Draw(t, "disposition"),
		ContentType: rapid.OneOf(rapid.SampledFrom([]string{"", FileTransfer}), anyText).Draw(t, "type"),
	}
}

// Whatever the items contain, each of them is read as it was cleaned, in JSON as in XML, and a text
// that both can express is unchanged.
func TestItemsArrive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Reply{Date: at, Received: rapid.SliceOfN(rapid.Custom(anyItem), 0, 5).Draw(t, "received"), Sent: rapid.SliceOfN(rapid.Custom(anyItem), 0, 5).Draw(t, "sent")}
		for _, form := range []params.Form{params.JSON, params.XML, params.FormByRequest} {
			got, received, sent := parse(t, form, p)
			if received != len(p.Received) || sent != len(p.Sent) || len(got.Received) != received || len(got.Sent) != sent || !slices.Equal(got.Unread, got.Received) {
				t.Fatalf("%d and %d items: %+v", received, sent, got)
			}
			for i, item := range append(slices.Clone(p.Received), p.Sent...) {
				is := append(slices.Clone(got.Received), got.Sent...)[i]
				if diff := cmp.Diff(item.as(), is); diff != "" {
					t.Fatal(diff)
				}
			}
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.Rune().Filter(func(r rune) bool { return r >= ' ' && r < 0xFFFE || r == '\n' || r > 0xFFFF })).Draw(t, "text")
		if got := (Item{Text: sms.Hide(text)}).Clean().Text.Reveal(); got != text && len(text) <= maxText {
			t.Fatalf("%q became %q", text, got)
		}
	})
}

// Each array has at most 500 items and 1 MB, the first of each list always among them, so that a
// cursor always moves.
func TestBounds(t *testing.T) {
	list := func(n int, text string) (items []Item) {
		for i := range n {
			items = append(items, Item{ID: int64(i + 1), Date: at, Text: sms.Hide(text), Sender: strings.Repeat("\x01é", 400)})
		}
		return items
	}
	for name, c := range map[string]struct {
		items    []Item
		min, max int
	}{
		"none":             {nil, 0, 0},
		"500":              {list(500, "x"), 500, 500},
		"501":              {list(501, "x"), 500, 500},
		"long texts":       {list(500, strings.Repeat("x", 20_000)), 40, 49},
		"the longest text": {list(3, strings.Repeat("\"", 5<<20)), 1, 10},
		"escaped 6 times":  {list(3, strings.Repeat("\u2028<", 5<<20)), 1, 10},
		"no UTF-8":         {list(3, strings.Repeat("\xff", 5<<20)), 1, 14},
	} {
		for _, form := range []params.Form{params.JSON, params.XML} {
			received, sent := 0, 0
			w := httptest.NewRecorder()
			received, sent, err := Reply{Date: at, Received: c.items, Sent: c.items}.Write(w, form)
			if err != nil || received < c.min || received > c.max || sent != received || w.Body.Len() > 3*MaxBytes+1000 {
				t.Errorf("%s: %d received, %d sent, %d bytes, %v", name, received, sent, w.Body.Len(), err)
			}
			if got, _, _ := parse(t, form, Reply{Received: c.items}); len(got.Received) != received {
				t.Errorf("%s: %d items are read, %d were written", name, len(got.Received), received)
			}
		}
	}
}

func TestPreviews(t *testing.T) {
	long := strings.Repeat("A", 9000)
	for name, c := range map[string]struct{ text, want string }{
		"short":      {`{"attachments":[{"content-url":"x","preview":{"content":"AAAA"}}]}`, `{"attachments":[{"content-url":"x","preview":{"content":"AAAA"}}]}`},
		"long":       {`{"body":"<é>","attachments":[{"content-url":"x","content-size":12345678901234567890,"preview":{"content":"` + long + `"}}]}`, `{"attachments":[{"content-size":12345678901234567890,"content-url":"x"}],"body":"<é>"}`},
		"two files":  {`{"attachments":[{"preview":"` + long + `"},{"preview":1,"hash":2}]}`, `{"attachments":[{},{"hash":2}]}`},
		"no list":    {`{"attachments":{"content-url":"x","preview":"` + long + `"}}`, `{"attachments":{"content-url":"x"}}`},
		"no preview": {`{"body":"` + long + `"}`, `{"body":"` + long + `"}`},
		"no JSON":    {`{` + long, `{` + long},
		"a list":     {`["` + long + `"]`, `["` + long + `"]`},
	} {
		if got := (Item{Text: sms.Hide(c.text), ContentType: FileTransfer}).Clean().Text.Reveal(); got != c.want {
			t.Errorf("%s: %.200s, want %.200s", name, got, c.want)
		}
		if got := (Item{Text: sms.Hide(c.text)}).Clean().Text.Reveal(); got != c.text {
			t.Errorf("%s: a text became %.200s", name, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) { // the same item is the same each time
		item := anyItem(t)
		if once := item.Clean(); !cmp.Equal(once, once.Clean()) {
			t.Fatalf("%s changes again", cmp.Diff(once, once.Clean()))
		}
	})
}

func TestDelivered(t *testing.T) {
	for wishes, want := range map[string]bool{"": false, "display": false, "display,positive-delivery": true} {
		asked := sms.Disposition{ID: "a\"b", Wishes: strings.Split(wishes, ",")}
		item, ok := Delivered(7, at, asked, "+15550001111", "+15551231234")
		if ok != want {
			t.Errorf("%q: %t", wishes, ok)
		}
		if _, ok := Delivered(7, at, sms.Disposition{Wishes: asked.Wishes}, "", ""); ok {
			t.Error("a notification without an id")
		}
		if !ok {
			continue
		}
		var doc map[string]any
		err := json.Unmarshal([]byte(item.Text.Reveal()), &doc)
		if diff := cmp.Diff(map[string]any{
			"message-id": "a\"b", "message_id": "a\"b", "delivery-notification": map[string]any{"datetime": "2026-11-30T06:00:00Z", "status": "delivered"},
		}, doc); err != nil || diff != "" || item.Sender != "+15551231234" || item.StreamID != item.Sender || item.ContentType != Notification {
			t.Errorf("%v %s %+v", err, diff, item)
		}
	}
}

func FuzzReply(f *testing.F) {
	f.Add("hi", "+15551231234", FileTransfer)
	f.Add("\xff\x00]]>\r\n", "</item>", "a\x01")
	f.Fuzz(func(t *testing.T, text, sender, contentType string) {
		item := Item{ID: 1, Date: at, Text: sms.Hide(text), Sender: sender, ContentType: contentType}
		for _, form := range []params.Form{params.JSON, params.XML} {
			got, n, _ := parse(t, form, Reply{Received: []Item{item}})
			if n != 1 || got.Received[0] != item.as() || !utf8.ValidString(got.Received[0].Text) {
				t.Errorf("%+v, want %+v", got.Received, item.as())
			}
		}
	})
}
