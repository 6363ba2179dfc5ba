package adapters

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// MaxReply is how many bytes of a provider's reply are read.
const MaxReply = 64 << 10

// userAgent names us to providers; some refuse requests without one.
var userAgent = []string{"caddy-acrobits-sms"}

// Adapter is a definition with the options of one account: all that is needed to speak with a provider. It is
// immutable and safe for concurrent use.
type Adapter struct {
	// Name is the instance's, by which logs call it.
	Name string

	def      *Definition
	account  [sha256.Size]byte
	payer    [sha256.Size]byte
	inClear  bool
	variants []*call
	token    *tokenCall // nil if none is needed
	replacer *strings.Replacer
	secrets  []sms.Hidden
	forms    func() []sms.Hidden    // those in which a provider may quote the secrets, made when the first reply is read
	parts    func() map[string]bool // their windows, made when the first words are told
	open     []string               // values of the other options, and what is told instead of them, in turn
}

// HasBaseURL reports whether a definition names its host; otherwise the operator has to.
func (d *Definition) HasBaseURL() bool { return len(d.baseURL) > 0 }

// Credentials are the options that signatures are made with. Where they are optional, the credentials of the machine take
// their place.
func (d *Definition) Credentials() (names []string) {
	signatures := make([]*signature, 0, len(d.variants)+1)
	for _, v := range d.variants {
		signatures = append(signatures, v.sign)
	}
	if d.token != nil {
		signatures = append(signatures, d.token.sign)
	}
	for _, s := range signatures {
		if s == nil {
			continue
		}
		for _, arg := range s.args[:signers[s.scheme].least] {
			for _, o := range d.Options {
				if _, named := arg.holds("option." + o.Name); named && !slices.Contains(names, o.Name) {
					names = append(names, o.Name)
				}
			}
		}
	}
	return names
}

// idempotencyKey ends the names of headers under which providers take the id of a message, so that they send it only once.
// https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
const idempotencyKey = "Idempotency-Key"

// Idempotent reports whether the provider is told the id of a message in an Idempotency-Key, or a header whose name ends so, and
// may be asked a second time therefore.
func (a *Adapter) Idempotent() bool {
	for _, v := range a.def.variants {
		if !slices.ContainsFunc(v.header, func(h header) bool {
			_, holds := h.value.holds("message.id")
			return strings.HasSuffix(h.name, idempotencyKey) && holds
		}) {
			return false
		}
	}
	return true
}

// Account tells accounts apart: adapters of the same definition, base URL and options have the same.
func (a *Adapter) Account() [sha256.Size]byte { return a.account }

// Payer tells apart who pays, as far as that can be told without secrets: by the definition's name, the base URL and the
// options that are not secret. Without any of these options it is the account.
func (a *Adapter) Payer() [sha256.Size]byte { return a.payer }

// InClear reports whether requests can be read by others on their way: over http:// to a host of the internet.
func (a *Adapter) InClear() bool { return a.inClear }

// isInClear reports whether an address is not encrypted, and not of the own machine or network. Names without a dot are.
func isInClear(base *url.URL) bool {
	if ip, err := netip.ParseAddr(base.Hostname()); err == nil {
		return base.Scheme == "http" && !ip.IsLoopback() && !ip.IsPrivate() && !ip.IsLinkLocalUnicast()
	}
	return base.Scheme == "http" && strings.Contains(base.Hostname(), ".")
}

// Format prints the name, whatever the verb: an adapter holds secrets.
func (a Adapter) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, a.Name) }

// MarshalText gives the name, also to encoding/json and zap.
func (a Adapter) MarshalText() ([]byte, error) { return []byte(a.Name), nil }

// call is a request with the options put in.
type call struct {
	*outline
	variant  *variant // nil for a token
	reply    *reply
	base     *url.URL
	path     template
	fixed    *url.URL // the URL without query lines, if nothing in it depends on the message
	header   http.Header
	blank    *http.Request // the request without what differs from message to message
	boundary string        // of a multipart body; too random to stand in a value
	dynamic  []header
	query    []*field
	fields   []*field
	sign     signer
}

