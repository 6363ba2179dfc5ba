package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
)

func init() {
	caddy.RegisterModule(adminAPI{})
}

// paused stops all messages of this process, over reloads too.
var paused atomic.Bool

// adminAPI is a module of Caddy's admin endpoint that stops and resumes the sending of messages:
//
//	GET  /acrobits-sms/         {"paused": false}
//	POST /acrobits-sms/pause
//	POST /acrobits-sms/resume
//
// While it is paused, apps are told so, and nothing is sent. A restart resumes.
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.acrobits_sms",
		New: func() caddy.Module { return new(adminAPI) },
	}
}

// Routes implements caddy.AdminRouter.
func (a *adminAPI) Routes() []caddy.AdminRoute {
	turn := func(to bool) caddy.AdminHandler {
		return caddy.AdminHandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			if r.Method != http.MethodPost {
				return wrongMethod(r)
			}
			if paused.Swap(to) != to {
				caddy.Log().Named("http.handlers.acrobits_sms").Warn(map[bool]string{true: "sending is paused", false: "sending is resumed"}[to])
			}
			return state(w)
		})
	}
	return []caddy.AdminRoute{
		{Pattern: "/acrobits-sms/pause", Handler: turn(true)},
		{Pattern: "/acrobits-sms/resume", Handler: turn(false)},
		{Pattern: "/acrobits-sms/", Handler: caddy.AdminHandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			if r.Method != http.MethodGet {
				return wrongMethod(r)
			}
			return state(w)
		})},
	}
}

func state(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(map[string]bool{"paused": paused.Load()})
}

func wrongMethod(r *http.Request) error {
	return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("method %s is not allowed", r.Method)}
}

var _ caddy.AdminRouter = (*adminAPI)(nil)
