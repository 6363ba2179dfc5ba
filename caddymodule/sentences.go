package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"unicode/utf8"

	"golang.org/x/text/language"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/sendmessage"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// Sentence replaces a message that users of the app see.
type Sentence struct {
	// Name is a cause such as `no_credit`, or a case of one such as `unauthorized.hidden_password`.
	// The sentence of a cause also applies to its cases that have no sentence of their own.
	Name string `json:"name"`

	// Language is a language tag such as `de`, matched with the request's `Accept-Language`. Default:
	// the sentence applies to all languages that have none of their own.
	Language string `json:"language,omitempty"`

	// Text is the sentence, at most 100 characters. It may contain `{reference}` and the holes of the
	// sentence that it replaces.
	Text string `json:"text"`
}

// holePattern matches the holes of a sentence, which a refusal fills.
var holePattern = regexp.MustCompile(`\{[^{}]*\}`)

// sentences contains the operator's sentences for refusals.
type sentences struct {
	own     []map[string]string // by language; the first for languages without sentences
	matcher language.Matcher    // nil if there is one language only
	slots   []int               // for each language of the matcher, its index in own
}

func newSentences(list []Sentence) (*sentences, error) {
	p := &sentences{own: []map[string]string{{}}, slots: []int{0}}
	tags := []language.Tag{language.English} // the language of the default sentences
	for _, s := range list {
		if err := s.check(); err != nil {
			return nil, err
		}
		at := 0
		if s.Language != "" {
			tag, err := language.Parse(s.Language)
			if err != nil {
				return nil, fmt.Errorf("sentence %s: unknown language; write a tag such as de or pt-BR", s.Name)
			}
			i := slices.Index(tags, tag)
			if i < 0 {
				i = len(tags)
				tags, p.slots = append(tags, tag), append(p.slots, 0)
			}
			if p.slots[i] == 0 {
				p.slots[i] = len(p.own)
				p.own = append(p.own, map[string]string{})
			}
			at = p.slots[i]
		}
		if p.own[at][s.Name] != "" {
			return nil, fmt.Errorf("sentence %s appears twice in the same language", s.Name)
		}
		p.own[at][s.Name] = s.Text
	}
	if len(p.own) > 1 {
		p.matcher = language.NewMatcher(tags)
	}
	return p, nil
}

// check validates name and text.
func (s *Sentence) check() error {
	known := sms.Sentences()
	original, ok := known[s.Name]
	if !ok {
		return errors.New("sentence: " + suggest.Unknown("case", s.Name, slices.Sorted(maps.Keys(known))))
	}
	n := utf8.RuneCountInString(s.Text)
	if n == 0 || n > sendmessage.MaxMessage || s.Text != sendmessage.Shorten(s.Text) {
		return fmt.Errorf("sentence %s: one line of 1 to %d characters, this has %d", s.Name, sendmessage.MaxMessage, n)
	}
	allowed := append(holePattern.FindAllString(original, -1), "{reference}")
	for _, hole := range holePattern.FindAllString(s.Text, -1) {
		if !slices.Contains(allowed, hole) {
			return fmt.Errorf("sentence %s: %s", s.Name, suggest.Unknown("hole", hole, allowed))
		}
	}
	return nil
}

// lookup returns the sentence for a refusal in the language of the request.
func (p *sentences) lookup(r *http.Request, refusal *sms.Refusal, reference string) string {
	at := 0
	if p.matcher != nil {
		if wanted, _, err := language.ParseAcceptLanguage(r.Header.Get("Accept-Language")); err == nil && len(wanted) > 0 {
			_, i, _ := p.matcher.Match(wanted...)
			at = p.slots[i]
		}
	}
	// A general sentence in the user's language beats an exact one in another.
	for _, own := range []map[string]string{p.own[at], p.own[0]} {
		for _, name := range []string{refusal.Error(), refusal.Cause.String()} {
			if s, ok := own[name]; ok {
				return refusal.Fill(s, reference)
			}
		}
	}
	return refusal.Fill(refusal.Sentence(), reference)
}
