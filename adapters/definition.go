// Package adapters is the language in which SMS APIs are described, and the engine that speaks them. An API is a
// request with holes and a way to read the reply; see README.md for the language and providers/ for examples.
package adapters

import (
	"fmt"
	"mime"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Definition describes one SMS API. It is immutable and safe for concurrent use.
type Definition struct {
	Name string
	// Title is the first comment line of the definition.
	Title string
	// Source is where the facts come from, a URL or a sentence.
	Source string
	// Verified says how far the definition is proven: "live DATE", "spec", "docs DATE" or "unverified".
	Verified string
	// Options are what an operator has to tell, in order.
	Options []Option

	file     string
	text     string
	baseURL  template
	numbers  numberForms
	limit    limit
	replace  []string // old and new in turn
	tell     bool     // the app's user is told the provider's own words
	token    *tokenRequest
	variants []*variant
}

// Option is a value that the operator gives, named as in the provider's own documents.
type Option struct {
	Name     string
	Secret   bool
	Optional bool
}

// variant is one way to send: of several the first whose conditions hold is taken.
type variant struct {
	outline
	when    []condition
	numbers numberForms
	limit   limit
	cargo   cargo // what it has a place for
	reply   reply
	at      place
}

// outline is a request with its holes.
type outline struct {
	method    string
	path      template
	header    []header
	query     []*field
	body      bodyKind
	mediaType string
	fields    []*field
	sign      *signature
}

// header is a header of the request. The value of a basic one is user:password, encoded when the options are known.
type header struct {
	name  string
	value template
	basic bool
}

// definitionWords are the statements of a definition.
var definitionWords = append([]string{"source", "verified", "base_url", "option", "number", "text", "token", "send", "tell"}, replyWords...)

// blockWords are what an adapter block takes beside the options of its definition.
var blockWords = []string{"base_url", "when", "weight", "senders", "rate", "concurrency"}

// requestWords are the statements of a request beside its method.
var requestWords = []string{"basic", "bearer", "header", "query", "form", "multipart", "json", "xml", "sign"}

// usages are how the words are written that take words of their own.
var usages = map[string]string{"basic": "basic USER PASSWORD", "bearer": "bearer TOKEN", "header": "header NAME VALUE"}

var methods = []string{"GET", "POST", "PUT", "PATCH"}

// parser reads one definition.
type parser struct {
	def  *Definition
	used map[string]bool // options, and the token, that stand in a hole
	// cargo is what the holes of the variant that is being read can carry
	cargo cargo
}

// Parse reads a definition. firstLine is the number of the text's first line in the file, for errors.
func Parse(name, file string, firstLine int, source string) (*Definition, error) {
	d, err := parse(name, file, firstLine, source)
	if err != nil {
		return nil, err
	}
	for _, v := range d.variants {
		if err := v.makesSense(); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// makesSense refuses requests that would lose what matters, and replies that ask for what nothing finds.
func (v *variant) makesSense() error {
	switch r := &v.reply; {
	case v.cargo&recipientCargo == 0:
		return v.at.fail("this request never says {sms.to}: nobody would get the message")
	case v.cargo&textCargo == 0:
		return v.at.fail("this request never says {sms.body}: the text would be lost")
	case v.cargo&allMedia == 0 && slices.ContainsFunc(v.when, func(c condition) bool { return c.media && !c.negated }):
		return v.at.fail("this request is for pictures and never says {sms.media}")
	case r.asks("id") && r.generated:
		return v.at.fail("accepted asks for an id, but id generated says that there is none")
	case r.asks("code") && len(r.code) == 0:
		return v.at.fail("say where the code is that accepted and cause ask for: code PATH")
	case r.asks("message") && len(r.message) == 0 && r.kind != textReply:
		return v.at.fail("say where the message is that accepted and cause ask for: message PATH")
	}
	return nil
}

func parse(name, file string, firstLine int, source string) (*Definition, error) {
	if !isName(name) {
		return nil, fmt.Errorf("%s:%d: %q is not a name for an adapter, it has lower-case letters, digits and _", file, firstLine, name)
	}
	statements, err := parseSyntax(file, firstLine, source)
	if err != nil {
		return nil, err
	}
	p := &parser{def: &Definition{Name: name, Title: title(source), file: file, text: source, Verified: "unverified"}, used: make(map[string]bool)}
	if err := p.parse(statements, place{file, firstLine}); err != nil {
		return nil, err
	}
	return p.def, nil
}

// title is the comment in a definition's first line.
func title(source string) string {
	first, _, _ := strings.Cut(source, "\n")
	if t, is := strings.CutPrefix(first, "#"); is {
		return strings.TrimSpace(t)
	}
	return ""
}

func (p *parser) parse(statements []*statement, at place) error {
	once := make(map[string]bool)
	for _, s := range statements { // options first: holes anywhere may name them
		if s.first() == "option" {
			if err := p.parseOption(s); err != nil {
				return err
			}
		}
	}
	shared, err := p.parseReply(statements, reply{})
	if err != nil {
		return err
	}
	var requests []*statement // they begin from what stands around them, so they come last
	for _, s := range statements {
		switch word := s.first(); word {
		case "send":
			requests = append(requests, s)
			continue
		case "source", "verified", "base_url", "tell", "number", "text", "token":
			if kind := s.kind(); once[kind] || word == kind && (once[word+" sender"] || once[word+" recipient"]) {
				return s.fail("%s appears twice", kind)
			}
			once[s.kind()] = true
		}
		if err := p.parseStatement(s); err != nil {
			return err
		}
	}
	for _, s := range requests {
		if err := p.parseSend(s, shared); err != nil {
			return err
		}
	}
	if len(p.def.variants) == 0 {
		return at.fail("%s does not say how to send: write send { POST /path … }", p.def.Name)
	}
	for _, v := range p.def.variants {
		switch {
		case len(v.reply.status) == 0:
			return v.at.fail("say which status means accepted: accepted status 200")
		case len(v.reply.id) == 0 && !v.reply.generated:
			return v.at.fail("say where the id of the message stands: id PATH, or: id generated, if this API gives none")
		}
	}
	for _, o := range p.def.Options {
		if !p.used[optionHole+o.Name] {
			return at.fail("option %s of %s is used nowhere", o.Name, p.def.Name)
		}
	}
	switch used := p.used[tokenHole]; {
	case used && p.def.token == nil:
		return at.fail("{token} is fetched nowhere, write: token { POST /path … access PATH }")
	case !used && p.def.token != nil:
		return p.def.token.at.fail("the token is used nowhere, write: bearer {token}")
	}
	return nil
}

func (p *parser) parseStatement(s *statement) (err error) {
	word := s.first()
	if s.opens && word != "token" && slices.Contains(definitionWords, word) {
		return s.fail("%s takes no block", word)
	}
	switch word {
	case "source":
		w, err := s.one("URL or quoted sentence")
		p.def.Source = w.text
		return err
	case "verified":
		return p.parseVerified(s)
	case "base_url":
		p.def.baseURL, err = p.parseBaseURL(s)
		return err
	case "number":
		return p.def.numbers.parse(s)
	case "text":
		if a := s.args(); len(a) == 3 && a[0].text == "replace" {
			p.def.replace = append(p.def.replace, a[1].text, a[2].text)
			return nil
		}
		p.def.limit, err = parseLimit(s)
		return err
	case "tell":
		if w, err := s.one("word, message"); err != nil || w.text != "message" {
			return s.fail("write: tell message, to show the app's user what the provider says in message")
		}
		p.def.tell = true
	case "token":
		p.def.token, err = p.parseToken(s)
		return err
	case "option", "reply", "accepted", "id", "code", "message", "cause":
	default:
		return s.fail("unknown word %q%s", word, Meant(word, definitionWords))
	}
	return nil
}

func (p *parser) parseOption(s *statement) error {
	args := s.args()
	if len(args) == 0 || s.opens {
		return s.fail("write: option NAME [secret] [optional]")
	}
	o := Option{Name: args[0].text}
	for _, w := range args[1:] {
		switch w.text {
		case "secret":
			o.Secret = true
		case "optional":
			o.Optional = true
		default:
			return s.fail("option %s: unknown word %q, write secret or optional", o.Name, w.text)
		}
	}
	switch {
	case slices.Contains(blockWords, o.Name):
		return s.fail("%q is not a name for an option: it is a word of every adapter block, choose another", o.Name)
	case !isName(o.Name):
		return s.fail("%q is not a name for an option", o.Name)
	}
	if slices.ContainsFunc(p.def.Options, func(other Option) bool { return other.Name == o.Name }) {
		return s.fail("option %s appears twice", o.Name)
	}
	p.def.Options = append(p.def.Options, o)
	return nil
}

func (p *parser) parseVerified(s *statement) error {
	var words []string
	for _, w := range s.args() {
		words = append(words, w.text)
	}
	p.def.Verified = strings.Join(words, " ")
	if len(words) == 0 || !slices.Contains([]string{"live", "spec", "docs", "unverified"}, words[0]) {
		return s.fail("write: verified live DATE, spec, docs DATE or unverified")
	}
	return nil
}

func (p *parser) parseBaseURL(s *statement) (template, error) {
	w, err := s.one("URL")
	if err != nil {
		return nil, err
	}
	t, err := p.parseTemplate(s, w.text)
	if err != nil {
		return nil, err
	}
	if hole, bad := t.holds("sms.", mediaHole, "message.", "attempt.", tokenHole); bad {
		return nil, s.fail("{%s} has no place in base_url: only options choose the host", hole)
	}
	if fixed, ok := t.fixed(); ok {
		if _, err := checkBaseURL(fixed); err != nil {
			return nil, s.fail("%w", err)
		}
	}
	return t, nil
}

// parseSend reads a variant.
func (p *parser) parseSend(send *statement, shared reply) (err error) {
	if !send.opens || len(send.args()) > 0 {
		return send.fail("write: send { POST /path … }")
	}
	v := &variant{limit: p.def.limit, numbers: p.def.numbers, at: send.at}
	p.cargo = 0
	once := make(map[string]bool)
	if v.reply, err = p.parseReply(send.block, shared); err != nil {
		return err
	}
	for _, s := range send.block {
		switch word := s.first(); word {
		case "when":
			var c condition
			c, err = p.parseCondition(s, s.args())
			v.when = append(v.when, c)
		case "text", "number":
			if once[s.kind()] {
				return s.fail("%s appears twice", s.kind())
			}
			once[s.kind()] = true
			if word == "text" {
				v.limit, err = parseLimit(s)
			} else {
				err = v.numbers.parse(s)
			}
		default:
			if !slices.Contains(replyWords, word) {
				err = p.parseRequestWord(s, &v.outline, append([]string{"when", "text", "number"}, replyWords...))
			}
		}
		if err != nil {
			return err
		}
	}
	v.cargo = p.cargo
	p.def.variants = append(p.def.variants, v)
	return v.outline.check(send)
}

// check refuses a request that lacks something.
func (o *outline) check(s *statement) error {
	if o.method == "" {
		return s.fail("say what to call: POST /path")
	}
	if o.method == "GET" && o.body != noBody {
		return s.fail("GET has no body, write query { … }")
	}
	return nil
}

// parseRequestWord reads a statement of a request. others are the words that may stand beside it.
func (p *parser) parseRequestWord(s *statement, o *outline, others []string) (err error) {
	switch word := s.first(); {
	case slices.Contains(methods, word):
		return p.parseTarget(s, o)
	case word == "basic" && len(s.words) == 3:
		return p.parseBasic(s, o)
	case word == "bearer" && len(s.words) == 2:
		return p.parseHeader(s, o, "Authorization", "Bearer "+s.words[1].text)
	case word == "header" && len(s.words) == 3:
		return p.parseHeader(s, o, s.words[1].text, s.words[2].text)
	case word == "query":
		if o.query != nil {
			return s.fail("query appears twice")
		}
		if len(s.words) > 1 || !s.opens {
			return s.fail("write: query { name value … }, line by line")
		}
		o.query, err = p.parseFields(s.block, formBody)
		return err
	case bodyKinds[word] != noBody:
		return p.parseBody(s, o)
	case word == "sign":
		if o.sign != nil {
			return s.fail("sign appears twice")
		}
		o.sign, err = p.parseSign(s)
		return err
	case usages[word] != "":
		return s.fail("write: %s", usages[word])
	default:
		return s.fail("unknown word %q%s", word, Meant(word, slices.Concat(requestWords, methods, others)))
	}
}

func (p *parser) parseTarget(s *statement, o *outline) (err error) {
	if o.method != "" {
		return s.fail("a second method; write another send block")
	}
	w, err := s.one("path that begins with /")
	if err != nil {
		return err
	}
	if !strings.HasPrefix(w.text, "/") {
		return s.fail("%s names a path that begins with /, the host stands in base_url", s.first())
	}
	o.method = s.first()
	if o.path, err = p.parseTemplate(s, w.text); err != nil {
		return err
	}
	if hole, bad := o.path.holds("sms.body", "sms.body.", mediaHole, mediaHole+"."); bad {
		return s.fail("{%s} has no place in a path: text is data", hole)
	}
	return o.path.checkPath(s)
}

// checkPath refuses paths that are none, whatever stands in the holes.
func (t template) checkPath(s *statement) error {
	sample, query := "", false
	for _, p := range t {
		switch {
		case p.hole == "":
			sample += p.text
		case query:
			return s.fail("{%s} has no place after ?, write query { name {%s} }", p.hole, p.hole)
		default:
			sample += "x"
		}
		query = query || strings.Contains(p.text, "?")
	}
	if _, err := url.ParseRequestURI("http://host" + sample); err != nil || strings.ContainsAny(sample, "# ") {
		return s.fail("%s is not a URL path; special characters are written %%23", s.words[1].text)
	}
	return nil
}

func (p *parser) parseHeader(s *statement, o *outline, name, text string) error {
	t, err := p.parseTemplate(s, text)
	if err != nil {
		return err
	}
	if hole, bad := t.holds("sms."); bad {
		return s.fail("{%s} has no place in a header: text is data", hole)
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		return s.fail("a header holds no control characters, and is one line")
	}
	return o.addHeader(s, textproto.CanonicalMIMEHeaderKey(name), t)
}

// ownHeaders are those that the request gets from elsewhere, and where from.
var ownHeaders = map[string]string{
	"Content-Type": "after the word of the body: json application/vnd.api+json { … }",
	"Host":         "in base_url", "Content-Length": "by itself", "Transfer-Encoding": "by itself", "Connection": "by itself",
	"Accept-Encoding": "by itself", "Trailer": "by itself", "Te": "by itself", "Upgrade": "by itself", "Expect": "by itself",
}

// headerName is a token of RFC 9110.
var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// addHeader adds a header with its canonical name.
func (o *outline) addHeader(s *statement, name string, t template) error {
	if where := ownHeaders[name]; where != "" {
		return s.fail("the header %s is set %s", name, where)
	}
	if !headerName.MatchString(name) {
		return s.fail("%q is not a name for a header", name)
	}
	for _, h := range o.header {
		if h.name == name {
			return s.fail("the header %s appears twice", name)
		}
	}
	o.header = append(o.header, header{name: name, value: t})
	return nil
}

// parseBasic keeps user and password apart until the options are known; bind joins and encodes them.
func (p *parser) parseBasic(s *statement, o *outline) error {
	user, err := p.parseTemplate(s, s.words[1].text)
	if err != nil {
		return err
	}
	password, err := p.parseTemplate(s, s.words[2].text)
	if err != nil {
		return err
	}
	pair := slices.Concat(user, template{{text: ":"}}, password)
	if hole, bad := pair.holds("sms.", "message.", "attempt.", tokenHole); bad {
		return s.fail("{%s} has no place in a credential", hole)
	}
	if err := o.addHeader(s, "Authorization", pair); err != nil {
		return err
	}
	o.header[len(o.header)-1].basic = true
	return nil
}

func (p *parser) parseBody(s *statement, o *outline) (err error) {
	if o.body != noBody {
		return s.fail("a second body")
	}
	if len(s.words) > 2 || !s.opens {
		return s.fail("write: %s [MEDIA/TYPE] { … }", s.first())
	}
	o.body = bodyKinds[s.first()]
	o.mediaType = mediaTypes[o.body]
	if len(s.words) == 2 {
		o.mediaType = s.words[1].text
		if _, _, err := mime.ParseMediaType(o.mediaType); err != nil || !strings.Contains(o.mediaType, "/") || o.body == multipartBody {
			return s.fail("%q cannot be the media type of a %s body", o.mediaType, s.first())
		}
	}
	if o.fields, err = p.parseFields(s.block, o.body); err != nil {
		return err
	}
	if len(o.fields) == 0 {
		return s.fail("the body is empty")
	}
	if o.body == xmlBody && (len(o.fields) != 1 || o.fields[0].kind != object) {
		return s.fail("an xml body has exactly one root element with a block")
	}
	return nil
}

// checkBaseURL reads a base URL: scheme, host, and perhaps a path in front of all paths.
func checkBaseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, fmt.Errorf("base_url begins with https:// or http:// and a host")
	case u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "sandbox" || u.Hostname() == "":
		return nil, fmt.Errorf("base_url begins with https:// or http:// and a host")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("base_url holds a scheme, a host and a path, nothing else")
	}
	u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/"), strings.TrimSuffix(u.RawPath, "/")
	return u, nil
}
