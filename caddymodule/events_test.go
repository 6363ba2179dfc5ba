package caddymodule

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/store/sqlite"
)

func init() { caddy.RegisterModule(curious{}) }

// curious is a subscriber that asks how the journal is while it is told of an event.
type curious struct{}

var toldCurious = make(chan caddy.Event, 16)

func (curious) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.curious", New: func() caddy.Module { return new(curious) }}
}

func (curious) Handle(_ context.Context, e caddy.Event) error {
	_, _ = status(nil)
	toldCurious <- e
	return nil
}

// leave is a change that makes an entry one whose process has ended.
type leave struct{}

func (leave) Apply(e *journal.Entry, now time.Time) bool {
	*e = journal.Entry{ID: "id", Reference: "ref", State: journal.Pending, Owner: "dead", Begun: now}
	return true
}

// A message that was lost with a process is told to subscribers when Caddy starts again, in whatever order it starts its apps, and
// to those of the new configuration when it is reloaded.
func TestLostIsTold(t *testing.T) {
	for i := range 20 {
		path := filepath.Join(t.TempDir(), fmt.Sprint(i))
		s, err := sqlite.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Update(journal.Key{1}, false, leave{}); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		config := func(subscriptions, path string) []byte {
			return fmt.Appendf(nil, `{
			"admin": {"disabled": true, "config": {"persist": false}},
			"logging": {"logs": {"default": {"writer": {"output": "discard"}}}},
			"apps": {
				"events": {"subscriptions": [%s]},
				"acrobits_sms": {"journal": {"journal": "sqlite", "path": %q}},
				"http": {"servers": {"a": {"listen": ["127.0.0.1:0"], "routes": [{"handle": [{
					"handler": "acrobits_sms", "default_region": "US",
					"users": [{"name": "johndow", "passwords": ["x72hs9wkah2"]}], "adapters": [{"definition": "sandbox"}]
				}]}]}}}
			}
		}`, subscriptions, path)
		}
		if i%2 == 0 {
			if err := caddy.Load(config("", filepath.Join(t.TempDir(), "other")), true); err != nil {
				t.Fatal(err)
			}
		}
		if err := caddy.Load(config(`{"events": ["sms_lost"], "handlers": [{"handler": "curious"}]}`, path), true); err != nil {
			t.Fatal(err)
		}
		select {
		case e := <-toldCurious:
			if e.Data["reference"] != "ref" {
				t.Errorf("told %v", e.Data)
			}
		case <-time.After(10 * time.Second):
			t.Error("nobody was told")
		}
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}
