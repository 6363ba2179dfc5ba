package adapters

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/textproto"
	"strings"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/syntax"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/signature"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// proof is a `proof` line: how a webhook proves that the provider sent it. The secret in the path of
// the webhook is always required besides.
type proof struct {
	at       syntax.Place
	optional bool     // the secret in the path suffices until the operator gives a key
	scheme   template // the name of a signature; nil for a header and for the path alone
	header   string   // the name of the header that is the key itself
	keys     []template
}

// The words of a proof that are no signatures.
const (
	proofHeader = "header"
	proofPath   = "path"
)

// parseProof reads: proof [optional] SCHEME KEY…, proof [optional] header NAME KEY…, or proof path.
func (p *parser) parseProof(s *syntax.Statement) (*proof, error) {
	args := s.Args()
	out := &proof{at: s.Place}
	if len(args) > 0 && args[0].Is("optional") {
		out.optional, args = true, args[1:]
	}
	if len(args) == 1 && args[0].Is(proofPath) && !out.optional {
		return out, nil
	}
	if len(args) > 2 && args[0].Is(proofHeader) {
		if out.header = textproto.CanonicalMIMEHeaderKey(args[1].Text); !headerName.MatchString(out.header) {
			return nil, s.Fail("write: proof header NAME KEY, with the name of the header that contains the key")
		}
		args = args[2:]
	} else if len(args) > 1 && !args[0].Is(proofHeader) {
		var err error
		if out.scheme, err = p.parseTemplate(s, args[0].Text); err != nil {
			return nil, err
		}
		if err := p.checkScheme(s, out.scheme); err != nil {
			return nil, err
		}
		args = args[1:]
	} else {
		return nil, s.Fail("write: proof [optional] SCHEME KEY…, proof [optional] header NAME KEY…, or proof path where the secret in the path is the only proof; a scheme is one of %s",
			strings.Join(signature.Names(), ", "))
	}
	for _, w := range args {
		key, err := p.parseTemplate(s, w.Text)
		if err != nil {
			return nil, err
		}
		if key.optionName() == "" {
			return nil, s.Fail("a key is an option, such as {option.signing_key}: everybody can read a definition")
		}
		if hole, bad := key.holds(holesOfMessage...); bad {
			return nil, s.Fail("{%s} is not allowed here: a webhook is checked before it is read", hole)
		}
		out.keys = append(out.keys, key)
	}
	return out, nil
}

// checkScheme refuses names of schemes that do not exist, with each value of an option in them.
func (p *parser) checkScheme(s *syntax.Statement, scheme template) error {
	names := []string{""}
	for _, part := range scheme {
		values := []string{part.text}
		if part.hole != "" {
			if o := p.option(strings.TrimPrefix(part.hole, optionHole)); o == nil || len(o.Values) == 0 {
				return s.Fail("the scheme is fixed text, or it contains an option with a list of values: option NAME optional in A B")
			} else {
				values = o.Values
			}
		}
		var longer []string
		for _, name := range names {
			for _, v := range values {
				longer = append(longer, name+v)
			}
		}
		names = longer
	}
	for _, name := range names {
		if _, ok := signature.Named(name); !ok {
			return s.Unknown("scheme", name, append(signature.Names(), proofHeader, proofPath))
		}
	}
	return nil
}

// boundProof checks webhooks with the keys of an account.
type boundProof struct {
	// lacks is the name of the option without which the adapter receives nothing
	lacks  string
	scheme signature.Scheme
	header string
	keys   []sms.Hidden
}

// bind replaces the holes of options by their values. Keys without a value are left out.
func (p *proof) bind(options map[string]string) (b boundProof) {
	if p == nil || len(p.keys) == 0 {
		return b
	}
	name := ""
	if scheme, ok := p.scheme.bind(options); ok {
		name, _ = scheme.fixed()
	}
	b.scheme, _ = signature.Named(name)
	b.header = p.header
	for _, t := range p.keys {
		bound, ok := t.bind(options)
		key, _ := bound.fixed()
		switch {
		case !ok:
		case p.header != "" || name == "basic":
			b.keys = append(b.keys, sms.Hide(key))
		default: // while a key is replaced, an option contains the new and the old one
			for key := range strings.FieldsSeq(key) {
				b.keys = append(b.keys, sms.Hide(key))
			}
		}
	}
	if len(b.keys) == 0 && !p.optional {
		b.lacks = p.keys[0].optionName()
	}
	return b
}

// check returns an error unless the webhook is proven, or no proof but that in the path is asked for.
func (b *boundProof) check(r *InboundRequest, now time.Time) error {
	if len(b.keys) == 0 {
		return nil
	}
	if b.header == "" {
		return b.scheme.Verify(r, b.keys, now)
	}
	values := r.Header[b.header]
	if len(values) != 1 {
		return signature.ErrMissing
	}
	got, same := sha256.Sum256([]byte(values[0])), 0
	for _, key := range b.keys {
		want := sha256.Sum256([]byte(key.Reveal()))
		same |= subtle.ConstantTimeCompare(got[:], want[:])
	}
	if same == 0 {
		return signature.ErrInvalid
	}
	return nil
}
