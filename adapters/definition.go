// Package adapters implements the language that describes SMS APIs, and makes the requests and
// reads the replies of these APIs. A definition is a set of operations. An operation is a request
// with holes and a description of the reply. The language is documented in
// docs/adapter-language.md; providers/ has examples.
//
// The package never sends anything, never keeps a reply, and never returns a provider's words
// before package redact has filtered them. The configuration parses and binds definitions;
// internal/delivery plans messages, sends the requests and returns the replies. Definitions and
// adapters are immutable and safe for concurrent use; a Plan and a Call belong to one message and
// are not.
package adapters

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters/syntax"
)

// Definition describes one SMS API. It is immutable and safe for concurrent use.
type Definition struct {
	Name string
	// Title is the first comment line of the definition.
	Title string
	// Source names the provider's documentation: a URL or a sentence.
	Source string
	// Verified says how the definition was verified: "live DATE", "spec", "docs DATE" or
	// "unverified".
	Verified string
	// Options are the options that an operator may set, in the order of the definition.
	Options []Option

	file    string
	text    string
	baseURL template
	numbers numberForms
	limit   limit
	media   *mediaBlock  // nil if the definition does not say what the provider accepts
	replace []string     // pairs of old and new text
	tell    bool         // the app's user sees the provider's own words
	token   *tokenBlock  // nil if the API needs none
	upload  *uploadBlock // nil if the API needs none
	sends   []*sendBlock
	proof   *proof // nil if the definition does not receive
	inbound []*inboundBlock
}

// definitionWords are the statements of a definition.
var definitionWords = append([]string{"source", "verified", "base_url", "option", "number", "text", "media", "token", "upload", "send", "tell", "proof", "receive", "receipt"}, replyWords...)

// blockWords are the words that an adapter block accepts besides the options of its definition.
var blockWords = []string{"base_url", "when", "weight", "senders", "rate", "concurrency", "webhook_secret"}

// parser reads one definition.
type parser struct {
	def  *Definition
	used map[string]syntax.Place // the first place of each option and of the token in a hole
	// receiving is set while the blocks about webhooks are read. sending are the holes outside of them.
	receiving bool
	sending   map[string]bool
	// content is the content that the holes of the current send block can carry
	content content
}

// Parse reads a definition. firstLine is the line number of the first line of source in the file,
// for errors.
func Parse(name, file string, firstLine int, source string) (*Definition, error) {
	d, err := parse(name, file, firstLine, source)
	if err != nil {
		return nil, err
	}
	textOnly := slices.ContainsFunc(d.sends, func(v *sendBlock) bool { return v.content&allMedia == 0 })
	for _, v := range d.sends {
		if err := v.makesSense(); err != nil {
			return nil, err
		}
		if textOnly && v.content&allMedia != 0 && !v.isFor(isMedia) {
			return nil, v.at.Fail("write when media: this send block is for pictures; without that line it also accepts messages without a picture that match no other send block")
		}
	}
	return d, d.checkMedia()
}

func parse(name, file string, firstLine int, source string) (*Definition, error) {
	if !isName(name) {
		return nil, fmt.Errorf("%s:%d: the name of an adapter may contain only lower-case letters, digits and _", file, firstLine)
	}
	statements, err := syntax.Parse(file, firstLine, source)
	if json := (*syntax.JSONError)(nil); errors.As(err, &json) {
		err = failJSON(json, statements)
	}
	if err != nil {
		return nil, err
	}
	p := &parser{def: &Definition{Name: name, Title: title(source), file: file, text: source, Verified: "unverified"}, used: make(map[string]syntax.Place), sending: make(map[string]bool)}
	if err := p.parse(statements, syntax.Place{File: file, Line: firstLine}); err != nil {
		return nil, err
	}
	return p.def, nil
}

// title returns the comment in the first line of a definition.
func title(source string) string {
	first, _, _ := strings.Cut(source, "\n")
	if t, is := strings.CutPrefix(first, "#"); is {
		return strings.TrimSpace(t)
	}
	return ""
}

