package adapters

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/antchfx/xmlquery"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/wire"
)

// verdict is the judgement of a reply's body if the definition does not say how success looks.
type verdict uint8

const (
	noObjection verdict = iota
	doubtful            // a web page, a fragment or a long text, probably not sent by this API
	saysError
)

// longestAcknowledgement is the longest text, in bytes, that counts as an acknowledgement although
// it has no id.
const longestAcknowledgement = 160

// deepest limits the levels of nesting that are searched for errors.
const deepest = 12

// namesSuccess reports whether an `accepted` line says how success looks. A line that only tests
// whether a value is present does not: replies about errors may have an id too.
func (r *reply) namesSuccess() bool {
	return slices.ContainsFunc(r.accepted, func(p predicate) bool { return p.op != "!=" && p.op != "empty" && p.op != "exists" })
}

// objection judges a reply whose status means accepted, for a definition that does not say how
// success looks. The second result is the value that reports an error. If the body contains an id,
// the reply comes from this API, and only a reported error is an objection. An id in a header
// proves nothing, because it may identify the request and not a message.
func (r *reply) objection(doc wire.Document, a answer, id string) (verdict, string) {
	search := search{}
	if headed, ok := doc.(wire.Headed); ok {
		if id != "" {
			search.echo = a.text
		}
		if doc = headed.Document; doc != nil {
			id = wire.First(wire.Headed{Document: doc}, r.id)
		}
	}
	body := wire.Trim(a.body)
	if !isNoID(id) {
		search.id, search.hasID = id, id != ""
	}
	switch {
	case !a.whole:
		return doubtful, ""
	case len(body) == 0:
		return noObjection, ""
	case body[0] == '{' || body[0] == '[':
		read, ok := doc.(*wire.JSONDocument)
		if !ok {
			if read = wire.OpenJSON(body); read == nil {
				return doubtful, ""
			}
		}
		search.members = body[0] == '{' && len(read.Top) > 0
		for _, m := range read.Top {
			search.json(m.Name, m.Value, false, 1)
		}
		if body[0] == '[' && !search.members || r.format == wire.XML { // a list without named values, or JSON instead of XML
			search.doubt()
		}
	case body[0] == '<':
		doc, ok := doc.(wire.XMLDocument)
		if !ok {
			return doubtful, ""
		}
		for n := doc.Root.FirstChild; n != nil; n = n.NextSibling {
			if n.Type == xmlquery.ElementNode && htmlElement.MatchString(n.Data) {
				return doubtful, ""
			}
			search.xml(n, false, 0)
		}
	default:
		if pairs, ok := doc.(wire.PairsDocument); ok {
			for name, value := range pairs {
				search.leaf(name, value, false)
			}
			break
		}
		return judgeText(body, search.hasID, a.text)
	}
	return search.verdict, search.words
}

// judgeText judges a reply that is a sentence. If the text of the message contains error words too,
// the reply may merely quote the message.
func judgeText(body []byte, hasID bool, sent string) (verdict, string) {
	text := string(body)
	unreadable := func(r rune) bool { return r == utf8.RuneError || unicode.IsControl(r) && !unicode.IsSpace(r) }
	plain := plainWords(text)
	switch {
	case strings.ContainsFunc(text, unreadable):
		return doubtful, ""
	case hasID:
		return noObjection, ""
	case errorWord.MatchString(plain) && errorWord.MatchString(sent):
		return doubtful, ""
	case errorWord.MatchString(plain):
		return saysError, text
	case doubtWord.MatchString(plain), bareValue.MatchString(text), len(body) > longestAcknowledgement:
		return doubtful, ""
	}
	return noObjection, ""
}

// search visits the values of a reply and looks for a reported error.
type search struct {
	verdict verdict
	words   string
	members bool   // at least 1 value has a name
	hasID   bool   // the body contains an id, so the reply comes from this API
	id      string // the id itself, which is not a status even if the member `result` contains it
	echo    string // the text of the message, if the id is in a header and the body may repeat the text
}

func (s *search) doubt() {
	if !s.hasID {
		s.verdict = max(s.verdict, doubtful)
	}
}

// json visits a value. inError is true below a member whose name means error.
func (s *search) json(name, value string, inError bool, depth int) {
	if depth > deepest {
		s.doubt()
		return
	}
	switch value[0] {
	case '[':
		for _, item := range wire.Members(value) {
			s.json(name, item, inError, depth+1)
		}
	case '{':
		inError = inError || memberOf(name)&errorMember != 0
		for key, item := range wire.Members(value) {
			s.members = true
			s.json(key, item, inError, depth+1)
			if isName := len(key) >= 4 && strings.EqualFold(key[len(key)-4:], "name"); isName && memberOf(name)&stateMember != 0 {
				s.json(name, item, inError, depth+1) // the name of a state
			}
		}
	default:
		s.leaf(name, wire.JSONText(value), inError)
	}
}