// Bind makes an adapter. Without a name it has the definition's. A base URL replaces the definition's own, and that of
// its token. Every option that is not optional needs a value; options that the definition does not know are refused.
func (d *Definition) Bind(name, baseURL string, options map[string]string) (*Adapter, error) {
	if name == "" {
		name = d.Name
	}
	a := &Adapter{Name: name, def: d}
	values := make(map[string]string, len(options))
	if err := d.Check(name, baseURL, options); err != nil {
		return nil, err
	}
	for _, o := range d.Options {
		v := strings.TrimSpace(options[o.Name])
		if err := checkOption(o.Name, v); err != nil {
			return nil, fmt.Errorf("adapter %s: %w", name, err)
		}
		switch {
		case o.Secret:
			a.hide(v)
		case len(v) >= window:
			a.open = append(a.open, v, "{"+o.Name+"}")
		}
		values[o.Name] = v
	}
	base, err := chooseBaseURL(baseURL, d.baseURL, values)
	if err != nil {
		return nil, fmt.Errorf("adapter %s: %w", name, err)
	}
	a.inClear = isInClear(base)
	text := sha256.Sum256([]byte(d.text))
	whose, payer := []string{string(text[:]), base.String()}, []string{d.Name, base.String()}
	for _, o := range d.Options {
		whose = append(whose, o.Name, values[o.Name])
		if !o.Secret && values[o.Name] != "" {
			payer = append(payer, o.Name, values[o.Name])
		}
	}
	a.account = sha256.Sum256(fmt.Appendf(nil, "%q", whose))
	if a.payer = a.account; len(payer) > 2 || len(d.Options) == 0 {
		a.payer = sha256.Sum256(fmt.Appendf(nil, "%q", payer))
	}
	if len(d.replace) > 0 {
		a.replacer = strings.NewReplacer(d.replace...)
	}
	for _, v := range d.variants {
		c, err := v.outline.bind(base, &v.reply, values)
		if errors.Is(err, errLacksOption) && len(d.variants) > 1 {
			continue // an account may have one kind of messages without the other
		}
		if err != nil {
			return nil, fmt.Errorf("adapter %s: %w", name, err)
		}
		c.variant = v
		a.hideCredential(c)
		a.variants = append(a.variants, c)
	}
	if len(a.variants) == 0 {
		return nil, fmt.Errorf("adapter %s: %w", name, errLacksOption)
	}
	if d.token != nil {
		if a.token, err = d.token.bind(base, baseURL, values); err != nil {
			return nil, fmt.Errorf("adapter %s: %w", name, err)
		}
		a.hideCredential(a.token.call)
	}
	secrets := a.secrets
	a.forms = sync.OnceValue(func() []sms.Hidden { return formsOf(secrets) })
	a.parts = sync.OnceValue(func() map[string]bool { return piecesOf(secrets) })
	return a, nil
}

// chooseBaseURL takes the operator's base URL, or else the definition's.
func chooseBaseURL(own string, defined template, options map[string]string) (*url.URL, error) {
	if own == "" {
		t, _ := defined.bind(options)
		own, _ = t.fixed()
	}
	return checkBaseURL(own)
}

// Check says what is wrong with the options of an adapter of that name: what is missing, what is not known.
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

// CheckOption says what is wrong with the name of an option.
func (d *Definition) CheckOption(name, option string) error {
	known := make([]string, 0, len(d.Options)+len(blockWords))
	for _, o := range d.Options {
		if o.Name == option {
			return nil
		}
		known = append(known, o.Name)
	}
	known = append(known, blockWords...)
	return fmt.Errorf("adapter %s has no option %s%s (it has %s)", name, option, Meant(option, known), strings.Join(known, ", "))
}

// errLacksOption says that a request cannot be made with the options of an account.
var errLacksOption = errors.New("an option that stands in the path is missing, or leads to another folder")

