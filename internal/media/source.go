package media

import (
	"errors"
	"net/url"
	"strings"
)

// Source is an address that files may be downloaded from, with any path.
type Source struct {
	Scheme, Host, Port string
	// Private allows the host to have an address in a private network. It is set for hosts that
	// the operator names.
	Private bool
}

// DefaultSource is the media server of the app's vendor.
// https://doc.acrobits.net/api/server/mmmsg.html
var DefaultSource = Source{Scheme: "https", Host: "mmmsg.acrobits.net", Port: "443"}

// errSource says how a source is written.
var errSource = errors.New("is no media server; write its name, such as media.example.com, or https://media.example.com:8443")

// ParseSource reads a source as the operator writes it: a host, or scheme and host with an optional
// port.
func ParseSource(word string) (Source, error) {
	if !strings.Contains(word, "://") {
		word = "https://" + word
	}
	u, err := url.Parse(word)
	if err != nil || u.Hostname() == "" || strings.ContainsAny(u.Hostname(), "*{} ") || u.User != nil ||
		u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return Source{}, errSource
	}
	s, ok := sourceOf(u)
	if !ok {
		return Source{}, errSource
	}
	s.Private = true
	return s, nil
}

// sourceOf returns the source of an address.
func sourceOf(u *url.URL) (Source, bool) {
	s := Source{Scheme: strings.ToLower(u.Scheme), Host: strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), Port: u.Port()}
	if s.Port == "" {
		s.Port = map[string]string{"https": "443", "http": "80"}[s.Scheme]
	}
	return s, s.Host != "" && (s.Scheme == "https" || s.Scheme == "http")
}

// allows reports whether files may be downloaded from an address.
func (c *Collector) allows(u *url.URL) bool {
	asked, ok := sourceOf(u)
	for _, s := range c.Sources {
		if s.Private = false; ok && s == asked {
			return u.User == nil
		}
	}
	return false
}
