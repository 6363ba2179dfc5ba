package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/block"
)

// blockReply is the reply to block and unblock.
type blockReply struct {
	User    string        `json:"user"`
	Host    string        `json:"host,omitempty"`
	Blocked bool          `json:"blocked"`
	Blocks  []block.Block `json:"blocks,omitempty"` // that still apply to the user
	Note    string        `json:"note,omitempty"`
}

// memoryBlockNote is the note that a block does not survive a restart.
const memoryBlockNote = "journal memory: a restart of Caddy ends this block; journal sqlite and journal postgres keep it"

// blockUser stops a user from sending. It does not abort messages in flight.
func blockUser(r *http.Request) (any, error) {
	b, err := parseBlock(r)
	if err != nil {
		return nil, err
	}
	reply := blockReply{User: b.User, Host: b.Host, Blocked: true}
	err = forEachJournal(journalsInUse(), func(j *pooledJournal) error {
		if j.kind() == inMemory {
			reply.Note = memoryBlockNote
		}
		return j.block(b)
	})
	if err != nil {
		return nil, err
	}
	adminLogger().Warn("a user is blocked", zap.String("user", b.User), zap.String("on_host", b.Host))
	return reply, nil
}

// unblockUser removes blocks of a user.
func unblockUser(r *http.Request) (any, error) {
	b, err := parseBlock(r)
	if err != nil {
		return nil, err
	}
	reply, ended := blockReply{User: b.User, Host: b.Host}, 0
	err = forEachJournal(allJournals(), func(j *pooledJournal) error {
		removed, left, err := j.unblock(b)
		ended, reply.Blocks = ended+removed, append(reply.Blocks, left...)
		return err
	})
	if err != nil {
		return nil, err
	}
	reply.Blocked = len(reply.Blocks) > 0
	if ended == 0 {
		return nil, apiError(http.StatusNotFound, "there is no such block; /acrobits_sms/status lists all")
	}
	adminLogger().Warn("a user is unblocked", zap.String("user", b.User), zap.String("on_host", b.Host))
	return reply, nil
}

// forEachJournal calls f for all journals, also after an error.
func forEachJournal(all []*pooledJournal, f func(*pooledJournal) error) (err error) {
	if len(all) == 0 {
		return apiError(http.StatusConflict, "no site uses acrobits_sms now")
	}
	for _, j := range all {
		err = errors.Join(err, f(j))
	}
	switch {
	case errors.Is(err, block.ErrFull):
		return apiError(http.StatusInsufficientStorage, "%w", err)
	case err != nil:
		return apiError(http.StatusServiceUnavailable, "not done in every journal: %w", err)
	}
	return nil
}

// parseBlock reads user and host of a request. It refuses unknown parameters: without a misspelled
// host, a block would apply to every site.
func parseBlock(r *http.Request) (block.Block, error) {
	const usage = "write ?user=NAME, or ?user=NAME&host=NAME for one site only"
	// A name may be a number such as +15551234567, in which + is not a space.
	query, err := url.ParseQuery(strings.ReplaceAll(r.URL.RawQuery, "+", "%2B"))
	if err != nil || len(query["user"]) != 1 {
		return block.Block{}, apiError(http.StatusBadRequest, usage)
	}
	for name, values := range query {
		if name != "user" && name != "host" || len(values) > 1 || values[0] == "" {
			return block.Block{}, apiError(http.StatusBadRequest, usage)
		}
	}
	b, err := block.New(query.Get("user"), query.Get("host"), time.Now())
	if err != nil {
		return b, apiError(http.StatusBadRequest, "%w", err)
	}
	return b, nil
}

// apiError returns an error that the admin endpoint replies with the status.
func apiError(status int, format string, args ...any) error {
	return caddy.APIError{HTTPStatus: status, Err: fmt.Errorf(format, args...)}
}

// adminLogger logs the operator's actions.
func adminLogger() *zap.Logger { return caddy.Log().Named("http.handlers.acrobits_sms") }
