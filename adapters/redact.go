package adapters

import (
	"encoding/json"
	"html"
	"regexp"
	"slices"
	"strconv"
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
	if e.quotesSecret(s) || e.quotesPart(s) {
		return notShown + "it repeats a secret)"
	}
	if e.quotesText(s) {
		return notShown + "it repeats the message)"
	}
	if len(e.adapter.open) > 0 {
		s = strings.NewReplacer(e.adapter.open...).Replace(s)
	}
	s, hidden := e.maskCodes(oneLine(s))
	if !hidden {
		return notShown + "it repeats the message)"
	}
	masked := []rune(maskNumbers(s))
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

// window is how many bytes of a text or a secret in a row are a quotation of it.
const window = 8

// windows are all windows of texts.
func windows(texts []string) map[string]bool {
	all := make(map[string]bool)
	for _, s := range texts {
		for i := 0; i+window <= len(s); i++ {
			all[s[i:i+window]] = true
		}
	}
	return all
}

// holdsWindow reports whether one of a text is among some windows.
func holdsWindow(s string, among map[string]bool) bool {
	for i := 0; i+window <= len(s); i++ {
		if among[s[i:i+window]] {
			return true
		}
	}
	return false
}

// views are the texts that a provider's words stand for, in lower case: as they are, and without escapes, of which there is more
// than one way to write them.
func views(s string) []string {
	list := []string{strings.ToLower(s)}
	if !strings.ContainsAny(s, `\&%=`) {
		return list
	}
	for _, plain := range []string{unescapeJSON(s), html.UnescapeString(s), unescapeBytes(s), unescapeRunes(s)} {
		if plain != s {
			list = append(list, strings.ToLower(plain))
		}
	}
	return list
}

// dense is a view without what stands between bytes in hexadecimal digits.
func dense(s string) string { return strings.ToLower(between.Replace(s)) }

var between = strings.NewReplacer(" ", "", ":", "", "-", "", ",", "", "0x", "", `\x`, "")

// standard is a view of what may be base64 in the alphabet of URLs. https://www.rfc-editor.org/rfc/rfc4648#section-5
func standard(s string) string {
	return strings.ToLower(strings.NewReplacer("-", "+", "_", "/").Replace(s))
}

// allViews are the views, and those of encodings.
func allViews(s string) []string { return append(views(s), dense(s), standard(s)) }

// jsonEscape finds the escapes of a JSON string, also in a text that is none as a whole.
var jsonEscape = regexp.MustCompile(`(\\u[0-9A-Fa-f]{4})+|\\.`)

func unescapeJSON(s string) string {
	return jsonEscape.ReplaceAllStringFunc(s, func(escape string) string {
		var plain string
		if json.Unmarshal([]byte(`"`+escape+`"`), &plain) != nil {
			return escape[1:]
		}
		return plain
	})
}

// byteEscape finds the escapes of bytes in URLs, mails, and many languages.
var byteEscape = regexp.MustCompile(`(?:%|=|\\x)([0-9A-Fa-f]{2})|\\([0-3][0-7]{2})`)

func unescapeBytes(s string) string {
	return unescape(byteEscape, s, func(n rune) string { return string([]byte{byte(n)}) })
}

// runeEscape finds the escapes of characters in Perl, Rust, JavaScript and others.
var runeEscape = regexp.MustCompile(`\\[xu]\{([0-9A-Fa-f]{1,6})\}`)

func unescapeRunes(s string) string {
	return unescape(runeEscape, s, func(n rune) string { return string(n) })
}

// unescape replaces escapes by what stands for the number in one of their groups: the first is hexadecimal, the second octal.
func unescape(escape *regexp.Regexp, s string, by func(n rune) string) string {
	return escape.ReplaceAllStringFunc(s, func(found string) string {
		digits, base := escape.FindStringSubmatch(found), 16
		if digits[1] == "" {
			digits, base = digits[1:], 8
		}
		n, _ := strconv.ParseInt(digits[1], base, 32)
		return by(rune(n))
	})
}

// quotesPart reports whether s holds any window of a secret, or of the token, in any form.
func (e *Exchange) quotesPart(s string) bool {
	own, token := e.adapter.parts(), piecesOf([]sms.Hidden{e.token})
	return slices.ContainsFunc(allViews(s), func(view string) bool { return holdsWindow(view, own) || holdsWindow(view, token) })
}

// piecesOf are all windows of secrets in all forms.
func piecesOf(secrets []sms.Hidden) map[string]bool {
	var forms []string
	for _, secret := range secrets {
		if !secret.Empty() {
			forms = append(forms, text.Echoes(secret.Reveal())...)
		}
	}
	for i, form := range forms {
		forms[i] = strings.ToLower(form)
	}
	return windows(forms)
}

// quotesText reports whether s holds any window of the message's text, in any form, or all of a shorter one as words.
func (e *Exchange) quotesText(s string) bool {
	body := e.message.Body.Reveal()
	if body == "" {
		return false
	}
	all := views(s)
	among := windows(allViews(s))
	for _, form := range text.Echoes(body) {
		form = strings.ToLower(form)
		if len(form) < window && form != "" && slices.ContainsFunc(all, func(view string) bool { return holdsWords(view, form) }) || holdsWindow(form, among) {
			return true
		}
	}
	return false
}

// shortestCode is the length of the shortest word with a digit that may be what is sent to prove who somebody is.
const shortestCode = 4

// maskCodes hides words with a digit that stand in the message too. It reports false if one is still there in another form.
func (e *Exchange) maskCodes(s string) (masked string, hidden bool) {
	isCode := func(word string) bool {
		return utf8.RuneCountInString(word) >= shortestCode && strings.ContainsFunc(word, unicode.IsDigit)
	}
	sent := make(map[string]bool)
	for word := range strings.FieldsFuncSeq(strings.ToLower(e.message.Body.Reveal()), func(r rune) bool { return !isWord(r) }) {
		if isCode(word) {
			sent[word] = true
		}
	}
	if len(sent) == 0 {
		return s, true
	}
	hide := func(s string) string {
		return aWord.ReplaceAllStringFunc(s, func(word string) string {
			if sent[strings.ToLower(word)] {
				return strings.Repeat("•", utf8.RuneCountInString(word))
			}
			return word
		})
	}
	masked = hide(s)
	return masked, !slices.ContainsFunc(views(masked), func(view string) bool { return hide(view) != view })
}

var aWord = regexp.MustCompile(`[\pL\p{Nd}]+`)

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// holdsWords reports whether s holds the words and not just the same letters inside of others.
func holdsWords(s, words string) bool {
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

// Secretive reports whether a header or parameter of such a name holds a secret.
func Secretive(name string) bool { return secretive.MatchString(name) && !about.MatchString(name) }

// secretive finds names of secrets, about those of what is said about one.
var (
	secretive = regexp.MustCompile(`(?i)(key|token|secret|auth|authorization|pass|passwd|password|passcode|passphrase|pwd)([-_.]|$)`)
	about     = regexp.MustCompile(`(?i)(^public[-_.]?key|[-_.](type|id))$`)
)

// Literals are the headers and parameters of a definition that hold a secret by their names, and have it in the definition itself,
// where everybody reads it who sees the configuration.
func (d *Definition) Literals() (names []string) {
	add := func(name string, t template) {
		if text, fixed := t.fixed(); fixed && text != "" && Secretive(name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	var walk func([]*field)
	walk = func(fields []*field) {
		for _, f := range fields {
			for _, v := range f.values {
				add(f.name, v.template)
			}
			walk(f.children)
		}
	}
	outlines := make([]*outline, 0, len(d.variants)+1)
	for _, v := range d.variants {
		outlines = append(outlines, &v.outline)
	}
	if d.token != nil {
		outlines = append(outlines, &d.token.outline)
	}
	for _, o := range outlines {
		for _, h := range o.header {
			add(h.name, h.value)
		}
		walk(o.query)
		walk(o.fields)
	}
	return names
}
