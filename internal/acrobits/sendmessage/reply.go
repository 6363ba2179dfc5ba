package sendmessage

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/tidwall/gjson"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/text"
)

// MaxMessage is the maximum number of characters of an error that the app shows.
const MaxMessage = 100

// Replier writes replies. The zero value follows the specification.
type Replier struct {
	// Form overrides the form of the request unless Form is zero.
	Form params.Form
	// Legacy adds error and description, which older apps read.
	Legacy bool
}

// Accept writes the success reply. The id may be empty.
func (p Replier) Accept(w http.ResponseWriter, form params.Form, id string) error {
	b := make([]byte, 0, 128)
	id = oneLine(id)
	if p.form(form) == params.JSON {
		b = append(b, '{')
		if id != "" {
			b = append(appendJSON(append(b, "\n    \"sms_id\" : "...), id), '\n')
		}
		b = p.legacyJSON(b, id != "", 0, "Success")
		b = append(b, "}\n"...)
	} else {
		b = append(b, "<response>"...)
		if id != "" {
			b = append(appendXML(append(b, "\n    <sms_id>"...), id), "</sms_id>\n"...)
		}
		b = p.legacyXML(b, 0, "Success")
		b = append(b, "</response>\n"...)
	}
	return p.form(form).Write(w, http.StatusOK, b)
}

// Refuse writes the error reply: one line of at most MaxMessage characters.
func (p Replier) Refuse(w http.ResponseWriter, form params.Form, status int, sentence string, retryAfter time.Duration) error {
	sentence = Shorten(sentence)
	var b []byte
	if p.form(form) == params.JSON {
		b = appendJSON(append(b, "{\n    \"message\" : "...), sentence)
		b = append(p.legacyJSON(append(b, '\n'), true, status, sentence), "}\n"...)
	} else {
		b = appendXML(append(b, "<response><message>"...), sentence)
		b = append(p.legacyXML(append(b, "</message>"...), status, sentence), "</response>\n"...)
	}
	if retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((retryAfter+time.Second-1)/time.Second)))
	}
	if status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", "GET, POST, PUT")
	}
	return p.form(form).Write(w, status, b)
}

func (p Replier) form(form params.Form) params.Form {
	if p.Form != params.FormByRequest {
		return p.Form
	}
	return form
}

func (p Replier) legacyXML(b []byte, code int, description string) []byte {
	if !p.Legacy {
		return b
	}
	b = append(strconv.AppendInt(append(b, "<error>"...), int64(code), 10), "</error><description>"...)
	return append(appendXML(b, description), "</description>"...)
}

func (p Replier) legacyJSON(b []byte, more bool, code int, description string) []byte {
	if !p.Legacy {
		return b
	}
	if more {
		b = append(bytes.TrimSuffix(b, []byte{'\n'}), ',')
	}
	b = strconv.AppendInt(append(b, "\n    \"error\" : "...), int64(code), 10)
	return append(appendJSON(append(b, ",\n    \"description\" : "...), description), '\n')
}

func appendXML(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '&':
			b = append(b, "&amp;"...)
		case '<':
			b = append(b, "&lt;"...)
		case '>':
			b = append(b, "&gt;"...)
		default:
			b = append(b, s[i])
		}
	}
	return b
}

func appendJSON(b []byte, s string) []byte { return gjson.AppendJSONString(b, s) }

// Shorten returns a sentence that the app can show: one line of at most MaxMessage characters
// without control characters. It cuts between words if possible. The result is never empty.
func Shorten(s string) string {
	s = oneLine(s)
	if s == "" {
		return sms.Internal.String()
	}
	return text.Truncate(s, MaxMessage)
}

// oneLine replaces line ends and other invisible characters by single blanks.
func oneLine(s string) string {
	clean := true
	for i := 0; i < len(s) && clean; i++ {
		clean = s[i] > ' ' && s[i] < 0x7f || s[i] == ' ' && i > 0 && i < len(s)-1 && s[i-1] != ' '
	}
	if clean {
		return s
	}
	return strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "\uFFFD"), func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || r == 0xFFFE || r == 0xFFFF
	}), " ")
}
