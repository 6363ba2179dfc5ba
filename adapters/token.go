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

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/syntax"
	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/wire"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/redact"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// tokenBlock is the operation that fetches the token that the other requests need.
type tokenBlock struct {
	operation
	baseURL template // of the token endpoint, if it differs from the adapter's
	access  []wire.Path
	expires []wire.Path
}

// boundToken is a token request in which the holes of options are replaced by their values.
type boundToken struct {
	*boundRequest
	access, expires []wire.Path
}

// defaultLifetime applies if the reply has no valid lifetime. Longer lifetimes than longestLifetime
// are reduced to it.
const (
	defaultLifetime = 5 * time.Minute
	longestLifetime = 24 * time.Hour
)

// Token is a credential that a provider issues for a limited time.
type Token struct {
	Secret sms.Hidden
	// Lifetime is the remaining validity at the time of ReadToken.
	Lifetime time.Duration
}

// tokenWords are the statements of a token block besides those of its request.
var tokenWords = []string{"base_url", "reply", "accepted", "access", "expires", "code", "message"}

// parseToken reads a token block.
func (p *parser) parseToken(block *syntax.Statement) (*tokenBlock, error) {
	if !block.Opens || len(block.Args()) > 0 {
		return nil, block.Fail("write: token { POST /path … access PATH }")
	}
	t := &tokenBlock{operation: operation{at: block.Place}}
	// `access` and `expires` are read below; parseReply reads the other reply lines, as in a send
	// block.
	t.reply = reply{format: wire.JSON, status: []statusRange{{200, 299}}, generated: true}
	var shared []*syntax.Statement
	for _, s := range block.Block {
		if slices.Contains([]string{"reply", "accepted", "code", "message"}, s.First()) {
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
	for _, s := range block.Block {
		switch word := s.First(); word {
		case "reply", "accepted", "code", "message":
		case "base_url":
			if t.baseURL != nil {
				return nil, s.Fail("base_url appears twice")
			}
			t.baseURL, err = p.parseBaseURL(s)
		case "access", "expires":
			into := &t.access
			if word == "expires" {
				into = &t.expires
			}
			if *into != nil {
				return nil, s.Fail("%s appears twice", word)
			}
			*into, err = t.reply.parsePaths(s)
		default:
			err = p.parseRequestWord(s, &t.request, "token", slices.Concat(requestWords, methods, tokenWords))
		}
		if err != nil {
			return nil, err
		}
	}
	if t.access == nil {
		return nil, block.Fail("say where to find the token in the reply: access PATH")
	}
	if hole, bad := t.request.holds("sms.", mediaHole, "message.", "receipt.", tokenHole); bad {
		return nil, block.Fail("{%s} is not allowed in a token block: one token is used for many messages", hole)
	}
	return t, t.request.check(block)
}

// bind replaces the holes of options by their values. base is the adapter's base URL. own is the
// operator's base URL, which overrides that of the token block too.
func (t *tokenBlock) bind(base *url.URL, own string, options map[string]string) (_ *boundToken, err error) {
	if t.baseURL != nil {
		if base, err = chooseBaseURL(own, t.baseURL, options); err != nil {
			return nil, err
		}
	}
	c, err := t.request.bind(base, &t.reply, options)
	return &boundToken{c, t.access, t.expires}, err
}

// NeedsToken reports whether a token must be fetched before the requests of the adapter.
func (a *Adapter) NeedsToken() bool { return a.token != nil }

// TokenRequest makes the request that fetches a token. It contains no part of a message.
func (a *Adapter) TokenRequest(ctx context.Context, now time.Time) (*http.Request, error) {
	r, body, err := a.token.request(ctx, &vars{message: &sms.Message{}, now: now})
	if err == nil && a.token.sign != nil {
		err = a.token.sign(r, body, now)
	}
	return r, err
}

// ReadToken reads the reply to a token request. If there is no token, the result contains the
// reason. It is always a refusal, because no message was sent yet.
func (a *Adapter) ReadToken(status int, header http.Header, body []byte, whole bool, now time.Time) (Token, sms.Result) {
	c := a.token
	answer := answer{status, header, body, whole, ""}
	out := sms.Result{Adapter: a.Name, Status: status}
	doc := c.reply.open(answer)
	filter := redact.Filter{Account: a.redacted}
	if doc != nil && inRanges(c.reply.status, status) {
		fits, _ := c.reply.accepts(doc, answer, &out)
		access := wire.First(doc, c.access)
		if fits && access != "" && !strings.ContainsFunc(access, unicode.IsControl) { // a header cannot contain control characters
			return Token{sms.Hide(access), lifetime(wire.First(doc, c.expires), now)}, out
		}
		filter.Token = sms.Hide(access)
	}
	if doc != nil {
		c.reply.findWords(doc, answer, &out)
	}
	out.Code, _ = filter.Words(out.Code, 64)
	words, _ := filter.Words(out.Detail, 200)
	out.Detail = "no token: " + words
	switch {
	case status == http.StatusTooManyRequests:
		return Token{}, failed(out, sms.Busy, answer)
	case status >= 500:
		return Token{}, failed(out, sms.Unavailable, answer)
	}
	return Token{}, failed(out, sms.Misconfigured, answer)
}

// lifetime parses the validity of a token: seconds, or the time at which it ends.
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
