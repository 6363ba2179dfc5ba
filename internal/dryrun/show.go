package dryrun

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/recording"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Show writes the requests for a text as HTTP or as curl commands, with $NAME instead of secrets.
// It sends nothing.
func (a *Account) Show(w io.Writer, t Text, maxParts int, curl bool) error {
	m, err := a.message(t)
	if err != nil {
		return err
	}
	withoutBytes(m)
	var hidden masks
	adapter, err := a.bind(&hidden)
	if err != nil {
		return err
	}
	write := func(r *http.Request, signed bool) error {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		if curl {
			return writeCurl(w, r, body, signed, &hidden)
		}
		return writeHTTP(w, r, body, signed, &hidden)
	}
	var token sms.Hidden
	if adapter.NeedsToken() {
		r, err := adapter.TokenRequest(context.Background(), time.Now())
		if err != nil {
			return err
		}
		fmt.Fprintln(w, "# the token, kept until it expires")
		if err := write(r, false); err != nil {
			return err
		}
		token = sms.Hide(hidden.mask("token"))
	}
	plan, refusal := adapter.Plan(m, maxParts)
	if refusal != nil {
		return explain(refusal)
	}
	fmt.Fprintln(w, "# "+size(plan))
	parts := plan.Split().Parts
	for n := 1; plan.Uploads(0) > 0; n++ {
		x, err := plan.UploadRequest(context.Background(), 0, token, time.Now())
		if err != nil {
			return explain(err)
		}
		fmt.Fprintf(w, "# the upload of file %d\n", n)
		if err := write(x.Request, x.Signed()); err != nil {
			return err
		}
		plan.Uploaded(0, hidden.mask(fmt.Sprint("file", n)))
	}
	for i := range parts {
		x, err := plan.Request(context.Background(), i, token, time.Now())
		if err != nil {
			return explain(err)
		}
		if parts > 1 {
			fmt.Fprintf(w, "# part %d of %d\n", i+1, parts)
		}
		if err := write(x.Request, x.Signed()); err != nil {
			return err
		}
	}
	return nil
}

// withoutBytes replaces the bytes of files by words, because they are long and not readable.
func withoutBytes(m *sms.Message) {
	for i := range m.Media {
		file := &m.Media[i]
		if file.Open == nil {
			continue
		}
		words := "(the bytes of " + file.Name + ")"
		file.Size = int64(len(words))
		file.Open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(words)), nil }
	}
}

// size returns the number of parts and segments of a text in words.
func size(plan *adapters.Plan) string {
	count := func(n int, what string) string {
		if n != 1 {
			what += "s"
		}
		return fmt.Sprint(n, " ", what)
	}
	if plan.Split().MMS() {
		return count(plan.Split().Parts, "part") + ", an MMS"
	}
	return count(plan.Split().Parts, "part") + ", " + count(plan.Segments(), "segment")
}

// explain adds the sentence that the app would show to a refusal.
func explain(err error) error {
	if refusal, ok := err.(*sms.Refusal); ok {
		return fmt.Errorf("refused: %s (%w)", refusal.Fill(refusal.Sentence(), ""), refusal)
	}
	return err
}

// signature is shown instead of a signature, which cannot be made without the secret.
const signature = "(a signature over this request)"

func writeHTTP(w io.Writer, r *http.Request, body []byte, signed bool, m *masks) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", r.Method, m.reveal(r.URL.String()))
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		value := m.reveal(r.Header.Get(name))
		if pair, basic := basicAuth(r); name == "Authorization" && basic {
			value = "Basic base64(" + m.reveal(pair) + ")"
		} else if name == "Authorization" && signed {
			value = signature
		}
		fmt.Fprintf(&b, "%s: %s\n", name, value)
	}
	fmt.Fprintf(&b, "\n%s\n", m.reveal(string(body)))
	if len(body) > 0 {
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeCurl writes a shell command in which the secrets are variables.
func writeCurl(w io.Writer, r *http.Request, body []byte, signed bool, m *masks) error {
	line := []string{"curl"}
	add := func(option, value string) { line = append(line, option+" "+quote(value, m)) }
	if signed {
		if _, err := fmt.Fprintln(w, "# without the signature that the provider asks for:"); err != nil {
			return err
		}
	}
	if r.Method != http.MethodGet && !(r.Method == http.MethodPost && len(body) > 0) {
		line = append(line, "-X "+r.Method)
	}
	line = append(line, quote(r.URL.String(), m))
	multipart := strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/")
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		pair, basic := basicAuth(r)
		switch {
		case name == "Authorization" && basic:
			add("-u", pair)
		case name == "Authorization" && signed, name == "Content-Type" && multipart:
		default:
			add("-H", name+": "+r.Header.Get(name))
		}
	}
	if multipart {
		recorded, err := recording.NewRequest(r, body)
		if err != nil {
			return err
		}
		for _, field := range recorded.Multipart {
			add("--form-string", field[0]+"="+field[1])
		}
	} else if len(body) > 0 {
		add("--data-binary", string(body))
	}
	_, err := fmt.Fprintln(w, strings.Join(line, " \\\n\t"))
	return err
}

func basicAuth(r *http.Request) (pair string, ok bool) {
	encoded, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Basic ")
	if !ok {
		return "", false
	}
	text, err := base64.StdEncoding.DecodeString(encoded)
	return string(text), err == nil
}

// quote quotes a word for a shell. The masks become variables outside of the single quotes.
func quote(s string, m *masks) string {
	q := "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	for i := 0; i+1 < len(m.of); i += 2 {
		q = strings.ReplaceAll(q, m.of[i], `'"`+m.of[i+1]+`"'`)
	}
	return strings.TrimSuffix(strings.TrimPrefix(q, "''"), "''")
}
