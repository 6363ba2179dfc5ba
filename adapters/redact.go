package adapters

import (
	"encoding/hex"
	"encoding/json"
	"html"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/text"
)

// hideCredential keeps what the request says to prove who it is out of what is told of replies.
func (a *Adapter) hideCredential(c *call) {
	if _, credential, ok := strings.Cut(c.header.Get("Authorization"), " "); ok {
		a.hide(credential)
	}
}

// hide keeps a secret out of what is told of replies.
func (a *Adapter) hide(secret string) {
	if secret != "" {
		a.secrets = append(a.secrets, sms.Hide(secret))
	}
}

// formsOf are all forms in which a provider may quote secrets, in lower case.
func formsOf(secrets []sms.Hidden) []sms.Hidden {
	var forms []sms.Hidden
	for _, secret := range secrets {
		for _, form := range text.Quotations(secret.Reveal()) {
			if form = strings.ToLower(form); !slices.ContainsFunc(forms, func(h sms.Hidden) bool { return h.Reveal() == form }) {
				forms = append(forms, sms.Hide(form))
			}
		}
	}
	return forms
}

// isID reports whether what stands where the id should is fit to be one: it goes to the app and into the log.
func (e *Exchange) isID(s string) bool {
	if len(s) > 128 || strings.ContainsFunc(s, func(r rune) bool { return r == ' ' || r == utf8.RuneError || !unicode.IsPrint(r) }) {
		return false
	}
	if len(s) >= window {
		for word := range strings.FieldsSeq(e.message.Body.Reveal()) { // there is no blank in an id
			for i := 0; i+window <= len(word); i++ {
				if strings.Contains(s, word[i:i+window]) {
					return false
				}
			}
		}
	}
	return !e.quotesSecret(s)
}

// notShown begins what stands in place of words that are not fit for a log.
const notShown = "(not shown: "

// speakable makes a provider's words fit for a log: they are dropped if they repeat a secret or a part of the text,
// and telephone numbers in them are masked.
func (e *Exchange) speakable(s string, most int) string {
	if s = s[:min(len(s), 4<<10)]; s == "" {
		return ""
	}
	if e.quotesSecret(s) {
		return notShown + "it repeats a secret)"
	}
	if e.quotesText(s) {
		return notShown + "it repeats the message)"
	}
	if len(e.adapter.open) > 0 {
		s = strings.NewReplacer(e.adapter.open...).Replace(s)
	}
	masked := []rune(maskNumbers(oneLine(s)))
	if len(masked) > most {
		masked = append(masked[:most], '…')
	}
	return string(masked)
}

// oneLine makes valid UTF-8 without control characters.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// maskNumbers hides all but the first three and the last two digits of what may be a telephone number.
func maskNumbers(s string) string {
	return number.Like.ReplaceAllStringFunc(s, func(found string) string {
		isDigit := unicode.IsDigit
		count, at := 0, 0
		for _, r := range found {
			if isDigit(r) {
				count++
			}
		}
		if count < 7 {
			return found
		}
		return strings.Map(func(r rune) rune {
			if !isDigit(r) {
				return r
			}
			if at++; at <= 3 || at > count-2 {
				return r
			}
			return '•'
		}, found)
	})
}

// quotesSecret reports whether s holds the token or a secret of the adapter.
func (e *Exchange) quotesSecret(s string) bool { return e.adapter.Quotes(s, e.token) }

// Quotes reports whether s holds a secret of the adapter, or the token, in any form. A short one has to stand alone: its
// letters are in many words.
func (a *Adapter) Quotes(s string, token sms.Hidden) bool {
	holds := func(view, secret string) bool {
		return strings.Contains(view, secret) && (len(secret) >= window || holdsWords(view, secret))
	}
	for _, view := range views(s) {
		if !token.Empty() && slices.ContainsFunc(text.Quotations(token.Reveal()), func(form string) bool { return holds(view, strings.ToLower(form)) }) ||
			slices.ContainsFunc(a.forms(), func(h sms.Hidden) bool { return holds(view, h.Reveal()) }) {
			return true
		}
	}
	return false
}

// window is how many bytes of a text in a row are a quotation of it.
const window = 8

// views are the texts that a provider's words stand for, in lower case: as they are, and without the escapes of JSON,
// HTML and URLs, of which there is more than one way to write them.
func views(s string) []string {
	list := []string{strings.ToLower(s)}
	if !strings.ContainsAny(s, `\&%`) {
		return list
	}
	for _, plain := range []string{unescapeJSON(s), html.UnescapeString(s), unescapePercent(s)} {
		if plain != s {
			list = append(list, strings.ToLower(plain))
		}
	}
	return list
}

// jsonEscape finds the escapes of a JSON string, also in a text that is none as a whole.
var jsonEscape = regexp.MustCompile(`(\\u[0-9A-Fa-f]{4})+|\\.`)

// percentEscape finds the escapes of a URL.
var percentEscape = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

func unescapePercent(s string) string {
	return percentEscape.ReplaceAllStringFunc(s, func(escape string) string {
		b, _ := hex.DecodeString(escape[1:])
		return string(b)
	})
}

func unescapeJSON(s string) string {
	return jsonEscape.ReplaceAllStringFunc(s, func(escape string) string {
		var plain string
		if json.Unmarshal([]byte(`"`+escape+`"`), &plain) != nil {
			return escape[1:]
		}
		return plain
	})
}

// quotesText reports whether s holds any window of the message's text, in any form, or all of a shorter one as words.
func (e *Exchange) quotesText(s string) bool {
	body := e.message.Body.Reveal()
	if body == "" {
		return false
	}
	all := views(s)
	windows := make(map[string]bool, len(s))
	for _, view := range all {
		for i := 0; i+window <= len(view); i++ {
			windows[view[i:i+window]] = true
		}
	}
	for _, form := range text.Quotations(body) {
		form = strings.ToLower(form)
		if len(form) < window && slices.ContainsFunc(all, func(view string) bool { return holdsWords(view, form) }) {
			return true
		}
		for i := 0; i+window <= len(form); i++ {
			if windows[form[i:i+window]] {
				return true
			}
		}
	}
	return false
}

// holdsWords reports whether s holds the words and not just the same letters inside of others.
func holdsWords(s, words string) bool {
	isWord := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	for from := 0; ; {
		i := strings.Index(s[from:], words)
		if i < 0 {
			return false
		}
		begin, end := from+i, from+i+len(words)
		before, _ := utf8.DecodeLastRuneInString(s[:begin])
		after, _ := utf8.DecodeRuneInString(s[end:])
		if !isWord(before) && !isWord(after) {
			return true
		}
		from = begin + 1
	}
}
