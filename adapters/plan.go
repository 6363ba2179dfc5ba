package adapters

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/text"
)

// Plan contains the parts of a message and the request of each part. A plan may be used for any
// number of attempts, one after the other. It is not safe for concurrent use.
type Plan struct {
	adapter *Adapter
	parts   []planned
	split   sms.Split
	first   [1]planned // backs parts for a message in one part, the usual case, without an allocation
}

// planned is a part and its request.
type planned struct {
	request *boundRequest
	vars    vars
}

// Plan chooses the requests for a message. It splits the text into as few parts as this API
// accepts, at most maxParts. Each part is a message of its own. Its id depends only on the id of
// the message and the index of the part. The first part carries all media.
func (a *Adapter) Plan(m *sms.Message, maxParts int) (*Plan, *sms.Refusal) {
	p := &Plan{adapter: a}
	p.parts = p.first[:]
	refusal := a.choose(m, &p.first[0])
	if refusal != nil && refusal.Cause == sms.TooLong && maxParts > 1 {
		p.parts, refusal = a.planParts(m, maxParts, refusal)
	}
	if refusal != nil {
		return nil, refusal
	}
	messages := make([]*sms.Message, len(p.parts))
	for i := range p.parts {
		messages[i] = p.parts[i].vars.message
	}
	p.split = sms.SplitOf(messages, len(m.Media) > 0 || p.parts[0].request.block.mms)
	return p, nil
}

// choose stores the first send block that fits the message in into.
func (a *Adapter) choose(m *sms.Message, into *planned) *sms.Refusal {
	if m.To.Kind != sms.Phone && m.To.Kind != sms.ShortCode {
		return sms.Refuse(sms.InvalidRecipient)
	}
	v := &into.vars
	*v = vars{message: m, text: m.Body.Reveal(), receipts: a.receipts}
	if a.replacer != nil {
		v.text = a.replacer.Replace(v.text)
	}
	var tooLong, noNumber *sms.Refusal
	media := contentOf(m) & allMedia
	for _, c := range a.sends {
		if media&^c.block.content != 0 {
			continue
		}
		if refusal := c.block.numbers.write(v); refusal != nil {
			noNumber = cmp.Or(noNumber, refusal)
			continue
		}
		fits, length := true, true // length: all conditions except those on the length are true
		for i := range c.block.when {
			if when := &c.block.when[i]; !when.holds(v) {
				fits, length = false, length && when.isLength
			}
		}
		switch refusal := c.block.limit.check(v.text); {
		case fits && refusal == nil:
			into.request = c
			return nil
		case fits:
			tooLong = refusal
		case length:
			tooLong = cmp.Or(tooLong, sms.Refuse(sms.TooLong))
		}
	}
	switch {
	case tooLong != nil:
		return tooLong
	case noNumber != nil:
		return noNumber
	case media != 0:
		return sms.Refuse(sms.UnsupportedContent)
	}
	return sms.RefuseAs(sms.UnsupportedContent, sms.UnknownContent)
}

// planParts splits a text that is too long for one request. tooLongForOne is the refusal of the
// whole text.
func (a *Adapter) planParts(m *sms.Message, maxParts int, tooLongForOne *sms.Refusal) ([]planned, *sms.Refusal) {
	whole := m.Body.Reveal()
	texts, rest := text.Split(whole, maxParts, func(i int, s string) bool { return a.choose(partOf(m, i, s), new(planned)) == nil })
	switch {
	case rest != "" && len(texts) == 0:
		return nil, tooLongForOne
	case rest != "":
		length := text.Length(whole, text.Characters)
		return nil, tooLong(length, text.Characters, length-text.Length(rest, text.Characters))
	}
	parts := make([]planned, len(texts))
	for i, s := range texts {
		part := partOf(m, i, s)
		if i > 0 {
			part.ID = uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "%s %d", m.ID, i)).String()
		}
		refusal := a.choose(part, &parts[i])
		if refusal == nil { // finds values that cannot be written before the first part is sent
			_, _, refusal = parts[i].request.build(context.Background(), &parts[i].vars)
		}
		if refusal != nil {
			return nil, refusal
		}
	}
	return parts, nil
}

// partOf returns a copy of the message with a part of the text. Only part 0 keeps the media.
func partOf(m *sms.Message, i int, s string) *sms.Message {
	p := *m
	if p.Body = sms.Hide(s); i > 0 {
		p.Media = nil
	}
	return &p
}

// Split returns the number of parts, the positions where the text is cut, and whether the parts are
// MMS.
func (p *Plan) Split() sms.Split { return p.split }

// Segments returns the number of SMS segments of all parts together.
func (p *Plan) Segments() (sum int) {
	for i := range p.parts {
		sum += text.Segments(p.parts[i].vars.message.Body.Reveal())
	}
	return sum
}

// Part returns the message of part i.
func (p *Plan) Part(i int) *sms.Message { return p.parts[i].vars.message }

// Streams reports whether the request for part i contains files, which are read while it is sent.
func (p *Plan) Streams(i int) bool {
	part := &p.parts[i]
	return len(part.vars.message.Media) > 0 && part.request.streams()
}

// Request makes the request for part i. If NeedsToken is true, token must be a token from the reply
// to TokenRequest. All Uploads must be done. The error wraps a *sms.Refusal: this API cannot send the message, but another
// may.
func (p *Plan) Request(ctx context.Context, i int, token sms.Hidden, now time.Time) (*Call, error) {
	part := &p.parts[i]
	part.vars.token, part.vars.now = token, now
	if p.Uploads(i) > 0 {
		return nil, sms.Refuse(sms.Internal)
	}
	r, body, refusal := part.request.build(ctx, &part.vars)
	if refusal != nil {
		return nil, refusal
	}
	if part.request.sign != nil {
		if err := part.request.sign(r, body, now); err != nil {
			return nil, unsigned(err)
		}
	}
	return &Call{Request: r, adapter: p.adapter, request: part.request, message: part.vars.message, token: token}, nil
}

// unsigned returns the error of a request that cannot be signed.
func unsigned(err error) error {
	return fmt.Errorf("%w: %w", &sms.Refusal{Cause: sms.Misconfigured, ByProvider: true}, err)
}

// build makes the unsigned request, or returns the reason why this API cannot send the message.
func (c *boundRequest) build(ctx context.Context, v *vars) (*http.Request, []byte, *sms.Refusal) {
	v.included = 0
	r, body, err := c.request(ctx, v)
	if err != nil {
		return nil, nil, sms.RefuseAs(sms.UnsupportedContent, sms.UnknownContent)
	}
	if refusal := c.checkContent(v); refusal != nil {
		return nil, nil, refusal
	}
	return r, body, nil
}

// checkContent refuses a message if a `when` group dropped content that no other member carries.
func (c *boundRequest) checkContent(v *vars) *sms.Refusal {
	if c.block.content&contentOf(v.message)&^v.included != 0 {
		return sms.Refuse(sms.UnsupportedContent)
	}
	return nil
}
