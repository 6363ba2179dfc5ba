package caddymodule

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/destination"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

// lineParser parses the line or block of a word. later is nil if no check needs the whole block.
type lineParser = func(*caddyfile.Dispenser) (later deferredCheck, err error)

// withoutCheck returns a parser of lines that need no deferred check.
func withoutCheck(read func(*caddyfile.Dispenser) error) lineParser {
	return func(d *caddyfile.Dispenser) (deferredCheck, error) { return nil, read(d) }
}

// boolFlag returns a parser of a word without arguments, which sets *into.
func boolFlag(into *bool) lineParser {
	return withoutCheck(func(d *caddyfile.Dispenser) error {
		*into = true
		return noArgs(d)
	})
}

// validated returns a parser of one value, which check validates.
func validated(into *string, check func() error) lineParser {
	return withoutCheck(func(d *caddyfile.Dispenser) error {
		if err := oneArg(d, into); err != nil {
			return err
		}
		return wrap(d, check())
	})
}

func duration(into *caddy.Duration) lineParser {
	return withoutCheck(func(d *caddyfile.Dispenser) error { return durationArg(d, into) })
}

func positive[N int | int64](into *N, what string) lineParser {
	return withoutCheck(func(d *caddyfile.Dispenser) error { return positiveArg(d, into, what) })
}

func destinations(into *[]string) lineParser {
	return withoutCheck(func(d *caddyfile.Dispenser) error { return destinationArgs(d, into) })
}

// oneArg parses exactly one argument.
func oneArg(d *caddyfile.Dispenser, into *string) error {
	at := *d
	return singleArg(&at, d.Val(), d.RemainingArgs(), into)
}

// unsetHint explains why a value that is written in the file may be missing.
const unsetHint = "; an unset variable {$NAME} gives no value, and a value that begins with # needs quotation marks"

// singleArg stores the only argument of a word.
func singleArg(d *caddyfile.Dispenser, word string, args []string, into *string) error {
	switch len(args) {
	case 0:
		return d.Errf("%s takes exactly one value, and has none%s", word, unsetHint)
	case 1:
		*into = args[0]
		return nil
	}
	if slices.ContainsFunc(args, func(arg string) bool { return strings.Contains(arg, "\n") }) {
		return d.Errf("%s: %w", word, errQuoteOpen)
	}
	return d.Errf("%s takes exactly one value; quote it if it has blanks", word)
}

// place is a kind of block, which accepts words of its own.
type place int

const (
	inHandler place = iota
	inUser
	inAdapter
	inGlobal
	inUsers // a line of users
	inServices
	inPictures
	inTransport
	inReceive
)

// unknownWord returns the error about a word that a block does not accept. known are the words of
// the block.
func unknownWord(d *caddyfile.Dispenser, where place, known []string) error {
	if wrong := misplacedWord(d.Val(), where, known); wrong != "" {
		return d.Err(wrong)
	}
	return d.Err(suggest.Unknown("word", d.Val(), known))
}

// misplacedWord returns advice about a word that a block does not accept, if another block does or
// it contains = or :. It is empty otherwise.
func misplacedWord(word string, where place, known []string) string {
	if i := strings.IndexAny(word, "=:"); i > 0 && slices.Contains(known, word[:i]) {
		return fmt.Sprintf("write %s VALUE, with a space instead of %c", word[:i], word[i])
	}
	isOf := func(other place, words []string) bool { return where != other && slices.Contains(words, word) }
	switch {
	case where != inHandler && isOf(inGlobal, globalWords), where == inHandler && slices.Contains(globalWords, word):
		return fmt.Sprintf("%s belongs in the global options: { acrobits_sms { %[1]s … } }", word)
	case where == inGlobal && (slices.Contains(handlerWords(), word) || slices.Contains(userWords, word)):
		return fmt.Sprintf("%s belongs in a site: sms.example.com { acrobits_sms { %[1]s … } }", word)
	case where == inGlobal && slices.Contains(otherGlobalWords, word):
		return fmt.Sprintf("%s is a global option of Caddy: is a } missing above?", word)
	case isOf(inHandler, handlerWords()):
		return fmt.Sprintf("%s belongs in acrobits_sms { … }, not into a block of it: is a } missing above?", word)
	case where == inAdapter && word == "from":
		return "from belongs in a user block; senders says which numbers an adapter is for"
	case isOf(inUser, userWords):
		return fmt.Sprintf("%s belongs in a user block: user NAME { %[1]s … }", word)
	case isOf(inAdapter, adapterWords):
		return fmt.Sprintf("%s belongs in an adapter block: adapter NAME { %[1]s … }", word)
	case slices.Contains(siteWords, word):
		return fmt.Sprintf("%s is a directive of a site: is a } missing above?", word)
	}
	return ""
}

// globalWords are the words of the global option.
var globalWords = []string{"journal", "keep"}

// otherGlobalWords are global options of Caddy that often follow the global option.
// https://caddyserver.com/docs/caddyfile/options
var otherGlobalWords = []string{
	"servers", "admin", "auto_https", "email", "log", "debug", "order", "grace_period", "shutdown_delay", "persist_config",
	"storage", "acme_ca", "http_port", "https_port", "default_bind", "local_certs", "metrics", "on_demand_tls", "acrobits_sms",
}

// siteWords are directives that often appear beside acrobits_sms.
// https://caddyserver.com/docs/caddyfile/directives
var siteWords = []string{
	"respond", "reverse_proxy", "log", "handle", "handle_path", "handle_errors", "route", "tls", "file_server", "encode",
	"redir", "root", "header", "bind", "basic_auth", "rewrite", "request_body", "php_fastcgi", "forward_auth",
	"acrobits_sms", "log_append", "import",
}

// positiveArg parses exactly one whole number of at least 1.
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
	word := d.Val()
	if d.NextArg() { // not ArgErr, which repeats the argument: it may be a secret
		return d.Errf("%s takes no value on its line", word)
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

// destinationArgs parses a list of destinations.
func destinationArgs(d *caddyfile.Dispenser, into *[]string) error {
	word, list := d.Val(), d.RemainingArgs()
	if len(list) == 0 {
		return d.Errf("%s takes destinations, such as US +4420 short_codes%s", word, unsetHint)
	}
	_, err := destination.Parse(list, nil)
	*into = append(*into, list...)
	return wrap(d, err)
}

// wrap adds the line to an error. It returns nil for nil.
func wrap(at *caddyfile.Dispenser, err error) error {
	if err == nil {
		return nil
	}
	return at.WrapErr(err)
}
