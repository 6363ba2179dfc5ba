package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// service is a web service of the handler. It writes every reply itself, also after a failure:
// Caddy logs the URL of a request whose handler returns an error, and handle_errors may show it.
type service struct {
	name string
	// path is the default path.
	path string
	// isOn reports whether the configuration turns the service on.
	isOn  func(*Handler) bool
	serve func(*Handler, http.ResponseWriter, *http.Request)
	// secretPath keeps all requests out of Caddy's access log, because their paths are secrets.
	secretPath bool
}

// sendService is the name of the service that is always on.
const sendService = "send"

// services returns the services that exist.
func services() []*service {
	return slices.Concat([]*service{{
		name: sendService, path: "/send_message", serve: (*Handler).serveSend,
		isOn: func(*Handler) bool { return true },
	}, {
		name: mediaService, path: "/media", serve: (*Handler).serveMedia, secretPath: true,
		isOn: func(h *Handler) bool { return h.Pictures != nil },
	}}, receiveServices())
}

// serviceNames returns the names of the services.
func serviceNames() (names []string) {
	for _, s := range services() {
		names = append(names, s.name)
	}
	return names
}

// address is a path with the service that replies to it and to everything below it.
type address struct {
	path string // without a slash at the end
	*service
}

// addressesOf returns the addresses of the services that are on, longer paths first.
func (h *Handler) addressesOf() (list []address, err error) {
	if err := h.checkServices(); err != nil {
		return nil, err
	}
	for _, s := range services() {
		if !s.isOn(h) {
			continue
		}
		list = append(list, address{strings.TrimRight(h.pathOf(s), "/"), s})
	}
	slices.SortStableFunc(list, func(a, b address) int { return cmp.Compare(len(b.path), len(a.path)) })
	for i, a := range list[1:] {
		if strings.EqualFold(list[i].path, a.path) {
			return nil, fmt.Errorf("services: %s and %s have the same path", list[i].name, a.name)
		}
	}
	return list, nil
}

// pathOf returns the path of a service.
func (h *Handler) pathOf(s *service) string {
	configured, ok := h.Services[s.name]
	switch {
	case ok:
		return configured
	case s.name != sendService:
		return s.path
	case h.Services == nil:
		return "/"
	case h.Path != "": // the pattern's beginning, up to its first parameter
		fixed, _, _ := strings.Cut(h.Path, "{")
		return fixed
	}
	return s.path
}

// checkServices checks the names and paths in services.
func (h *Handler) checkServices() error {
	for _, name := range slices.Sorted(maps.Keys(h.Services)) {
		if !slices.Contains(serviceNames(), name) {
			return errors.New("services: " + suggest.Unknown("service", name, serviceNames()))
		}
		if p := h.Services[name]; !strings.HasPrefix(p, "/") || strings.ContainsAny(p, "*?#{}%\\ ") || needsCleaning(p) {
			return fmt.Errorf("services: the path of %s begins with / and has no *, ?, #, %%, {, blank or dots, such as %s",
				name, "/sms/"+name)
		}
	}
	return nil
}

// reaches reports whether a request to a cleaned path belongs to the address. Case makes no
// difference, as in Caddy's path matcher.
func (a address) reaches(path string) bool {
	n := len(a.path)
	return n == 0 || len(path) >= n && strings.EqualFold(path[:n], a.path) && (len(path) == n || path[n] == '/')
}

// serviceFor returns the service of a request and the rest of the path below the service's, nil if
// there is none.
func (h *Handler) serviceFor(r *http.Request) (s *service, rest string) {
	where := originalURL(r).Path
	if needsCleaning(where) {
		where = path.Clean(where)
	}
	if inner := (address{path: h.publicPath}); h.publicPath != "" && inner.reaches(where) {
		if a := h.addressAt(where[len(h.publicPath):]); a.service != nil && a.path != "" {
			return a.service, where[len(h.publicPath)+len(a.path):]
		}
	}
	a := h.addressAt(where)
	return a.service, where[len(a.path):]
}

func (h *Handler) addressAt(path string) address {
	for _, a := range h.served {
		if a.reaches(path) {
			return a
		}
	}
	return address{}
}

// needsCleaning reports whether a path may contain empty segments, . or .. segments.
func needsCleaning(path string) bool {
	return strings.Contains(path, "//") || strings.Contains(path, "/.")
}

// originalURL returns the URL of the request before any rewrite.
func originalURL(r *http.Request) *url.URL {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return original.URL
	}
	return r.URL
}

// unhandledVar is the variable that Caddy sets when the last handler has passed a request on.
// https://github.com/caddyserver/caddy/blob/v2.11.9/modules/caddyhttp/caddyhttp.go (emptyHandler)
const unhandledVar = "unhandled"

// passOn gives a request of no service to the next handler, and replies 404 if no handler replies:
// Caddy would reply with an empty 200, which apps take for success.
func (h *Handler) passOn(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	rec := caddyhttp.NewResponseRecorder(w, nil, nil)
	if err := next.ServeHTTP(rec, r); err != nil {
		return err
	}
	if unhandled, _ := caddyhttp.GetVar(r.Context(), unhandledVar).(bool); unhandled && rec.Status() == 0 {
		caddyhttp.SetVar(r.Context(), unhandledVar, false)
		h.replyNotFound(w, r)
	}
	return nil
}

// replyNotFound writes the reply to a request for an address that does not exist. The address may
// be a mistyped one with a password in its query.
func (h *Handler) replyNotFound(w http.ResponseWriter, r *http.Request) {
	arrived := *r
	arrived.URL = originalURL(r)
	caller := (*params.Decoder)(h.decoder).Preview(&arrived)
	h.skipLog(r, &caller)
	if h.Stealth {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Del("Server") // as in replies to unauthenticated clients
	refusal := sms.Refuse(sms.NotFound)
	_ = h.replier.Refuse(w, caller.Form, refusal.Cause.Status(), h.sentences.lookup(r, refusal, ""), 0)
}
