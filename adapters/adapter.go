package adapters

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/redact"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// MaxReply limits the bytes that are read of a provider's reply.
const MaxReply = 64 << 10

// userAgent names us to providers; some refuse requests without one.
var userAgent = []string{"caddy-acrobits-sms"}

// Adapter is a definition with the options of one account. It is immutable and safe for concurrent
// use.
type Adapter struct {
	// Name is the name of this instance, as it appears in logs.
	Name string

	def        *Definition
	account    [sha256.Size]byte
	billingKey [sha256.Size]byte
	inClear    bool
	sends      []*boundRequest
	token      *boundToken // nil if the API needs no token
	inbound    []boundInbound
	proof      boundProof
	receipts   sms.Hidden    // the address for receipts, empty if there is none
	upload     *boundRequest // nil if the API needs no upload
	replacer   *strings.Replacer
	redacted   *redact.Account
}

// HasBaseURL reports whether a definition has a base_url. If not, the operator must give one.
func (d *Definition) HasBaseURL() bool { return len(d.baseURL) > 0 }

// idempotencyKey is the end of the header names in which providers accept an idempotency key: they
// send the messages with the same key only once.
// https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
const idempotencyKey = "Idempotency-Key"

// Idempotent reports whether each request has a header whose name ends in Idempotency-Key with the
// id of the message. Such a request may be repeated.
func (a *Adapter) Idempotent() bool {
	for _, v := range a.def.sends {
		if !slices.ContainsFunc(v.request.header, func(h header) bool {
			_, holds := h.value.holds("message.id")
			return strings.HasSuffix(h.name, idempotencyKey) && holds
		}) {
			return false
		}
	}
	return true
}

// Account identifies the account. Adapters with the same definition, base URL and options have the
// same identifier. Options that only concern webhooks do not count.
func (a *Adapter) Account() [sha256.Size]byte { return a.account }

// BillingKey identifies the customer that the provider bills. It contains no secrets: it is a hash
// of the definition's name, the base URL and the options that are not secret. If only secret
// options have values, BillingKey is equal to Account.
func (a *Adapter) BillingKey() [sha256.Size]byte { return a.billingKey }

// InClear reports whether others can read the requests, because they go over http:// to a host on
// the internet.
func (a *Adapter) InClear() bool { return a.inClear }

// IsLoopback reports whether a host is this machine.
// https://www.rfc-editor.org/rfc/rfc6761#section-6.3
func IsLoopback(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || host == "localhost.localdomain" || err == nil && ip.IsLoopback()
}

// isInClear reports whether a URL is not encrypted and its host is outside of this machine and the
// local network. A host name without a dot counts as local.
func isInClear(base *url.URL) bool {
	if IsLoopback(base.Hostname()) {
		return false
	}
	if ip, err := netip.ParseAddr(base.Hostname()); err == nil {
		return base.Scheme == "http" && !ip.IsLoopback() && !ip.IsPrivate() && !ip.IsLinkLocalUnicast()
	}
	return base.Scheme == "http" && strings.Contains(base.Hostname(), ".")
}

// Format prints the name for every verb, because an adapter contains secrets.
func (a Adapter) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, a.Name) }

// MarshalText returns the name. encoding/json and zap use it too.
func (a Adapter) MarshalText() ([]byte, error) { return []byte(a.Name), nil }

// Bind makes an adapter. An empty name means the name of the definition. baseURL replaces the
// base_url of the definition and of its token block. Every option that is not optional needs a
// value. Options that the definition does not declare are refused.
func (d *Definition) Bind(name, baseURL string, options map[string]string) (*Adapter, error) {
	if name == "" {
		name = d.Name
	}
	a := &Adapter{Name: name, def: d, redacted: redact.NewAccount()}
	values := make(map[string]string, len(options))
	if err := d.Check(name, baseURL, options); err != nil {
		return nil, err
	}
	for _, o := range d.Options {
		v := o.value(options)
		if err := o.check(v); err != nil {
			return nil, fmt.Errorf("adapter %s: %w", name, err)
		}
		if o.Secret {
			a.redacted.AddSecret(v)
		} else {
			a.redacted.AddOption(o.Name, v)
		}
		values[o.Name] = v
	}
	base, err := chooseBaseURL(baseURL, d.baseURL, values)
	if err != nil {
		return nil, fmt.Errorf("adapter %s: %w", name, err)
	}
	a.inClear = isInClear(base)
	text := sha256.Sum256([]byte(d.text))
	account, billed := []string{string(text[:]), base.String()}, []string{d.Name, base.String()}
	for _, o := range d.Options {
		if o.receives { // it identifies no customer, and may be added later
			continue
		}
		account = append(account, o.Name, values[o.Name])
		if !o.Secret && values[o.Name] != "" {
			billed = append(billed, o.Name, values[o.Name])
		}
	}
	a.account = sha256.Sum256(fmt.Appendf(nil, "%q", account))
	if a.billingKey = a.account; len(billed) > 2 || len(d.Options) == 0 {
		a.billingKey = sha256.Sum256(fmt.Appendf(nil, "%q", billed))
	}
	if len(d.replace) > 0 {
		a.replacer = strings.NewReplacer(d.replace...)
	}
	for _, v := range d.sends {
		if v.isFor(func(c condition) bool { return !c.decided(values) }) {
			continue // the operator's options exclude this send block
		}
		c, err := v.request.bind(base, &v.reply, values)
		if errors.Is(err, errLacksOption) && len(d.sends) > 1 {
			continue // an account may be able to send only SMS or only MMS
		}
		if err != nil {
			return nil, fmt.Errorf("adapter %s: %w", name, err)
		}
		c.block = v
		a.hideCredential(c)
		a.sends = append(a.sends, c)
	}
	if len(a.sends) == 0 {
		return nil, fmt.Errorf("adapter %s: %w", name, errLacksOption)
	}
	a.proof = d.proof.bind(values)
	for _, b := range d.inbound {
		a.inbound = append(a.inbound, b.bind(values))
	}
	if d.upload != nil {
		if a.upload, err = d.upload.request.bind(base, &d.upload.reply, values); err != nil {
			return nil, fmt.Errorf("adapter %s: %w", name, err)
		}
		a.hideCredential(a.upload)
	}
	if d.token != nil {
		if a.token, err = d.token.bind(base, baseURL, values); err != nil {
			return nil, fmt.Errorf("adapter %s: %w", name, err)
		}
		a.hideCredential(a.token.boundRequest)
	}
	return a, nil
}

// chooseBaseURL returns the operator's base URL, or the definition's if the operator gave none.
func chooseBaseURL(own string, defined template, options map[string]string) (*url.URL, error) {
	if own == "" {
		t, _ := defined.bind(options)
		own, _ = t.fixed()
	}
	return checkBaseURL(own)
}
