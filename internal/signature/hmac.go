package signature

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"hash"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// basic compares a credential of HTTP Basic with a key such as user:password.
func basic(r *Request, key string, _ time.Time) error {
	user, password, ok := (&http.Request{Header: r.Header}).BasicAuth()
	if !ok {
		return ErrMissing
	}
	got, want := sha256.Sum256([]byte(user+":"+password)), sha256.Sum256([]byte(key))
	if subtle.ConstantTimeCompare(got[:], want[:]) == 0 {
		return ErrInvalid
	}
	return nil
}

// twilio signs the address and the sorted fields of a form, or the address alone, in which
// bodySHA256 is the hash of any other body. https://www.twilio.com/docs/usage/security
func twilio(r *Request, key string, _ time.Time) error {
	return compareURL(r, key, r.Header.Get("X-Twilio-Signature"))
}

func compareURL(r *Request, key, signature string) error {
	fields, err := r.form()
	if err != nil {
		return err
	}
	if fields == nil && len(r.Body) > 0 {
		u, err := url.Parse(r.URL)
		if err != nil {
			return ErrInvalid
		}
		body := sha256.Sum256(r.Body)
		if err := compareHex(u.Query().Get("bodySHA256"), body[:]); err != nil {
			return err
		}
	}
	err = ErrInvalid
	for _, address := range variants(r.URL) {
		if err = compare(signature, sum(sha1.New, key, address, sorted(fields))); err == nil {
			return nil
		}
	}
	return err
}

// signalwire signs forms as Twilio does, and JSON as a whole, in hexadecimal digits.
// https://developer.signalwire.com/guides/webhook-security
func signalwire(r *Request, key string, now time.Time) error {
	signature := r.Header.Get("X-SignalWire-Signature")
	if signature == "" {
		signature = r.Header.Get("X-Twilio-Signature")
	}
	if r.isForm() || len(r.Body) == 0 {
		return compareURL(r, key, signature)
	}
	err := ErrInvalid
	for _, address := range variants(r.URL) {
		if err = compareHex(signature, sum(sha1.New, key, address, string(r.Body))); err == nil {
			return nil
		}
	}
	return err
}

// plivoV2 signs the address without its query, and not the body: the path has to be secret too. This
// is what webhooks of messages have.
// https://www.plivo.com/docs/messaging/concepts/signature-validation
func plivoV2(r *Request, key string, _ time.Time) error {
	address, _, _ := strings.Cut(r.URL, "?")
	return plivo(r, "V2", key, func(nonce string) string { return address + nonce })
}

// plivoV3 signs the sorted query and the sorted fields of a form.
func plivoV3(r *Request, key string, _ time.Time) error {
	address, query, _ := strings.Cut(r.URL, "?")
	names, err := url.ParseQuery(query)
	if err != nil {
		return ErrInvalid
	}
	fields, err := r.form()
	if err != nil {
		return err
	}
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		for _, value := range slices.Sorted(slices.Values(names[name])) {
			pairs = append(pairs, name+"="+value)
		}
	}
	if len(pairs) > 0 || len(fields) > 0 {
		address += "?" + strings.Join(pairs, "&")
	}
	if len(pairs) > 0 && len(fields) > 0 {
		address += "."
	}
	return plivo(r, "V3", key, func(nonce string) string { return address + sorted(fields) + "." + nonce })
}

// plivo compares the signatures of one version: those of the account and of the main account, several
// of each while a key is replaced.
func plivo(r *Request, version, key string, signed func(nonce string) string) error {
	nonce := r.Header.Get("X-Plivo-Signature-" + version + "-Nonce")
	err := ErrMissing
	for _, name := range []string{"X-Plivo-Signature-" + version, "X-Plivo-Signature-Ma-" + version} {
		for signature := range strings.SplitSeq(r.Header.Get(name), ",") {
			if signature == "" {
				continue
			}
			if err = compare(signature, sum(sha256.New, key, signed(nonce))); err == nil {
				return nil
			}
		}
	}
	return err
}

