//go:build e2e

package e2e

import (
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"testing"
)

// curl, which knows nothing of us, logs in by Digest, behind handlers that change the address. A challenge sends nothing.
func TestDigestOfCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	p := newProvider(t).plain()
	address := freeAddress(t)
	file := write(t, "Caddyfile", fmt.Sprintf(options+`%s {
	handle_path /sms/* {
		rewrite * /send{uri}
		acrobits_sms * {
			user johndow {
				password {env.PASSWORD}
				from     +15550001111
			}
			default_region US
			digest
			adapter twilio {
				base_url    %s
				account_sid AC1
				auth_token  {env.TOKEN}
			}
		}
	}
}
`, site("http", address), p.URL))
	start(t, file, address, "PASSWORD=a-password-for-johndow", "TOKEN=x")
	text := url.Values{"sms_to": {"+15551234567"}, "sms_body": {"Hello World"}}.Encode()
	for name, c := range map[string]struct {
		args   []string
		status string
		sent   int
	}{
		"GET":            {[]string{"--digest", "--user", "johndow:a-password-for-johndow", "?" + text}, "200", 1},
		"POST":           {[]string{"--digest", "--user", "johndow:a-password-for-johndow", "--data", text, ""}, "200", 1},
		"wrong password": {[]string{"--digest", "--user", "johndow:guess", "--data", text, ""}, "401", 0},
		"no password":    {[]string{"--data", text, ""}, "401", 0},
		"basic":          {[]string{"--user", "johndow:a-password-for-johndow", "--data", text, ""}, "200", 1},
	} {
		last := len(c.args) - 1
		c.args[last] = "http://" + address + "/sms/x/y" + c.args[last]
		out, err := exec.Command(curl, append([]string{"--silent", "--show-error", "--max-time", "20", "--write-out", "\n%{http_code}"}, c.args...)...).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if status := string(out[strings.LastIndexByte(string(out), '\n')+1:]); status != c.status {
			t.Errorf("%s: %s, want %s", name, out, c.status)
		}
		if got := p.take(); len(got) != c.sent {
			t.Errorf("%s: the provider got %d requests, want %d", name, len(got), c.sent)
		}
	}
}
