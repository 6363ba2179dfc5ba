package caddymodule

import (
	"fmt"
	"maps"
	"net/http"
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
	// Name is a cause such as `no_credit`, or one case of it such as `unauthorized.hidden_password`.
	Name string `json:"name"`

	// Language is a language tag such as `de`, chosen by the request's `Accept-Language`. Default: for everybody
	// whose language has no sentence.
	Language string `json:"language,omitempty"`

	// Text is the sentence, at most 100 characters. It may hold `{reference}` and the holes of the sentence that it
	// replaces.
	Text string `json:"text"`
}

// phrases finds the sentence for a refusal.
type phrases struct {
	own     []map[string]string // by language, the first for all others
	matcher language.Matcher    // nil if there is one language only
}

func newPhrases(list []Sentence) (*phrases, error) {
	known := sms.Sentences()
	p := &phrases{own: []map[string]string{{}}}
	tags := []language.Tag{language.English}
	for _, s := range list {
		if _, ok := known[s.Name]; !ok {
			names := slices.Sorted(maps.Keys(known))
			return nil, fmt.Errorf("sentence: there is no case %q, the nearest are %s", s.Name, strings.Join(append(adapters.Nearest(s.Name, names), "no_credit"), ", "))
		}
		if n := utf8.RuneCountInString(s.Text); n == 0 || n > sendmessage.MaxMessage || s.Text != sendmessage.Shorten(s.Text) {
			return nil, fmt.Errorf("sentence %s: one line of 1 to %d characters, this has %d", s.Name, sendmessage.MaxMessage, n)
		}
		at := 0
		if s.Language != "" {
			tag, err := language.Parse(s.Language)
			if err != nil {
				return nil, fmt.Errorf("sentence %s: %q is no language tag such as de or pt-BR", s.Name, s.Language)
			}
			if at = slices.Index(tags[1:], tag) + 1; at == 0 {
				at = len(tags)
				tags, p.own = append(tags, tag), append(p.own, map[string]string{})
			}
		}
		p.own[at][s.Name] = s.Text
	}
	if len(tags) > 1 {
		p.matcher = language.NewMatcher(tags)
	}
	return p, nil
}

// say returns the sentence for a refusal in the language of the request.
func (p *phrases) say(r *http.Request, refusal *sms.Refusal, reference string) string {
	at := 0
	if p.matcher != nil {
		if wanted, _, err := language.ParseAcceptLanguage(r.Header.Get("Accept-Language")); err == nil && len(wanted) > 0 {
			_, at, _ = p.matcher.Match(wanted...)
		}
	}
	cause := refusal.Cause.String()
	if at > 0 {
		// A general sentence in the user's language beats an exact one in another.
		for _, name := range []string{refusal.Error(), cause} {
			if s, ok := p.own[at][name]; ok {
				return refusal.Fill(s, reference)
			}
		}
	}
	if s, ok := p.own[0][refusal.Error()]; ok {
		return refusal.Fill(s, reference)
	}
	return refusal.Fill(refusal.Sentence(), reference)
}
