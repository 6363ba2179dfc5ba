package adapters

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/syntax"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// Option is a value that the operator gives. Its name is taken from the provider's documentation.
type Option struct {
	Name     string
	Secret   bool
	Optional bool
	// Values lists the allowed values; if it is empty, every value is allowed. The first is the
	// default of an optional option.
	Values []string
	// Number says that the option is written as a number in JSON.
	Number bool

	at       syntax.Place
	receives bool // only the blocks about webhooks use it
}

// value returns the operator's value of an option, or the default of an optional option with a
// list.
func (o Option) value(options map[string]string) string {
	v := strings.TrimSpace(options[o.Name])
	if v == "" && o.Optional && len(o.Values) > 0 {
		return o.Values[0]
	}
	return v
}

// check refuses values outside of the option's list and values that could break out of a header or
// a URL.
func (o Option) check(value string) error {
	if len(o.Values) > 0 && !slices.Contains(o.Values, value) {
		return fmt.Errorf("option %s is one of %s", o.Name, strings.Join(o.Values, ", "))
	}
	if value == "." || value == ".." {
		return fmt.Errorf("option %s leads to another folder", o.Name)
	}
	if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return fmt.Errorf("option %s contains a control character", o.Name)
	}
	return nil
}

// Check returns an error if an option of the named adapter is unknown, missing or not in its list,
// or if baseURL is missing or wrong.
func (d *Definition) Check(name, baseURL string, options map[string]string) error {
	for _, o := range slices.Sorted(maps.Keys(options)) {
		if err := d.CheckOption(name, o); err != nil {
			return err
		}
	}
	for _, o := range d.Options {
		if strings.TrimSpace(options[o.Name]) == "" && !o.Optional {
			return fmt.Errorf("adapter %s needs the option %s", name, o.Name)
		}
	}
	for _, o := range d.Options {
		if v := o.value(options); len(o.Values) > 0 && v != "" && !strings.Contains(v, "{") && !slices.Contains(o.Values, v) {
			return fmt.Errorf("adapter %s: option %s is one of %s", name, o.Name, strings.Join(o.Values, ", "))
		}
	}
	if baseURL == "" && len(d.baseURL) == 0 {
		return fmt.Errorf("adapter %s needs base_url, the address of your server", name)
	}
	if baseURL != "" && !strings.Contains(baseURL, "{") {
		if _, err := checkBaseURL(baseURL); err != nil {
			return fmt.Errorf("adapter %s: %w", name, err)
		}
	}
	return nil
}

// CheckOption returns an error if the definition has no option of this name.
func (d *Definition) CheckOption(name, option string) error {
	known := make([]string, 0, len(d.Options)+len(blockWords))
	for _, o := range d.Options {
		if o.Name == option {
			return nil
		}
		known = append(known, o.Name)
	}
	known = append(known, blockWords...)
	if others := withOption(option); len(others) > 0 && suggest.DidYouMean(option, known) == "" {
		return fmt.Errorf("adapter %s: %s is an option of %s; known options: %s", name, option, strings.Join(others[:min(3, len(others))], " and "), strings.Join(known, ", "))
	}
	return fmt.Errorf("adapter %s: %s", name, suggest.Unknown("option", option, known))
}

// withOption returns the built-in adapters that have an option of this name.
func withOption(option string) (names []string) {
	for _, name := range Names() {
		d, err := Builtin(name)
		if err == nil && slices.ContainsFunc(d.Options, func(o Option) bool { return o.Name == option }) {
			names = append(names, name)
		}
	}
	return names
}

func (p *parser) parseOption(s *syntax.Statement) error {
	args := s.Args()
	if len(args) == 0 || s.Opens {
		return s.Fail("write: option NAME [secret] [optional] [in VALUE…]")
	}
	o := Option{Name: args[0].Text, at: s.Place}
	if !isName(o.Name) {
		return s.Fail("the name of an option may contain only lower-case letters, digits and _")
	}
	for i, w := range args[1:] {
		if w.Text == "in" && len(args) > i+3 {
			for _, v := range args[i+2:] {
				o.Values = append(o.Values, v.Text)
			}
			break
		}
		switch w.Text {
		case "secret":
			o.Secret = true
		case "optional":
			o.Optional = true
		default:
			return s.Fail("option %s: %s", o.Name, suggest.Unknown("word", w.Text, []string{"secret", "optional", "in"}))
		}
	}
	if slices.Contains(blockWords, o.Name) {
		return s.Fail("%q is not a name for an option: it is a word of every adapter block, choose another", o.Name)
	}
	if p.option(o.Name) != nil {
		return s.Fail("option %s appears twice", o.Name)
	}
	p.def.Options = append(p.def.Options, o)
	return nil
}

// option finds an option that is declared so far, or returns nil.
func (p *parser) option(name string) *Option {
	for i := range p.def.Options {
		if p.def.Options[i].Name == name {
			return &p.def.Options[i]
		}
	}
	return nil
}