func (p *parser) parse(statements []*syntax.Statement, at syntax.Place) error {
	once := make(map[string]bool)
	for _, s := range statements { // options first, because any hole may refer to one
		if !slices.Contains(definitionWords, s.First()) {
			return unknownWord(s, "", definitionWords)
		}
		if s.First() == "option" {
			if err := p.parseOption(s); err != nil {
				return err
			}
		}
	}
	shared, err := p.parseReply(statements, reply{})
	if err != nil {
		return err
	}
	var requests, uploads []*syntax.Statement // last, because they inherit from the statements outside of them
	for _, s := range statements {
		switch word := s.First(); word {
		case "send", "receive", "receipt":
			requests = append(requests, s)
			continue
		case "upload":
			if uploads = append(uploads, s); len(uploads) > 1 {
				return s.Fail("upload appears twice")
			}
			continue
		case "source", "verified", "base_url", "tell", "number", "text", "media", "token", "proof":
			if kind := kindOf(s); once[kind] || word == kind && (once[word+" sender"] || once[word+" recipient"]) {
				return s.Fail("%s appears twice", kind)
			}
			once[kindOf(s)] = true
		}
		if err := p.parseStatement(s); err != nil {
			return err
		}
	}
	for _, s := range uploads {
		if err := p.parseUpload(s, shared); err != nil {
			return err
		}
	}
	for _, s := range requests {
		read := p.parseSend
		if p.receiving = s.First() != "send"; p.receiving {
			read = p.parseInbound
		}
		if err := read(s, shared); err != nil {
			return err
		}
	}
	if len(p.def.sends) == 0 {
		return at.Fail("%s does not say how to send: write send { POST /path … }", p.def.Name)
	}
	if len(p.def.inbound) > 0 && p.def.proof == nil {
		return p.def.inbound[0].at.Fail("say how the provider proves that a webhook is its own: proof SCHEME KEY, or proof path where the secret in the path is the only proof")
	}
	if len(p.def.inbound) == 0 && p.def.proof != nil {
		return p.def.proof.at.Fail("there is nothing to prove: write how to read webhooks, receive { body json … }")
	}
	for _, v := range p.def.sends {
		switch {
		case len(v.reply.status) == 0:
			return v.at.Fail("say which status means accepted: accepted status 200")
		case len(v.reply.id) == 0 && !v.reply.generated:
			return v.at.Fail("say where to find the id of the message: id PATH, or: id generated, if this API gives none")
		}
	}
	if err := p.def.checkUpload(); err != nil {
		return err
	}
	for i := range p.def.Options {
		o := &p.def.Options[i]
		o.receives = !p.sending[optionHole+o.Name]
		if _, used := p.used[optionHole+o.Name]; !used {
			return o.at.Fail("option %s of %s is never used", o.Name, p.def.Name)
		}
	}
	switch first, used := p.used[tokenHole]; {
	case used && p.def.token == nil:
		return first.Fail("{token} is used, but there is no token block; write: token { POST /path … access PATH }")
	case !used && p.def.token != nil:
		return p.def.token.at.Fail("the token is never used, write: bearer {token}")
	}
	return nil
}

// kindOf identifies a statement that may appear only once. It is the first word and, for `number`
// and `text`, also the next: "number recipient", "text max".
func kindOf(s *syntax.Statement) string {
	n := 1
	if word := s.First(); len(s.Words) > 2 && (word == "number" || word == "text") {
		if n = 2; s.Words[1].Text == "replace" {
			n = 3
		}
	}
	return syntax.Join(s.Words[:n])
}

func (p *parser) parseStatement(s *syntax.Statement) (err error) {
	word := s.First()
	if s.Opens && word != "token" && word != "media" && slices.Contains(definitionWords, word) {
		return s.Fail("%s must not have a block", word)
	}
	switch word {
	case "source":
		w, err := s.One("URL or quoted sentence")
		p.def.Source = w.Text
		return err
	case "verified":
		return p.parseVerified(s)
	case "base_url":
		p.def.baseURL, err = p.parseBaseURL(s)
		return err
	case "number":
		return p.def.numbers.parse(s)
	case "text":
		if a := s.Args(); len(a) == 3 && a[0].Text == "replace" {
			p.def.replace = append(p.def.replace, a[1].Text, a[2].Text)
			return nil
		}
		p.def.limit, err = parseLimit(s)
		return err
	case "tell":
		if w, err := s.One("word, message"); err != nil || w.Text != "message" {
			return s.Fail("write: tell message, to show the app's user what the provider says in message")
		}
		p.def.tell = true
	case "media":
		p.def.media, err = parseMedia(s)
		return err
	case "proof":
		p.receiving = true
		p.def.proof, err = p.parseProof(s)
		p.receiving = false
		return err
	case "token":
		p.def.token, err = p.parseToken(s)
		return err
	}
	return nil
}

func (p *parser) parseVerified(s *syntax.Statement) error {
	p.def.Verified = syntax.Join(s.Args())
	if how, _, _ := strings.Cut(p.def.Verified, " "); !slices.Contains([]string{"live", "spec", "docs", "unverified"}, how) {
		return s.Fail("write: verified live DATE, spec, docs DATE or unverified")
	}
	return nil
}

func (p *parser) parseBaseURL(s *syntax.Statement) (template, error) {
	w, err := s.One("URL")
	if err != nil {
		return nil, err
	}
	t, err := p.parseTemplate(s, w.Text)
	if err != nil {
		return nil, err
	}
	if hole, bad := t.holds(holesOfMessage...); bad {
		return nil, s.Fail("{%s} is not allowed in base_url, only holes of options are", hole)
	}
	if fixed, ok := t.fixed(); ok {
		if _, err := checkBaseURL(fixed); err != nil {
			return nil, s.Fail("%w", err)
		}
	}
	return t, nil
}

// CheckBaseURL returns an error if an operator's base URL is invalid.
func CheckBaseURL(s string) error {
	_, err := checkBaseURL(s)
	return err
}

// checkBaseURL parses a base URL: scheme, host, and optionally a path that precedes all paths.
func checkBaseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil, u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "sandbox" || u.Hostname() == "":
		return nil, fmt.Errorf("base_url must begin with https:// or http:// and a host")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("base_url may contain only a scheme, a host and a path")
	}
	u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/"), strings.TrimSuffix(u.RawPath, "/")
	return u, nil
}
