package adapters

import (
	"math"
	"regexp"
	"strconv"

	"github.com/dustin/go-humanize"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/syntax"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// mediaBlock is the `media` block: the pictures and files that the provider accepts in a message.
type mediaBlock struct {
	sms.MediaLimits
	source string
	at     syntax.Place
}

// mediaWords are the statements of a media block.
var mediaWords = []string{"files", "each", "total", "types", "source"}

// mediaTypePattern matches a media type in lower case without parameters, or all types of a kind.
var mediaTypePattern = regexp.MustCompile(`^[a-z]+/([a-z0-9][a-z0-9.+-]*|\*)$`)

// parseMedia reads a media block.
func parseMedia(block *syntax.Statement) (*mediaBlock, error) {
	if !block.Opens || len(block.Args()) > 0 || len(block.Block) == 0 {
		return nil, block.Fail("write: media { files 10 … }, line by line; known words: files, each, total, types, source")
	}
	b := &mediaBlock{at: block.Place}
	seen := make(map[string]bool)
	for _, s := range block.Block {
		if seen[s.First()] {
			return nil, s.Fail("%s appears twice", s.First())
		}
		seen[s.First()] = true
		if err := b.parse(s); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (b *mediaBlock) parse(s *syntax.Statement) (err error) {
	if s.Opens {
		return s.Fail("%s must not have a block", s.First())
	}
	switch s.First() {
	case "files":
		w, err := s.One("number")
		if err != nil {
			return err
		}
		if b.Count, err = strconv.Atoi(w.Text); err != nil || b.Count < 1 || b.Count > maxMedia {
			return s.Fail("write the number of files, from 1 to %d: files 10", maxMedia)
		}
	case "each":
		b.Each, err = parseSize(s)
	case "total":
		b.Total, err = parseSize(s)
	case "types":
		if len(s.Args()) == 0 {
			return s.Fail("write media types: types image/jpeg image/png, or all of a kind: types image/*")
		}
		for _, w := range s.Args() {
			if !mediaTypePattern.MatchString(w.Text) {
				return s.Fail("a media type has lower-case letters and one /: types image/jpeg image/png, or all of a kind: types image/*")
			}
			b.Types = append(b.Types, w.Text)
		}
	case "source":
		w, err := s.One("URL or quoted sentence")
		b.source = w.Text
		return err
	default:
		return unknownWord(s, "media", mediaWords)
	}
	return err
}

// parseSize reads a number of bytes: 5MB is 5,000,000, 5MiB is 5,242,880.
func parseSize(s *syntax.Statement) (int64, error) {
	w, err := s.One("size")
	if err != nil {
		return 0, err
	}
	n, err := humanize.ParseBytes(w.Text)
	if err != nil || n == 0 || n > math.MaxInt64 {
		return 0, s.Fail("write a size such as 600KB, 5MB or 5MiB: %s 5MB", s.First())
	}
	return int64(n), nil
}

// checkMedia refuses limits that no send block uses, and limits that send blocks cannot reach.
func (d *Definition) checkMedia() error {
	if d.media == nil {
		return nil
	}
	var all content
	for _, v := range d.sends {
		all |= v.content & allMedia
	}
	switch {
	case all == 0:
		return d.media.at.Fail("media says what the provider accepts, but no send block sends {sms.media}")
	case d.media.Each > 0 && d.media.Total > 0 && d.media.Each > d.media.Total:
		return d.media.at.Fail("each must not exceed total")
	}
	return nil
}

// MediaLimits returns the pictures and files that the account accepts in a message. ok is false if
// it cannot send any.
func (a *Adapter) MediaLimits() (limits sms.MediaLimits, ok bool) {
	most := 0
	for _, c := range a.sends {
		most = max(most, c.block.content.files())
	}
	return a.def.limitsOf(most)
}

// MediaLimits returns the pictures and files that the provider accepts in a message. ok is false if
// the definition cannot send any.
func (d *Definition) MediaLimits() (limits sms.MediaLimits, ok bool) {
	most := 0
	for _, v := range d.sends {
		most = max(most, v.content.files())
	}
	return d.limitsOf(most)
}

// limitsOf returns the limits of requests that can carry at most so many files.
func (d *Definition) limitsOf(most int) (limits sms.MediaLimits, ok bool) {
	if most == 0 {
		return limits, false
	}
	if d.media != nil {
		limits = d.media.MediaLimits
	}
	if most < maxMedia && (limits.Count == 0 || limits.Count > most) {
		limits.Count = most
	}
	return limits, true
}

// files returns the number of files that a request with this content can carry, counted from the
// first one.
func (c content) files() int {
	for n := range maxMedia {
		if c&(1<<n) == 0 {
			return n
		}
	}
	return maxMedia
}
