package media

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"

	"code.dny.dev/ssrf"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/attachment"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

var (
	errHost      = errors.New("host not allowed")
	errRedirects = errors.New("too many redirects")
)

// dial connects to an allowed host. The address is checked after the name is resolved, so that a
// name that resolves to another address between a check and the connection is refused too.
func (c *Collector) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	known, private := false, false
	for _, s := range c.Sources {
		if s.Host == strings.ToLower(strings.TrimSuffix(host, ".")) && s.Port == port {
			known, private = true, private || s.Private
		}
	}
	switch {
	case !known:
		return nil, errHost
	case private:
		return c.dialer.DialContext(ctx, network, address)
	}
	return c.public.DialContext(ctx, network, address)
}

// checkRedirect follows redirects to allowed hosts only. Header fields are set anew: net/http would
// send the credential to subdomains, and the first address as Referer.
func (c *Collector) checkRedirect(r *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return errRedirects
	case !c.allows(r.URL):
		return errHost
	}
	r.Header = header()
	return nil
}

func header() http.Header {
	return http.Header{"Accept": {"*/*"}, "Accept-Encoding": {"identity"}, "User-Agent": {"acrobits_sms"}}
}

// fetch downloads, decrypts and checks a file.
func (c *Collector) fetch(ctx context.Context, f *attachment.File) (*File, *sms.Refusal) {
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	u, err := url.Parse(f.URL.Reveal())
	switch {
	case err != nil:
		return nil, sms.RefuseAs(sms.BadRequest, sms.AttachmentAddress)
	case !c.allows(u):
		return nil, hostNotAllowed(u)
	case f.Size > c.MaxSize:
		return nil, c.tooLarge()
	}
	r := (&http.Request{Method: http.MethodGet, URL: u, Header: header()}).WithContext(ctx)
	if c.Authorize != nil {
		c.Authorize(r)
	}
	reply, err := c.client.Do(r)
	if err != nil {
		return nil, refusalOf(ctx, err)
	}
	defer reply.Body.Close()
	if refusal := c.checkReply(reply); refusal != nil {
		return nil, refusal
	}
	temp, err := createTemp(c.Dir)
	if err != nil {
		return nil, noDisk(err)
	}
	got, refusal := c.receive(ctx, f, reply.Body, temp)
	if refusal != nil {
		_ = discard(temp)
		return nil, refusal
	}
	return got, nil
}

// checkReply checks the status and the header.
func (c *Collector) checkReply(reply *http.Response) *sms.Refusal {
	coding := reply.Header.Get("Content-Encoding")
	switch {
	case reply.StatusCode == http.StatusNotFound, reply.StatusCode == http.StatusGone:
		return sms.RefuseAs(sms.Unavailable, sms.FileGone)
	case reply.StatusCode != http.StatusOK:
		return fetchFailed("the media server answered with status " + strconv.Itoa(reply.StatusCode))
	case coding != "" && !strings.EqualFold(coding, "identity"):
		return fetchFailed("the media server compressed the file, though it was asked not to")
	case reply.ContentLength > c.MaxSize:
		return c.tooLarge()
	}
	return nil
}

// receive writes the decrypted body to temp and checks it.
func (c *Collector) receive(ctx context.Context, f *attachment.File, body io.Reader, temp *os.File) (*File, *sms.Refusal) {
	stream := io.LimitReader(body, c.MaxSize+1)
	key := f.Cipher()
	if key != nil {
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, sms.RefuseAs(sms.BadRequest, sms.AttachmentKey)
		}
		// The counter begins at 0, because a key encrypts a single file.
		stream = cipher.StreamReader{S: cipher.NewCTR(block, make([]byte, aes.BlockSize)), R: stream}
	}
	sum, disk := crc32.NewIEEE(), &failing{Writer: temp}
	size, err := io.Copy(io.MultiWriter(sum, disk), stream)
	switch {
	case disk.err != nil:
		return nil, noDisk(disk.err)
	case size > c.MaxSize:
		return nil, c.tooLarge()
	case err != nil && ctx.Err() != nil:
		return nil, sms.RefuseAs(sms.Unavailable, sms.FileSlow)
	case err != nil:
		return nil, sms.RefuseAs(sms.Unavailable, sms.FileCut)
	}
	got := &File{Type: sniff(temp), Size: size, CRC: sum.Sum32(), temp: temp}
	if refusal := check(f, got); refusal != nil {
		return nil, refusal
	}
	got.Type = settle(f.Type, got.Type)
	return got, nil
}

