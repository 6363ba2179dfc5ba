package sendmessage

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/text"
)

// parseDisposition reads id:wish,wish. A value without a colon is only an id, or only wishes, as
// SIP clients write them in the header Disposition-Notification
// (https://www.rfc-editor.org/rfc/rfc5438#section-6). An id may contain colons.
func parseDisposition(s string) (d sms.Disposition) {
	id, list := trimInvisible(s), ""
	if at := strings.LastIndexByte(id, ':'); at >= 0 && (isWishList(id[at+1:]) || strings.Count(id, ":") == 1) {
		id, list = trimInvisible(id[:at]), id[at+1:]
	}
	if isConstant(id) {
		if list == "" && isWishList(id) && strings.Contains(id, "-") {
			list = id
		}
		id = ""
	}
	d.ID = id
	if list == "" {
		return d
	}
	d.Wishes = make([]string, 0, strings.Count(list, ",")+1)
	for wish := range strings.SplitSeq(list, ",") {
		if wish = trimInvisible(wish); wish != "" {
			d.Wishes = append(d.Wishes, wish)
		}
	}
	return d
}

// isParameter reports whether another parameter has the value too. Such a value is the same for all
// texts of a user or to a recipient, so it is not an id.
func (req *Request) isParameter(value string) bool {
	switch value {
	case req.User, req.Secret.Reveal(), req.InstallID, req.ContentType, req.Sender:
		return true
	}
	if !params.LooksLikeNumber(value) {
		return false
	}
	bare := params.BareNumber(value)
	return bare == params.BareNumber(req.Sender) || slices.ContainsFunc(req.To, func(to string) bool { return bare == params.BareNumber(to) })
}

// isWishList reports whether a value may be a list of wishes, which may be empty.
func isWishList(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !isASCIILetter(r) && !strings.ContainsRune(",; -", r) })
}

func isASCIILetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

func trimInvisible(s string) string {
	return strings.TrimFunc(s, text.IsInvisible)
}

// isConstant reports whether a value that should be an id is probably the same in every message.
// With a constant id the second text of a day would count as a duplicate of the first. Ids are
// random. Ignoring a real id costs little, because duplicates without an id are also detected for a
// while.
func isConstant(id string) bool {
	if id == "" {
		return true
	}
	if strings.Contains(id, "%") {
		id = params.Unescape(id, false)
	}
	return strings.ContainsAny(id, "{}\"") || id != "" && strings.IndexByte("$%", id[0]) >= 0 ||
		strings.Contains(id, "/") && mediaTypeLike.MatchString(id) ||
		id != "" && strings.IndexByte("<[(@#_", id[0]) >= 0 && bracketed.MatchString(id) ||
		isMonotone(id) || isWords(id)
}

var (
	// mediaTypeLike matches a content type in the wrong parameter. A base64 id may contain a
	// slash too.
	mediaTypeLike = regexp.MustCompile(`(?i)^(application|audio|font|image|message|model|multipart|text|video)/[\w.+-]+(;.*)?$`)
	// bracketed matches an unreplaced variable of a template language. Message-IDs have angle
	// brackets too, but contain digits.
	bracketed = regexp.MustCompile(`^([<\[(@#]|__)[A-Za-z_ .-]+([>\])@#]|__)$`)
)

// isMonotone reports whether a value consists only of signs, zeros, or a single repeated letter: -,
// 00, xxx, the UUID of zeros. Other repeated digits do not count, because an app that numbers its
// messages reaches 111.
func isMonotone(id string) bool {
	first, count := rune(0), 0
	for _, r := range id {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			continue
		case count > 0 && r != first:
			return false
		}
		first, count = r, count+1
	}
	return first == 0 || first == '0' || count > 2 && unicode.IsLetter(first)
}

// isWords reports whether a value consists only of known words and signs, in upper or lower case:
// true, positive-delivery, [object Object], imdn.Disposition-Notification.
func isWords(id string) bool {
	var buf [maxWords]byte
	letters := buf[:0]
	for i := 0; i < len(id); i++ {
		c := id[i]
		switch {
		case params.IsLetter(c):
			c |= 0x20
		case c >= '0' && c <= '9' || c >= 0x80:
			return false
		default:
			continue
		}
		if len(letters) == maxWords {
			return false
		}
		letters = append(letters, c)
	}
	// fits[n] is set if the first n letters are words.
	var fits [maxWords + 1]bool
	fits[0] = true
	for end := 1; end <= len(letters); end++ {
		for begin := max(0, end-maxWordLength); begin < end && !fits[end]; begin++ {
			fits[end] = fits[begin] && words[string(letters[begin:end])]
		}
	}
	return fits[len(letters)]
}

// maxWords is the maximum number of letters that isWords checks.
const maxWords = 128

// words contains the words of RFC 5438 and of the CPIM header, words that programs write for a
// missing value, and names of an id in templates.
var words, maxWordLength = func() (map[string]bool, int) {
	table, longest := make(map[string]bool), 0
	for _, w := range strings.Fields(`
		positive negative delivery delivered display displayed processing processed notification notifications disposition imdn cpim
		notify interworking failed failure forbidden error stored read seen sent received receipt receipts report reports status record
		route original recipient datetime xml
		null nil none undefined nan na void empty blank missing unknown default auto object array string number boolean integer bool optional
		required requested request enabled enable disabled disable true false yes no on off ok always never all any both only and or not
		id ids message messages msg sms mms uuid guid urn uid tag token value header param parameter placeholder variable test example sample
		username user account password sender text body content type plain smart device installid name to from
	`) {
		table[w], longest = true, max(longest, len(w))
	}
	return table, longest
}()
