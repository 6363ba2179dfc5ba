package journal

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/mac"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Key identifies a message in the store. It is a keyed hash under the journal's secret, so that it
// reveals nothing about the message.
type Key [16]byte

// keyOf is the key of a message without an app id. It depends on the sender, recipient, content,
// and site.
func keyOf(secret *mac.Key, m *sms.Message) Key { return textKeyOf(secret, m, "") }

// olderKeyOf is the key that older versions of the program used for a message with an app id.
func olderKeyOf(secret *mac.Key, m *sms.Message) Key { return textKeyOf(secret, m, m.Disposition.ID) }

func textKeyOf(secret *mac.Key, m *sms.Message, id string) (k Key) {
	texts := append(make([]string, 0, 12), m.Site, m.User, m.InstallID, m.From.Value, m.To.Value, m.ContentType, id, m.Body.Reveal())
	d := secret.Digest(appendFiles(texts, m)...)
	copy(k[:], d[:])
	return k
}

// idKeyOf is the key of a message with an app id. The site is not part of it, because an app may
// send the same message to another address of the server.
func idKeyOf(secret *mac.Key, m *sms.Message) (k Key) {
	d := secret.Digest("id", m.User, m.InstallID, m.From.Value, m.To.Value, m.Disposition.ID)
	copy(k[:], d[:])
	return k
}

// appendFiles appends the digest of the files. Their URLs differ each time.
func appendFiles(texts []string, m *sms.Message) []string {
	if m.FilesDigest == "" {
		return texts
	}
	return append(texts, m.FilesDigest)
}

// textOf is the digest of a text, never 0.
func textOf(secret *mac.Key, m *sms.Message) int64 {
	d := secret.Digest(appendFiles(append(make([]string, 0, 4), "text", m.Body.Reveal()), m)...)
	return int64(binary.LittleEndian.Uint64(d[:])) | 1
}

// HistoryKey returns the key under which an entry stays stored after another message has replaced
// it under its own key: a user may still read out the old reference. is reports whether the entry
// must stay.
func HistoryKey(before, after *Entry) (to Key, is bool) {
	if before.State == None || before.State == Pending || after.State == None || before.ID == after.ID || before.Reference == after.Reference {
		return to, false
	}
	sum := sha256.Sum256([]byte("displaced " + before.ID))
	return Key(sum[:len(to)]), true
}
