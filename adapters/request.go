package adapters

import (
	"mime"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/syntax"
	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/wire"
)

// requestTemplate is a request whose values contain holes.
type requestTemplate struct {
	method    string
	path      template
	header    []header
	query     []*field
	body      wire.Format
	mediaType string
	bodyAt    syntax.Place
	fields    []*field // in a `json` body one, without a name
	sign      *signStatement
}

// header is a header of the request. If basic is true, the value is user:password, and bind encodes
// it.
type header struct {
	name  string
	value template
	basic bool
}

// requestWords are the statements of a request besides its method.
var requestWords = []string{"basic", "bearer", "header", "query", "form", "multipart", "json", "xml", "sign"}

var bodyFormats = wire.ByName(wire.Form, wire.Multipart, wire.JSON, wire.XML)

var methods = []string{"GET", "POST", "PUT", "PATCH"}

// usages maps statements with arguments to their syntax.
var usages = map[string]string{"basic": "basic USER PASSWORD", "bearer": "bearer TOKEN", "header": "header NAME VALUE"}

// check refuses a request without a method and a GET request with a body.
func (o *requestTemplate) check(s *syntax.Statement) error {
	if o.method == "" {
		return s.Fail("the method and path are missing: POST /path")
	}
	if o.sign != nil && o.streams() {
		return s.Fail("a signature covers the whole body, and {sms.media.N.base64} and {sms.media.N.file} are read while the body is sent")
	}
	if o.method == "GET" && o.body != wire.None {
		return o.bodyAt.Fail("GET has no body, write query { … }")
	}
	return nil
}

// parseRequestWord reads a statement of a request. inside is the name of the enclosing block, known
// are the words that the block allows.
func (p *parser) parseRequestWord(s *syntax.Statement, o *requestTemplate, inside string, known []string) (err error) {
	switch word := s.First(); {
	case slices.Contains(methods, word):
		return p.parseTarget(s, o)
	case word == "basic" && len(s.Words) == 3:
		return p.parseBasic(s, o)
	case word == "bearer" && len(s.Words) == 2:
		return p.parseHeader(s, o, "Authorization", "Bearer "+s.Words[1].Text)
	case word == "header" && len(s.Words) == 3:
		return p.parseHeader(s, o, s.Words[1].Text, s.Words[2].Text)
	case word == "query":
		if o.query != nil {
			return s.Fail("query appears twice")
		}
		if len(s.Words) > 1 || !s.Opens {
			return s.Fail("write: query { name value … }, line by line")
		}
		o.query, err = p.parseFields(s.Block, wire.Form)
		return err
	case bodyFormats[word] != wire.None || word == "json[]":
		return p.parseBody(s, o)
	case word == "sign":
		if o.sign != nil {
			return s.Fail("sign appears twice")
		}
		o.sign, err = p.parseSign(s)
		return err
	case usages[word] != "":
		return s.Fail("write: %s; put a value with spaces in quotes", usages[word])
	default:
		return unknownWord(s, inside, known)
	}
}

func (p *parser) parseTarget(s *syntax.Statement, o *requestTemplate) (err error) {
	if o.method != "" {
		return s.Fail("only one method is allowed; write another send block")
	}
	w, err := s.One("path that begins with /")
	if err != nil {
		return err
	}
	if !strings.HasPrefix(w.Text, "/") {
		return s.Fail("write %s and a path that begins with /; the host belongs in base_url", s.First())
	}
	o.method = s.First()
	if o.path, err = p.parseTemplate(s, w.Text); err != nil {
		return err
	}
	if err := o.path.checkPath(s); err != nil {
		return err
	}
	if hole, bad := o.path.holds("sms.body", "sms.body.", mediaHole, mediaHole+"."); bad {
		return s.Fail("{%s} is not allowed in a path, because it is free text", hole)
	}
	return nil
}

// checkPath refuses a path that is not a URL path with any values in its holes.
func (t template) checkPath(s *syntax.Statement) error {
	sample, query := "", false
	for _, p := range t {
		switch {
		case p.hole == "":
			sample += p.text
		case query:
			return s.Fail("write parameters in query { … }, not after ? in the path")
		default:
			sample += "x"
		}
		query = query || strings.Contains(p.text, "?")
	}
	if _, err := url.ParseRequestURI("http://host" + sample); err != nil || strings.ContainsAny(sample, "# ") {
		return s.Fail("this is not a URL path; escape special characters, such as # as %%23")
	}
	return nil
}

