// Package redact decides which words of a provider's reply may appear in a log, an event or an
// admin answer. The ids, codes and messages of a reply may quote a secret of ours, the text of a
// message or a telephone number.
//
// It never keeps a reply, and never lets words through that it cannot judge. Package adapters calls
// it for every reply. An Account is safe for concurrent use after its last secret was added. A
// Filter belongs to one reply.
package redact

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/text"
)

// Account contains the secrets and options of our account, which the provider's replies may quote.
type Account struct {
	secrets   []sms.Hidden
	public    []string            // pairs of an option's value and the text that is shown instead
	forms     func() []sms.Hidden // the secrets in all forms in which a provider may quote them
	fragments func() *fragmentSet // the fragments of the secrets in all forms
	last      *atomic.Pointer[knownToken]
}

// NewAccount makes an account without secrets.
func NewAccount() *Account {
	a := &Account{last: new(atomic.Pointer[knownToken])}
	a.forms = sync.OnceValue(func() []sms.Hidden { return secretForms(a.secrets) })
	a.fragments = sync.OnceValue(func() *fragmentSet { return secretFragments(a.secrets) })
	return a
}

// Format prints REDACTED for every verb.
func (Account) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "REDACTED") }

// MarshalText returns REDACTED. encoding/json and zap use it.
func (Account) MarshalText() ([]byte, error) { return []byte("REDACTED"), nil }

// AddSecret adds a secret. It must not be called after the first reply was filtered.
func (a *Account) AddSecret(secret string) {
	if secret != "" {
		a.secrets = append(a.secrets, sms.Hide(secret))
	}
}

// AddOption adds the value of an option that is not secret. The name of the option is shown instead
// of the value. Values shorter than minQuote are not replaced, because they may be ordinary words.
func (a *Account) AddOption(name, value string) {
	if len(value) >= minQuote {
		a.public = append(a.public, value, "{"+name+"}")
	}
}

// Quotes reports whether s contains a secret of the account, or the token, in any form. A secret
// shorter than minQuote counts only as a whole word, because its letters occur in many words.
func (a *Account) Quotes(s string, token sms.Hidden) bool {
	r := read(s)
	return a.quotes(&r, token)
}

func (a *Account) quotes(s *reading, token sms.Hidden) bool {
	contains := func(decoding string, forms []sms.Hidden) bool {
		return slices.ContainsFunc(forms, func(form sms.Hidden) bool {
			secret := form.Reveal()
			return strings.Contains(decoding, secret) && (len(secret) >= minQuote || containsWords(decoding, secret))
		})
	}
	own, ofToken := a.forms(), a.known(token).forms
	return slices.ContainsFunc(s.decodings, func(decoding string) bool { return contains(decoding, own) || contains(decoding, ofToken) })
}

// knownToken is a token with all forms in which a provider may quote it.
type knownToken struct {
	token     string
	forms     []sms.Hidden
	fragments *fragmentSet
}

// known returns the forms of a token. It caches the last token, because consecutive replies usually
// have the same one.
func (a *Account) known(token sms.Hidden) *knownToken {
	last := a.last.Load()
	if last == nil || last.token != token.Reveal() {
		last = &knownToken{token: token.Reveal()}
		if !token.Empty() {
			last.forms, last.fragments = secretForms([]sms.Hidden{token}), secretFragments([]sms.Hidden{token})
		}
		a.last.Store(last)
	}
	return last
}

// secretForms returns all forms in which a provider may quote the secrets, in lower case.
func secretForms(secrets []sms.Hidden) []sms.Hidden {
	var forms []sms.Hidden
	for _, secret := range secrets {
		for _, form := range text.Encodings(secret.Reveal()) {
			if form = strings.ToLower(form); !slices.ContainsFunc(forms, func(h sms.Hidden) bool { return h.Reveal() == form }) {
				forms = append(forms, sms.Hide(form))
			}
		}
	}
	return forms
}

// secretFragments returns the fragments of the secrets in all forms.
func secretFragments(secrets []sms.Hidden) *fragmentSet {
	var forms []string
	for _, secret := range secrets {
		if !secret.Empty() {
			forms = append(forms, text.LooseEncodings(secret.Reveal())...)
		}
	}
	for i, form := range forms {
		forms[i] = strings.ToLower(form)
	}
	return newFragmentSet(forms)
}

// Filter filters the words of the reply to one message. It is not safe for concurrent use.
type Filter struct {
	Account *Account
	// Token is the token in the request, if it had one.
	Token sms.Hidden
	// Body is the text of the message.
	Body sms.Hidden
	// Numbers are the recipient and the sender of the message.
	Numbers [2]sms.Number

	lower sms.Hidden // Body in lower case, set by lowerBody
}

