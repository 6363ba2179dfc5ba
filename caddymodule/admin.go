package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
)

func init() {
	caddy.RegisterModule(adminAPI{})
}

// paused stops all messages of this process, over reloads too.
var paused atomic.Bool

// adminAPI is a module of Caddy's admin endpoint that tells how messaging is, and stops and resumes it:
//
//	GET  /acrobits_sms/status                 is it paused, how are the accounts and the journal
//	GET  /acrobits_sms/messages/{reference}   what became of the message behind a reference that a user reads out
//	POST /acrobits_sms/pause                  apps are told so, and nothing is sent; a restart resumes
//	POST /acrobits_sms/resume
//	POST /acrobits_sms/unlock                 whoever was locked out for wrong passwords may try again
//
// No answer holds a secret, a number or a text.
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.acrobits_sms",
		New: func() caddy.Module { return new(adminAPI) },
	}
}

const messagesPath = "/acrobits_sms/messages/"

// Routes implements caddy.AdminRouter.
func (a *adminAPI) Routes() []caddy.AdminRoute {
	turn := func(to bool) func(*http.Request) (any, error) {
		return func(*http.Request) (any, error) {
			if paused.Swap(to) != to {
				caddy.Log().Named("http.handlers.acrobits_sms").Warn(map[bool]string{true: "sending is paused", false: "sending is resumed"}[to])
			}
			return map[string]bool{"paused": to}, nil
		}
	}
	return []caddy.AdminRoute{
		{Pattern: "/acrobits_sms/pause", Handler: answer(http.MethodPost, turn(true))},
		{Pattern: "/acrobits_sms/resume", Handler: answer(http.MethodPost, turn(false))},
		{Pattern: "/acrobits_sms/unlock", Handler: answer(http.MethodPost, unlock)},
		{Pattern: "/acrobits_sms/status", Handler: answer(http.MethodGet, status)},
		{Pattern: messagesPath, Handler: answer(http.MethodGet, messages)},
	}
}

// unlock forgets all wrong passwords.
func unlock(*http.Request) (any, error) {
	handlers.Range(func(h, _ any) bool {
		if guard := h.(*Handler).guard; guard != nil {
			guard.Forgive()
		}
		return true
	})
	caddy.Log().Named("http.handlers.acrobits_sms").Warn("whoever was locked out for wrong passwords may try again")
	return map[string]bool{"unlocked": true}, nil
}

// answer makes a handler for one method that answers in JSON.
func answer(method string, f func(*http.Request) (any, error)) caddy.AdminHandler {
	return caddy.AdminHandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		if r.Method != method {
			return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("method %s is not allowed", r.Method)}
		}
		v, err := f(r)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json")
		return json.NewEncoder(w).Encode(v)
	})
}

type adapterStatus struct {
	Name string `json:"name"`
	delivery.Status
}

type journalStatus struct {
	Kind       string     `json:"kind"`
	Remembered int        `json:"remembered"`
	OnTheirWay int        `json:"on_their_way"`
	Error      string     `json:"error,omitempty"`       // why it cannot be read now
	LastFailed *time.Time `json:"last_failed,omitempty"` // when something could not be written down
}

// status says how the accounts and the journal are.
func status(*http.Request) (any, error) {
	adapters := []adapterStatus{}
	for account, name := range namesOfAccounts() {
		adapters = append(adapters, adapterStatus{name, account.Status()})
	}
	slices.SortFunc(adapters, func(a, b adapterStatus) int { return strings.Compare(a.Name, b.Name) })
	all := []journalStatus{}
	for _, j := range journalsInUse() {
		all = append(all, j.status())
	}
	return map[string]any{"paused": paused.Load(), "adapters": adapters, "journals": all}, nil
}

// journalsInUse are those of the handlers in use.
func journalsInUse() (all []*sharedJournal) {
	handlers.Range(func(h, _ any) bool {
		if j := h.(*Handler).journal; !slices.Contains(all, j) {
			all = append(all, j)
		}
		return true
	})
	return all
}

type messageStatus struct {
	Reference string    `json:"reference"`
	State     string    `json:"state"`
	Begun     time.Time `json:"begun"`
	Adapter   string    `json:"adapter,omitempty"`
	Cause     string    `json:"cause,omitempty"`
	Parts     int       `json:"parts,omitempty"`
	IDs       []string  `json:"sms_ids,omitempty"`
}

// messages says what became of the messages with a reference.
func messages(r *http.Request) (any, error) {
	reference := strings.TrimPrefix(r.URL.Path, messagesPath)
	found := []messageStatus{}
	var unread error
	for _, shared := range journalsInUse() {
		entries, err := shared.find(reference)
		unread = errors.Join(unread, err)
		for _, e := range entries {
			found = append(found, statusOf(e))
		}
	}
	switch {
	case len(found) > 0:
	case unread != nil:
		return nil, unread
	default:
		return nil, caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("no message of the last day has this reference, or it was refused before it was a message; the log has it")}
	}
	return found, nil
}

func statusOf(e journal.Entry) messageStatus {
	s := messageStatus{Reference: e.Reference, State: e.State.String(), Begun: e.Begun, Adapter: e.Adapter, Parts: e.Split.Parts, IDs: e.IDs}
	if e.State == journal.Refused || e.State == journal.Unknown {
		s.Cause = e.Cause.String()
	}
	return s
}

var _ caddy.AdminRouter = (*adminAPI)(nil)
