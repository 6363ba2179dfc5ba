//go:build e2e

package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// The requests of the specification, byte for byte but for the Content-Length, which is printed wrong there.
const (
	specGET = "GET /send_message/?from=johndow&password=12345678&sms_to=%2B15551231234&sms_body=Hello%20World&content_type=text/plain&disposition_notification=xkXRBMCL.twvNcfC9:positive-delivery,display HTTP/1.1\r\n" +
		"Host: example.com\r\nConnection: close\r\nCache-Control: max-age=0\r\nUser-Agent: CloudSoftphone/1.5.6\r\n\r\n"
	specBody = "\n\n{\n    \"from\"         : \"johndow\",\n    \"password\"     : \"12345678\",\n    \"sms_to\"       : \"+1(555)123-1234\",\n" +
		"    \"sms_body\"     : \"Hello World\",\n    \"content_type\" : \"text/plain\",\n    \"disposition_notification\" : \"xkXRBMCL.twvNcfC9:positive-delivery, display\"\n}\n"
)

var specPOST = fmt.Sprintf("POST /send_message/ HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\nCache-Control: max-age=0\r\n"+
	"User-Agent: CloudSoftphone/1.5.6\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(specBody), specBody)

// fresh is a request with an id of its own, as each message has.
func fresh(request string) string {
	return strings.Replace(request, "xkXRBMCL.twvNcfC9", fmt.Sprintf("%017d", taps.Add(1)), 1)
}

// specified are the exchanges of the specification: what the provider says, and what the app reads.
var specified = []struct {
	request        string
	status         int
	says           string
	want           int
	kind, body     string
	method, target string
}{
	{specGET, 201, `{"sid":"afe3259dc234"}`, 200, "text/xml; charset=utf-8", "<response>\n    <sms_id>afe3259dc234</sms_id>\n</response>\n", "GET", ""},
	{specGET, 400, `{"code":30002,"message":"Account suspended"}`, 402, "text/xml; charset=utf-8", "<response><message>Not enough credit</message></response>\n", "GET", ""},
	{specPOST, 201, `{"sid":"12456"}`, 200, "application/json", "{\n    \"sms_id\" : \"12456\"\n}\n", "POST", ""},
	{specPOST, 400, `{"code":21211,"message":"The 'To' number is not a valid phone number."}`, 406, "application/json", "{\n    \"message\" : \"Invalid recipient\"\n}\n", "POST", ""},
}

// laterID is an id of the mock for a message that is not the first.
var laterID = regexp.MustCompile(`\b(afe3259dc234|12456)-[0-9]+`)

// checkReply compares a reply, and what the provider got.
func checkReply(t *testing.T, i int, p *provider, resp *http.Response, body string) {
	t.Helper()
	c := specified[i]
	body = laterID.ReplaceAllString(body, "$1")
	if resp.StatusCode != c.want || resp.Header.Get("Content-Type") != c.kind || body != c.body || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s: %d %s %q, want %d %q", c.method, resp.StatusCode, resp.Header, body, c.want, c.body)
	}
	got := p.take()
	if len(got) != 1 || got[0].body != "To=%2B15551231234&From=%2B15550001111&Body=Hello+World" {
		t.Errorf("%s: the provider got %d requests, the first %+v", c.method, len(got), got)
	}
}

func TestSpecification(t *testing.T) {
	p := newProvider(t).plain()
	cert, key, pool := certificate(t)
	plain, secure := freeAddress(t), freeAddress(t)
	file := write(t, "Caddyfile", options+
		twilio(site("http", plain), p.URL, "", "")+
		twilio(site("https", secure), p.URL, "\ttls "+cert+" "+key, ""))
	s := start(t, file, plain, "TOKEN=the-auth-token")

	for i, c := range specified {
		p.say(c.status, c.says)
		resp, body := raw(t, dial(t, plain), fresh(c.request))
		checkReply(t, i, p, resp, body)

		conn, err := tls.Dial("tcp", secure, &tls.Config{RootCAs: pool, NextProtos: []string{"http/1.1"}})
		if err != nil {
			t.Fatalf("%v\n%s", err, s.out)
		}
		resp, body = raw(t, conn, fresh(c.request))
		checkReply(t, i, p, resp, body)

		for _, http2 := range []bool{false, true} {
			var r *http.Request
			if c.method == "GET" {
				target, _, _ := strings.Cut(strings.TrimPrefix(fresh(c.request), "GET "), " ")
				r, err = http.NewRequest("GET", "https://"+secure+target, nil)
			} else if r, err = http.NewRequest("POST", "https://"+secure+"/send_message/", strings.NewReader(fresh(specBody))); err == nil {
				r.Header.Set("Content-Type", "application/json")
			}
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client(t, pool, http2).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.ProtoMajor != 1 && !http2 || resp.ProtoMajor != 2 && http2 {
				t.Errorf("HTTP/%d", resp.ProtoMajor)
			}
			checkReply(t, i, p, resp, string(text))
		}
	}

	// A request that is not a message of a user never reaches the provider.
	for request, want := range map[string]int{
		strings.Replace(specGET, "12345678", "wrong", 1):                                    401,
		strings.Replace(specGET, "johndow", "nobody", 1):                                    401,
		strings.Replace(specGET, "GET", "HEAD", 1):                                          405,
		strings.Replace(specGET, "GET", "OPTIONS", 1):                                       405,
		strings.Replace(specGET, "GET", "DELETE", 1):                                        405,
		strings.Replace(specGET, "%2B15551231234", "ACME", 1):                               406,
		strings.Replace(specGET, "text/plain", "image/png", 1):                              415,
		strings.Replace(specGET, "Hello%20World", "%20", 1):                                 400,
		strings.Replace(specGET, "sms_body", "sms_to=1&smsx", 1):                            400,
		strings.Replace(specPOST, "application/json", "multipart/form-data; boundary=x", 1): 415,
	} {
		resp, body := raw(t, dial(t, plain), request)
		if resp.StatusCode != want || want != 405 && !strings.Contains(body, "message") {
			t.Errorf("%.60q: %d %q, want %d", request, resp.StatusCode, body, want)
		}
		if got := p.take(); len(got) != 0 {
			t.Errorf("%.60q reached the provider", request)
		}
	}
	p.say(201, `{"sid":"1"}`)
	resp, _ := raw(t, dial(t, plain), strings.Replace(fresh(specGET), "/send_message/?", "/send_message?", 1))
	if got := p.take(); resp.StatusCode != 200 || len(got) != 1 {
		t.Errorf("without a trailing slash: %d, %d requests", resp.StatusCode, len(got))
	}
}
