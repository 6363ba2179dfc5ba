package adapters

import (
	"slices"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/syntax"
	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/wire"
)

// sendBlock is the operation that sends a message. The first send block whose conditions are true
// is used.
type sendBlock struct {
	operation
	numbers numberForms
	limit   limit
	content content // the contents that its holes can carry
	uploads bool    // files are uploaded before the request
	mms     bool    // the provider sends an MMS even if the message has no media
}

// sendWords are the statements of a send block.
var sendWords = slices.Concat(requestWords, methods, []string{"when", "text", "number"}, replyWords)

// parseSend reads a send block. shared are the reply lines above it.
func (p *parser) parseSend(send *syntax.Statement, shared reply) (err error) {
	mms := len(send.Words) == 2 && send.Words[1].Text == "mms"
	if !send.Opens || len(send.Args()) > 0 && !mms {
		return send.Fail("write: send { POST /path … }, or: send mms { … } where the API sends a text without media as an MMS")
	}
	v := &sendBlock{operation: operation{at: send.Place}, limit: p.def.limit, numbers: p.def.numbers, mms: mms}
	p.content = 0
	once := make(map[string]bool)
	for _, s := range send.Block {
		if word := s.First(); !slices.Contains(sendWords, word) && word != "json[]" {
			return unknownWord(s, "send", sendWords)
		}
	}
	if v.reply, err = p.parseReply(send.Block, shared); err != nil {
		return err
	}
	for _, s := range send.Block {
		switch word := s.First(); word {
		case "when":
			var c condition
			c, err = p.parseCondition(s, s.Args())
			v.when = append(v.when, c)
		case "text", "number":
			if once[kindOf(s)] {
				return s.Fail("%s appears twice", kindOf(s))
			}
			once[kindOf(s)] = true
			if word == "text" {
				v.limit, err = parseLimit(s)
			} else {
				err = v.numbers.parse(s)
			}
		default:
			if !slices.Contains(replyWords, word) {
				err = p.parseRequestWord(s, &v.request, "send", sendWords)
			}
		}
		if err != nil {
			return err
		}
	}
	v.content = p.content
	p.def.sends = append(p.def.sends, v)
	return v.request.check(send)
}

// isMedia reports whether a condition is `when media`.
func isMedia(c condition) bool { return c.media && !c.negated }

// isFor reports whether a condition of the send block satisfies kind.
func (v *sendBlock) isFor(kind func(condition) bool) bool { return slices.ContainsFunc(v.when, kind) }

// makesSense refuses requests that would lose the recipient, the text or the media, and reply lines
// that test a value without a path to it.
func (v *sendBlock) makesSense() error {
	r := &v.reply
	switch {
	case v.content&recipientContent == 0:
		return v.at.Fail("{sms.to} is missing: the request would have no recipient")
	case v.content&textContent == 0:
		return v.at.Fail("{sms.body} is missing: the text would be lost")
	case v.content&allMedia == 0 && v.isFor(isMedia):
		return v.at.Fail("{sms.media} is missing, although the request is for pictures")
	}
	for _, lacks := range []struct {
		of, advice string
		is         bool
	}{
		{"id", "this line tests the id, but id generated says that there is none", r.generated},
		{"code", "this line tests the code; say where to find it: code PATH", len(r.code) == 0},
		{"message", "this line tests the message; say where to find it: message PATH", len(r.message) == 0 && r.format != wire.Text},
	} {
		if at, asks := r.asks(lacks.of); asks && lacks.is {
			return at.Fail("%s", lacks.advice)
		}
	}
	return nil
}
