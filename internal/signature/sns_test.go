package signature

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// The first version of the signature is made with SHA-1, and the request to confirm a subscription has
// other members than a notification.
func TestSubscriptionConfirmation(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate := []sms.Hidden{sms.Hide(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))}
	e := map[string]string{
		"Type": "SubscriptionConfirmation", "MessageId": "1", "Token": "2", "TopicArn": "3", "Message": "4", "SubscribeURL": "5", "Timestamp": "6",
		"SignatureVersion": "1",
	}
	digest := sha1.Sum([]byte("Message\n4\nMessageId\n1\nSubscribeURL\n5\nTimestamp\n6\nToken\n2\nTopicArn\n3\nType\nSubscriptionConfirmation\n"))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA1, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	e["Signature"] = base64.StdEncoding.EncodeToString(signature)
	verify := func() error {
		body, _ := json.Marshal(e)
		return Scheme(sns).Verify(&Request{Body: body}, certificate, now)
	}
	if err := verify(); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"Type", "MessageId", "Token", "TopicArn", "Message", "SubscribeURL", "Timestamp", "SignatureVersion"} {
		before := e[name]
		e[name] = "x"
		if err := verify(); err != ErrInvalid {
			t.Errorf("another %s: %v", name, err)
		}
		e[name] = before
	}
}
