package adapters

import (
	"embed"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// Extension is the file name extension of definitions.
const Extension = ".caddyfile"

//go:embed providers/*.caddyfile
var files embed.FS

// parsed caches built-in definitions by name.
var parsed sync.Map

// Names lists the built-in adapters in alphabetical order.
func Names() []string {
	entries, err := fs.ReadDir(files, "providers")
	if err != nil {
		panic(err) // impossible: the folder is embedded in the binary
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), Extension))
	}
	slices.Sort(names)
	return names
}

// Source returns the text of a built-in definition.
func Source(name string) (string, error) {
	if isName(name) {
		if text, err := files.ReadFile("providers/" + name + Extension); err == nil {
			return string(text), nil
		}
	}
	return "", errors.New(suggest.Unknown("adapter", name, Names()))
}

// Builtin returns a built-in definition.
func Builtin(name string) (*Definition, error) {
	if d, ok := parsed.Load(name); ok {
		return d.(*Definition), nil
	}
	text, err := Source(name)
	if err != nil {
		return nil, err
	}
	d, err := Parse(name, name+Extension, 1, text)
	if err != nil {
		return nil, err
	}
	parsed.Store(name, d)
	return d, nil
}
