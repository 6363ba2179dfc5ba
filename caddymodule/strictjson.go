package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// decodeStrict decodes the configuration of a module. Unlike Caddy's, its errors do not repeat
// unknown members and values, which may be secrets.
func decodeStrict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	var kind *json.UnmarshalTypeError
	known := members(reflect.TypeOf(into))
	switch {
	case err == nil:
		return nil
	case errors.As(err, &kind):
		path := strings.Split(kind.Field, ".")
		for i, name := range path {
			if !slices.Contains(known, name) {
				path[i] = "…"
			}
		}
		return fmt.Errorf("%s: not of type %s", strings.Join(path, "."), jsonKind(kind.Type))
	}
	if name, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
		return errors.New(suggest.Unknown("member", strings.Trim(name, `"`), known))
	}
	// Durations are the only values with an UnmarshalJSON of their own.
	return errors.New(`a duration cannot be read; write such as "10s"`)
}

// members returns the names of the members of a type and of its inner types.
func members(t reflect.Type) (names []string) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return members(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "" {
				names = append(names, name)
				names = append(names, members(t.Field(i).Type)...)
			}
		}
	}
	return names
}

// jsonKind returns the JSON name of a type.
func jsonKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Slice:
		return "array"
	case reflect.Struct, reflect.Map:
		return "object"
	}
	return "number"
}

// checkModule refuses modules with unknown names. Unlike Caddy's, its error does not repeat the
// name.
func checkModule(raw json.RawMessage, key string, known []string) error {
	var module map[string]json.RawMessage
	var name string
	if json.Unmarshal(raw, &module) != nil || json.Unmarshal(module[key], &name) != nil {
		return fmt.Errorf("write an object with %q: one of %s", key, strings.Join(known, ", "))
	}
	if !slices.Contains(known, name) {
		return errors.New(suggest.Unknown(key, name, known))
	}
	return nil
}
