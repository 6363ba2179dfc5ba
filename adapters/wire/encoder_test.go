package wire

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// encode writes a body with a function and returns it as a text.
func encode(f Format, write func(e *Encoder)) (string, error) {
	e := NewEncoder(f, "b", 1)
	write(&e)
	body, err := e.Body()
	return string(body.Bytes), err
}

func TestEncoder(t *testing.T) {
	tree := func(e *Encoder) {
		root := e.Object("root")
		if e.format == XML {
			e.Text("@id", `"7"`)
		}
		empty := e.Object("empty")
		inner := e.List("inner")
		e.End(inner)
		e.End(empty)
		list := e.List("item")
		e.Text("item", "a & b")
		e.Text("item", "é")
		e.End(list)
		full := e.Object("full")
		e.Text("x", "1")
		e.End(full)
		e.End(root)
	}
	pairs := func(e *Encoder) {
		list := e.List("to")
		e.Text("to", "+1")
		e.Text("to", "+2")
		e.End(list)
		inner := NewEncoder(JSON, "", 0)
		object := inner.Object("")
		inner.Integer("n", "+7")
		row := inner.List("row")
		inner.Null()
		inner.Literal("", "true")
		inner.End(row)
		nulls := inner.List("nulls")
		inner.Null()
		inner.End(nulls)
		inner.End(object)
		e.Document("json", &inner)
	}
	for _, c := range []struct {
		format Format
		write  func(e *Encoder)
		want   string
	}{
		{JSON, tree, `{"item":["a \u0026 b","é"],"full":{"x":"1"}}`},
		{XML, tree, `<?xml version="1.0" encoding="UTF-8"?><root id="&#34;7&#34;"><item>a &amp; b</item><item>é</item><full><x>1</x></full></root>`},
		{Form, pairs, "to=%2B1&to=%2B2&json=%7B%22n%22%3A7%2C%22row%22%3A%5Bnull%2Ctrue%5D%7D"},
		{Multipart, pairs, "--b\r\nContent-Disposition: form-data; name=\"to\"\r\n\r\n+1\r\n--b\r\nContent-Disposition: form-data; name=\"to\"\r\n\r\n+2\r\n" +
			"--b\r\nContent-Disposition: form-data; name=\"json\"\r\nContent-Type: application/json\r\n\r\n{\"n\":7,\"row\":[null,true]}\r\n--b--\r\n"},
		{Form, func(*Encoder) {}, ""},
		{None, func(*Encoder) {}, ""},
	} {
		if got, err := encode(c.format, c.write); err != nil || got != c.want {
			t.Errorf("%s:\n got %s, %v\nwant %s", c.format, got, err, c.want)
		}
	}
}

// An empty tree, a number with a fraction and a control character in XML are errors, also inside
// another document.
func TestNotWritable(t *testing.T) {
	fraction := NewEncoder(JSON, "", 0)
	fraction.Integer("", "1.5")
	for name, c := range map[string]struct {
		format Format
		write  func(e *Encoder)
	}{
		"empty JSON":   {JSON, func(e *Encoder) { e.End(e.Object("")) }},
		"empty XML":    {XML, func(e *Encoder) { e.End(e.Object("a")) }},
		"fraction":     {JSON, func(e *Encoder) { e.Integer("", "1.5") }},
		"leading zero": {JSON, func(e *Encoder) { e.Integer("", "007") }},
		"control":      {XML, func(e *Encoder) { e.Text("a", "\x00") }},
		"nested":       {Form, func(e *Encoder) { e.Document("a", &fraction) }},
	} {
		if body, err := encode(c.format, c.write); !errors.Is(err, ErrNotWritable) {
			t.Errorf("%s: %q, %v", name, body, err)
		}
	}
}

// A text arrives unchanged in every format, whatever its characters.
func TestEncoderKeepsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		one := func(e *Encoder) { e.Text("a", text) }
		form, _ := encode(Form, one)
		if want := "a=" + url.QueryEscape(text); form != want {
			t.Errorf("form %s, want %s", form, want)
		}
		var got string
		if body, err := encode(JSON, one); err != nil || json.Unmarshal([]byte(body), &got) != nil || got != text {
			t.Errorf("JSON %s, %v", body, err)
		}
		var escaped bytes.Buffer
		if err := xml.EscapeText(&escaped, []byte(text)); err != nil {
			t.Fatal(err)
		}
		body, err := encode(XML, one)
		isReplaced := strings.Count(escaped.String(), "\uFFFD") > strings.Count(text, "\uFFFD") // a character that XML cannot express
		if isReplaced != (err != nil) || err == nil && !strings.HasSuffix(body, "<a>"+escaped.String()+"</a>") {
			t.Errorf("XML %s, %v, want %s", body, err, escaped.String())
		}
	})
}

// FuzzOpen reads any bytes in all formats. A value of a text or of pairs is part of the body.
func FuzzOpen(f *testing.F) {
	for _, seed := range []string{`{"a":{"b":[1,"x"]}}`, "[]", "<a><b>x</b></a>", "<html/>", "OK a=1&b=2", "\uFEFF a = 1 \n b=2", "a=1;b", "", "<a b='1'>&lt;</a>"} {
		f.Add([]byte(seed), "a")
		f.Add([]byte(seed), "//a/b")
		f.Add([]byte(seed), "a.b.#")
	}
	f.Fuzz(func(t *testing.T, body []byte, path string) {
		for _, format := range []Format{JSON, XML, Text, Pairs} {
			p, err := ParsePath(format, path)
			doc := Open(format, "&", body)
			if err != nil || doc == nil {
				continue
			}
			values, present := doc.Values(p)
			if len(values) > 0 && !present {
				t.Errorf("%s: %q is absent", format, values)
			}
			for _, v := range values {
				if (format == Text || format == Pairs) && !bytes.Contains(body, []byte(v)) {
					t.Errorf("%s: %q is not in the body", format, v)
				}
			}
		}
	})
}