// xml visits an element with its attributes.
func (s *search) xml(n *xmlquery.Node, inError bool, depth int) {
	if n.Type != xmlquery.ElementNode {
		return
	}
	if depth > deepest {
		s.doubt()
		return
	}
	inside := inError || memberOf(n.Data)&errorMember != 0
	for _, a := range n.Attr {
		s.leaf(a.Name.Local, a.Value, inside && a.Name.Space != "xmlns" && a.Name.Local != "xmlns")
	}
	leaf := true
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		leaf = leaf && c.Type != xmlquery.ElementNode
		s.xml(c, inside, depth+1)
	}
	if leaf {
		s.leaf(n.Data, strings.TrimSpace(n.InnerText()), inError)
	}
}

// leaf judges a single value under its name.
func (s *search) leaf(name, value string, inError bool) {
	member := memberOf(name)
	switch {
	case inError || member&errorMember != 0:
		switch value = strings.TrimSpace(value); {
		case value == "", emptyValue.MatchString(value):
		case goodNews.MatchString(value):
			s.doubt() // some APIs report success in an error member
		default:
			s.error(value)
		}
	case member&successMember != 0:
		if falseValue.MatchString(value) {
			s.error(name + ": " + value)
		}
	case member&statusMember != 0 && memberOf(value)&goodValue != 0:
	case member&statusMember != 0 && (errorStatus(value) && value != s.id || failedState.MatchString(value)):
		s.error(value)
	case member&stateMember != 0 && !goodState.MatchString(value) && badState.MatchString(plainWords(value)):
		s.verdict = max(s.verdict, doubtful) // even if the reply has an id
	case s.hasID, s.echo != "" && value == s.echo, !hasLetter(value) && member&stateMember == 0:
	case member&stateMember != 0 && value != "" && !goodState.MatchString(value):
		s.doubt()
	default:
		if plain := plainWords(value); errorWord.MatchString(plain) || doubtWord.MatchString(plain) {
			s.doubt() // not an error: it may be an echo of the text
		}
	}
}

// hasLetter reports whether a text may contain a word: it has a letter or a byte outside of ASCII.
func hasLetter(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; c >= 'a' && c <= 'z' || c >= utf8.RuneSelf {
			return true
		}
	}
	return false
}

// plainWords splits joined words such as InvalidSender and not_sent, and removes phrases such as
// "no error".
func plainWords(s string) string {
	return noErrors.ReplaceAllString(camelCase.ReplaceAllString(strings.ReplaceAll(s, "_", " "), "$1 $2"), "")
}

func (s *search) error(words string) {
	if s.verdict != saysError {
		s.verdict, s.words = saysError, words
	}
}

// errorStatus reports whether a value is an HTTP status of 400 to 599.
func errorStatus(s string) bool {
	return len(s) == 3 && (s[0] == '4' || s[0] == '5') && '0' <= s[1] && s[1] <= '9' && '0' <= s[2] && s[2] <= '9'
}

// member classifies the value of a member by the member's name.
type member uint8

const (
	errorMember   member = 1 << iota // present or not empty only after an error: error, errors, errorCode, error_message, Fault
	successMember                    // true or false for success or failure
	statusMember                     // a state, a status or a code
	stateMember                      // only a state
	goodValue                        // not a name but a frequent value: a state of success, found without a pattern
)

