//go:build e2e

package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// leaks finds a canary in an output: plain, or escaped for URLs, JSON, hexadecimal or base64.
func leaks(out, canary string) (how []string) {
	quoted, err := json.Marshal(canary)
	if err != nil {
		panic(err)
	}
	twice, err := json.Marshal(strings.Trim(string(quoted), `"`))
	if err != nil {
		panic(err)
	}
	forms := map[string]string{
		"plain": canary, "query": url.QueryEscape(canary), "path": url.PathEscape(canary), "JSON": strings.Trim(string(quoted), `"`),
		"JSON twice": strings.Trim(string(twice), `"`), "hex": hex.EncodeToString([]byte(canary)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(canary))),
	}
	for shift := range 3 { // what stands before the text moves the letters of base64
		for name, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			text := enc.EncodeToString(append(make([]byte, shift), canary...))
			from := (shift*8 + 5) / 6
			forms[fmt.Sprint(name, shift)] = text[from : len(text)-2]
		}
	}
	for name, form := range forms {
		if strings.Contains(out, form) {
			how = append(how, name)
		}
	}
	return how
}

func TestLeaksAreFound(t *testing.T) {
	const canary = `canary "text" of ours`
	b64 := base64.StdEncoding.EncodeToString
	for _, out := range []string{
		canary, "x" + url.QueryEscape(canary), url.PathEscape(canary), `{"a":"canary \"text\" of ours"}`, hex.EncodeToString([]byte("ab" + canary)),
		b64([]byte(canary)), b64([]byte("1" + canary + "2")), b64([]byte("12" + canary + "34")), `"{\"a\":\"canary \\\"text\\\" of ours\"}"`,
	} {
		if len(leaks(out, canary)) == 0 {
			t.Errorf("%s is not found", out)
		}
	}
	if how := leaks("canary text", canary); how != nil {
		t.Error(how)
	}
}

// The canaries: everything that must appear nowhere.
var canaries = map[string]string{
	"password":   "canary-password-4711",
	"wrong":      "canary-wrong-password-0815",
	"token":      "canary-token-5150-abcdef",
	"auth_token": "canary-provider-secret-31337",
	"text":       `canary said: "grüße" 👋 & 100%`,
	"line":       "canary first line\ncanary second line",
}

const canarySite = `{
	admin %[1]s
	debug
	grace_period 5s
	auto_https off
	servers {
		trace
	}
	log default {
		%[6]s
	}
}
https://127.0.0.1:%[2]s {
	tls %[4]s %[5]s
	log {
		%[6]s
	}
	acrobits_sms /send_message* {
		user johndow {
			password {env.PASSWORD}
			token {env.TOKEN}
			from +15550001111
		}
		default_region US
		limit off
		lockout off
		attempt_timeout 300ms
		max_size 20000
		%[7]s
		adapter twilio {
			account_sid AC1
			auth_token {env.AUTH_TOKEN}
			base_url %[3]s
		}
	}
	acrobits_sms /path/* {
		user johndow {
			token {env.TOKEN}
		}
		default_region US
		limit off
		lockout off
		path /path/{token}/{to}/{body}
		adapter twilio {
			account_sid AC1
			auth_token {env.AUTH_TOKEN}
			base_url %[3]s
		}
	}
}
`

const filter = `format filter {
			request>uri regexp "([?&=]|%26|%3[DdFf]).*" "?REDACTED"
			request>headers>Referer delete
		}`

