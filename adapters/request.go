package adapters

import (
	"mime"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// requestTemplate is a request whose values contain holes.
type requestTemplate struct {
	method    string
	path      template
	header    []header
	query     []*field
	body      bodyKind
	mediaType string
	bodyAt    place
	fields    []*field
	root      fieldKind // of a `json` body: an object, or a list with an object
	sign      *signature
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

var methods = []string{"GET", "POST", "PUT", "PATCH"}

// usages maps statements with arguments to their syntax.
var usages = map[string]string{"basic": "basic USER PASSWORD", "bearer": "bearer TOKEN", "header": "header NAME VALUE"}

// check refuses a request without a method and a GET request with a body.
func (o *requestTemplate) check(s *statement) error {
	if o.method == "" {
		return s.fail("say what to call: POST /path")
	}
	if o.method == "GET" && o.body != noBody {
		return o.bodyAt.fail("GET has no body, write query { … }")
	}
	return nil
}

// parseRequestWord reads a statement of a request. inside is the name of the enclosing block, known
// are the words that the block allows.
func (p *parser) parseRequestWord(s *statement, o *requestTemplate, inside string, known []string) (err error) {
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
	case bodyKinds[word] != noBody || word == "json[]":
		return p.parseBody(s, o)
	case word == "sign":
		if o.sign != nil {
			return s.fail("sign appears twice")
		}
		o.sign, err = p.parseSign(s)
		return err
	case usages[word] != "":
		return s.fail("write: %s; a value with blanks stands in quotes", usages[word])
	default:
		return s.unknownWord(inside, known)
	}
}

func (p *parser) parseTarget(s *statement, o *requestTemplate) (err error) {
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
	if err := o.path.checkPath(s); err != nil {
		return err
	}
	if hole, bad := o.path.holds("sms.body", "sms.body.", mediaHole, mediaHole+"."); bad {
		return s.fail("{%s} has no place in a path: text is data", hole)
	}
	return nil
}

// checkPath refuses a path that is not a URL path with any values in its holes.
func (t template) checkPath(s *statement) error {
	sample, query := "", false
	for _, p := range t {
		switch {
		case p.hole == "":
			sample += p.text
		case query:
			return s.fail("parameters stand in query { … }, not behind ? in the path")
		default:
			sample += "x"
		}
		query = query || strings.Contains(p.text, "?")
	}
	if _, err := url.ParseRequestURI("http://host" + sample); err != nil || strings.ContainsAny(sample, "# ") {
		return s.fail("this is not a URL path; special characters are written %%23")
	}
	return nil
}

func (p *parser) parseHeader(s *statement, o *requestTemplate, name, text string) error {
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

// ownHeaders maps the headers that a header line must not set to the place where they are set.
var ownHeaders = map[string]string{
	"Content-Type": "after the word of the body: json application/vnd.api+json { … }",
	"Host":         "in base_url", "Content-Length": "by itself", "Transfer-Encoding": "by itself", "Connection": "by itself",
	"Accept-Encoding": "by itself", "Trailer": "by itself", "Te": "by itself", "Upgrade": "by itself", "Expect": "by itself",
}

// headerName is a token of RFC 9110.
var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// addHeader adds a header with its canonical name.
func (o *requestTemplate) addHeader(s *statement, name string, t template) error {
	if where := ownHeaders[name]; where != "" {
		return s.fail("the header %s is set %s", name, where)
	}
	if !headerName.MatchString(name) {
		return s.fail("the name of a header has letters, digits and -; its value stands behind a blank: header NAME VALUE")
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
func (p *parser) parseBasic(s *statement, o *requestTemplate) error {
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

func (p *parser) parseBody(s *statement, o *requestTemplate) (err error) {
	if o.body != noBody {
		return s.fail("a second body")
	}
	if len(s.words) > 2 || !s.opens {
		return s.fail("write: %s [MEDIA/TYPE] { … }", s.first())
	}
	o.body, o.root = bodyKinds[strings.TrimSuffix(s.first(), "[]")], rootKind(s.first())
	o.mediaType, o.bodyAt = mediaTypes[o.body], s.at
	if len(s.words) == 2 {
		o.mediaType = s.words[1].text
		if _, _, err := mime.ParseMediaType(o.mediaType); err != nil || !strings.Contains(o.mediaType, "/") || o.body == multipartBody {
			return s.fail("this cannot be the media type of a %s body", s.first())
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
