package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/gateway"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

func init() {
	caddy.RegisterModule(new(App))
	httpcaddyfile.RegisterGlobalOption("acrobits_sms", parseGlobal)
}

// App contains what all sites share: the journal, which stores the messages in flight and their
// results, so that no message is sent twice.
type App struct {
	// JournalRaw is the journal: `memory`, `sqlite` or `postgres`. Default: `memory`.
	JournalRaw json.RawMessage `json:"journal,omitempty" caddy:"namespace=acrobits_sms.journals inline_key=journal"`

	// KeepMessages is how long messages are kept in the journal: user, sender, recipient and text. It
	// requires a journal that survives a restart. Default: messages are not kept.
	KeepMessages caddy.Duration `json:"keep_messages,omitempty"`

	ctx       caddy.Context
	journal   *pooledJournal
	resources resources

	mu       sync.Mutex
	gateways []*gateway.Gateway // of the sites

	receivers []*receiver // of the sites that receive
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "acrobits_sms", New: func() caddy.Module { return new(App) }}
}

// Provision implements caddy.Provisioner. It does not open the journal.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx = ctx
	if len(a.JournalRaw) == 0 {
		a.JournalRaw = json.RawMessage(`{"journal": "` + inMemory + `"}`)
	}
	if err := checkModule(a.JournalRaw, "journal", moduleNames("acrobits_sms.journals")); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	guest, err := ctx.LoadModule(a, "JournalRaw")
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j, ok := guest.(journalSource)
	if !ok {
		return fmt.Errorf("journal: %T is not a journal", guest)
	}
	if err := a.checkKeep(j.kind()); err != nil {
		return err
	}
	a.journal = acquireJournal(&a.resources, j)
	emitter, err := newEventEmitter(ctx)
	if err != nil {
		return err
	}
	a.resources.add(a.journal.addEmitter(emitter))
	apps.Store(a, nil)
	a.resources.add(func() error {
		apps.Delete(a)
		return nil
	})
	return nil
}

// add registers a gateway for the admin endpoint and the metrics.
func (a *App) add(g *gateway.Gateway) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gateways = append(a.gateways, g)
}

// apps contains the *App of each configuration in use. It is not part of the shared state, whose lock
// is held while a journal is closed: circuit breakers must not wait for that.
var apps sync.Map

// gatewaysInUse returns the gateways of all configurations in use. During a reload there are two
// configurations.
func gatewaysInUse() (all []*gateway.Gateway) {
	apps.Range(func(key, _ any) bool {
		a := key.(*App)
		a.mu.Lock()
		defer a.mu.Unlock()
		all = append(all, a.gateways...)
		return true
	})
	return all
}

// defaultKeep is how long messages are kept by keep messages without a duration.
const defaultKeep = 30 * 24 * time.Hour

var errKeep = errors.New("write: keep messages [DURATION], such as keep messages 30d")

func (a *App) checkKeep(kind string) error {
	switch {
	case a.KeepMessages < 0:
		return errKeep
	case a.KeepMessages > 0 && kind == inMemory:
		return errors.New("keep messages requires a journal that survives a restart: " +
			"write journal sqlite or journal postgres too")
	}
	return nil
}

// Start implements caddy.App. It opens the journal. Caddy starts its apps in any order, so a
// message may arrive before and open it.
func (a *App) Start() error {
	warnUncoveredServers(a.ctx, journalLogger())
	err := a.journal.start()
	if err == nil {
		a.journal.copyBlocks(allJournals())
		for _, r := range a.receivers {
			r.start()
		}
	}
	return err
}

// Stop implements caddy.App. It does nothing: messages in flight still use the journal.
func (a *App) Stop() error { return nil }

// Cleanup implements caddy.CleanerUpper. It ends the workers and releases the journal, which is closed as soon as no
// message in flight uses it.
func (a *App) Cleanup() error {
	for _, r := range a.receivers {
		r.stop()
	}
	return a.resources.release()
}

// parseGlobal parses the global option. Syntax:
//
//	acrobits_sms {
//		journal memory
//		journal sqlite [<path>]
//		journal postgres <address>
//		keep messages [<duration>]
//	}
func parseGlobal(d *caddyfile.Dispenser, already any) (_ any, err error) {
	d.Next() // the option's name
	if already != nil {
		return nil, d.Err("acrobits_sms appears twice")
	}
	if err := noArgs(d); err != nil {
		return nil, err
	}
	app, kind := new(App), inMemory
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch word := d.Val(); word {
		case "journal":
			kind, err = app.unmarshalJournal(d)
			if err != nil {
				return nil, err
			}
		case "keep":
			if app.KeepMessages != 0 {
				return nil, d.Err("keep appears twice")
			}
			if app.KeepMessages, err = parseKeep(d.RemainingArgs()); err != nil {
				return nil, d.WrapErr(err)
			}
		default:
			return nil, unknownWord(d, inGlobal, globalWords)
		}
	}
	if err := app.checkKeep(kind); err != nil {
		return nil, d.WrapErr(err)
	}
	return httpcaddyfile.App{Name: "acrobits_sms", Value: caddyconfig.JSON(app, nil)}, nil
}

// unmarshalJournal parses a journal line, and returns the kind of the journal.
func (a *App) unmarshalJournal(d *caddyfile.Dispenser) (kind string, err error) {
	if a.JournalRaw != nil {
		return "", d.Err("journal appears twice")
	}
	if !d.NextArg() {
		return "", d.Err("write: journal memory, journal sqlite PATH or journal postgres ADDRESS")
	}
	kind = d.Val()
	if kinds := moduleNames("acrobits_sms.journals"); !slices.Contains(kinds, kind) {
		return "", d.Err(suggest.Unknown("journal", kind, kinds))
	}
	guest, err := caddyfile.UnmarshalModule(d, "acrobits_sms.journals."+kind)
	if err != nil {
		return "", err
	}
	a.JournalRaw = caddyconfig.JSONModuleObject(guest, "journal", kind, nil)
	return kind, nil
}

// parseKeep parses the arguments of keep.
func parseKeep(args []string) (caddy.Duration, error) {
	if len(args) == 0 || len(args) > 2 || args[0] != "messages" {
		return 0, errKeep
	}
	if len(args) == 1 {
		return caddy.Duration(defaultKeep), nil
	}
	d, err := caddy.ParseDuration(args[1])
	if err != nil || d <= 0 {
		return 0, errKeep
	}
	return caddy.Duration(d), nil
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)

// UnmarshalJSON implements json.Unmarshaler. Unknown members are errors.
func (a *App) UnmarshalJSON(data []byte) error {
	type plain App
	return decodeStrict(data, (*plain)(a))
}
