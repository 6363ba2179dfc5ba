package signature

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// telnyxWindow is how far the time of a webhook may be from that of this server, as in the vendor's
// libraries.
const telnyxWindow = 5 * time.Minute

// telnyx signs time and body with Ed25519. The key is public, in base64.
// https://developers.telnyx.com/docs/messaging/messages/receiving-webhooks
func telnyx(r *Request, key string, now time.Time) error {
	public, err := base64.StdEncoding.DecodeString(strings.TrimSpace(key))
	if err != nil || len(public) != ed25519.PublicKeySize {
		return ErrKey
	}
	written, at := r.Header.Get("Telnyx-Signature-Ed25519"), r.Header.Get("Telnyx-Timestamp")
	if written == "" || at == "" {
		return ErrMissing
	}
	signature, err := base64.StdEncoding.DecodeString(written)
	if err != nil || !ed25519.Verify(public, append([]byte(at+"|"), r.Body...), signature) {
		return ErrInvalid
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return ErrInvalid
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > telnyxWindow || age < -telnyxWindow {
		return ErrTime
	}
	return nil
}

// envelope is a message of Amazon SNS.
type envelope struct {
	Type, MessageId, Subject, Message, Timestamp, TopicArn, Token, SubscribeURL string
	Signature, SignatureVersion, SigningCertURL                                 string
}

// snsHost matches the hosts of SNS, also those in China.
var snsHost = regexp.MustCompile(`^sns\.[a-z0-9-]{3,40}\.amazonaws\.com(\.cn)?$`)

// CertificateURL returns the address of the certificate with whose key an envelope of Amazon SNS is
// signed. ok is false unless the address belongs to SNS: anybody can sign with a certificate of their
// own.
func CertificateURL(body []byte) (address string, ok bool) {
	var e envelope
	if json.Unmarshal(body, &e) != nil {
		return "", false
	}
	u, err := url.Parse(e.SigningCertURL)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Port() != "" || !snsHost.MatchString(u.Host) || !strings.HasSuffix(u.Path, ".pem") {
		return "", false
	}
	return e.SigningCertURL, true
}

// sns checks an envelope of Amazon SNS with the certificate of its CertificateURL, in PEM.
// https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
func sns(r *Request, key string, now time.Time) error {
	block, _ := pem.Decode([]byte(key))
	if block == nil {
		return ErrKey
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return ErrKey
	}
	var e envelope
	if json.Unmarshal(r.Body, &e) != nil {
		return ErrInvalid
	}
	if e.Signature == "" {
		return ErrMissing
	}
	signature, err := base64.StdEncoding.DecodeString(e.Signature)
	if err != nil {
		return ErrInvalid
	}
	algorithm := x509.SHA256WithRSA
	switch e.SignatureVersion {
	case "1":
		algorithm = x509.SHA1WithRSA
	case "2":
	default:
		return ErrInvalid
	}
	if now.Before(certificate.NotBefore) || now.After(certificate.NotAfter) {
		return ErrTime
	}
	if certificate.CheckSignature(algorithm, []byte(e.signed()), signature) != nil {
		return ErrInvalid
	}
	return nil
}

// signed returns the text that is signed: each name and each value on a line.
func (e *envelope) signed() string {
	list := []string{"Message", e.Message, "MessageId", e.MessageId}
	if e.Type == "Notification" {
		if e.Subject != "" {
			list = append(list, "Subject", e.Subject)
		}
		list = append(list, "Timestamp", e.Timestamp, "TopicArn", e.TopicArn)
	} else {
		list = append(list, "SubscribeURL", e.SubscribeURL, "Timestamp", e.Timestamp, "Token", e.Token, "TopicArn", e.TopicArn)
	}
	return strings.Join(append(list, "Type", e.Type), "\n") + "\n"
}