// bind puts the options in.
func (o *outline) bind(base *url.URL, reply *reply, options map[string]string) (*call, error) {
	c := &call{outline: o, reply: reply, base: base, header: http.Header{"User-Agent": userAgent}}
	c.blank = &http.Request{Method: o.method, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	switch reply.kind {
	case jsonReply:
		c.header["Accept"] = []string{"application/json"}
	case xmlReply:
		c.header["Accept"] = []string{"application/xml, text/xml"}
	}
	if o.body == multipartBody {
		c.boundary = rand.Text()
		c.header["Content-Type"] = []string{"multipart/form-data; boundary=" + c.boundary}
	} else if o.mediaType != "" {
		c.header["Content-Type"] = []string{o.mediaType}
	}
	for _, h := range o.header {
		t, ok := h.value.bind(options)
		if !ok {
			continue
		}
		fixed, is := t.fixed()
		switch {
		case h.basic:
			c.header[h.name] = []string{"Basic " + base64.StdEncoding.EncodeToString([]byte(fixed))}
		case is:
			c.header[h.name] = []string{fixed}
		default:
			c.dynamic = append(c.dynamic, header{name: h.name, value: t})
		}
	}
	escaped := make(map[string]string, len(options))
	for name, value := range options {
		escaped[name] = pathSegment(value)
	}
	path, ok := o.path.bind(escaped)
	if !ok {
		return nil, errLacksOption
	}
	c.path = path
	var err error
	if c.query, err = bindFields(o.query, options); err != nil {
		return nil, err
	}
	if c.fields, err = bindFields(o.fields, options); err != nil {
		return nil, err
	}
	if fixed, ok := path.fixed(); ok {
		u, err := join(base, fixed)
		if err != nil {
			return nil, err
		}
		c.fixed = u
	}
	if o.sign != nil {
		c.sign, err = o.sign.bind(options)
	}
	return c, err
}

// pathSegment escapes a value for a path. Those that lead to another folder are no segments and become nothing.
func pathSegment(s string) string {
	if s == "." || s == ".." {
		return ""
	}
	return url.PathEscape(s)
}

// join puts an escaped path, which may hold a query, behind the base URL.
func join(base *url.URL, path string) (*url.URL, error) {
	u := *base
	path, u.RawQuery, _ = strings.Cut(path, "?")
	u.RawPath = base.EscapedPath() + path
	var err error
	u.Path, err = url.PathUnescape(u.RawPath)
	return &u, err
}

// Exchange is one request to a provider and the way to read its reply.
type Exchange struct {
	// Request has all that the provider is to see, nothing of the app's request among it.
	Request *http.Request

	adapter *Adapter
	call    *call
	message *sms.Message
	token   sms.Hidden
}

// Format prints the adapter's name, whatever the verb: an exchange holds secrets and the text.
func (e Exchange) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.adapter.Name) }

// MarshalText gives the adapter's name, also to encoding/json and zap.
func (e Exchange) MarshalText() ([]byte, error) { return []byte(e.adapter.Name), nil }

// Prepare makes the request for a message. The token is the one that TokenRequest asks for, if NeedsToken says so. The
// error is a *sms.Refusal: this API cannot take the message, which another may.
func (a *Adapter) Prepare(ctx context.Context, m *sms.Message, token sms.Hidden, now time.Time) (*Exchange, error) {
	v, c, refusal := a.choose(m)
	if refusal != nil {
		return nil, refusal
	}
	v.token, v.now = token, now
	r, body, refusal := c.build(ctx, v)
	if refusal != nil {
		return nil, refusal
	}
	if c.sign != nil {
		if err := c.sign(r, body, now); err != nil {
			return nil, fmt.Errorf("%w: %w", &sms.Refusal{Cause: sms.Misconfigured, ByProvider: true}, err)
		}
	}
	return &Exchange{Request: r, adapter: a, call: c, message: m, token: token}, nil
}

// build makes the request, without its signature, or says why this API cannot take the message.
func (c *call) build(ctx context.Context, v *vars) (*http.Request, []byte, *sms.Refusal) {
	r, body, err := c.request(ctx, v)
	if err != nil {
		return nil, nil, sms.RefuseAs(sms.UnsupportedContent, sms.UnknownContent)
	}
	if c.variant.cargo&cargoOf(v.message)&^v.placed != 0 { // a when block dropped what nothing else carries
		return nil, nil, sms.Refuse(sms.UnsupportedContent)
	}
	return r, body, nil
}