func (f *Filter) lowerBody() string {
	if f.lower.Empty() {
		f.lower = sms.Hide(strings.ToLower(f.Body.Reveal()))
	}
	return f.lower.Reveal()
}

// Fitness says where the provider's id of a message may appear.
type Fitness uint8

// An Unfit id is not a valid id or quotes a secret: it appears nowhere. A Private id may quote a
// part of a secret, the text or a number: only the phone gets it. A Fit id may appear anywhere.
const (
	Unfit Fitness = iota
	Private
	Fit
)

// maxID is the maximum length of an id in bytes.
const maxID = 128

// ID judges the value at the place of the message's id by the same rules as Words.
func (f *Filter) ID(s string) Fitness {
	if len(s) > maxID || !isVisible(s) {
		return Unfit
	}
	r := read(s)
	switch f.quoted(&r) {
	case aSecret:
		return Unfit
	case nothing:
		if !f.quotesCode(&r) && !f.quotesNumber(&r) {
			return Fit
		}
	}
	return Private
}

// isVisible reports whether a text is valid UTF-8, printable and without blanks.
func isVisible(s string) bool {
	for _, r := range s {
		if r <= ' ' || r >= unicode.MaxASCII && (r == utf8.RuneError || !unicode.IsPrint(r)) {
			return false
		}
	}
	return true
}

// quotation names the kind of private data that words quote.
type quotation uint8

const (
	nothing quotation = iota
	aSecret
	aPart // of a secret
	theText
)

// quoted returns the kind of private data that a text quotes, encoded or not.
func (f *Filter) quoted(s *reading) quotation {
	switch {
	case f.Account.quotes(s, f.Token):
		return aSecret
	case f.quotesFragment(s):
		return aPart
	case f.quotesText(s):
		return theText
	}
	return nothing
}

// quotesNumber reports whether a text contains the last digits of one of the message's numbers,
// with any separators or in any encoding.
func (f *Filter) quotesNumber(s *reading) bool {
	for _, decoding := range s.decodings {
		var scratch [maxID]byte
		digits := scratch[:0]
		for i := range len(decoding) {
			if c := decoding[i]; c >= '0' && c <= '9' {
				digits = append(digits, c)
			}
		}
		for i := range f.Numbers {
			n := &f.Numbers[i]
			if len(n.Value) > minNumber && n.Kind != sms.Alphanumeric && bytes.Contains(digits, []byte(n.Value[len(n.Value)-minNumber:])) {
				return true
			}
		}
	}
	return false
}

// notShown begins the text that replaces words with private data.
const notShown = "(not shown: "

// Words makes a provider's words fit for a log. It masks telephone numbers. If s quotes a secret or
// the text of the message, Words returns a reason instead of s, and shown is false.
func (f *Filter) Words(s string, most int) (words string, shown bool) {
	return f.words(s, most, maskNumbers)
}

// Code makes a provider's error code fit for a log. A code that consists only of digits is not
// masked as a telephone number, unless one of numbers ends in the same 6 digits.
func (f *Filter) Code(code string, most int, numbers ...sms.Number) string {
	mask := maskNumbers
	if strings.Trim(code, "0123456789") == "" && !slices.ContainsFunc(numbers, func(n sms.Number) bool {
		return strings.HasSuffix(n.Value, code[max(len(code)-6, 0):])
	}) {
		mask = func(s string) string { return s }
	}
	code, _ = f.words(code, most, mask)
	return code
}

func (f *Filter) words(s string, most int, mask func(string) string) (words string, shown bool) {
	if s = visible(s[:min(len(s), 4<<10)]); s == "" {
		return "", true
	}
	r := read(s)
	switch f.quoted(&r) {
	case aSecret, aPart:
		return notShown + "it repeats a secret)", false
	case theText:
		return notShown + "it repeats the message)", false
	}
	if len(f.Account.public) > 0 {
		s = strings.NewReplacer(f.Account.public...).Replace(s)
	}
	s, hidden := f.maskCodes(oneLine(s))
	if !hidden {
		return notShown + "it repeats the message)", false
	}
	s = mask(s)
	if slices.ContainsFunc(decodings(s)[1:], containsNumber) {
		return notShown + "it repeats a number)", false
	}
	masked := []rune(shortenRuns(s))
	if len(masked) > most {
		masked = append(masked[:most], '…')
	}
	return string(masked), true
}

// shownOfReply limits the characters that are shown of a reply that no line of the definition fits.
const shownOfReply = 100

