package adapters

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// tokenRequest is how a definition fetches the token that its requests need.
type tokenRequest struct {
	outline
	baseURL template // of the endpoint, where it has one of its own
	access  []path
	expires []path
	reply   reply
	at      place
}

// tokenCall is a token request with the options put in.
type tokenCall struct {
	*call
	access, expires []path
}

// The life of tokens whose reply does not tell it, and of those whose reply tells nonsense.
const (
	defaultLifetime = 5 * time.Minute
	longestLifetime = 24 * time.Hour
)

// Token is a credential that a provider hands out for a while.
type Token struct {
	Secret sms.Hidden
	// Lifetime is how long it is good, from now.
	Lifetime time.Duration
}

// tokenWords are the statements of a token block beside those of its request.
var tokenWords = []string{"base_url", "reply", "accepted", "access", "expires", "code", "message"}

// parseToken reads a token block.
func (p *parser) parseToken(block *statement) (*tokenRequest, error) {
	if !block.opens || len(block.args()) > 0 {
		return nil, block.fail("write: token { POST /path … access PATH }")
	}
	t := &tokenRequest{at: block.at}
	// The reply lines are those of a message, but for the words that say what the token is.
	t.reply = reply{kind: jsonReply, status: []statusRange{{200, 299}}, generated: true}
	var shared []*statement
	for _, s := range block.block {
		if slices.Contains([]string{"reply", "accepted", "code", "message"}, s.first()) {
			shared = append(shared, s)
		}
	}
	var err error
	if t.reply, err = p.parseReply(shared, t.reply); err != nil {
		return nil, err
	}
	if len(t.reply.status) == 0 {
		t.reply.status = []statusRange{{200, 299}}
	}
	for _, s := range block.block {
		switch word := s.first(); word {
		case "reply", "accepted", "code", "message":
		case "base_url":
			if t.baseURL != nil {
				return nil, s.fail("base_url appears twice")
			}
			t.baseURL, err = p.parseBaseURL(s)
		case "access", "expires":
			into := &t.access
			if word == "expires" {
				into = &t.expires
			}
			if *into != nil {
				return nil, s.fail("%s appears twice", word)
			}
			*into, err = t.reply.parsePaths(s)
		default:
			err = p.parseRequestWord(s, &t.outline, tokenWords)
		}
		if err != nil {
			return nil, err
		}
	}
	if t.access == nil {
		return nil, block.fail("say where the token stands in the reply: access PATH")
	}
	if hole, bad := t.outline.holds("sms.", mediaHole, "message.", tokenHole); bad {
		return nil, block.fail("{%s} has no place in a token block: a token is fetched for many messages", hole)
	}
	return t, t.check(block)
}

// holds reports whether the request has one of the holes.
func (o *outline) holds(names ...string) (string, bool) {
	templates := []template{o.path}
	for _, h := range o.header {
		templates = append(templates, h.value)
	}
	if o.sign != nil {
		templates = append(templates, o.sign.args...)
	}
	var walk func([]*field)
	walk = func(fields []*field) {
		for _, f := range fields {
			for _, v := range f.values {
				templates = append(templates, v.template)
			}
			walk(f.children)
		}
	}
	walk(o.query)
	walk(o.fields)
	for _, t := range templates {
		if hole, found := t.holds(names...); found {
			return hole, true
		}
	}
	return "", false
}

// bind puts the options in. base is the adapter's base URL, own that of the operator, which counts for both.
func (t *tokenRequest) bind(base *url.URL, own string, options map[string]string) (_ *tokenCall, err error) {
	if t.baseURL != nil {
		if base, err = chooseBaseURL(own, t.baseURL, options); err != nil {
			return nil, err
		}
	}
	c, err := t.outline.bind(base, &t.reply, options)
	return &tokenCall{c, t.access, t.expires}, err
}

// NeedsToken reports whether requests of the adapter hold a token that has to be fetched first.
func (a *Adapter) NeedsToken() bool { return a.token != nil }

// TokenRequest makes the request that fetches a token. Nothing of a message is in it.
func (a *Adapter) TokenRequest(ctx context.Context, now time.Time) (*http.Request, error) {
	r, body, err := a.token.request(ctx, &vars{message: &sms.Message{}, now: now})
	if err == nil && a.token.sign != nil {
		err = a.token.sign(r, body, now)
	}
	return r, err
}

// ReadToken reads the reply to a token request. Without a token the receipt says why: nothing was sent, whatever went
// wrong, so it is always a refusal.
func (a *Adapter) ReadToken(status int, header http.Header, body []byte, whole bool, now time.Time) (Token, sms.Receipt) {
	c := a.token
	answer := answer{status, header, body, whole}
	out := sms.Receipt{Adapter: a.Name, Status: status}
	doc := c.reply.open(answer)
	x := Exchange{adapter: a, message: &sms.Message{}}
	if doc != nil && inRanges(c.reply.status, status) {
		fits, _ := c.reply.accepts(doc, answer, &out)
		access := firstOf(doc, c.access)
		if fits && access != "" && !strings.ContainsFunc(access, unicode.IsControl) { // as a header can hold it
			return Token{sms.Hide(access), lifetime(firstOf(doc, c.expires), now)}, out
		}
		x.token = sms.Hide(access)
	}
	if doc != nil {
		c.reply.findWords(doc, answer, &out)
	}
	out.Code = x.speakable(out.Code, 64)
	out.Detail = "no token: " + x.speakable(out.Detail, 200)
	switch {
	case status == http.StatusTooManyRequests:
		return Token{}, failed(out, sms.Busy, answer)
	case status >= 500:
		return Token{}, failed(out, sms.Unavailable, answer)
	}
	return Token{}, failed(out, sms.Misconfigured, answer)
}

// lifetime reads how long a token is good: seconds, or the time when it ends.
// https://www.rfc-editor.org/rfc/rfc6749#section-5.1
func lifetime(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseFloat(s, 64); err == nil && n > 0 {
		return time.Duration(min(n, longestLifetime.Seconds()) * float64(time.Second))
	}
	if end, err := time.Parse(time.RFC3339, s); err == nil && end.After(now) {
		return min(end.Sub(now), longestLifetime)
	}
	return defaultLifetime
}