// sinch signs body, nonce and time, with dots between them.
// https://developers.sinch.com/docs/conversation/callbacks
func sinch(r *Request, key string, _ time.Time) error {
	const header = "X-Sinch-Webhook-Signature"
	return compare(r.Header.Get(header), sum(sha256.New, key, string(r.Body), ".", r.Header.Get(header+"-Nonce"), ".", r.Header.Get(header+"-Timestamp")))
}

// bird signs time, address and the hash of the body, a line each. The time is that of the first
// attempt, for hours, so that it does not limit the age.
func bird(r *Request, key string, _ time.Time) error {
	body := sha256.Sum256(r.Body)
	return compare(r.Header.Get("MessageBird-Signature"),
		sum(sha256.New, key, r.Header.Get("MessageBird-Request-Timestamp"), "\n", r.URL, "\n", string(body[:])))
}

// smsgate signs body and time. It retries for days, so that the time does not limit the age.
// https://docs.sms-gate.app/features/webhooks/
func smsgate(r *Request, key string, _ time.Time) error {
	return compareHex(r.Header.Get("X-Signature"), sum(sha256.New, key, string(r.Body), r.Header.Get("X-Timestamp")))
}

// zadarma signs the field result, and encodes the sum twice. That this is the rule for messages is not
// documented.
func zadarma(r *Request, key string, _ time.Time) error {
	fields, err := r.form()
	if err != nil {
		return err
	}
	digits := hex.EncodeToString(sum(sha1.New, key, fields.Get("result")))
	return compareText(r.Header.Get("Signature"), base64.StdEncoding.EncodeToString([]byte(digits)))
}

// commio signs the address and a JSON object of all fields, sorted and without blanks.
func commio(r *Request, key string, _ time.Time) error {
	var doc any
	if fields, err := r.form(); err != nil {
		return err
	} else if fields != nil {
		object := make(map[string]string, len(fields))
		for name, values := range fields {
			object[name] = values[len(values)-1]
		}
		doc = object
	} else if json.Unmarshal(r.Body, &doc) != nil {
		return ErrInvalid
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(doc) != nil {
		return ErrInvalid
	}
	return compare(r.Header.Get("X-Commio-Signature"), sum(sha1.New, key, r.URL, strings.TrimSuffix(b.String(), "\n")))
}

func vonageMD5(r *Request, key string, _ time.Time) error    { return vonage(r, key, md5.New) }
func vonageSHA1(r *Request, key string, _ time.Time) error   { return vonage(r, key, sha1.New) }
func vonageSHA256(r *Request, key string, _ time.Time) error { return vonage(r, key, sha256.New) }
func vonageSHA512(r *Request, key string, _ time.Time) error { return vonage(r, key, sha512.New) }

// vonage signs the parameters, each as &name=value and sorted by name. In values & and = become _.
// https://developer.vonage.com/en/getting-started/concepts/signing-messages
func vonage(r *Request, key string, h func() hash.Hash) error {
	fields, err := r.parameters()
	if err != nil {
		return err
	}
	signature := fields["sig"]
	delete(fields, "sig")
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		b.WriteString("&" + name + "=" + strings.NewReplacer("&", "_", "=", "_").Replace(fields[name]))
	}
	return compareHex(signature, sum(h, key, b.String()))
}

// parameters returns the parameters of a form, of a JSON object, or else of the query.
func (r *Request) parameters() (map[string]string, error) {
	list := make(map[string]string)
	fields, err := r.form()
	switch {
	case err != nil:
		return nil, err
	case fields == nil && len(r.Body) > 0:
		var doc map[string]json.RawMessage
		if json.Unmarshal(r.Body, &doc) != nil {
			return nil, ErrInvalid
		}
		for name, raw := range doc {
			text := string(raw)
			_ = json.Unmarshal(raw, &text) // numbers stay as they are written
			list[name] = text
		}
		return list, nil
	case fields == nil:
		_, query, _ := strings.Cut(r.URL, "?")
		if fields, err = url.ParseQuery(query); err != nil {
			return nil, ErrInvalid
		}
	}
	for name := range fields {
		list[name] = fields.Get(name)
	}
	return list, nil
}
