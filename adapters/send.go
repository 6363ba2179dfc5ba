package adapters

import "slices"

// sendBlock is the operation that sends a message. The first send block whose conditions are true
// is used.
type sendBlock struct {
	operation
	numbers numberForms
	limit   limit
	content content // the contents that its holes can carry
	mms     bool    // the provider sends an MMS even if the message has no media
}

// sendWords are the statements of a send block.
var sendWords = slices.Concat(requestWords, methods, []string{"when", "text", "number"}, replyWords)

// parseSend reads a send block. shared are the reply lines above it.
func (p *parser) parseSend(send *statement, shared reply) (err error) {
	mms := len(send.words) == 2 && send.words[1].text == "mms"
	if !send.opens || len(send.args()) > 0 && !mms {
		return send.fail("write: send { POST /path … }, or: send mms { … } where a text alone goes out as an MMS")
	}
	v := &sendBlock{operation: operation{at: send.at}, limit: p.def.limit, numbers: p.def.numbers, mms: mms}
	p.content = 0
	once := make(map[string]bool)
	for _, s := range send.block {
		if word := s.first(); !slices.Contains(sendWords, word) && word != "json[]" {
			return s.unknownWord("send", sendWords)
		}
	}
	if v.reply, err = p.parseReply(send.block, shared); err != nil {
		return err
	}
	for _, s := range send.block {
		switch word := s.first(); word {
		case "when":
			var c condition
			c, err = p.parseCondition(s, s.args())
			v.when = append(v.when, c)
		case "text", "number":
			if once[s.kind()] {
				return s.fail("%s appears twice", s.kind())
			}
			once[s.kind()] = true
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
		return v.at.fail("this request never says {sms.to}: nobody would get the message")
	case v.content&textContent == 0:
		return v.at.fail("this request never says {sms.body}: the text would be lost")
	case v.content&allMedia == 0 && v.isFor(isMedia):
		return v.at.fail("this request is for pictures and never says {sms.media}")
	}
	for _, lacks := range []struct {
		of, advice string
		is         bool
	}{
		{"id", "this line asks for an id, but id generated says that there is none", r.generated},
		{"code", "this line asks for a code: say where it is, code PATH", len(r.code) == 0},
		{"message", "this line asks for a message: say where it is, message PATH", len(r.message) == 0 && r.kind != textReply},
	} {
		if at, asks := r.asks(lacks.of); asks && lacks.is {
			return at.fail("%s", lacks.advice)
		}
	}
	return nil
}
