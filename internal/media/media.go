// Package media collects the pictures and files of a message: it downloads, decrypts and checks
// them, makes them fit what a provider accepts, and stores them for a while where providers and apps
// can fetch them.
//
// It never hands on a file that is cut, or whose checksum, key or type is wrong. It never holds a
// file in memory, with the exception of pictures that it decodes, for which a Budget has a bound. No
// address, key, name or token appears in its errors. The gateway calls it between the claim and the
// first attempt, and for pictures that a provider received. All types are safe for concurrent use,
// except File.
package media

import (
	"context"
	"crypto/tls"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"code.dny.dev/ssrf"
	"golang.org/x/sync/errgroup"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/attachment"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// File is a file on the disk without a name. It must be closed.
type File struct {
	// Type is the media type that its bytes show, in lower case without parameters.
	Type string
	// Size is the number of bytes.
	Size int64
	// CRC is the CRC-32 (IEEE) of the bytes.
	CRC uint32

	temp *os.File
}

// Reader returns a new reader of the whole file. Readers are independent of each other.
func (f *File) Reader() *io.SectionReader { return io.NewSectionReader(f.temp, 0, f.Size) }

// Close removes the file from the disk.
func (f *File) Close() error { return discard(f.temp) }

// Close closes all files.
func Close(files []*File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// createTemp creates a file and removes its name at once, so that a process that is killed leaves
// nothing behind.
func createTemp(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "acrobits_sms-*")
	if err == nil {
		_ = os.Remove(f.Name()) // Windows refuses this for open files; discard repeats it
	}
	return f, err
}

func discard(f *os.File) error {
	err := f.Close()
	_ = os.Remove(f.Name())
	return err
}

// seal measures a file that is complete.
func seal(temp *os.File, mediaType string) (*File, error) {
	sum := crc32.NewIEEE()
	size, err := temp.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = io.Copy(sum, io.NewSectionReader(temp, 0, size))
	}
	return &File{Type: mediaType, Size: size, CRC: sum.Sum32(), temp: temp}, err
}

// Options are the settings of a Collector.
type Options struct {
	// Sources are the addresses that files may be downloaded from.
	Sources []Source
	// MaxSize is the maximum number of bytes of a file.
	MaxSize int64
	// Dir is the folder for files while a message is sent, empty for the system's.
	Dir string
	// Budget is shared by all collectors of the process.
	Budget *Budget
	// Authorize adds the credential of a provider to a request, nil if there is none. It is not
	// called for redirects, which never carry the credential.
	Authorize func(*http.Request)
}

// DefaultMaxSize is the maximum size of a file by default, in bytes.
const DefaultMaxSize = 25_000_000

// The bounds on a download besides the deadline of its context.
const (
	dialTimeout  = 10 * time.Second
	maxTime      = 5 * time.Minute
	maxRedirects = 5
	maxHeader    = 64 << 10 // bytes
)

// Collector downloads the files of messages and makes them fit.
type Collector struct {
	Options
	client http.Client
	dialer net.Dialer
	public net.Dialer
}

// NewCollector makes a collector. Its Close must be called.
func NewCollector(o Options) *Collector {
	c := &Collector{Options: o}
	c.dialer = net.Dialer{Timeout: dialTimeout}
	c.public = c.dialer
	c.public.Control = ssrf.New(ssrf.WithAnyPort()).Safe
	c.client = http.Client{CheckRedirect: c.checkRedirect, Transport: &http.Transport{
		DialContext:            c.dial,
		DisableCompression:     true, // a decompressed body may be of any size
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: maxHeader,
		IdleConnTimeout:        30 * time.Second,
		TLSHandshakeTimeout:    dialTimeout,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
	}}
	return c
}

// Close closes idle connections.
func (c *Collector) Close() { c.client.CloseIdleConnections() }

// Collect downloads the files of a transfer and makes them fit the limits. If a file fails, none is
// returned and none is left on the disk. ctx must have the deadline of the collecting.
func (c *Collector) Collect(ctx context.Context, user string, t attachment.Transfer, l sms.MediaLimits) ([]*File, *sms.Refusal) {
	if l.Count > 0 && len(t.Files) > l.Count {
		return nil, sms.TooMany(len(t.Files), l.Count)
	}
	release, err := c.Budget.acquire(ctx, user)
	if err != nil {
		return nil, sms.RefuseAs(sms.Busy, sms.ManyPictures)
	}
	defer release()
	files, refusal := c.download(ctx, t.Files)
	if refusal != nil {
		return nil, refusal
	}
	fitted, refusal := c.fit(ctx, files, l)
	if refusal != nil {
		Close(files)
		return nil, refusal
	}
	return fitted, nil
}

// errRefused ends the downloads of a message after one of them failed.
var errRefused = errors.New("refused")

// download downloads files at once, at most two at a time. It returns all or none.
func (c *Collector) download(ctx context.Context, wanted []attachment.File) ([]*File, *sms.Refusal) {
	files, refusals := make([]*File, len(wanted)), make([]*sms.Refusal, len(wanted))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(2)
	failed := make(chan int, len(wanted))
	for i := range wanted {
		group.Go(func() error {
			if files[i], refusals[i] = c.fetch(inner, &wanted[i]); refusals[i] == nil {
				return nil
			}
			failed <- i
			return errRefused
		})
	}
	if group.Wait() == nil {
		return files, nil
	}
	first := <-failed // the others may have been ended by it
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
	return nil, refusals[first]
}
