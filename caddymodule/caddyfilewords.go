package caddymodule

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/destination"
)

// reader reads the line of a directive.
type reader = func(*caddyfile.Dispenser) (later check, err error)

// plain reads what needs no check later.
func plain(read func(*caddyfile.Dispenser) error) reader {
	return func(d *caddyfile.Dispenser) (check, error) { return nil, read(d) }
}

// alone reads a word that stands alone.
func alone(into *bool) reader {
	return plain(func(d *caddyfile.Dispenser) error {
		*into = true
		return noArgs(d)
	})
}

// checked reads one value, and asks what is wrong with it.
func checked(into *string, wrong func() error) reader {
	return plain(func(d *caddyfile.Dispenser) error {
		if err := oneArg(d, into); err != nil {
			return err
		}
		return wrap(d, wrong())
	})
}

func duration(into *caddy.Duration) reader {
	return plain(func(d *caddyfile.Dispenser) error { return durationArg(d, into) })
}

func positive[N int | int64](into *N, what string) reader {
	return plain(func(d *caddyfile.Dispenser) error { return positiveArg(d, into, what) })
}

func destinations(into *[]string) reader {
	return plain(func(d *caddyfile.Dispenser) error { return destinationArgs(d, into) })
}

// oneArg reads exactly one argument.
func oneArg(d *caddyfile.Dispenser, into *string) error {
	word := d.Val()
	switch args := d.RemainingArgs(); len(args) {
	case 0:
		return d.Errf("%s takes exactly one value, and there is none; quote one that begins with #, and {$NAME} is none if that variable is not set when this file is read", word)
	case 1:
		*into = args[0]
		return nil
	}
	return d.Errf("%s takes exactly one value; quote it if it has blanks", word)
}

// positiveArg reads exactly one whole number of at least 1.
func positiveArg[N int | int64](d *caddyfile.Dispenser, into *N, what string) error {
	word := d.Val()
	var text string
	if err := oneArg(d, &text); err != nil {
		return err
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 1 {
		return d.Errf("%s takes %s", word, what)
	}
	*into = N(n)
	return nil
}

func noArgs(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	return nil
}

func durationArg(d *caddyfile.Dispenser, into *caddy.Duration) error {
	word := d.Val()
	var text string
	if err := oneArg(d, &text); err != nil {
		return err
	}
	parsed, err := caddy.ParseDuration(text)
	if err != nil || parsed <= 0 {
		return d.Errf("%s takes a duration, such as 10s", word)
	}
	*into = caddy.Duration(parsed)
	return nil
}

// destinationArgs reads a list of destinations.
func destinationArgs(d *caddyfile.Dispenser, into *[]string) error {
	word, list := d.Val(), d.RemainingArgs()
	if len(list) == 0 {
		return d.Errf("%s takes destinations, such as US +4420 short_codes", word)
	}
	_, err := destination.Parse(list, nil)
	*into = append(*into, list...)
	return wrap(d, err)
}

// wrap names the line of what is wrong, if something is.
func wrap(at *caddyfile.Dispenser, err error) error {
	if err == nil {
		return nil
	}
	return at.WrapErr(err)
}
