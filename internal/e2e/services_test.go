//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

const wrongAddress = "Wrong address (URL) in the app's SMS settings"

// handler is the directive with a matcher or without one.
func handler(matcher, more string) string {
	return "\tacrobits_sms " + matcher + "{\n\t\tuser johndow {\n\t\t\tpassword 12345678\n\t\t}\n\t\tdefault_region US\n\t\tlimit off\n\t\tadapter sandbox\n" + more + "\n\t}\n"
}

// The path chooses between the service, the rest of the site, and the 404 of an address that does not exist.
func TestServicesByPath(t *testing.T) {
	const query = "?from=johndow&password=12345678&to=5551231234&body=hi"
	type want struct {
		path   string
		status int
		text   string
	}
	const sent, rest = "<sms_id>", "the rest of the site"
	for name, c := range map[string]struct {
		site string
		want []want
	}{
		"no matcher": {handler("", ""), []want{
			{"/send_message", 200, sent}, {"/send_message/", 200, sent}, {"/send_message/below", 200, sent},
			{"/sendmessage/", 404, wrongAddress}, {"/", 404, wrongAddress},
		}},
		"no matcher, with other directives": {handler("", "") + "\thandle /shop* {\n\t\trespond \"" + rest + "\"\n\t}\n\trespond /health 204\n", []want{
			{"/send_message/", 200, sent}, {"/shop/cart", 200, rest}, {"/health", 204, ""}, {"/sendmessage", 404, wrongAddress},
		}},
		"no matcher, a last respond": {handler("", "") + "\trespond \"" + rest + "\" 410\n", []want{
			{"/send_message/", 200, sent}, {"/sendmessage", 410, rest},
		}},
		"an error of another handler": {handler("", "") + "\terror /broken 503\n\thandle_errors {\n\t\trespond \"handled {err.status_code}\"\n\t}\n", []want{
			{"/broken", 503, "handled 503"}, {"/sendmessage", 404, wrongAddress},
		}},
		"two handlers": {"\troute {\n" + handler("", "") + handler("", "\t\tservices {\n\t\t\tsend /second\n\t\t}") + "\t}\n", []want{
			{"/send_message", 200, sent}, {"/second/", 200, sent}, {"/third", 404, wrongAddress},
		}},
		"a matcher": {handler("/sms/* ", "") + "\trespond \"" + rest + "\" 410\n", []want{
			{"/sms/anything", 200, sent}, {"/send_message/", 410, rest},
		}},
		"all requests": {handler("* ", ""), []want{{"/anything", 200, sent}, {"/send_message/", 200, sent}}},
		"handle_path": {"\thandle_path /send_message* {\n" + handler("", "") + "\t}\n\thandle_path /texts/* {\n" +
			handler("", "\t\tpublic_url http://sms.example.com/texts") + "\t}\n\thandle_path /api/* {\n" + handler("", "") + "\t}\n", []want{
			{"/send_message/", 200, sent}, {"/texts/send_message", 200, sent}, {"/api/send_message", 404, wrongAddress}, {"/texts/x", 404, wrongAddress},
		}},
		"strip_prefix": {"\turi strip_prefix /send_message\n" + handler("", ""), []want{{"/send_message/x", 200, sent}, {"/x", 404, wrongAddress}}},
	} {
		t.Run(name, func(t *testing.T) {
			address := freeAddress(t)
			file := write(t, "Caddyfile", options+site("http", address)+" {\n\tbind 127.0.0.1\n\tlog {\n\t\toutput stdout\n\t}\n"+c.site+"}\n")
			s := start(t, file, address)
			for _, w := range c.want {
				resp, err := http.Get("http://" + address + w.path + query)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != w.status || !strings.Contains(string(body), w.text) || w.text == "" && len(body) > 0 {
					t.Errorf("%s: %d %s, want %d %s", w.path, resp.StatusCode, body, w.status, w.text)
				}
				if w.text != wrongAddress {
					continue
				}
				r, err := http.NewRequest(http.MethodPost, "http://"+address+w.path+query, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Accept", "application/json")
				if resp, err = http.DefaultClient.Do(r); err != nil {
					t.Fatal(err)
				}
				body, _ = io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != 404 || resp.Header.Get("Content-Type") != "application/json" || !strings.Contains(string(body), wrongAddress) {
					t.Errorf("%s as JSON: %d %v %s", w.path, resp.StatusCode, resp.Header, body)
				}
			}
			s.stop()
			for line := range strings.Lines(s.out.String()) {
				if strings.Contains(line, "http.log.access") && strings.Contains(line, "password") &&
					(strings.Contains(line, `"status":200`) && !strings.Contains(line, "/shop") || strings.Contains(line, `"status":404`)) {
					t.Errorf("the access log has an address with a password: %s", line)
				}
			}
		})
	}
}

// In stealth mode, an address that does not exist, and the service for strangers, give the same bytes as Caddy's own 404.
func TestStealthByPath(t *testing.T) {
	address := freeAddress(t)
	start(t, write(t, "Caddyfile", options+site("http", address)+" {\n\tbind 127.0.0.1\n"+handler("", "\t\tstealth")+"\trespond /nothing 404\n}\n"), address)
	answers := map[string]string{}
	for _, path := range []string{"/nothing", "/else", "/", "/send_message/", "/send_message/?username=johndow&password=wrong&to=5551231234&body=hi"} {
		resp, body := raw(t, dial(t, address), "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		resp.Header.Del("Date")
		answers[path] = fmt.Sprint(resp.Status, resp.Header, body)
		if answers[path] != answers["/nothing"] || resp.StatusCode != 404 {
			t.Errorf("%s: %s, want %s", path, answers[path], answers["/nothing"])
		}
	}
}