// choose takes the first variant that fits the message.
func (a *Adapter) choose(m *sms.Message) (*vars, *call, *sms.Refusal) {
	if m.To.Kind != sms.Phone && m.To.Kind != sms.ShortCode {
		return nil, nil, sms.Refuse(sms.InvalidRecipient)
	}
	v := &vars{message: m, text: m.Body.Reveal()}
	if a.replacer != nil {
		v.text = a.replacer.Replace(v.text)
	}
	var tooLong, noNumber *sms.Refusal
	media := cargoOf(m) & allMedia
	for _, c := range a.variants {
		if media&^c.variant.cargo != 0 {
			continue
		}
		if refusal := c.variant.numbers.write(v); refusal != nil {
			noNumber = cmp.Or(noNumber, refusal)
			continue
		}
		fits, length := true, true // but for a condition on the length
		for i := range c.variant.when {
			if when := &c.variant.when[i]; !when.holds(v) {
				fits, length = false, length && when.isLength()
			}
		}
		switch refusal := c.variant.limit.check(v.text); {
		case fits && refusal == nil:
			return v, c, nil
		case fits:
			tooLong = refusal
		case length:
			tooLong = cmp.Or(tooLong, sms.Refuse(sms.TooLong))
		}
	}
	switch {
	case tooLong != nil:
		return nil, nil, tooLong
	case noNumber != nil:
		return nil, nil, noNumber
	case media != 0:
		return nil, nil, sms.Refuse(sms.UnsupportedContent)
	}
	return nil, nil, sms.RefuseAs(sms.UnsupportedContent, sms.UnknownContent)
}

// request makes a request that is not signed, and returns its body too.
func (c *call) request(ctx context.Context, v *vars) (*http.Request, []byte, error) {
	target := c.fixed
	if target == nil {
		path, ok := c.path.escaped(v, pathSegment)
		if !ok {
			return nil, nil, errNotWritable
		}
		var err error
		if target, err = join(c.base, path); err != nil {
			return nil, nil, errNotWritable
		}
	}
	u := *target
	if query := appendForm(nil, c.query, v); len(query) > 0 {
		if u.RawQuery != "" {
			u.RawQuery += "&"
		}
		u.RawQuery += string(query)
	}
	header := maps.Clone(c.header)
	for _, h := range c.dynamic {
		if s, ok := h.value.value(v); ok {
			header[h.name] = []string{s}
		}
	}
	body, err := c.encode(v)
	if err != nil {
		return nil, nil, err
	}
	r := c.blank.WithContext(ctx)
	r.URL, r.Host, r.Header = &u, u.Host, header
	setBody(r, body)
	return r, body, nil
}

func (c *call) encode(v *vars) (body []byte, err error) {
	wrote := true
	switch c.body {
	case formBody:
		body = appendForm(make([]byte, 0, 256+3*len(v.text)), c.fields, v)
	case multipartBody:
		body = appendMultipart(make([]byte, 0, 1024+len(v.text)), c.boundary, c.fields, v)
	case jsonBody:
		body, wrote, err = appendJSON(append(make([]byte, 0, 256+2*len(v.text)), '{'), c.fields, v)
		body = append(body, '}')
	case xmlBody:
		buf := bytes.NewBufferString(`<?xml version="1.0" encoding="UTF-8"?>`)
		wrote, err = appendXML(buf, c.fields, v)
		body = buf.Bytes()
	}
	if !wrote {
		err = errNotWritable
	}
	return body, err
}

// setBody gives the request its body so that net/http never sends it twice. On its own it repeats a request on a new
// connection when a kept one dies, if the method is GET or the request has an Idempotency-Key, and it can get hold of
// the body again. For all others it repeats only what was certainly not written, which is welcome.
func setBody(r *http.Request, body []byte) {
	repeats := r.Method == http.MethodGet || r.Header["Idempotency-Key"] != nil || r.Header["X-Idempotency-Key"] != nil
	switch {
	case len(body) == 0 && repeats:
		r.Body = io.NopCloser(strings.NewReader(""))
		return
	case len(body) == 0:
		r.Body = http.NoBody // with its length, which some servers ask for
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	if !repeats {
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	}
}

// Signed reports whether a signature stands in the request.
func (e *Exchange) Signed() bool { return e.call.sign != nil }

// Read says what the provider's reply means, and keeps nothing of the body. whole tells whether it was read to its end.
func (e *Exchange) Read(status int, header http.Header, body []byte, whole bool) sms.Receipt {
	r := e.call.reply.read(answer{status, header, body, whole}, e.message.ID)
	r.Adapter = e.adapter.Name
	r.Code = e.speakable(r.Code, 64)
	r.Detail = e.speakable(r.Detail, 200)
	if e.adapter.def.tell && r.Outcome == sms.Refused && !strings.HasPrefix(r.Detail, notShown) {
		r.Refusal.Words = r.Detail
	}
	if r.ID != e.message.ID && !e.isID(r.ID) {
		r.ID = ""
	}
	return r
}
