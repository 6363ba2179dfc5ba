package adapters

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/syntax"
)

// signStatement is a `sign` line: the name of a signer and its arguments.
type signStatement struct {
	scheme string
	args   []template
}

// signer adds a signature to a complete request. It is made once for an adapter, from the values of
// the arguments.
type signer func(r *http.Request, body []byte, now time.Time) error

// signers are the signature schemes that the language cannot express. least and most bound the
// number of arguments.
var signers = map[string]struct {
	least, most int
	usage       string
	make        func(args []string) (signer, error)
}{
	"aws_v4":     {4, 5, "SERVICE REGION ACCESS_KEY_ID SECRET_ACCESS_KEY [SESSION_TOKEN]", awsV4},
	"azure_hmac": {1, 1, "ACCESS_KEY", azureHMAC},
	"zadarma":    {2, 2, "KEY SECRET", zadarma},
}

func (p *parser) parseSign(s *syntax.Statement) (*signStatement, error) {
	known := slices.Sorted(maps.Keys(signers))
	if len(s.Words) < 2 {
		return nil, s.Fail("write: sign %s …", strings.Join(known, "|"))
	}
	scheme, ok := signers[s.Words[1].Text]
	if !ok {
		return nil, s.Unknown("signature", s.Words[1].Text, known)
	}
	sig := &signStatement{scheme: s.Words[1].Text}
	if n := len(s.Words) - 2; n < scheme.least || n > scheme.most {
		return nil, s.Fail("write: sign %s %s", sig.scheme, scheme.usage)
	}
	for _, w := range s.Words[2:] {
		t, err := p.parseTemplate(s, w.Text)
		if err != nil {
			return nil, err
		}
		if hole, bad := t.holds(holesOfMessage...); bad {
			return nil, s.Fail("{%s} is not allowed in a credential", hole)
		}
		sig.args = append(sig.args, t)
	}
	return sig, nil
}

func (s *signStatement) bind(options map[string]string) (signer, error) {
	args := make([]string, signers[s.scheme].most)
	for i, t := range s.args {
		if bound, ok := t.bind(options); ok {
			args[i], _ = bound.fixed()
		}
	}
	return signers[s.scheme].make(args)
}

// awsV4 signs with AWS Signature Version 4. Without a key it uses the credentials of the machine:
// environment, shared configuration, container or instance role. It looks for them when the first
// message is sent.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
func awsV4(args []string) (signer, error) {
	service, region, id, secret, session := args[0], args[1], args[2], args[3], args[4]
	if (id == "") != (secret == "") {
		return nil, errors.New("give both the access key id and its secret, or none to use the machine's own credentials")
	}
	var source aws.CredentialsProvider = credentials.NewStaticCredentialsProvider(id, secret, session)
	if id == "" {
		source = aws.NewCredentialsCache(&machine{region: region})
	}
	v := v4.NewSigner()
	return func(r *http.Request, body []byte, now time.Time) error {
		// Not the context of the request: a trace in it would record the look-up of credentials as
		// part of the request.
		ctx, cancel := context.Background(), func() {}
		if end, ok := r.Context().Deadline(); ok {
			ctx, cancel = context.WithDeadline(ctx, end)
		}
		defer cancel()
		key, err := source.Retrieve(ctx)
		if err != nil {
			return errNoCredentials
		}
		sum := sha256.Sum256(body)
		return v.SignHTTP(ctx, key, r, hex.EncodeToString(sum[:]), service, region, now)
	}, nil
}

// errNoCredentials means that the machine has no credentials. It omits the reason, which may quote
// a credential.
var errNoCredentials = errors.New("no AWS credentials on this machine")

// machine finds the credentials of the machine. After a failure it waits 30 s before it looks
// again, because a look-up takes seconds.
type machine struct {
	region string
	mu     sync.Mutex
	again  time.Time
}

// Retrieve implements aws.CredentialsProvider.
func (m *machine) Retrieve(ctx context.Context) (aws.Credentials, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Now().Before(m.again) {
		return aws.Credentials{}, errNoCredentials
	}
	c, err := config.LoadDefaultConfig(ctx, config.WithRegion(m.region))
	if err == nil {
		var found aws.Credentials
		if found, err = c.Credentials.Retrieve(ctx); err == nil {
			return found, nil
		}
	}
	if ctx.Err() == nil { // a look-up that reached the message's deadline proves nothing
		m.again = time.Now().Add(30 * time.Second)
	}
	return aws.Credentials{}, err
}

// azureHMAC signs in the scheme of Azure Communication Services.
// https://learn.microsoft.com/en-us/azure/azure-communication-services/tutorials/hmac-header-tutorial
func azureHMAC(args []string) (signer, error) {
	key, err := base64.StdEncoding.DecodeString(args[0])
	if err != nil || len(key) == 0 {
		return nil, errors.New("the access key is not base64")
	}
	return func(r *http.Request, body []byte, now time.Time) error {
		sum := sha256.Sum256(body)
		date, content := now.UTC().Format(http.TimeFormat), base64.StdEncoding.EncodeToString(sum[:])
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s\n%s\n%s;%s;%s", r.Method, r.URL.RequestURI(), date, r.URL.Host, content)
		r.Header.Set("X-Ms-Date", date)
		r.Header.Set("X-Ms-Content-Sha256", content)
		r.Header.Set("Authorization", "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature="+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		return nil
	}, nil
}

// zadarma signs the path and the parameters of query and form, sorted by name and encoded as in
// PHP. The digest is encoded in hexadecimal, and the result in base64.
// https://github.com/zadarma/user-api-v1/blob/master/lib/Client.php
func zadarma(args []string) (signer, error) {
	key, secret := args[0], args[1]
	return func(r *http.Request, body []byte, _ time.Time) error {
		params := r.URL.Query()
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return err
		}
		maps.Copy(params, form)
		sorted := strings.ReplaceAll(params.Encode(), "~", "%7E")
		sum := md5.Sum([]byte(sorted))
		mac := hmac.New(sha1.New, []byte(secret))
		fmt.Fprintf(mac, "%s%s%x", r.URL.EscapedPath(), sorted, sum)
		r.Header.Set("Authorization", key+":"+base64.StdEncoding.EncodeToString([]byte(hex.EncodeToString(mac.Sum(nil)))))
		return nil
	}, nil
}
