package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/media"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// Pictures turns pictures and files on.
type Pictures struct {
	// Mode is how they are sent: `mms`, `link` (a text with a link), or `mms_or_link` (a link where no
	// adapter can send an MMS). Default: `mms`.
	Mode string `json:"mode,omitempty"`

	// From are the servers that attachments may be fetched from, as a host (by https on port 443) or as
	// scheme, host and port, such as `http://files.example.com:8080`. Default: `mmmsg.acrobits.net`.
	From []string `json:"from,omitempty"`

	// MaxSize is the maximum size of a file that is fetched, in bytes. Default: 25000000.
	MaxSize int64 `json:"max_size,omitempty"`

	// Keep is how long links work. Addresses for providers work for 48 hours. Default: 30 days.
	Keep caddy.Duration `json:"keep,omitempty"`

	// Space is the maximum size of all stored files, in bytes. Further pictures are refused. Default:
	// 2000000000.
	Space int64 `json:"space,omitempty"`
}

// pictureModes are the values of Pictures.Mode.
var pictureModes = []string{"mms", "link", "mms_or_link"}

// Defaults and bounds of Pictures.
const (
	defaultMaxPicture  = media.DefaultMaxSize
	largestMaxPicture  = 100_000_000 // every user can have this much fetched and stored
	defaultPictureKeep = 30 * 24 * time.Hour
	longestPictureKeep = 365 * 24 * time.Hour
	defaultSpace       = 2_000_000_000
)

// pictureSettings are the settings of pictures with the defaults.
type pictureSettings struct {
	mms, links     bool
	from           []media.Source
	maxSize, space int64
	keep           time.Duration
}

// settings checks the settings.
func (p *Pictures) settings() (*pictureSettings, error) {
	mode := cmp.Or(p.Mode, "mms")
	if !slices.Contains(pictureModes, mode) {
		return nil, errors.New("pictures: " + suggest.Unknown("mode", mode, pictureModes))
	}
	s := &pictureSettings{
		mms: mode != "link", links: mode != "mms",
		maxSize: cmp.Or(p.MaxSize, defaultMaxPicture), space: cmp.Or(p.Space, defaultSpace),
		keep: cmp.Or(time.Duration(p.Keep), defaultPictureKeep),
	}
	switch {
	case s.maxSize < 1 || s.maxSize > largestMaxPicture:
		return nil, fmt.Errorf("pictures: max_size takes a size up to %s, such as 25MB", humanize.Bytes(largestMaxPicture))
	case s.space < s.maxSize:
		return nil, fmt.Errorf("pictures: space takes at least max_size, %s", humanize.Bytes(uint64(s.maxSize)))
	case s.keep < time.Hour || s.keep > longestPictureKeep:
		return nil, errors.New("pictures: keep takes a duration from 1h to 365d, such as 30d")
	}
	for _, text := range p.From {
		server, err := parsePictureServer(text)
		if err != nil {
			return nil, err
		}
		s.from = append(s.from, server)
	}
	if s.from == nil {
		s.from = []media.Source{media.DefaultSource}
	}
	return s, nil
}

// parsePictureServer parses a host, or scheme, host and port. The error does not repeat it, because a
// URL may contain a secret.
func parsePictureServer(s string) (server media.Source, err error) {
	_, host, hasScheme := strings.Cut(s, "://")
	if !hasScheme {
		host = s
	}
	u, err := url.Parse("//" + host)
	if err != nil || !isHost(host) || u.Port() != "" && !hasScheme {
		return server, errPictureServer
	}
	if server, err = media.ParseSource(s); err != nil {
		return server, errPictureServer
	}
	return server, nil
}

var errPictureServer = errors.New("pictures: from takes hosts such as files.example.com, or scheme, host and port " +
	"such as http://files.example.com:8080, without a path")

// unmarshalPictures parses a pictures line or block.
func (h *Handler) unmarshalPictures(d *caddyfile.Dispenser) error {
	at := *d
	h.Pictures = new(Pictures)
	switch args := d.RemainingArgs(); {
	case len(args) == 1 && !slices.Contains(pictureModes, args[0]):
		return d.Err("pictures: " + suggest.Unknown("mode", args[0], pictureModes))
	case len(args) == 1:
		h.Pictures.Mode = args[0]
	case len(args) > 1:
		return d.Err("write: pictures [mms|link|mms_or_link]")
	}
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word := d.Val()
		if seen[word] && word != "from" {
			return d.Errf("%s appears twice", word)
		}
		seen[word] = true
		if err := h.Pictures.unmarshalLine(d); err != nil {
			return err
		}
	}
	_, err := h.Pictures.settings()
	return wrap(&at, err)
}

// pictureWords are the words of the pictures block.
var pictureWords = []string{"from", "max_size", "keep", "space"}

// unmarshalLine parses a line of the pictures block.
func (p *Pictures) unmarshalLine(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "from":
		hosts := d.RemainingArgs()
		if len(hosts) == 0 {
			return d.WrapErr(errPictureServer)
		}
		p.From = append(p.From, hosts...)
		for _, host := range hosts {
			if _, err := parsePictureServer(host); err != nil {
				return d.WrapErr(err)
			}
		}
		return nil
	case "max_size":
		return sizeArg(d, &p.MaxSize, "25MB")
	case "keep":
		return durationArg(d, &p.Keep)
	case "space":
		return sizeArg(d, &p.Space, "2GB")
	}
	return unknownWord(d, inPictures, pictureWords)
}

// sizeArg parses a size such as 25MB.
func sizeArg(d *caddyfile.Dispenser, into *int64, example string) error {
	word := d.Val()
	var text string
	if err := oneArg(d, &text); err != nil {
		return err
	}
	size, err := humanize.ParseBytes(text)
	if err != nil || size < 1 || size > math.MaxInt64 {
		return d.Errf("%s takes a size such as %s", word, example)
	}
	*into = int64(size)
	return nil
}
