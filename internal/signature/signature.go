// Package signature checks the signatures of providers' webhooks. Each provider has a scheme of its
// own, which signs different parts of the request.
//
// It does no I/O and never says which part of a request is wrong, apart from the operator's own
// clock and keys. Comparisons take constant time. The caller decides whether a signature is
// required, and finds deliveries that are repeated by their ids, because most schemes do not limit
// the age. All functions are safe for concurrent use.
package signature

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Request is a webhook as the provider sent it.
type Request struct {
	Method string
	// URL is the absolute address that the provider called. Behind a proxy it differs from that of
	// the request.
	URL    string
	Header http.Header
	Body   []byte
}

// The reasons why a request is refused.
var (
	ErrMissing = errors.New("the request has no signature")
	ErrInvalid = errors.New("the signature is that of another request or of another key")
	ErrTime    = errors.New("the signature is too old, or the clock of this server is wrong")
	ErrKey     = errors.New("there is no key, or it has another form than the provider's keys")
)

// Scheme checks the signature of a request with one key.
type Scheme func(r *Request, key string, now time.Time) error

// schemes are the schemes by their names in definitions.
var schemes = map[string]Scheme{
	"basic":         basic,
	"bird":          bird,
	"commio":        commio,
	"messagebird":   messagebird,
	"plivo_v2":      plivoV2,
	"plivo_v3":      plivoV3,
	"signalwire":    signalwire,
	"sinch":         sinch,
	"smsgate":       smsgate,
	"sns":           sns,
	"telnyx":        telnyx,
	"twilio":        twilio,
	"vonage_jwt":    vonageJWT,
	"vonage_md5":    vonageMD5,
	"vonage_sha1":   vonageSHA1,
	"vonage_sha256": vonageSHA256,
	"vonage_sha512": vonageSHA512,
	"zadarma":       zadarma,
}

// Names returns the names of all schemes.
func Names() []string { return slices.Sorted(maps.Keys(schemes)) }

// Named finds a scheme by its name.
func Named(name string) (Scheme, bool) {
	s, ok := schemes[name]
	return s, ok
}

// Verify accepts a request that is signed with any of the keys, because providers sign with the old
// key for a while after a new one was made. It returns the error of the last key.
func (s Scheme) Verify(r *Request, keys []sms.Hidden, now time.Time) error {
	err := ErrKey
	for _, key := range keys {
		if key.Empty() { // with an empty key anybody can sign
			continue
		}
		if err = s(r, key.Reveal(), now); err == nil {
			return nil
		}
	}
	return err
}

// sum returns the HMAC of parts in a row.
func sum(h func() hash.Hash, key string, parts ...string) []byte {
	m := hmac.New(h, []byte(key))
	for _, part := range parts {
		m.Write([]byte(part))
	}
	return m.Sum(nil)
}

// compare compares the sum with a signature in base64.
func compare(signature string, sum []byte) error {
	return compareText(signature, base64.StdEncoding.EncodeToString(sum))
}

// compareHex compares the sum with a signature in hexadecimal digits of any case.
func compareHex(signature string, sum []byte) error {
	return compareText(strings.ToLower(signature), hex.EncodeToString(sum))
}

func compareText(signature, want string) error {
	switch {
	case signature == "":
		return ErrMissing
	case !hmac.Equal([]byte(strings.TrimSpace(signature)), []byte(want)):
		return ErrInvalid
	}
	return nil
}

// isForm reports whether the body is a form by its Content-Type.
func (r *Request) isForm() bool {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && t == "application/x-www-form-urlencoded"
}

// form returns the fields of the body, none if it is not a form.
func (r *Request) form() (url.Values, error) {
	if !r.isForm() {
		return nil, nil
	}
	fields, err := url.ParseQuery(string(r.Body))
	if err != nil {
		return nil, ErrInvalid
	}
	return fields, nil
}

// sorted returns each name and its values, sorted by name.
func sorted(fields url.Values) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		for _, value := range fields[name] {
			b.WriteString(name)
			b.WriteString(value)
		}
	}
	return b.String()
}

// variants returns the address and its variants with and without the standard port, because
// providers differ in which one they sign, at times from one request to the next.
func variants(address string) []string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return []string{address}
	}
	head, tail, _ := strings.Cut(address, u.Host)
	host := strings.TrimSuffix(u.Host, ":"+u.Port())
	port := map[string]string{"https": "443", "http": "80"}[strings.ToLower(u.Scheme)]
	list := []string{address, head + host + tail}
	if u.Port() == "" {
		list = append(list, head+host+":"+port+tail)
	}
	return slices.Compact(list)
}