func (p *parser) parseHeader(s *syntax.Statement, o *requestTemplate, name, text string) error {
	t, err := p.parseTemplate(s, text)
	if err != nil {
		return err
	}
	if hole, bad := t.holds("sms."); bad {
		return s.Fail("{%s} is not allowed in a header, because it is free text", hole)
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		return s.Fail("a header must be one line without control characters")
	}
	return o.addHeader(s, textproto.CanonicalMIMEHeaderKey(name), t)
}

// ownHeaders maps the headers that a header line must not set to the place where they are set.
var ownHeaders = map[string]string{
	"Content-Type": "after the word of the body: json application/vnd.api+json { … }",
	"Host":         "in base_url", "Content-Length": "by itself", "Transfer-Encoding": "by itself", "Connection": "by itself",
	"Accept-Encoding": "by itself", "Trailer": "by itself", "Te": "by itself", "Upgrade": "by itself", "Expect": "by itself",
}

// headerName is a token of RFC 9110.
var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// addHeader adds a header with its canonical name.
func (o *requestTemplate) addHeader(s *syntax.Statement, name string, t template) error {
	if where := ownHeaders[name]; where != "" {
		return s.Fail("do not set the header %s: it is set %s", name, where)
	}
	if !headerName.MatchString(name) {
		return s.Fail("the name of a header may contain letters, digits and -; its value follows after a space: header NAME VALUE")
	}
	for _, h := range o.header {
		if h.name == name {
			return s.Fail("the header %s appears twice", name)
		}
	}
	o.header = append(o.header, header{name: name, value: t})
	return nil
}

// parseBasic keeps user and password apart until the options are known; bind joins and encodes them.
func (p *parser) parseBasic(s *syntax.Statement, o *requestTemplate) error {
	user, err := p.parseTemplate(s, s.Words[1].Text)
	if err != nil {
		return err
	}
	password, err := p.parseTemplate(s, s.Words[2].Text)
	if err != nil {
		return err
	}
	pair := slices.Concat(user, template{{text: ":"}}, password)
	if hole, bad := pair.holds(holesOfMessage...); bad {
		return s.Fail("{%s} is not allowed in a credential", hole)
	}
	if err := o.addHeader(s, "Authorization", pair); err != nil {
		return err
	}
	o.header[len(o.header)-1].basic = true
	return nil
}

func (p *parser) parseBody(s *syntax.Statement, o *requestTemplate) (err error) {
	if o.body != wire.None {
		return s.Fail("only one body is allowed")
	}
	if len(s.Words) > 2 || !s.Opens {
		return s.Fail("write: %s [MEDIA/TYPE] { … }", s.First())
	}
	o.body, o.bodyAt = bodyFormats[strings.TrimSuffix(s.First(), "[]")], s.Place
	o.mediaType = o.body.MediaType()
	if len(s.Words) == 2 {
		o.mediaType = s.Words[1].Text
		if _, _, err := mime.ParseMediaType(o.mediaType); err != nil || !strings.Contains(o.mediaType, "/") || o.body == wire.Multipart {
			return s.Fail("this cannot be the media type of a %s body", s.First())
		}
	}
	if o.fields, err = p.parseFields(s.Block, o.body); err != nil {
		return err
	}
	if len(o.fields) == 0 {
		return s.Fail("the body is empty")
	}
	if o.body == wire.XML && (len(o.fields) != 1 || o.fields[0].kind != object) {
		return s.Fail("an xml body has exactly one root element with a block")
	}
	if o.body == wire.JSON {
		o.fields = []*field{{kind: rootKind(s.First()), children: o.fields}}
	}
	return nil
}

// templates yields the templates of the request with the names of their headers and members.
func (o *requestTemplate) templates(yield func(name string, t template) bool) {
	more := yield("", o.path)
	for _, h := range o.header {
		more = more && yield(h.name, h.value)
	}
	if o.sign != nil {
		for _, arg := range o.sign.args {
			more = more && yield("", arg)
		}
	}
	var walk func([]*field)
	walk = func(fields []*field) {
		for _, f := range fields {
			for _, v := range f.values {
				more = more && yield(f.name, v.template)
			}
			walk(f.children)
		}
	}
	walk(o.query)
	walk(o.fields)
}

// holds returns the first hole of the request that has one of the names.
func (o *requestTemplate) holds(names ...string) (string, bool) {
	for _, t := range o.templates {
		if hole, found := t.holds(names...); found {
			return hole, true
		}
	}
	return "", false
}
