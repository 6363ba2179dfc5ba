package adapters

import (
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// An option with a list of values chooses between requests and members when the options are known.
func TestChoices(t *testing.T) {
	d, err := parse("own", "own", 1, `base_url https://x.example.com
option route optional in cheap fast
option extra optional
send {
	when {option.route} == fast
	POST /fast
	json {
		t {sms.body}
	}
}
send {
	when {option.route} != fast
	POST /cheap
	json {
		t {sms.body}
		when {option.extra} {
			extra {option.extra}
		}
		when no {option.extra} {
			plain true
		}
		route {option.route}
	}
}
reply json
accepted status 200
id id`)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		options map[string]string
		want    string
	}{
		{nil, `/cheap {"t":"Hi","plain":true,"route":"cheap"}`},
		{map[string]string{"route": "cheap", "extra": "x"}, `/cheap {"t":"Hi","extra":"x","route":"cheap"}`},
		{map[string]string{"route": "fast"}, `/fast {"t":"Hi"}`},
		{map[string]string{"route": "slow"}, "adapter own: option route is one of cheap, fast"},
	} {
		got := ""
		a, err := d.Bind("", "", c.options)
		if err != nil {
			got = err.Error()
		} else {
			r, body := request(t, a, saying("Hi"))
			got = r.URL.Path + " " + body
		}
		if got != c.want {
			t.Errorf("%v: %s, want %s", c.options, got, c.want)
		}
	}
	needed, err := parse("own", "own", 1, ruled("POST /\nform {\nt {sms.body}\n}")+"\noption need in a b\nnumber e164\nsend {\nPOST /\nform {\nx {option.need}\n}\n}")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := needed.Bind("", "", map[string]string{"host": "h"}); err == nil || !strings.Contains(err.Error(), "needs the option need") {
		t.Error(err)
	}
}

// Requests for pictures take no texts alone, unless the operator wants that.
func TestTextsAreNoMMS(t *testing.T) {
	long := strings.Repeat("Long texts. ", 300)
	for _, name := range Names() {
		d, err := Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		x := exchanges(t, name)[0]
		delete(x.Options, "long_text")
		a := x.adapter(t, d)
		for _, size := range []int{5, 150, 161, 400, 1000, 1700, 3500} {
			m := x.message()
			m.Media, m.Body = nil, sms.Hide(long[:size])
			plan, err := planOf(a, m, 100)
			if err != nil {
				continue // such as a text that this API refuses
			}
			for i := range plan.Split().Parts {
				sent, err := plan.Request(t.Context(), i, x.token(), now)
				if err != nil {
					continue
				}
				if all := sent.Request.URL.Path + readBody(t, sent.Request); plan.Split().MMS() || regexp.MustCompile(`(?i)mms\b|mt_media`).MatchString(all) {
					t.Errorf("%s: a text of %d characters goes to %s", name, size, all)
				}
			}
		}
	}
}

func TestLongTextsOfVoIPms(t *testing.T) {
	d, err := Builtin("voipms")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		choice string
		length int
		parts  int
		mms    bool
	}{{"", 160, 1, false}, {"", 161, 2, false}, {"split", 700, 5, false}, {"mms", 160, 1, false}, {"mms", 161, 1, true}, {"mms", 2048, 1, true}, {"mms", 2049, 2, true}} {
		a, err := d.Bind("", "", map[string]string{"api_username": "u", "api_password": "p", "long_text": c.choice})
		if err != nil {
			t.Fatal(err)
		}
		plan, err := planOf(a, saying(strings.Repeat("x", c.length)), 10)
		if err != nil || plan.Split().Parts != c.parts {
			t.Errorf("%q: %d bytes in %v, %v", c.choice, c.length, plan, err)
			continue
		}
		sent, err := plan.Request(t.Context(), 0, noToken, now)
		if err != nil || plan.Split().MMS() != c.mms || strings.Contains(readBody(t, sent.Request), "sendMMS") != c.mms {
			t.Errorf("%q: %d bytes, %v", c.choice, c.length, err)
		}
	}
	media := saying("Hi")
	media.Media = mediaAt("https://f/1")
	a, err := d.Bind("", "", map[string]string{"api_username": "u", "api_password": "p"})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := planOf(a, media, 1)
	if err != nil {
		t.Fatal(err)
	}
	if sent, err := plan.Request(t.Context(), 0, noToken, now); err != nil || !plan.Split().MMS() || !strings.Contains(readBody(t, sent.Request), "sendMMS") {
		t.Error("a picture is no MMS")
	}
}

// A request for pictures beside one for texts says when media.
func TestPicturesSayWhen(t *testing.T) {
	const around = "base_url https://x\nreply json\naccepted status 200\nid id\nsend {\nPOST /sms\nform {\nto {sms.to}\nt {sms.body}\n}\n}\n"
	for send, want := range map[string]string{
		"send {\nPOST /mms\nform {\nto {sms.to}\nt {sms.body}\nm {sms.media}\n}\n}":                    "x:12: write when media",
		"send {\nwhen {sms.body}\nPOST /mms\nform {\nto {sms.to}\nt {sms.body}\nm {sms.media.0}\n}\n}": "x:12: write when media",
		"send {\nwhen no media\nPOST /mms\nform {\nto {sms.to}\nt {sms.body}\nm {sms.media.0}\n}\n}":   "x:12: write when media",
		"send {\nwhen media\nPOST /mms\nform {\nto {sms.to}\nt {sms.body}\nm {sms.media.0}\n}\n}":      "",
		"send mms {\nwhen octets > 160\nPOST /mms\nform {\nto {sms.to}\nt {sms.body}\n}\n}":            "",
		"send sms {\nPOST /mms\nform {\nto {sms.to}\nt {sms.body}\n}\n}":                               "x:12: write: send { POST /path … }, or: send mms { … }",
	} {
		_, err := Parse("x", "x", 1, around+send)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %s", send, err, want)
		}
	}
}
