package adapters

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Signatures over fixed requests.
func TestSignatures(t *testing.T) {
	aws := []string{"service", "us-east-1", "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", ""}
	amazon := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	const credential = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
	for name, c := range map[string]struct {
		make                     func([]string) (signer, error)
		args                     []string
		method, url, media, body string
		now                      time.Time
		want                     string
	}{
		// get-vanilla and post-x-www-form-urlencoded of the suite that AWS publishes.
		// https://docs.aws.amazon.com/general/latest/gr/signature-v4-test-suite.html
		"aws get": {awsV4, aws, "GET", "https://example.amazonaws.com/", "", "", amazon,
			credential + "SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		"aws form": {awsV4, aws, "POST", "https://example.amazonaws.com/", "application/x-www-form-urlencoded", "Param1=value1", amazon,
			credential + "SignedHeaders=content-type;host;x-amz-date, Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
		// Azure publishes none: computed with openssl from its description.
		"azure": {azureHMAC, []string{"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}, "POST", "https://demo.communication.azure.com/sms?api-version=2021-03-07",
			"application/json", `{"from":"+15550100001","smsRecipients":[{"to":"+15550100002"}],"message":"Hi"}`, time.Date(2019, 3, 26, 16, 6, 51, 0, time.UTC),
			"HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature=b7yTNr8vxQ+9+gWDqE7Y+YuxKJSmAtWSBSK5mu+EA0k="},
		// Zadarma publishes none: computed with Python as its PHP client computes it. The order of
		// the form does not count.
		"zadarma": {zadarma, []string{"key", "secret"}, "POST", "https://api.zadarma.com/v1/sms/send/", "application/x-www-form-urlencoded",
			"number=15551231234&message=Hello+~+W%C3%B6rld&caller_id=15550001111&format=json", now,
			"key:OWQ1NTU5YTU1MjVhNzg1MGU5MDk4M2RiZTI2YjY0Yzc2Mjk3OWRkOA=="},
	} {
		sign, err := c.make(c.args)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequest(c.method, c.url, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if r.ContentLength = 0; c.media != "" {
			r.Header.Set("Content-Type", c.media)
		}
		if err := sign(r, []byte(c.body), c.now); err != nil {
			t.Fatal(err)
		}
		if got := r.Header.Get("Authorization"); got != c.want {
			t.Errorf("%s: got  %s\nwant %s", name, got, c.want)
		}
	}
}

// Keys that are none are found when the adapter is made.
func TestBadKeys(t *testing.T) {
	for name, make := range map[string]func() (signer, error){
		"half a key": func() (signer, error) { return awsV4([]string{"sns", "us-east-1", "AKID", "", ""}) },
		"no base64":  func() (signer, error) { return azureHMAC([]string{"%"}) },
	} {
		if _, err := make(); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// Without a key in the options the machine's own is used; a machine that has none refuses the
// message.
func TestMachineCredentials(t *testing.T) {
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDMACHINE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	d, err := Builtin("aws_sns")
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.Bind("", "", map[string]string{"region": "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	if r, _ := request(t, a, saying("Hello")); !strings.Contains(r.Header.Get("Authorization"), "Credential=AKIDMACHINE/") {
		t.Error(r.Header)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	if a, err = d.Bind("", "", map[string]string{"region": "us-east-1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Prepare(t.Context(), saying("Hello"), noToken, now); causeOf(err) != "misconfigured" {
		t.Error(err)
	}
}

// The request that goes out to Amazon is the one that was signed, including its body.
func TestAWSSignsTheRequest(t *testing.T) {
	d, err := Builtin("aws_sns")
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.Bind("", "", map[string]string{"region": "us-east-1", "access_key_id": "AKIDEXAMPLE", "secret_access_key": "secret"})
	if err != nil {
		t.Fatal(err)
	}
	r, body := request(t, a, saying("Hello"))
	got := r.Header.Get("Authorization")
	again := r.Clone(context.Background())
	for _, h := range []string{"Authorization", "X-Amz-Date"} {
		again.Header.Del(h)
	}
	sum := sha256.Sum256([]byte(body))
	creds := aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret"}
	if err := v4.NewSigner().SignHTTP(context.Background(), creds, again, hex.EncodeToString(sum[:]), "sns", "us-east-1", now); err != nil {
		t.Fatal(err)
	}
	if want := again.Header.Get("Authorization"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
