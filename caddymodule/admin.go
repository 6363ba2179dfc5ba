package caddymodule

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/block"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/lockout"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
)

func init() {
	caddy.RegisterModule(adminAPI{})
}

// paused stops all sending of this process. It survives reloads.
var paused atomic.Bool

// adminAPI adds routes to Caddy's admin endpoint:
//
//	GET  /acrobits_sms/status             whether sending is paused; state of accounts and journals
//	GET  /acrobits_sms/messages/REFERENCE results of the messages with a reference
//	POST /acrobits_sms/pause              stops sending until resume or a restart; apps are told so
//	POST /acrobits_sms/resume             resumes sending, also at providers whose quota was reached
//	POST /acrobits_sms/unlock             lifts all lockouts for wrong passwords
//	POST /acrobits_sms/block?user=NAME    blocks a user on all sites, or on one with &host=NAME
//	POST /acrobits_sms/unblock?user=NAME  removes all blocks of a user, or one with &host=NAME
//
// No reply contains a secret, a text, or the number of a message.
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
	return []caddy.AdminRoute{
		{Pattern: "/acrobits_sms/pause", Handler: adminHandler(http.MethodPost, pause)},
		{Pattern: "/acrobits_sms/resume", Handler: adminHandler(http.MethodPost, resume)},
		{Pattern: "/acrobits_sms/unlock", Handler: adminHandler(http.MethodPost, unlock)},
		{Pattern: "/acrobits_sms/block", Handler: adminHandler(http.MethodPost, blockUser)},
		{Pattern: "/acrobits_sms/unblock", Handler: adminHandler(http.MethodPost, unblockUser)},
		{Pattern: "/acrobits_sms/status", Handler: adminHandler(http.MethodGet, status)},
		{Pattern: messagesPath, Handler: adminHandler(http.MethodGet, messages)},
	}
}

// pause stops all sending.
func pause(*http.Request) (any, error) {
	if !paused.Swap(true) {
		adminLogger().Warn("sending is paused")
	}
	return map[string]bool{"paused": true}, nil
}

// resume ends a pause, and retries accounts whose quota was reached.
func resume(*http.Request) (any, error) {
	if paused.Swap(false) {
		adminLogger().Warn("sending is resumed")
	}
	for _, account := range allOf[*delivery.Account](accounts) {
		account.Resume()
	}
	return map[string]bool{"paused": false}, nil
}

// unlock forgets all wrong passwords.
func unlock(*http.Request) (any, error) {
	for _, guard := range allOf[*lockout.Guard](guards) {
		guard.Reset()
	}
	adminLogger().Warn("all lockouts for wrong passwords are lifted")
	return map[string]bool{"unlocked": true}, nil
}

// adminHandler returns a handler that accepts one method and replies in JSON.
func adminHandler(method string, f func(*http.Request) (any, error)) caddy.AdminHandler {
	return caddy.AdminHandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		if r.Method != method {
			return apiError(http.StatusMethodNotAllowed, "method %s is not allowed", r.Method)
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
	// Transport is "direct" if the direct client sends the requests for messages, "module" if the
	// transport module does.
	Transport string `json:"transport"`
	delivery.Status
}

type journalStatus struct {
	Kind       string        `json:"kind"`
	Remembered int           `json:"remembered"`
	OnTheirWay int           `json:"on_their_way"`
	Blocks     []block.Block `json:"blocks,omitempty"`      // of users who must not send
	Error      string        `json:"error,omitempty"`       // why it cannot be read
	LastFailed *time.Time    `json:"last_failed,omitempty"` // time of the last failed write
}

// status returns the state of the accounts and journals in use.
func status(*http.Request) (any, error) {
	adapters := []adapterStatus{}
	for account, route := range accountRoutes() {
		adapters = append(adapters, adapterStatus{route.Adapter.Name, transportName(route.Transport), account.Status()})
	}
	slices.SortFunc(adapters, func(a, b adapterStatus) int { return strings.Compare(a.Name, b.Name) })
	all := []journalStatus{}
	for _, j := range journalsInUse() {
		all = append(all, j.status())
	}
	return map[string]any{"paused": paused.Load(), "adapters": adapters, "journals": all}, nil
}

// journalsInUse returns the journals of the gateways in use.
func journalsInUse() (all []*pooledJournal) {
	for _, g := range gatewaysInUse() {
		if j := g.Journal.(*pooledJournal); !slices.Contains(all, j) {
			all = append(all, j)
		}
	}
	return all
}

// allJournals returns the journals in use and the memory journal that the pool still keeps.
func allJournals() []*pooledJournal {
	all := journalsInUse()
	for _, j := range allOf[*pooledJournal](memoryJournals) {
		if !slices.Contains(all, j) {
			all = append(all, j)
		}
	}
	return all
}

type messageStatus struct {
	Reference string    `json:"reference"`
	State     string    `json:"state"`
	Begun     time.Time `json:"begun"`
	User      string    `json:"user,omitempty"`
	Adapter   string    `json:"adapter,omitempty"`
	Cause     string    `json:"cause,omitempty"`
	Code      string    `json:"provider_code,omitempty"` // the same as in the log
	Detail    string    `json:"detail,omitempty"`
	Segments  int       `json:"segments,omitempty"`
	Parts     int       `json:"parts,omitempty"`
	MMS       bool      `json:"mms,omitempty"`
	IDs       []string  `json:"sms_ids,omitempty"`
}

// messages returns the results of the messages with a reference.
func messages(r *http.Request) (any, error) {
	reference := strings.TrimPrefix(r.URL.Path, messagesPath)
	found := []messageStatus{}
	var readErr error
	for _, shared := range journalsInUse() {
		entries, err := shared.find(reference)
		readErr = errors.Join(readErr, err)
		for _, e := range entries {
			found = append(found, newMessageStatus(e))
		}
	}
	switch {
	case len(found) > 0:
	case readErr != nil:
		return nil, readErr
	default:
		return nil, apiError(http.StatusNotFound,
			"no message of the last day has this reference; if it was refused before it was claimed, only the log has it")
	}
	return found, nil
}

func newMessageStatus(e journal.Entry) messageStatus {
	s := messageStatus{
		Reference: e.Reference, State: e.State.String(), Begun: e.Begun, User: e.User,
		Adapter: e.Adapter, Code: e.Code, Detail: e.Detail, IDs: e.ShownIDs(),
		Segments: segments(e.Segments, e.Split.Parts, e.Split.MMS()), Parts: e.Split.Parts, MMS: e.Split.MMS(),
	}
	if e.State == journal.Refused || e.State == journal.MaybeSent {
		s.Cause = e.Cause.String()
	}
	return s
}

var _ caddy.AdminRouter = (*adminAPI)(nil)
