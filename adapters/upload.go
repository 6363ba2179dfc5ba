package adapters

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/syntax"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// uploadBlock is the operation that uploads a file, before the request that sends the message with
// the id of the file.
type uploadBlock struct{ operation }

// uploadWords are the statements of an upload block.
var uploadWords = slices.Concat(requestWords, methods, replyWords)

// parseUpload reads an upload block. shared are the reply lines above it.
func (p *parser) parseUpload(block *syntax.Statement, shared reply) (err error) {
	if !block.Opens || len(block.Args()) > 0 {
		return block.Fail("write: upload { POST /path … id PATH }")
	}
	u := &uploadBlock{operation{at: block.Place}}
	p.content, shared.id, shared.generated = 0, nil, false
	if u.reply, err = p.parseReply(block.Block, shared); err != nil {
		return err
	}
	for _, s := range block.Block {
		if word := s.First(); !slices.Contains(replyWords, word) {
			if err = p.parseRequestWord(s, &u.request, "upload", uploadWords); err != nil {
				return err
			}
		}
	}
	if len(u.reply.id) == 0 {
		return block.Fail("say where to find the id of the file in the reply: id PATH")
	}
	if hole, bad := u.request.find(func(h part) bool { return strings.HasPrefix(h.hole, "sms.") && !h.isMedia() }); bad {
		return block.Fail("{%s} is not allowed in an upload block", hole)
	}
	if _, bad := u.request.find(isUploadID); bad {
		return block.Fail("{sms.media.0.id} is the result of the upload block, and is for send blocks")
	}
	if p.content != 1 {
		return block.Fail("an upload block sends one file: write {sms.media.0.file}, {sms.media.0.base64} or {sms.media.0}")
	}
	p.def.upload = u
	return u.request.check(block)
}

// isUploadID reports whether a hole is the id of an uploaded file.
func isUploadID(h part) bool { return h.isMedia() && h.media.form == mediaID }

// find returns the first hole of the request with a property.
func (o *requestTemplate) find(is func(part) bool) (hole string, found bool) {
	for _, t := range o.templates {
		if at := slices.IndexFunc(t, is); at >= 0 {
			return t[at].hole, true
		}
	}
	return "", false
}

// checkUpload refuses an upload whose result is not used, and ids without an upload.
func (d *Definition) checkUpload() error {
	used := false
	for _, v := range d.sends {
		_, v.uploads = v.request.find(isUploadID)
		if used = used || v.uploads; v.uploads && d.upload == nil {
			return v.at.Fail("{sms.media.0.id} is used, but there is no upload block; write: upload { POST /path … id PATH }")
		}
	}
	if d.upload != nil && !used {
		return d.upload.at.Fail("the uploaded file is never used, write {sms.media.0.id} in a send block")
	}
	return nil
}

// Uploads returns the number of files that must still be uploaded before Request for part i.
func (p *Plan) Uploads(i int) int {
	part := &p.parts[i]
	if !part.request.block.uploads {
		return 0
	}
	return len(part.vars.message.Media) - len(part.vars.uploaded)
}

// UploadRequest makes the request that uploads the next file of part i. The error wraps a
// *sms.Refusal, as that of Request does.
func (p *Plan) UploadRequest(ctx context.Context, i int, token sms.Hidden, now time.Time) (*Call, error) {
	part := &p.parts[i]
	m := part.vars.message
	v := vars{message: &sms.Message{ID: m.ID, Received: m.Received, Media: m.Media[len(part.vars.uploaded):][:1]}, token: token, now: now}
	upload := p.adapter.upload
	r, body, err := upload.request(ctx, &v)
	if err != nil || v.included != 1 {
		return nil, sms.Refuse(sms.UnsupportedContent)
	}
	if upload.sign != nil {
		if err := upload.sign(r, body, now); err != nil {
			return nil, unsigned(err)
		}
	}
	return &Call{Request: r, adapter: p.adapter, request: upload, message: m, token: token}, nil
}

// ReadUpload reads the reply to an UploadRequest. If the file was uploaded, the result is Accepted,
// and the next Request for part i contains its id. Otherwise the result is a refusal after which the
// next adapter is tried: nothing was sent yet.
func (p *Plan) ReadUpload(i int, call *Call, status int, header http.Header, reply []byte, whole bool) sms.Result {
	found := call.request.reply.read(answer{status, header, reply, whole, ""}, "")
	if found.Outcome == sms.Accepted && found.ID != "" && !strings.ContainsFunc(found.ID, unicode.IsControl) {
		p.Uploaded(i, strings.Clone(found.ID))
		return sms.Result{Outcome: sms.Accepted, Adapter: p.adapter.Name, Status: status}
	}
	r := call.Read(status, header, reply, whole)
	r.ID, r.PrivateID, r.Detail = "", sms.Hidden{}, "no upload: "+r.Detail
	if r.Outcome != sms.Refused {
		r.Refusal = &sms.Refusal{Cause: sms.Unavailable}
	} else if !r.Refusal.Cause.TryNext(true) {
		r.Refusal = &sms.Refusal{Cause: sms.UnsupportedContent}
	}
	r.Outcome, r.Refusal.ByProvider = sms.Refused, true
	return r
}

// Uploaded sets the id of the next file of part i, for an upload whose reply is not read.
func (p *Plan) Uploaded(i int, id string) {
	part := &p.parts[i]
	part.vars.uploaded = append(part.vars.uploaded, id)
}
