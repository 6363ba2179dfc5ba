package caddymodule

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/language"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sendmessage"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Sentence replaces what the app's users are told in one case.
type Sentence struct {
	// Name is a cause such as `no_credit`, or one case of it such as `unauthorized.hidden_password`. The sentence of a
	// cause also stands for its cases that have none of their own.
	Name string `json:"name"`

	// Language is a language tag such as `de`, chosen by the request's `Accept-Language`. Default: for everybody
	// whose language has no sentence.
	Language string `json:"language,omitempty"`

	// Text is the sentence, at most 100 characters. It may hold `{reference}` and the holes of the sentence that it
	// replaces.
	Text string `json:"text"`
}

// holes finds what a refusal fills in.
var holes = regexp.MustCompile(`\{[^{}]*\}`)

// phrases finds the sentence for a refusal.
type phrases struct {
	own     []map[string]string // by language, the first for all others
	matcher language.Matcher    // nil if there is one language only
	slots   []int               // where in own the sentences of the matcher's languages are
}

func newPhrases(list []Sentence) (*phrases, error) {
	known := sms.Sentences()
	p := &phrases{own: []map[string]string{{}}, slots: []int{0}}
	tags := []language.Tag{language.English} // the language of all sentences that are not replaced
	for _, s := range list {
		if _, ok := known[s.Name]; !ok {
			return nil, fmt.Errorf("sentence: there is no case %q%s; cases are causes such as no_credit", s.Name, adapters.Meant(s.Name, slices.Sorted(maps.Keys(known))))
		}
		if n := utf8.RuneCountInString(s.Text); n == 0 || n > sendmessage.MaxMessage || s.Text != sendmessage.Shorten(s.Text) {
			return nil, fmt.Errorf("sentence %s: one line of 1 to %d characters, this has %d", s.Name, sendmessage.MaxMessage, n)
		}
		for _, hole := range holes.FindAllString(s.Text, -1) {
			if own := append(holes.FindAllString(known[s.Name], -1), "{reference}"); !slices.Contains(own, hole) {
				return nil, fmt.Errorf("sentence %s: %s is not known here; there is %s", s.Name, hole, strings.Join(own, ", "))
			}
		}
		at := 0
		if s.Language != "" {
			tag, err := language.Parse(s.Language)
			if err != nil {
				return nil, fmt.Errorf("sentence %s: %q is not a language tag such as de or pt-BR", s.Name, s.Language)
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

// say returns the sentence for a refusal in the language of the request.
func (p *phrases) say(r *http.Request, refusal *sms.Refusal, reference string) string {
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
