package caddymodule

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/spf13/cobra"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/dryrun"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// accountFlags are the flags that select an adapter and a text.
type accountFlags struct {
	config, adapter, define, baseURL, region string
	options, envfiles                        []string
	text                                     dryrun.Text
}

func (f *accountFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.config, "config", "c", "", "Configuration that has the adapter (default: Caddyfile, if there is one)")
	flags.StringArrayVar(&f.envfiles, "envfile", nil, "File with environment variables, as of caddy run")
	flags.StringVarP(&f.adapter, "adapter", "a", "", "Name of the config adapter of the configuration")
	flags.StringVar(&f.define, "define", "", "File with a definition, instead of a built-in one")
	flags.StringArrayVarP(&f.options, "option", "o", nil, "Option of the adapter as name=value; a value may be {env.NAME}")
	flags.StringVar(&f.baseURL, "base-url", "", "Base URL of the adapter")
	flags.StringVar(&f.region, "region", "", "Country of numbers without one, such as US")
	flags.StringVar(&f.text.To, "to", "", "Recipient")
	flags.StringVar(&f.text.From, "from", "", "Sender")
	flags.StringVar(&f.text.Body, "body", "Hello World", "Text")
	flags.StringArrayVar(&f.text.Media, "media", nil, "Picture or file: a URL, or a file on this machine")
	_ = cmd.MarkFlagRequired("to")
}

// requireAdapter requires one argument.
func requireAdapter(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return errors.New("name one adapter of the Caddyfile, or one of the list: caddy acrobits-sms adapters")
	}
	return nil
}

// account returns the adapter of the configuration, or one of a definition. Only a live message
// needs secrets.
func (f *accountFlags) account(name string, live bool) (*dryrun.Account, error) {
	for _, file := range f.envfiles {
		if err := loadEnvironment(file); err != nil {
			return nil, err
		}
	}
	for i, media := range f.text.Media {
		if !strings.HasPrefix(media, "http://") && !strings.HasPrefix(media, "https://") {
			data, err := readMedia(media)
			if err != nil {
				return nil, err
			}
			f.text.Media[i] = data
		}
	}
	found, err := f.configured(name)
	if err != nil {
		return nil, err
	}
	d, err := f.definition(found)
	if err != nil {
		return nil, err
	}
	a := &dryrun.Account{
		Definition: d, Name: found.adapter.Name, BaseURL: found.adapter.BaseURL,
		Options: maps.Clone(found.adapter.Options), Region: found.site.DefaultRegion,
	}
	if err := f.override(a); err != nil {
		return nil, err
	}
	if users := found.site.Users; f.text.From == "" && len(users) > 0 && len(users[0].From) > 0 { // as the handler does
		if f.text.From, err = resolve(caddy.NewReplacer(), users[0].From[0]); err != nil {
			f.text.From = ""
		}
	}
	return a, resolveAccount(a, live)
}

// maxMedia is the maximum size of a file of --media, in bytes.
const maxMedia = 5_000_000

// readMedia returns a file as a data URI. Its type is that of its content.
func readMedia(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("--media: write a URL with https://, or the path of a file: %w", withoutPath(err))
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxMedia+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("--media: %w", withoutPath(err))
	case len(content) > maxMedia:
		return "", errors.New("--media: the file is larger than 5 MB")
	}
	mediaType, _, _ := strings.Cut(http.DetectContentType(content), ";")
	return "data:" + mediaType + ";base64," + base64.StdEncoding.EncodeToString(content), nil
}

// definition returns the definition of the flags, or else that of the configured adapter.
func (f *accountFlags) definition(found configured) (*adapters.Definition, error) {
	if f.define == "" {
		return found.adapter.definition(found.own)
	}
	source, err := os.ReadFile(f.define)
	if err != nil {
		return nil, flagError("define", f.define, err)
	}
	return adapters.Parse(found.adapter.Definition, f.define, 1, string(source))
}

// override replaces options of the account by those of the flags.
func (f *accountFlags) override(a *dryrun.Account) error {
	if a.Options == nil {
		a.Options = make(map[string]string)
	}
	for _, o := range f.options {
		key, value, ok := strings.Cut(o, "=")
		switch {
		case !ok:
			return fmt.Errorf("--option%s: write name=value", suggest.Quote(o, adapterOptions(a.Definition)))
		case key == "base_url":
			a.BaseURL = value
		default:
			a.Options[key] = value
		}
	}
	a.BaseURL = cmp.Or(f.baseURL, a.BaseURL)
	a.Region = cmp.Or(f.region, a.Region)
	return checkRegion(a.Region)
}

