package adapters

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/syntax"
	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/wire"
)

// inboundBlock is a `receive` or `receipt` block: how to read messages, or receipts, of webhooks.
type inboundBlock struct {
	isReceipt bool
	at        syntax.Place
	bodies    []string // words of inboundBodies
	format    wire.Format
	events    wire.Path
	hasEvents bool
	when      []predicate
	number    numberForm
	values    map[string][]wire.Path // the paths by their statements
	filter    textFilter
	ownNumber template // an option with the number of ours, where webhooks do not say it
	fetch     requestTemplate
	words     map[string]Delivery // in lower case
	causes    []causeRule
	answer    Answer
}

// inboundBodies maps the kinds of bodies to the format of their paths.
var inboundBodies = map[string]wire.Format{"json": wire.JSON, "xml": wire.XML, "form": wire.Pairs, "query": wire.Pairs}

// The statements of both blocks, and those with paths of each block.
var (
	inboundWords = []string{"body", "events", "when", "number", "answer"}
	receivePaths = []string{"from", "to", "others", "text", "id", "time", "part", "media", "media_type", "media_data"}
	receiptPaths = []string{"from", "to", "id", "reference", "time", "status", "code", "message"}
	receiveWords = slices.Concat(inboundWords, receivePaths, []string{"basic", "bearer"})
	receiptWords = slices.Concat(inboundWords, receiptPaths, []string{"cause"}, deliveryNames)
	// deliveryNames are the words of deliveryWords
	deliveryNames = []string{"delivered", "failed", "pending", "unknown"}
)

// parseInbound reads a receive or receipt block. shared are the reply lines around it, whose causes
// apply to receipts too.
func (p *parser) parseInbound(block *syntax.Statement, shared reply) error {
	kind := block.First()
	b := &inboundBlock{isReceipt: kind == "receipt", at: block.Place, number: p.def.numbers.recipient, values: make(map[string][]wire.Path),
		words: make(map[string]Delivery), answer: Answer{Status: 200}}
	known := receiveWords
	if b.isReceipt {
		known = receiptWords
	}
	if !block.Opens || len(block.Args()) > 0 {
		return block.Fail("write: %s { body json … }", kind)
	}
	once := make(map[string]bool)
	for _, s := range block.Block {
		word := s.First()
		if !slices.Contains(known, word) {
			return unknownWord(s, kind, known)
		}
		if s.Opens {
			return s.Fail("%s takes no block", word)
		}
		if once[word] && word != "when" && word != "cause" {
			return s.Fail("%s appears twice", word)
		}
		once[word] = true
		if word == "body" {
			if err := b.parseBody(s); err != nil {
				return err
			}
		}
	}
	if len(b.bodies) == 0 {
		return block.Fail("say how to read the webhook: body json, form, xml or query")
	}
	for _, s := range block.Block {
		if err := p.parseInboundStatement(b, s); err != nil {
			return err
		}
	}
	for _, rule := range shared.causes {
		if rule.when == nil { // the paths of the others lead into replies
			b.causes = append(b.causes, rule)
		}
	}
	p.def.inbound = append(p.def.inbound, b)
	return b.check(block)
}

// parseBody reads: body KIND…. Several kinds are for providers whose customers choose one.
func (b *inboundBlock) parseBody(s *syntax.Statement) error {
	for _, w := range s.Args() {
		format, ok := inboundBodies[w.Text]
		if !ok {
			return s.Unknown("body", w.Text, []string{"json", "form", "xml", "query"})
		}
		if b.format != wire.None && (b.format == wire.XML) != (format == wire.XML) {
			return s.Fail("xml has paths of its own: write a second block for it")
		}
		if b.bodies = append(b.bodies, w.Text); b.format != wire.JSON {
			b.format = format
		}
	}
	if len(b.bodies) == 0 {
		return s.Fail("write: body json, form, xml or query")
	}
	return nil
}

func (p *parser) parseInboundStatement(b *inboundBlock, s *syntax.Statement) (err error) {
	rules := &reply{format: b.format}
	switch word := s.First(); word {
	case "body":
	case "events":
		w, err := s.One("path to the list")
		if err != nil {
			return err
		}
		if b.format == wire.Pairs {
			return s.Fail("a %s has no list of events", b.bodies[0])
		}
		b.hasEvents = true
		b.events, err = rules.parsePath(s, w)
		return err
	case "when":
		condition, err := rules.parsePredicate(s, s.Args())
		if err != nil {
			return err
		}
		if word := condition.of; word == "id" || word == "code" || word == "message" { // here they are paths
			condition.of = ""
			condition.path, err = rules.parsePath(s, syntax.Word{Text: word})
		}
		b.when = append(b.when, *condition)
		return err
	case "number":
		var forms numberForms
		if len(s.Args()) != 1 || forms.parse(s) != nil {
			return s.Fail("write: number FORM, how the numbers in the webhook are written")
		}
		b.number = forms.recipient
	case "answer":
		return b.parseAnswer(s)
	case "basic", "bearer":
		if err := p.parseRequestWord(s, &b.fetch, "receive", receiveWords); err != nil {
			return err
		}
		if hole, bad := b.fetch.header[0].value.holds(holesOfMessage...); bad {
			return s.Fail("{%s} is not allowed in the credential that fetches pictures", hole)
		}
	case "cause":
		rules.causes = b.causes
		if err = rules.parseCause(s); err == nil && rules.causes[len(rules.causes)-1].when != nil {
			err = s.Fail("write: cause NAME CODE…, with the values of code")
		}
		b.causes = rules.causes
	case "delivered", "failed", "pending", "unknown":
		return b.parseDelivery(s)
	default:
		return p.parseInboundPaths(b, rules, s)
	}
	return err
}

