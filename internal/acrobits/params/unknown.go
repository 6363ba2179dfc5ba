package params

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"regexp"
	"strings"

	"github.com/tidwall/gjson"
)

// source contains the raw parts of a request with missing parameters, so that the log can explain
// them.
type source struct {
	names   *Names
	query   string
	body    []byte
	claimed string
	missing []Role
}

// maxShown bounds the number of listed names.
const maxShown = 12

// showableName matches names that may appear in a log. If an app sends JSON as a form, the whole
// body is the name of one parameter.
var showableName = regexp.MustCompile(`^[A-Za-z_][\w.\[\]-]{0,31}$`)

// escaped matches a properly escaped form value. After an unescaped value, an apparent name may be
// part of a text.
var escaped = regexp.MustCompile(`^[\w%+.~*!'(),:/@;$?-]*$`)

// unknownParams collects the parameters with unknown names, as far as the names may be shown.
type unknownParams struct {
	names      *Names
	shown      []string
	numberName string // the first name with a value like a telephone number
	more       int    // the number of names that are not listed
}

// add lists the name of a parameter, or only counts it in more.
func (s *unknownParams) add(name, value string, safe bool) {
	if _, known := s.names.find(name); known && safe {
		return
	}
	if !safe || len(s.shown) == maxShown || !showableName.MatchString(name) {
		s.more++
		return
	}
	if bare := BareNumber(value); s.numberName == "" && len(bare) > 6 && LooksLikeNumber(bare) {
		s.numberName = name
	}
	for _, told := range s.shown {
		if told == name {
			return
		}
	}
	s.shown = append(s.shown, name)
}

// pairs adds pairs. After an invalid pair or an unescaped value it lists no more names.
func (s *unknownParams) pairs(text string) {
	safe := true
	for pair := range strings.SplitSeq(text, "&") {
		if pair = strings.Trim(pair, "\r\n"); pair == "" {
			continue
		}
		name, value, is := strings.Cut(strings.TrimPrefix(pair, "amp;"), "=")
		name = Unescape(name, true)
		safe = safe && is && showableName.MatchString(name)
		s.add(name, Unescape(value, true), safe)
		safe = safe && escaped.MatchString(value)
	}
}

// object adds the members of an object.
func (s *unknownParams) object(object gjson.Result, path string) {
	object.ForEach(func(key, value gjson.Result) bool {
		name := path + key.String()
		if within := unwrapSingle(value); within.IsObject() {
			s.object(within, name+".")
		} else if _, known := s.names.find(key.String()); !known {
			s.add(name, scalar(value), true)
		}
		return true
	})
}

// elements adds the XML elements that contain text. It only counts elements that are nested deeper
// than the first one, because they may be part of a text.
func (s *unknownParams) elements(doc []byte) {
	d := xml.NewDecoder(bytes.NewReader(doc))
	level, depth, leaf, text := 0, 0, false, ""
	for {
		token, err := d.Token()
		if err != nil {
			return
		}
		switch t := token.(type) {
		case xml.StartElement:
			level, leaf, text = level+1, true, ""
		case xml.CharData:
			text += string(t)
		case xml.EndElement:
			if leaf {
				if depth == 0 {
					depth = level
				}
				s.add(t.Name.Local, text, level <= depth)
			}
			level, leaf = level-1, false
		}
	}
}

// UnknownParameters lists the parameters with unknown names, and the options that would make them
// known. The result contains no value, and no name that may be part of a text. It is empty if no
// parameter is missing.
func (req *Caller) UnknownParameters() string {
	src := req.source
	if src == nil || len(src.missing) == 0 {
		return ""
	}
	s := &unknownParams{names: src.names}
	s.pairs(src.query)
	is := "a form"
	switch body := src.body; {
	case len(body) == 0:
		is = ""
	case src.claimed == "text/plain" && body[0] != '{' && body[0] != '[' && body[0] != '<':
		is = "text"
	case (body[0] == '{' || body[0] == '[') && ValidJSON(string(body)):
		is = "JSON"
		s.object(unwrapSingle(gjson.ParseBytes(body)), "")
	case body[0] == '{' || body[0] == '[':
		is = "JSON"
	case body[0] == '<':
		is = "XML"
		s.elements(body)
	default:
		if whole := strings.TrimSpace(Unescape(string(body), true)); whole != "" && (whole[0] == '{' || whole[0] == '[' || whole[0] == '"') {
			is = "JSON, escaped as a form"
			s.more++
		} else {
			s.pairs(string(body))
		}
	}
	var parts []string
	if claimed := claimedForm(src.claimed); is != "" && claimed != "" && claimed != is {
		parts = append(parts, "the body is "+is+", its Content-Type "+src.claimed+" is that of "+claimed)
	} else if is == "text" {
		parts = append(parts, "the body is text, as its Content-Type text/plain says; write application/x-www-form-urlencoded, if it is a form")
	}
	if len(s.shown)+s.more > 0 {
		parts = append(parts, s.list())
	}
	if len(s.shown) > 0 {
		parts = append(parts, "write "+s.advice(src.missing))
	}
	return strings.Join(parts, "; ")
}

// claimedForm returns the name of the form that a media type claims, empty for other media types.
func claimedForm(MediaType string) string {
	switch {
	case MediaType == "application/json" || MediaType == "text/json":
		return "JSON"
	case MediaType == "text/xml" || MediaType == "application/xml":
		return "XML"
	case MediaType == "application/x-www-form-urlencoded":
		return "a form"
	}
	return ""
}

// list returns a sentence with the unknown names.
func (s *unknownParams) list() string {
	list := "unknown parameters came: " + strings.Join(s.shown, ", ")
	switch {
	case len(s.shown) == 0:
		return fmt.Sprintf("unknown parameters came: %d without a name that can be shown", s.more)
	case s.more > 0:
		return fmt.Sprintf("%s and %d more", list, s.more)
	}
	return list
}

// advice returns the options that define the missing parameters.
func (s *unknownParams) advice(missing []Role) string {
	var lines []string
	for _, r := range missing {
		name := "NAME"
		switch {
		case r == RoleTo && s.numberName != "":
			name = s.numberName
		case len(missing) == 1 && len(s.shown) == 1:
			name = s.shown[0]
		}
		lines = append(lines, "param "+roleNames[r]+" "+name)
	}
	return strings.Join(lines, ", ")
}
