package delivery

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

const uploading = `
base_url https://uploads.example.com
upload {
	POST /upload
	multipart {
		f {sms.media.0.file}
	}
	accepted status 200
	id resource
}
send {
	when media
	POST /send
	json {
		to {sms.to}
		text {sms.body}
		files[] {sms.media.id}
	}
}
reply json
accepted status 200
id id
cause invalid_recipient 7
code code`

// mediaStore answers uploads from a script, and sends with 200 unless busy says otherwise.
type mediaStore struct {
	uploads []string // the status and body of each upload, "hang" or "dial"
	busy    int      // the number of sends to refuse with 429
	asked   []string // host and path, and the ids of files in a send
}

func (s *mediaStore) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	ids := ""
	if _, list, ok := strings.Cut(string(body), `"files":`); ok {
		ids = " " + strings.Trim(list, "}")
	}
	s.asked = append(s.asked, r.URL.Path+ids)
	status, reply := 200, `{"id":"1"}`
	switch {
	case r.URL.Path == "/upload":
		next := s.uploads[0]
		s.uploads = s.uploads[1:]
		switch next {
		case "hang":
			<-r.Context().Done()
			return nil, r.Context().Err()
		case "dial":
			return nil, errors.New("nobody listens")
		}
		if _, err := fmt.Sscanf(next, "%d", &status); err != nil {
			return nil, err
		}
		reply = next[3:]
	case s.busy > 0:
		s.busy--
		status = 429
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(reply)), Request: r}, nil
}

// A message is sent with the ids of its files. An upload that fails in any way has sent nothing, and
// the next adapter gets the message.
func TestUpload(t *testing.T) {
	const send = `/send ["a","b"]`
	for name, c := range map[string]struct {
		uploads []string
		busy    int
		want    []string
		cause   sms.Cause // of the first adapter
	}{
		"both":                  {[]string{`200{"resource":"a"}`, `200{"resource":"b"}`}, 0, []string{"/upload", "/upload", send}, sms.NoCause},
		"a retry":               {[]string{`200{"resource":"a"}`, `200{"resource":"b"}`}, 1, []string{"/upload", "/upload", send, send}, sms.NoCause},
		"too large":             {[]string{`413`}, 0, []string{"/upload"}, sms.TooLong},
		"the second fails":      {[]string{`200{"resource":"a"}`, `500`}, 0, []string{"/upload", "/upload"}, sms.Unavailable},
		"no id":                 {[]string{`200{}`}, 0, []string{"/upload"}, sms.Unavailable},
		"an id of other things": {[]string{`200{"resource":"a\nb"}`}, 0, []string{"/upload"}, sms.Unavailable},
		"a page":                {[]string{`200<html>Welcome</html>`}, 0, []string{"/upload"}, sms.Unavailable},
		"a bad request":         {[]string{`400{"code":1}`}, 0, []string{"/upload"}, sms.UnsupportedContent},
		"a final cause":         {[]string{`400{"code":7}`}, 0, []string{"/upload"}, sms.UnsupportedContent},
		"unauthorized":          {[]string{`401`}, 0, []string{"/upload"}, sms.Misconfigured},
		"busy":                  {[]string{`429`, `429`, `429`, `429`}, 0, []string{"/upload"}, sms.Busy},
		"no reply":              {[]string{`hang`}, 0, []string{"/upload"}, sms.Unavailable},
		"no connection":         {[]string{`dial`}, 0, []string{"/upload"}, sms.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, other := &mediaStore{uploads: c.uploads, busy: c.busy}, &mediaStore{uploads: []string{`200{"resource":"a"}`, `200{"resource":"b"}`}}
				d := &Deliverer{Timeout: 20 * time.Second, AttemptTimeout: 5 * time.Second, Retries: 3, MaxParts: 1}
				for i, transport := range []*mediaStore{store, other} {
					def, err := adapters.Parse("x", "x", 1, uploading)
					if err != nil {
						t.Fatal(err)
					}
					a, err := def.Bind(fmt.Sprint(i), "", nil)
					if err != nil {
						t.Fatal(err)
					}
					d.Routes = append(d.Routes, Route{Adapter: a, Transport: transport, Account: NewAccount()})
				}
				if c.busy > 0 {
					d.Routes = d.Routes[:1]
				}
				m := message()
				m.Media = []sms.Media{picture("one"), picture("two")}
				r := d.Deliver(t.Context(), m, new(Untracked))
				if r.Outcome != sms.Accepted || !slices.Equal(store.asked, c.want) {
					t.Errorf("%s; asked %q, want %q", r.Outcome, store.asked, c.want)
				}
				if c.cause != sms.NoCause && (len(r.OtherRefusals) != 1 || r.OtherRefusals[0].Cause() != c.cause || !slices.Contains(other.asked, send)) {
					t.Errorf("%+v, want %s; the next adapter was asked %q", r.OtherRefusals, c.cause, other.asked)
				}
			})
		})
	}
}

func picture(content string) sms.Media {
	return sms.Media{
		Type: "image/jpeg", Name: "1.jpg", Size: int64(len(content)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil },
	}
}
