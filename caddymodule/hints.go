package caddymodule

import (
	"net"
	"net/http"
	"net/url"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/sendmessage"
)

// hints are mistakes in an app's settings, with advice for the operator.
var hints = [...]struct{ name, advice string }{
	{"content_type", "the app's SMS settings lack content_type=%content_type%; without it the kind of a message can only be guessed"},
	{"disposition_notification", "the app's SMS settings lack disposition_notification=%disposition_notification%, the only id of a message"},
	{"http", "the app uses http://: it sends asterisks instead of the password, and others can read the texts; use https://"},
	{"two_names", "the app's SMS settings have two values for one parameter under two names; one of them is ignored"},
	{"shared_id", "the app sent different texts with one id, which is ignored; write disposition_notification=%disposition_notification% in its SMS settings"},
	{"last_id", "the app's settings for fetching messages lack last_id=%last_known_sms_id%; without it the app gets the same messages each time"},
}

// Indexes of hints.
const (
	lacksContentType = iota
	lacksDisposition
	isUnencrypted
	twoNames
	sharedID
	lacksCursor
)

// logHints logs mistakes in the app's settings and in the network.
func (x *sendRequest) logHints() {
	response := x.response
	if response.User == nil {
		return
	}
	if response.LoggedIn {
		x.warnSharedAddress()
	}
	isText := response.Kind == sendmessage.Text
	for i, is := range [...]bool{
		lacksContentType: isText && x.NoContentType, lacksDisposition: isText && x.NoDisposition,
		isUnencrypted: !x.isSecure(), sharedID: response.SharedID,
	} {
		if is {
			x.hintOnce(i)
		}
	}
	if passed := x.Shadowed; passed[0] != "" {
		x.hintOnce(twoNames, zap.String("counts", passed[0]), zap.String("does_not_count", passed[1]))
	}
}

// hintOnce logs a hint once for each user.
func (x *sendRequest) hintOnce(i int, more ...zap.Field) {
	name := x.response.User.Name
	known, ok := x.hinted.Get(name)
	if !ok {
		known = new(atomic.Uint32)
		x.hinted.Put(name, known)
	}
	if bit := uint32(1) << i; known.Or(bit)&bit == 0 {
		x.logger.Warn(hints[i].advice, append(more, zap.String("user", name), zap.String("hint", hints[i].name))...)
	}
}

// isSecure reports whether the app used TLS to this server or to a proxy that Caddy trusts, or runs
// on this machine.
func (x *sendRequest) isSecure() bool {
	if x.r.TLS != nil || isLocal(x.r) {
		return true
	}
	trusted, _ := caddyhttp.GetVar(x.r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return trusted && x.r.Header.Get("X-Forwarded-Proto") == "https"
}

// isLocal reports whether a request was sent from this machine to a loopback host, as tests of an
// operator are. A proxy on this machine sends another host or a forwarding header.
func isLocal(r *http.Request) bool {
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	host := (&url.URL{Host: r.Host}).Hostname()
	return err == nil && adapters.IsLoopback(from) && adapters.IsLoopback(host) &&
		r.Header.Get("X-Forwarded-For") == "" && r.Header.Get("Forwarded") == ""
}
