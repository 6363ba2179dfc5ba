package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
)

func init() {
	caddy.RegisterModule(App{})
	httpcaddyfile.RegisterGlobalOption("acrobits_sms", parseGlobal)
}

// App is what all sites share: where it is written down which messages are on their way, and what became of them.
type App struct {
	// JournalRaw is where that is kept: `memory`, the default, `sqlite` or `postgres`.
	JournalRaw json.RawMessage `json:"journal,omitempty" caddy:"namespace=acrobits_sms.journals inline_key=journal"`

	// KeepMessages is for how long messages themselves are kept in the journal: who sent what to whom, as the app sent it. It
	// needs a journal that survives a restart. Default: they are not kept.
	KeepMessages caddy.Duration `json:"keep_messages,omitempty"`

	journal *sharedJournal
	taken   taken
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "acrobits_sms", New: func() caddy.Module { return new(App) }}
}

// Provision sets the app up. It opens nothing.
func (a *App) Provision(ctx caddy.Context) error {
	if len(a.JournalRaw) == 0 {
		a.JournalRaw = json.RawMessage(`{"journal": "` + inMemory + `"}`)
	}
	guest, err := ctx.LoadModule(a, "JournalRaw")
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j, ok := guest.(journals)
	if !ok {
		return fmt.Errorf("journal: %T keeps no messages", guest)
	}
	if err := a.checkKeep(j.kind()); err != nil {
		return err
	}
	a.journal = takeJournal(&a.taken, j)
	announcer, err := newAnnouncer(ctx)
	if err != nil {
		return err
	}
	a.taken.add(a.journal.announce(announcer))
	return nil
}

// defaultKeep is for how long messages are kept, if they are.
const defaultKeep = 30 * 24 * time.Hour

var errKeep = errors.New("keep takes messages and perhaps for how long: keep messages, or keep messages 30d")

func (a *App) checkKeep(kind string) error {
	switch {
	case a.KeepMessages < 0:
		return errKeep
	case a.KeepMessages > 0 && kind == inMemory:
		return errors.New("keep messages needs a journal that survives a restart: write journal sqlite or journal postgres too")
	}
	return nil
}

// Start opens the journal. Caddy starts its apps in any order, so a message that comes first opens it too.
func (a *App) Start() error { return a.journal.start() }

// Stop does nothing: messages on their way go on to use the journal.
func (a *App) Stop() error { return nil }

// Cleanup gives the journal back. It is closed when the last message on its way is done.
func (a *App) Cleanup() error { return a.taken.release() }

// parseGlobal reads the global option. Syntax:
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
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	app, kind := new(App), inMemory
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch word := d.Val(); word {
		case "journal":
			if app.JournalRaw != nil {
				return nil, d.Err("journal appears twice")
			}
			if !d.NextArg() {
				return nil, d.Err("write: journal memory, journal sqlite PATH or journal postgres ADDRESS")
			}
			kind = d.Val()
			if kinds := journalKinds(); !slices.Contains(kinds, kind) {
				return nil, d.Errf("there is no journal %q%s (there are %s)", kind, adapters.Meant(kind, kinds), strings.Join(kinds, ", "))
			}
			guest, err := caddyfile.UnmarshalModule(d, "acrobits_sms.journals."+kind)
			if err != nil {
				return nil, err
			}
			app.JournalRaw = caddyconfig.JSONModuleObject(guest, "journal", kind, nil)
		case "keep":
			if app.KeepMessages != 0 {
				return nil, d.Err("keep appears twice")
			}
			if app.KeepMessages, err = parseKeep(d.RemainingArgs()); err != nil {
				return nil, d.WrapErr(err)
			}
		default:
			return nil, d.Errf("unknown word %q (there are journal and keep)", word)
		}
	}
	if err := app.checkKeep(kind); err != nil {
		return nil, d.WrapErr(err)
	}
	return httpcaddyfile.App{Name: "acrobits_sms", Value: caddyconfig.JSON(app, nil)}, nil
}

// journalKinds are the names of all journals.
func journalKinds() (kinds []string) {
	for _, m := range caddy.GetModules("acrobits_sms.journals") {
		kinds = append(kinds, m.ID.Name())
	}
	return kinds
}

// parseKeep reads what follows keep.
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