// memberOf looks a name up in any spelling: errorCode, error_code, Error-Code.
func memberOf(name string) member {
	var plain [longestMember]byte
	n := 0
	for i := range len(name) {
		c := name[i]
		if c == '_' || c == '-' || c == ' ' {
			continue
		}
		if n == len(plain) {
			return 0
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		plain[n] = c
		n++
	}
	known := members()
	if known.lengths[plain[0]]>>n&1 == 0 {
		return 0
	}
	return known.names[string(plain[:n])]
}

// longestMember is the number of letters of the longest known name.
const longestMember = 24

// memberTable contains all known names, in lower case and without separators.
type memberTable struct {
	names   map[string]member
	lengths [256]uint32 // by first letter: bit n is set if a known name has n letters; this rules out most names quickly
}

var members = sync.OnceValue(func() *memberTable {
	t := &memberTable{names: make(map[string]member)}
	add := func(m member, prefixes, words, suffixes string) {
		for _, p := range append(strings.Fields(prefixes), "") {
			for _, w := range strings.Fields(words) {
				for _, s := range append(strings.Fields(suffixes), "") {
					t.names[p+w+s] |= m
				}
			}
		}
	}
	add(errorMember, "is has request api service policy", "err error errors fault faults exception exceptions failure failures problem problems",
		"code codes no num number id msg message messages text string str desc description detail details reason name type title info response list count actor")
	add(errorMember, "", "failed rejected invalid denied blocked undelivered undeliverable unsent notsent notaccepted", "count reason number numbers recipient recipients message messages")
	add(successMember, "is", "success successful succeeded ok accepted", "")
	add(statusMember, "message response result http send sms delivery", "status state result outcome code type response", "code text name message type")
	add(stateMember, "message send sms delivery", "status state outcome", "")
	add(goodValue, "", "ok success successful accepted queued buffered sent sending submitted scheduled pending processed created delivered", "")
	for name := range t.names {
		if len(name) <= longestMember {
			t.lengths[name[0]] |= 1 << len(name)
		}
	}
	return t
})

var (
	// emptyValue matches the values that APIs write in an error member if there is no error.
	emptyValue = regexp.MustCompile(`(?i)^([a-z]?0+(\.0+)?|false|null|nil|none|no|n/a|-|ok|success|successful|no[-_ ]?errors?|{…})?$`)
	// goodNews matches sentences that consist only of words of success.
	goodNews = regexp.MustCompile(`(?i)^((message|sms|text|request|operation|transaction|was|were|is|has|have|been|all|your|the|there|for|delivery)\s+)*` +
		`(no (errors?|problems?|issues?)|completed?|processed|sent|accepted|queued|submitted|delivered|success\w*|succeeded|ok|okay)\b` +
		`([\s.,!:;-]+(for|delivery|processing|found|occurred|detected|and|sent|queued|accepted|success\w*|ok))*[\s.!]*$`)
	falseValue = regexp.MustCompile(`(?i)^(0+|false|no|none|ko|nok|fail(ed|ure)?|errors?)$`)
	// bareValue matches a text that is a single JSON value and not an acknowledgement.
	bareValue   = regexp.MustCompile(`(?i)^"?(0|true|false|null|nil|none|undefined|nan)?"?$`)
	failedState = regexp.MustCompile(`(?i)^\W*(err|errors?|fail|failed|failure|fault|exception|ko|nok|nack|denied|forbidden|unauthori[sz]ed|unauthenticated|invalid|rejected|` +
		`refused|blocked|expired|undelivered|undeliverable|not[-_ ]?(sent|accepted|found|allowed)|unsuccessful|bad[-_ ]?request)([-_]|\b|(?-i:[A-Z]))|[-_ ](error|failed|failure|rejected|denied)$|(?-i:[a-z](Error|Failed|Failure|Rejected|Denied)$)`)
	htmlElement = regexp.MustCompile(`(?i)^(html|head|title|body|meta|script|form|div|span|p|center|table|h[1-6]|br|a|pre|font|b|i)$`)

	// goodState matches the states of an accepted message.
	goodState = regexp.MustCompile(`(?i)^(ok|okay|success\w*|succeeded|accepted|ack\w*|(en)?queued|buffered|sent|sending|submitted|scheduled|pending|process(ing|ed)|created|deliver(ed|ing)|` +
		`done|completed?|received|routed|new|true|\d+)(\b|_)`)
	// badState matches words of unsuccessful states anywhere in a value.
	badState  = regexp.MustCompile(`(?i)\b(no|not|never|nothing|cancell?ed|aborted|terminated|unroutable|opted[- ]?out|unsubscribed|stopped|undelivered|discarded|dropped)\b|` + errorWord.String())
	camelCase = regexp.MustCompile(`([a-z])([A-Z])`)
	// noErrors matches phrases that contain the word error and mean that there is none.
	noErrors  = regexp.MustCompile(`(?i)\b(no|0|zero|without( any)?)[-_ ](errors?|failures?|failed)\b|\b(errors?|failed|failures?)\s*[:=]\s*(0|none|no)\b`)
	errorWord = regexp.MustCompile(`(?i)\b(errors?|err|fail|fails|failed|failure|fault|exception|invalid|denied|forbidden|un-?authori[sz]ed|unauthenticated|rejected|refused|` +
		`unsuccessful|missing|insufficient|illegal|not (found|allowed|permitted|authori[sz]ed|authenticated|accepted|sent|valid|enough|enabled|supported|registered|acceptable)|` +
		`bad (request|gateway|credentials|number|password|login)|wrong|suspended|disabled|expired|blocked|blacklisted|exceeded|too (many|long|large)|undeliverable|nack|nok|ko|` +
		`cannot|can't|could ?n[o']t|unable)\b|(error|exception)\b`)
	// doubtWord finds words of login pages, captive portals and maintenance pages, and negations.
	doubtWord = regexp.MustCompile(`(?i)\b(log ?(in|on)|sign ?(in|on|up)|password|credentials|authenticat\w+|welcome|maintenance|unavailable|try again|redirect(ed|ing)?|time[ds]?[- ]?out|` +
		`overload(ed)?|busy|captcha|cookies?|javascript|browser|it works|under construction|coming soon|web ?page|terms of (use|service)|unknown|limit|no|not|non|never|must|requires?|required|violation|black ?list\w*|full)\b`)
)
