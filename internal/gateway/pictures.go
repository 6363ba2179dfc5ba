package gateway

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/attachment"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/media"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Pictures sends pictures and files: it downloads them, stores them where providers and recipients
// fetch them, and sends an MMS or a text with a link.
type Pictures struct {
	// MMS sends them as an MMS if an adapter can. Links sends a text with a link to a page where no
	// adapter can, or for all messages if MMS is not set.
	MMS, Links bool
	// Collector downloads the files. Store stores them.
	Collector *media.Collector
	Store     *media.Store
	// Keep is how long links work.
	Keep time.Duration
	// Collected is called after each download with its duration, the number of bytes, and the
	// refusal if it failed.
	Collected func(took time.Duration, bytes int64, refusal *sms.Refusal)
	// HandedOver is called after a provider has accepted the addresses of files, and not their bytes.
	HandedOver func(adapter, reference string, files media.Token)
}

// keepForProviders is how long providers can fetch files. Some download them only when the recipient
// has opened the message.
const keepForProviders = 48 * time.Hour

// readTransfer parses the description of pictures and files.
func (s *send) readTransfer() error {
	transfer, refusal := attachment.Parse(s.req.Body.Reveal())
	if refusal != nil {
		return refusal
	}
	s.transfer = transfer
	return s.req.CheckRecipient()
}

var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

func (s *send) caption() sms.Hidden { return sms.Hide(lineEnds.Replace(s.transfer.Caption.Reveal())) }

// preview finds out whether the message can be sent, before anything is claimed or downloaded, and
// sets its segments.
func (s *send) preview() *sms.Refusal {
	out, _, refusal := s.draft()
	if refusal == nil {
		s.Message.Segments = s.segments(&out)
	}
	return refusal
}

// draft returns a copy of the message as it will be sent, an MMS or a text with a link. Its files
// have no address yet, and its link is a placeholder of the same length. limits are those of the
// first adapter that accepts the MMS.
func (s *send) draft() (out sms.Message, limits sms.MediaLimits, refusal *sms.Refusal) {
	if s.Pictures.MMS {
		out = s.Message
		out.Media = make([]sms.Media, len(s.transfer.Files))
		if limits, refusal = s.Deliverer.Check(&out); refusal == nil || !s.Pictures.Links {
			return out, limits, refusal
		}
	}
	return s.draftLink()
}

// draftLink is draft for a text with a link.
func (s *send) draftLink() (out sms.Message, limits sms.MediaLimits, refusal *sms.Refusal) {
	out = s.withLink(strings.Repeat("x", media.LinkLength))
	_, refusal = s.Deliverer.Check(&out)
	return out, sms.MediaLimits{}, refusal
}

// withLink returns the message as a text with a link to the page of a token.
func (s *send) withLink(token string) sms.Message {
	out := s.Message
	link := s.req.MediaURL + "/" + token
	if caption := out.Body.Reveal(); caption != "" {
		link = caption + "\n" + link
	}
	out.Body = sms.Hide(link)
	return out
}

// deliverFiles collects the files of a claimed message and sends it. Nothing is sent before
// StartSending, so that a failure until then is certain.
func (s *send) deliverFiles() sms.Result {
	out, limits, refusal := s.draft()
	if refusal != nil {
		return s.notCollected(refusal)
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(s.ctx), s.Deliverer.CollectUntil(&s.Message))
	defer cancel()
	files, refusal := s.collect(ctx, limits)
	if s.Pictures.MMS && s.Pictures.Links && refusal != nil && isForAdapter(refusal) && len(out.Media) > 0 {
		if out, limits, refusal = s.draftLink(); refusal == nil {
			files, refusal = s.collect(ctx, limits)
		}
	}
	if refusal != nil {
		return s.notCollected(refusal)
	}
	defer media.Close(files)
	isMMS := len(out.Media) > 0
	keep := s.Pictures.Keep
	if isMMS {
		keep = keepForProviders
	}
	token, refusal := s.Pictures.Store.Put(ctx, files, keep)
	if refusal != nil {
		return s.notCollected(refusal)
	}
	if isMMS {
		out.Media = s.mediaOf(files, token)
	} else {
		out = s.withLink(token.Link().Reveal())
	}
	result := s.sendCollected(&out)
	switch {
	case result.Outcome == sms.Refused:
		s.discard = func() { _ = s.Pictures.Store.Remove(context.WithoutCancel(s.ctx), token) }
	case result.Outcome == sms.Accepted && isMMS && !s.opened.Load():
		s.Pictures.HandedOver(result.Adapter, s.Message.Reference, token)
	}
	return result
}

// sendCollected sends a message whose files are stored.
func (s *send) sendCollected(out *sms.Message) sms.Result {
	if err := s.claim.StartSending(); err != nil {
		s.Journal.NoteFailure()
		return s.notCollected(refuseBecause(err.Error(), sms.Internal, sms.JournalUnavailable))
	}
	return s.Deliverer.Deliver(s.ctx, out, s.claim)
}

// notCollected is the result of a message before the first request. If some of its parts were sent
// at an earlier try, the others were not.
func (s *send) notCollected(refusal *sms.Refusal) sms.Result {
	if adapter, split, accepted := s.claim.Sent(); accepted > 0 {
		return sms.Result{
			Refusal: sms.PartlySent(accepted, split.Parts), Adapter: adapter, Parts: split.Parts, RestNotSent: true, Detail: refusal.Error(),
		}
	}
	return refused(refusal)
}

// isForAdapter reports whether only the limits of the adapters refuse a file.
func isForAdapter(refusal *sms.Refusal) bool {
	switch refusal.Variant {
	case sms.FileTooLargeForProvider, sms.FileType, sms.TooManyFiles, sms.PictureTooComplex:
		return true
	}
	return false
}

// collect downloads the files and makes them fit the limits.
func (s *send) collect(ctx context.Context, limits sms.MediaLimits) ([]*media.File, *sms.Refusal) {
	began := time.Now()
	files, refusal := s.Pictures.Collector.Collect(ctx, s.lockoutName(s.Message.User), s.transfer, limits)
	bytes := int64(0)
	for _, f := range files {
		bytes += f.Size
	}
	s.Pictures.Collected(time.Since(began), bytes, refusal)
	return files, refusal
}

// mediaOf returns the files as adapters send them.
func (s *send) mediaOf(files []*media.File, token media.Token) []sms.Media {
	list := make([]sms.Media, len(files))
	for i, f := range files {
		list[i] = sms.Media{
			URL:  sms.Hide(s.req.MediaURL + "/" + token.Path(i+1).Reveal()),
			Type: f.Type, Name: token.Name(i + 1), Size: f.Size,
			Open: func() (io.ReadCloser, error) {
				s.opened.Store(true)
				return io.NopCloser(f.Reader()), nil
			},
		}
	}
	return list
}