// Beginning makes the first shownOfReply characters of a reply fit for a log, as Words does. It
// searches twice as many characters for private data, so that it finds a quotation that the end of
// the excerpt cuts in two. It also searches the reply without 1 layer of escapes, because a raw
// reply has a layer more than a value.
func (f *Filter) Beginning(reply []byte) string {
	reply = bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(reply), []byte("\uFEFF")))
	runes := []rune(string(reply[:min(len(reply), 16*shownOfReply)]))
	excerpt := string(runes[:min(len(runes), 2*shownOfReply)])
	for _, plain := range []string{unescapeJSON(excerpt), html.UnescapeString(excerpt), unescapeBytes(excerpt)} {
		if why, shown := f.Words(plain, shownOfReply); !shown {
			return why
		}
	}
	words, _ := f.Words(excerpt, shownOfReply)
	return words
}

// quotesFragment reports whether s contains a fragment of a secret, or of the token, in any form.
func (f *Filter) quotesFragment(s *reading) bool {
	own, token := f.Account.fragments(), f.Account.known(f.Token).fragments
	return slices.ContainsFunc(s.all, func(decoding string) bool {
		return own.in(decoding) || token.in(decoding)
	})
}

// quotesText reports whether s contains a fragment of the message's text in any form. A text
// shorter than a fragment counts only as whole words.
func (f *Filter) quotesText(s *reading) bool {
	body := f.Body.Reveal()
	if body == "" {
		return false
	}
	if isPlainWord(s.text) { // s has no escapes, so its decodings suffice
		return s.quotes(f.lowerBody())
	}
	among := newFragmentSet(s.all)
	for _, form := range text.LooseEncodings(body) {
		form = strings.ToLower(form)
		if len(form) < minQuote && form != "" && slices.ContainsFunc(s.decodings, func(decoding string) bool { return containsWords(decoding, form) }) ||
			among.in(form) {
			return true
		}
	}
	return false
}

// quotes reports whether a plain word contains a fragment of body. A body shorter than a fragment
// counts only as whole words.
func (s *reading) quotes(body string) bool {
	if len(body) < minQuote {
		return slices.ContainsFunc(s.all, func(decoding string) bool { return containsWords(decoding, body) })
	}
	var begins [16]uint64 // as in a fragmentSet, with 10-bit hashes
	for _, decoding := range s.all {
		for i := 0; i+minQuote <= len(decoding); i++ {
			h := hashBegin(decoding, i) >> 6
			begins[h>>6] |= 1 << (h & 63)
		}
	}
	for i := 0; i+minQuote <= len(body); i++ {
		h := hashBegin(body, i) >> 6
		if begins[h>>6]&(1<<(h&63)) == 0 {
			continue
		}
		if slices.ContainsFunc(s.all, func(decoding string) bool { return strings.Contains(decoding, body[i:i+minQuote]) }) {
			return true
		}
	}
	return false
}

// quotesCode reports whether a text contains, in any encoding, a code of the message.
func (f *Filter) quotesCode(s *reading) bool {
	if !hasDigit(f.Body.Reveal()) {
		return false
	}
	body := f.lowerBody()
	for _, decoding := range s.decodings {
		for word := range strings.FieldsFuncSeq(decoding, func(r rune) bool { return !isWord(r) }) {
			if isCode(word) && containsWords(body, word) {
				return true
			}
		}
	}
	return false
}

func hasDigit(s string) bool { return strings.ContainsFunc(s, unicode.IsDigit) }

// isPlainWord reports whether a text is not longer than an id and has only the characters of ids:
// ASCII letters, digits and - _ . :
func isPlainWord(s string) bool {
	return len(s) <= maxID && !strings.ContainsFunc(s, func(r rune) bool {
		return r > unicode.MaxASCII || !isWord(r) && r != '-' && r != '_' && r != '.' && r != ':'
	})
}

// minCode is the length of the shortest word with a digit that counts as a one-time code.
const minCode = 4

func isCode(word string) bool { return utf8.RuneCountInString(word) >= minCode && hasDigit(word) }

// maskCodes masks codes that the message contains too. hidden is false if the result still contains
// such a code in another form.
func (f *Filter) maskCodes(s string) (masked string, hidden bool) {
	if !hasDigit(f.Body.Reveal()) {
		return s, true
	}
	sent := make(map[string]bool)
	for word := range strings.FieldsFuncSeq(strings.ToLower(f.Body.Reveal()), func(r rune) bool { return !isWord(r) }) {
		if isCode(word) {
			sent[word] = true
		}
	}
	if len(sent) == 0 {
		return s, true
	}
	hide := func(s string) string {
		return wordPattern.ReplaceAllStringFunc(s, func(word string) string {
			if sent[strings.ToLower(word)] {
				return strings.Repeat("•", utf8.RuneCountInString(word))
			}
			return word
		})
	}
	masked = hide(s)
	return masked, !slices.ContainsFunc(decodings(masked), func(decoding string) bool { return hide(decoding) != decoding })
}
