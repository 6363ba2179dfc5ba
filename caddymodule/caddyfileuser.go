package caddymodule

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/database"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/destination"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
)

var userWords = []string{"password", "token", "from", "group", "region", "limit", "allow", "deny", "receive"}

// senderLine is a from line with its position.
type senderLine struct {
	at      caddyfile.Dispenser
	numbers []string
}

// unmarshalUser parses a user block. The check parses the numbers, which needs the region.
func (h *Handler) unmarshalUser(d *caddyfile.Dispenser) (deferredCheck, error) {
	u, at := new(User), *d
	if !d.AllArgs(&u.Name) {
		return nil, d.Err("write: user NAME { password {env.NAME} }")
	}
	if slices.ContainsFunc(h.Users, func(other *User) bool { return other.Name == u.Name }) {
		return nil, d.Errf("user %s appears twice; more passwords go into one block", u.Name)
	}
	var from []senderLine
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		line, err := u.unmarshalWord(d)
		if err != nil {
			return nil, err
		}
		if line != nil {
			from = append(from, *line)
		}
	}
	h.Users = append(h.Users, u)
	return func(map[string]*adapters.Definition) error { return h.checkUser(u, &at, from) }, nil
}

// unmarshalWord parses one line of a user block. It returns a from line, whose check needs the
// region.
func (u *User) unmarshalWord(d *caddyfile.Dispenser) (*senderLine, error) {
	switch word := d.Val(); word {
	case "password":
		return nil, secretArg(d, &u.Passwords)
	case "token":
		return nil, secretArg(d, &u.Tokens)
	case "from":
		numbers := d.RemainingArgs()
		u.From = append(u.From, numbers...)
		if len(numbers) == 0 {
			return nil, d.Err("from takes at least one number, such as +15551234567" + unsetHint)
		}
		return &senderLine{*d, numbers}, nil
	case "group":
		groups := d.RemainingArgs()
		if len(groups) == 0 {
			return nil, d.Err("group takes at least one name, such as sales" + unsetHint)
		}
		u.Groups = append(u.Groups, groups...)
	case "region":
		if err := oneArg(d, &u.Region); err != nil {
			return nil, err
		}
		if !hasPlaceholder(u.Region) {
			if err := number.CheckRegion(u.Region); err != nil {
				return nil, d.Errf("region: %w", err)
			}
		}
	case "limit":
		u.Limits = append(u.Limits, strings.Join(d.RemainingArgs(), " "))
		_, err := u.rules(nil)
		return nil, wrap(d, err)
	case "allow":
		return nil, destinationArgs(d, &u.Allow)
	case "deny":
		return nil, destinationArgs(d, &u.Deny)
	case "receive":
		numbers := d.RemainingArgs()
		u.Receive = append(u.Receive, numbers...)
		if len(numbers) == 0 {
			return nil, d.Err("receive takes numbers such as +15551234567, or off" + unsetHint)
		}
	default:
		return nil, unknownWord(d, inUser, userWords)
	}
	return nil, nil
}

// secretArg parses one secret.
func secretArg(d *caddyfile.Dispenser, into *[]string) error {
	var secret string
	word := d.Val()
	if err := oneArg(d, &secret); err != nil {
		return err
	}
	*into = append(*into, secret)
	err := checkValue(secret)
	if err == nil && word == "password" {
		err = users.CheckPassword(secret)
	}
	if err != nil {
		return d.WrapErr(fmt.Errorf("%s: %w", word, err))
	}
	return nil
}

// checkUser validates a user of the Caddyfile. Errors in numbers have the line of the numbers, all
// others that of the user.
func (h *Handler) checkUser(u *User, at *caddyfile.Dispenser, from []senderLine) error {
	if len(u.Passwords)+len(u.Tokens) == 0 && !h.Authenticated {
		return at.Errf("user %s has no password: write password {env.NAME}, or token {env.NAME}", u.Name)
	}
	for _, line := range from {
		if slices.ContainsFunc(line.numbers, hasPlaceholder) {
			continue
		}
		if _, err := parseSenders(line.numbers, cmp.Or(u.Region, h.DefaultRegion)); err != nil {
			return line.at.WrapErr(err)
		}
	}
	if slices.ContainsFunc(slices.Concat(u.From, u.Receive), hasPlaceholder) {
		return nil
	}
	policy, err := destination.Parse(h.Allow, h.Deny)
	if err == nil {
		_, _, err = u.account(h.DefaultRegion, policy, nil)
	}
	if err != nil {
		err = fmt.Errorf("user %s: %w", u.Name, err)
	}
	return wrap(at, err)
}

const userNamespace = "http.acrobits_sms.users"

// userSources returns the sources of a users line.
func userSources() []string { return moduleNames(userNamespace) }

// unmarshalUsers parses a users line by the module of its source.
func (h *Handler) unmarshalUsers(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("write: users file PATH")
	}
	source := d.Val()
	if !slices.Contains(userSources(), source) {
		return d.Err(unknownSource(source))
	}
	guest, err := caddyfile.UnmarshalModule(d, userNamespace+"."+source)
	if err != nil {
		return err
	}
	h.Directories = append(h.Directories, caddyconfig.JSONModuleObject(guest, "source", source, nil))
	return nil
}

// unknownSource returns advice about a word that is not a source of users.
func unknownSource(word string) string {
	for _, k := range database.Kinds {
		if suggest.DidYouMean(word, []string{k.Name}) != "" {
			return fmt.Sprintf("did you mean users sql %s? (write: users sql %[1]s ADDRESS { query … })", k.Name)
		}
	}
	switch {
	case strings.HasPrefix(word, "http://") || strings.HasPrefix(word, "https://"):
		return "write: users http URL"
	case suggest.QuotePath(word, userFileExtensions...) != "":
		return "write: users file PATH, such as: users file" + suggest.QuotePath(word, userFileExtensions...)
	}
	return "users: " + suggest.Unknown("source", word, userSources()) + "; write such as: users file PATH"
}

// moduleNames returns the sorted names of the modules of a namespace.
func moduleNames(namespace string) (names []string) {
	for _, m := range caddy.GetModules(namespace) {
		names = append(names, m.ID.Name())
	}
	return names
}