// failing remembers the error of a writer, to tell it from that of the reader.
type failing struct {
	io.Writer
	err error
}

func (w *failing) Write(p []byte) (n int, err error) {
	n, err = w.Writer.Write(p)
	w.err = errors.Join(w.err, err)
	return n, err
}

// check compares a file with what the app claims.
func check(claim *attachment.File, got *File) *sms.Refusal {
	short, broken := got.Size < claim.Size, claim.CRC != nil && *claim.CRC != got.CRC
	unlike := !agree(claim.Type, got.Type)
	encrypted := !claim.Key.Empty()
	switch {
	case got.Size == 0, short && (broken || claim.CRC == nil):
		return sms.RefuseAs(sms.Unavailable, sms.FileCut)
	case encrypted && unlike && (broken || got.Type == unknownType):
		return sms.RefuseAs(sms.BadRequest, sms.WrongKey)
	case broken:
		return sms.RefuseAs(sms.BadRequest, sms.FileDamaged)
	case unlike:
		return sms.RefuseAs(sms.UnsupportedContent, sms.FileTypeFalse)
	}
	return nil
}

// refusalOf returns the refusal for an error of the HTTP client, which quotes the address. Only
// words of this package reach the operator.
func refusalOf(ctx context.Context, err error) *sms.Refusal {
	var dns *net.DNSError
	switch {
	case errors.Is(err, errHost):
		return sms.RefuseAs(sms.BadRequest, sms.FileHost)
	case errors.Is(err, ssrf.ErrProhibitedIP), errors.Is(err, ssrf.ErrInvalidHostPort), errors.Is(err, ssrf.ErrProhibitedNetwork):
		return sms.RefuseAs(sms.BadRequest, sms.FilePrivate)
	case ctx.Err() != nil:
		return sms.RefuseAs(sms.Unavailable, sms.FileSlow)
	case errors.Is(err, errRedirects):
		return fetchFailed(fmt.Sprintf("the media server redirects more than %d times", maxRedirects))
	case errors.As(err, &dns):
		return fetchFailed("the name of the media server cannot be resolved")
	case errors.Is(err, syscall.ECONNREFUSED):
		return fetchFailed("the media server refuses the connection")
	}
	return fetchFailed("the connection to the media server failed")
}

func fetchFailed(detail string) *sms.Refusal {
	refusal := sms.RefuseAs(sms.Unavailable, sms.FileServer)
	refusal.Detail = detail
	return refusal
}

// hostNotAllowed names the host for the operator, who may have to allow it. A host is no secret: it
// is sent in clear to name servers and in the TLS handshake. Only letters, digits, dots and hyphens
// are quoted.
func hostNotAllowed(u *url.URL) *sms.Refusal {
	refusal := sms.RefuseAs(sms.BadRequest, sms.FileHost)
	host := strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r == ':' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' {
			return r
		}
		return -1
	}, strings.ToLower(u.Host))
	refusal.Detail = fmt.Sprintf("files may not be fetched from %s with %s", host[:min(len(host), 100)], u.Scheme)
	return refusal
}

func (c *Collector) tooLarge() *sms.Refusal {
	return sms.RefuseAs(sms.TooLong, sms.FileTooLarge, "limit", sms.Megabytes(c.MaxSize))
}

func noDisk(err error) *sms.Refusal {
	refusal := sms.RefuseAs(sms.Internal, sms.FileDisk)
	refusal.Detail = "cannot write a temporary file"
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		refusal.Detail += ": " + errno.Error()
	}
	return refusal
}