// flagError returns the error about the file of a flag. It contains the path only if its extension
// is known: a wrong word in its place may be a secret.
func flagError(flag, path string, err error) error {
	return fmt.Errorf("--%s%s: %w",
		flag, suggest.QuotePath(path, ".env", ".json", ".xml", ".txt", adapters.Extension), withoutPath(err))
}

// loadEnvironment sets the variables of a file of NAME=VALUE lines, unless already set, as caddy
// run does.
func loadEnvironment(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return flagError("envfile", file, err)
	}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if !ok {
			return fmt.Errorf("%s:%d: write NAME=VALUE", file, number)
		}
		if len(value) > 1 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
			value = value[1 : len(value)-1]
		}
		if _, set := os.LookupEnv(name); !set {
			if err := os.Setenv(name, value); err != nil {
				return fmt.Errorf("%s:%d: %w", file, number, err)
			}
		}
	}
	return nil
}

// resolveAccount replaces placeholders. Values that cannot be resolved become empty unless live.
func resolveAccount(a *dryrun.Account, live bool) error {
	repl := caddy.NewReplacer()
	for _, o := range slices.Sorted(maps.Keys(a.Options)) {
		if err := a.Definition.CheckOption(a.Definition.Name, o); err != nil {
			return err
		}
		value, err := resolve(repl, a.Options[o])
		if err != nil && live {
			return fmt.Errorf("%s: %w", o, err)
		}
		a.Options[o] = value
	}
	base, err := resolve(repl, a.BaseURL)
	if err != nil && live && a.BaseURL != "" {
		return fmt.Errorf("base_url: %w", err)
	}
	a.BaseURL = base
	return nil
}

// configured is an adapter with the definitions and the handler of its configuration.
type configured struct {
	adapter *Adapter
	own     map[string]*adapters.Definition
	site    *Handler
}

// configured looks up an adapter by its name or its definition's in the handlers of the
// configuration. It returns an adapter without options if no handler has one.
func (f *accountFlags) configured(name string) (configured, error) {
	found := configured{adapter: &Adapter{Definition: name}, site: new(Handler)}
	file := f.config
	if file == "" {
		if _, err := os.Stat("Caddyfile"); err != nil {
			return found, nil
		}
		file = "Caddyfile"
	}
	config, err := readConfig(file, f.adapter)
	if err != nil {
		return found, err
	}
	var others []string
	for _, h := range handlersIn(config) {
		definitions, err := parseDefinitions(h.Definitions)
		if err != nil {
			return found, err
		}
		for _, a := range h.Adapters {
			switch {
			case a == nil:
			case a.Name == name, a.Name == "" && a.Definition == name:
				return configured{a, definitions, h}, nil
			case a.Definition == name:
				others = append(others, a.Name)
			}
		}
		if found.own == nil && definitions[name] != nil {
			found.own, found.site = definitions, h
		}
	}
	if len(others) > 0 {
		return found, fmt.Errorf("%s has %s as %s: name one of them", file, name, strings.Join(others, ", "))
	}
	return found, nil
}

// readConfig reads and adapts a configuration as caddy run does, without logging.
func readConfig(file, adapter string) ([]byte, error) {
	config, err := os.ReadFile(file)
	if err != nil {
		return nil, flagError("config", file, err)
	}
	extension := strings.TrimPrefix(filepath.Ext(file), ".")
	switch {
	case adapter != "":
	case extension == "json":
		return config, nil
	case extension != "" && caddyconfig.GetAdapter(extension) != nil:
		adapter = extension
	default:
		adapter = "caddyfile"
	}
	by := caddyconfig.GetAdapter(adapter)
	if by == nil {
		return nil, errors.New(suggest.Unknown("config adapter", adapter, moduleNames("caddy.adapters")))
	}
	adapted, _, err := by.Adapt(config, map[string]any{"filename": file})
	return adapted, err
}

// handlersIn returns the handlers of this module in a configuration, at any depth.
func handlersIn(config []byte) (list []*Handler) {
	var object map[string]json.RawMessage
	var array []json.RawMessage
	if json.Unmarshal(config, &array) == nil {
		for _, item := range array {
			list = append(list, handlersIn(item)...)
		}
	}
	if json.Unmarshal(config, &object) != nil {
		return list
	}
	if string(object["handler"]) == `"acrobits_sms"` {
		delete(object, "handler") // as Caddy does
		if raw, err := json.Marshal(object); err == nil {
			if h := new(Handler); json.Unmarshal(raw, h) == nil {
				list = append(list, h)
			}
		}
		return list
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		list = append(list, handlersIn(object[key])...)
	}
	return list
}