// post sends a message as a form.
func post(t *testing.T, c *http.Client, target, password, text string) (int, string) {
	t.Helper()
	resp, err := c.PostForm(target, url.Values{"from": {"johndow"}, "password": {password}, "to": {"5551231234"}, "body": {text}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	reply, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(reply)
}

// TestCanaries sends secrets and texts through everything that can happen, with every log that Caddy has at its most
// talkative, and looks for them in all that comes out.
func TestCanaries(t *testing.T) {
	p := newProvider(t).plain()
	dead := freeAddress(t)
	cert, key, pool := certificate(t)
	env := []string{"PASSWORD=" + canaries["password"], "TOKEN=" + canaries["token"], "AUTH_TOKEN=" + canaries["auth_token"], "DEAD=" + dead}
	run := func(t *testing.T, filter, more string, referer bool) (out string) {
		admin, address := freeAddress(t), freeAddress(t)
		_, port, _ := strings.Cut(address, ":")
		config := fmt.Sprintf(canarySite, admin, port, p.URL, cert, key, filter, more)
		file := write(t, "Caddyfile", config)
		s := start(t, file, address, env...)
		base := "https://" + address
		text := url.QueryEscape(canaries["text"])
		login := "from=johndow&password=" + canaries["password"]
		c1, c2 := client(t, pool, false), client(t, pool, true)
		each := func() {
			for _, c := range []*http.Client{c1, c2} {
				do := func(method, target, contentType, body string, header ...string) {
					r, err := http.NewRequest(method, base+target, strings.NewReader(body))
					if err != nil {
						t.Fatal(err)
					}
					if contentType != "" {
						r.Header.Set("Content-Type", contentType)
					}
					for i := 0; i+1 < len(header); i += 2 {
						r.Header.Set(header[i], header[i+1])
					}
					if referer {
						r.Header.Set("Referer", base+"/?"+login)
					}
					resp, err := c.Do(r)
					if err != nil {
						return // a provider that hangs up hangs up on nobody else
					}
					reply, _ := io.ReadAll(resp.Body)
					resp.Body.Close()
					out += fmt.Sprint(resp.StatusCode, resp.Header, string(reply))
				}
				quoted, _ := json.Marshal(canaries["line"])
				do("GET", "/send_message?"+login+"&to=5551231234&body="+text, "", "")
				do("GET", "/send_message?from=johndow&password="+canaries["wrong"]+"&to=5551231234&body="+text, "", "")
				do("GET", "/send_message?token="+canaries["token"]+"&to=5551231234&body="+text, "", "")
				do("GET", "/send_message?to=5551231234&body="+text, "", "", "X-Auth-Token", canaries["token"])
				do("GET", "/send_message?username=johndow&to=5551231234&body="+text, "", "", "Password", canaries["password"])
				do("GET", "/send_message?to=5551231234&body="+text, "", "", "Authorization", "Bearer "+canaries["token"])
				do("GET", "/send_message?to=5551231234&body="+text, "", "", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("johndow:"+canaries["password"])))
				do("GET", "/path/"+canaries["token"]+"/5551231234/"+url.PathEscape(canaries["text"]), "", "")
				do("POST", "/send_message", "application/x-www-form-urlencoded", login+"&to=5551231234&body="+text)
				do("POST", "/send_message", "application/json", `{"from":"johndow","password":"`+canaries["password"]+`","to":"5551231234","body":`+string(quoted)+`}`)
				do("POST", "/send_message", "application/json", `{"from":"johndow","password":"`+canaries["password"]+`" "to"`+string(quoted))
				do("POST", "/send_message", "text/xml", "<a><from>johndow</from><password>"+canaries["password"]+"</password><to>1</to><body>"+canaries["line"]+"</body></a>")
				do("POST", "/send_message", "application/x-www-form-urlencoded", login+"&to=5551231234&body="+strings.Repeat(text, 500))
				do("DELETE", "/send_message?"+login+"&to=5551231234&body="+text, "", "")
				do("GET", "/send_message?"+login+"&to=nobody&body="+text, "", "")
				do("GET", "/send_message?"+login+"&to=5551231234&body="+text+"&content_type=image/png", "", "")
			}
		}
		each()
		echo := canaries["text"] + " " + canaries["line"] + " " + canaries["auth_token"]
		doc, _ := json.Marshal(map[string]any{"code": 21211, "message": echo})
		for _, status := range []int{201, 400, 401, 500} {
			for _, body := range []string{string(doc), echo, "<html>" + echo} {
				p.say(status, body)
				each()
			}
		}
		p.do(func(w http.ResponseWriter, r *http.Request) { // no HTTP, but the text
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, echo+"\r\n\r\n")
				conn.Close()
			}
		})
		each()
		p.do(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		hello := func(c *http.Client) int {
			status, _ := post(t, c, base+"/send_message", canaries["password"], canaries["text"])
			return status
		}
		if status := hello(c2); status != 504 {
			t.Errorf("a provider that hangs: %d", status)
		}
		p.say(201, `{"sid":"SM1"}`)
		for _, path := range []string{"/config/", "/metrics", "/reverse_proxy/upstreams"} {
			if resp, err := http.Get("http://" + admin + path); err == nil {
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				out += string(body)
			}
		}
		for _, args := range [][]string{{"validate", "--config", file, "--adapter", "caddyfile"}, {"adapt", "--config", file}} {
			printed, err := command(t, env, args...)
			if err != nil {
				t.Errorf("%s: %s", args, printed)
			}
			out += printed
		}
		// Where nobody listens.
		refused := write(t, "Caddyfile", strings.ReplaceAll(strings.ReplaceAll(config, p.URL, "http://"+dead), admin, freeAddress(t)))
		s.stop()
		out += s.out.String()
		s = start(t, refused, address, env...)
		if status := hello(client(t, pool, false)); status != 502 {
			t.Errorf("a provider that does not listen: %d", status)
		}
		s.stop()
		if out += s.out.String(); !strings.Contains(out, `"level":"debug"`) || !strings.Contains(out, `"cause":"unavailable"`) {
			t.Error("the logs are not at their most talkative")
		}
		_ = filepath.WalkDir(filepath.Dir(file), func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() && filepath.Base(path) != "Caddyfile" {
				data, _ := os.ReadFile(path)
				out += string(bytes.ToValidUTF8(data, nil))
			}
			return nil
		})
		return out
	}
	t.Run("nothing", func(t *testing.T) {
		out := run(t, filter, "access_log", true)
		for name, canary := range canaries {
			for part := range strings.SplitSeq(canary, "\n") {
				if how := leaks(out, part); how != nil {
					at := strings.Index(out, part)
					t.Errorf("%s appears (%v): …%.300q", name, how, out[max(0, at-150):])
				}
			}
		}
	})
	t.Run("nothing without a filter", func(t *testing.T) {
		out := run(t, "format json", "", false)
		for name, canary := range canaries {
			if how := leaks(out, canary); how != nil {
				at := strings.Index(out, canary)
				t.Errorf("%s appears (%v): …%.300q", name, how, out[max(0, at-150):])
			}
		}
	})
	t.Run("nothing in a panic", func(t *testing.T) {
		panicking := filepath.Join(t.TempDir(), "panicking")
		if out, err := exec.Command("go", "build", "-o", panicking, "./panicking").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		address := freeAddress(t)
		_, port, _ := strings.Cut(address, ":")
		config := fmt.Sprintf(canarySite, "off", port, p.URL, cert, key, "format json", "transport panicking")
		s := startBinary(t, panicking, write(t, "Caddyfile", config), address, env...)
		c := client(t, pool, false)
		for _, target := range []string{"/send_message?from=johndow&password=" + canaries["password"] + "&to=5551231234&body=" + url.QueryEscape(canaries["text"])} {
			resp, err := c.Get("https://" + address + target)
			if err != nil {
				t.Fatal(err)
			}
			reply, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != 504 || !strings.Contains(string(reply), "<message>") {
				t.Errorf("%d %s", resp.StatusCode, reply)
			}
		}
		if status, body := post(t, c, "https://"+address+"/send_message", canaries["password"], canaries["line"]); status != 504 {
			t.Errorf("%d %s", status, body)
		}
		s.stop()
		out := s.out.String()
		if strings.Count(out, `"msg":"panic"`) != 2 {
			t.Errorf("the panics are not logged: %s", out)
		}
		for name, canary := range canaries {
			if how := leaks(out, canary); how != nil {
				t.Errorf("%s appears (%v)", name, how)
			}
		}
	})
	t.Run("a leak is found", func(t *testing.T) {
		out := run(t, "format json", "access_log", true) // logged, and nothing taken out
		for _, name := range []string{"password", "text", "token"} {
			if leaks(out, canaries[name]) == nil {
				t.Errorf("%s leaks and is not found", name)
			}
		}
	})
}
