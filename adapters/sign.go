package adapters

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// signature is a sign line: the name of a signer and its arguments.
type signature struct {
	scheme string
	args   []template
}

// signer puts a signature over a finished request. It is made once for an adapter, from the values of its arguments.
type signer func(r *http.Request, body []byte, now time.Time) error

// signers are the schemes that cannot be said in the language: how many arguments each takes at least and at most,
// and what makes its signer.
var signers = map[string]struct {
	least, most int
	usage       string
	make        func(args []string) signer
}{
	"aws_v4": {4, 5, "SERVICE REGION ACCESS_KEY_ID SECRET_ACCESS_KEY [SESSION_TOKEN]", awsV4},
}

func (p *parser) parseSign(s *statement) (*signature, error) {
	known := slices.Sorted(maps.Keys(signers))
	if len(s.words) < 2 {
		return nil, s.fail("write: sign %s …", strings.Join(known, "|"))
	}
	scheme, ok := signers[s.words[1].text]
	if !ok {
		return nil, s.fail("unknown signature %q%s", s.words[1].text, meant(s.words[1].text, known))
	}
	sig := &signature{scheme: s.words[1].text}
	if n := len(s.words) - 2; n < scheme.least || n > scheme.most {
		return nil, s.fail("write: sign %s %s", sig.scheme, scheme.usage)
	}
	for _, w := range s.words[2:] {
		t, err := p.parseTemplate(s, w.text)
		if err != nil {
			return nil, err
		}
		if hole, bad := t.holds("sms.", "message.", "attempt."); bad {
			return nil, s.fail("{%s} has no place in a credential", hole)
		}
		sig.args = append(sig.args, t)
	}
	return sig, nil
}

func (s *signature) bind(options map[string]string) signer {
	args := make([]string, signers[s.scheme].most)
	for i, t := range s.args {
		if bound, ok := t.bind(options); ok {
			args[i], _ = bound.fixed()
		}
	}
	return signers[s.scheme].make(args)
}

// awsV4 signs with AWS Signature Version 4.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
func awsV4(args []string) signer {
	service, region := args[0], args[1]
	credentials := aws.Credentials{AccessKeyID: args[2], SecretAccessKey: args[3], SessionToken: args[4]}
	v := v4.NewSigner()
	return func(r *http.Request, body []byte, now time.Time) error {
		sum := sha256.Sum256(body)
		return v.SignHTTP(context.Background(), credentials, r, hex.EncodeToString(sum[:]), service, region, now)
	}
}
