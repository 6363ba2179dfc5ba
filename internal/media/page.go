package media

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

//go:embed page.html
var pageSource string

var page = template.Must(template.New("page").Parse(pageSource))

// pagePolicy allows the page its own style and files, and nothing else.
var pagePolicy = func() string {
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(pageSource)[1]
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'sha256-" +
		base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

// shown is a file on the page.
type shown struct {
	Path, Kind, Size string
}

// servePage answers a request for the page of a token. The page shows the files and nothing else.
func (s *Store) servePage(w http.ResponseWriter, r *http.Request, token string) {
	_, t, err := s.openToken(r.Context(), token)
	if err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	list := make([]shown, len(t.entries))
	for i, e := range t.entries {
		kind, _, _ := strings.Cut(e.Type, "/")
		if !isShown(e.Type) {
			kind = "file"
		}
		list[i] = shown{t.Path(i + 1).Reveal(), kind, sms.Megabytes(e.Size)}
	}
	var out bytes.Buffer
	if err := page.Execute(&out, list); err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(out.Len()))
	if r.Method == http.MethodGet {
		_, _ = out.WriteTo(w)
	}
}
