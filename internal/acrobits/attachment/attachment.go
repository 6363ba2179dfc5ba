// Package attachment reads and writes application/x-acro-filetransfer+json, the document in which
// the app describes pictures and files that lie on a media server.
// https://doc.acrobits.net/api/client/x-acro-filetransfer.html
//
// It never downloads anything, and never puts an address, a key, a name or a caption into an error:
// they are Hidden. The gateway reads documents that apps send, and writes those of received
// pictures. All functions are safe for concurrent use.
package attachment

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash/crc32"
	"strconv"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// ContentType is the media type of the document.
const ContentType = "application/x-acro-filetransfer+json"

// MaxFiles is the maximum number of files in a message.
const MaxFiles = 10

// Transfer is the contents of a document: a caption and at least one file.
type Transfer struct {
	Caption sms.Hidden
	Files   []File
}

// File describes one file. Only the URL is always present.
type File struct {
	// URL is the address of the file, which is encrypted if there is a key.
	URL sms.Hidden
	// Type is the media type that the app claims, in lower case and without parameters. It is
	// empty if the app claims none.
	Type string
	// Size is the claimed number of bytes, 0 if the app claims none. It is the same before and
	// after decryption.
	Size int64
	// Name is the original name of the file. Pictures of a camera and voice notes have none.
	Name sms.Hidden
	// Key is the AES key in hexadecimal digits: 32, 48 or 64 of them. It is empty if the file is
	// not encrypted.
	Key sms.Hidden
	// CRC is the CRC-32 (IEEE) of the decrypted file, nil if the document has none or one that
	// cannot be read.
	CRC *uint32
}

// Cipher returns the AES key, nil if the file is not encrypted.
func (f *File) Cipher() []byte {
	key, err := hex.DecodeString(f.Key.Reveal())
	if err != nil || len(key) == 0 {
		return nil
	}
	return key
}

// Identity returns a digest by which a duplicate is found: of the caption, and of each file's
// checksum, size and name. The app uploads a file again for a second tap, so the URL counts only if
// the checksum is missing.
func (t *Transfer) Identity() string {
	h := sha256.New()
	add := func(field string) {
		h.Write(strconv.AppendInt(nil, int64(len(field)), 10))
		h.Write([]byte(":" + field))
	}
	add(t.Caption.Reveal())
	for _, f := range t.Files {
		if f.CRC == nil {
			add("url")
			add(f.URL.Reveal())
			continue
		}
		add(strconv.FormatUint(uint64(*f.CRC), 10))
		add(strconv.FormatInt(f.Size, 10))
		add(f.Name.Reveal())
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Checksum returns the CRC-32 of data as File.CRC has it.
func Checksum(data []byte) *uint32 {
	sum := crc32.ChecksumIEEE(data)
	return &sum
}

// document and item are the written form. The order of members is that of the vendor's example.
type document struct {
	Body        string `json:"body,omitempty"`
	Attachments []item `json:"attachments"`
}

type item struct {
	Type string `json:"content-type,omitempty"`
	URL  string `json:"content-url"`
	Size int64  `json:"content-size,omitempty"`
	Name string `json:"filename,omitempty"`
	Key  string `json:"encryption-key,omitempty"`
	Hash string `json:"hash,omitempty"`
}

// Document returns the transfer as the app reads it.
func (t *Transfer) Document() sms.Hidden {
	d := document{t.Caption.Reveal(), make([]item, 0, len(t.Files))}
	for _, f := range t.Files {
		i := item{f.Type, f.URL.Reveal(), f.Size, f.Name.Reveal(), f.Key.Reveal(), ""}
		if f.CRC != nil {
			i.Hash = strconv.FormatUint(uint64(*f.CRC), 10)
		}
		d.Attachments = append(d.Attachments, i)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	_ = e.Encode(d) // strings and numbers always encode
	return sms.Hide(string(bytes.TrimSpace(out.Bytes())))
}