// parseInboundPaths reads a statement with paths.
func (p *parser) parseInboundPaths(b *inboundBlock, rules *reply, s *syntax.Statement) (err error) {
	word := s.First()
	trimmed := *s
	if w := s.Words; word == "text" && len(w) > 3 && w[len(w)-2].Is("as") {
		var ok bool
		if b.filter, ok = textFilters[w[len(w)-1].Text]; !ok {
			return s.Unknown("encoding", w[len(w)-1].Text, textFilterNames)
		}
		trimmed.Words = w[:len(w)-2]
	}
	if w := s.Words; word == "to" && !b.isReceipt && strings.HasPrefix(w[len(w)-1].Text, "{") {
		if b.ownNumber, err = p.parseTemplate(s, w[len(w)-1].Text); err != nil {
			return err
		}
		if len(b.ownNumber) != 1 || b.ownNumber.optionName() == "" {
			return s.Fail("write: to PATH, or with an option behind it that has the number, such as {option.number}")
		}
		if trimmed.Words = w[:len(w)-1]; len(trimmed.Words) == 1 {
			return nil
		}
	}
	if b.values[word], err = rules.parsePaths(&trimmed); err != nil {
		return err
	}
	if word == "part" && len(b.values[word]) != 3 {
		return s.Fail("write: part REFERENCE NUMBER TOTAL, the paths to the reference of the whole, to the number of the part and to the number of parts")
	}
	return nil
}

// parseAnswer reads: answer STATUS [TYPE BODY].
func (b *inboundBlock) parseAnswer(s *syntax.Statement) error {
	args := s.Args()
	status := 0
	if len(args) > 0 {
		status, _ = strconv.Atoi(args[0].Text)
	}
	if status < 200 || status > 299 || len(args) != 1 && len(args) != 3 {
		return s.Fail("write: answer STATUS, or: answer STATUS TYPE BODY, with a status of 2xx")
	}
	b.answer = Answer{Status: status}
	if len(args) == 3 {
		b.answer.ContentType, b.answer.Body = args[1].Text, args[2].Text
		if !strings.Contains(b.answer.ContentType, "/") {
			return s.Fail("write the media type before the body: answer 200 text/plain BODY")
		}
	}
	return nil
}

// parseDelivery reads the provider's words for a delivery.
func (b *inboundBlock) parseDelivery(s *syntax.Statement) error {
	if len(s.Args()) == 0 {
		return s.Fail("write: %s WORD…, the values of status", s.First())
	}
	for _, w := range s.Args() {
		word := strings.ToLower(w.Text)
		if _, twice := b.words[word]; twice {
			return s.Fail("the word %s appears twice", w.Text)
		}
		b.words[word] = deliveryWords[s.First()]
	}
	return nil
}

// boundInbound is a block with the values of an account.
type boundInbound struct {
	*inboundBlock
	own    string      // the number of ours, where webhooks do not say it
	header http.Header // the credential that fetches pictures
}

// bind replaces the holes of options by their values.
func (b *inboundBlock) bind(options map[string]string) (out boundInbound) {
	out.inboundBlock = b
	if own, ok := b.ownNumber.bind(options); ok {
		out.own, _ = own.fixed()
	}
	out.header = make(http.Header)
	b.fetch.bindHeaders(options, out.header)
	return out
}

// check refuses blocks that cannot read a message or a receipt.
func (b *inboundBlock) check(block *syntax.Statement) error {
	has := func(word string) bool { return len(b.values[word]) > 0 }
	switch {
	case b.isReceipt && !has("id") && !has("reference"):
		return block.Fail("say which message a receipt is about: id PATH, or reference PATH where the provider returns our id")
	case b.isReceipt && (!has("status") || len(b.words) == 0):
		return block.Fail("say how a message was delivered: status PATH, and the words of it: delivered WORD…, failed WORD…")
	case b.isReceipt:
	case !has("from"):
		return block.Fail("say where the sender is: from PATH")
	case !has("to") && b.ownNumber == nil:
		return block.Fail("say where our number is: to PATH, or to {option.NAME} where webhooks do not say it")
	case !has("text") && !has("media") && !has("media_data"):
		return block.Fail("say where the text is: text PATH")
	case has("media_type") && !has("media") && !has("media_data"):
		return block.Fail("media_type is the type of media: say where it is, media PATH")
	}
	return nil
}
