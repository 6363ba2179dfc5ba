package wire

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// FuzzJSONMembers compares the walk with gjson's, for all JSON that is valid.
func FuzzJSONMembers(f *testing.F) {
	for _, seed := range []string{
		`{}`, `[]`, ` { "a" : 1 , "b" : [ 1 , { } , "}" ] } `, `{"a\"b":"c\\","d":"\\\"","":{"x":[[]]}}`, `[1,-2.5e+7,true,false,null,"é\u00e9\ud83d\ude00"]`,
		`{"a":{"b":{"c":[{"d":"]"}]}},"a":2}`, "{\n\t\"a\": 12\n}", `"\\"`, `7`, `{"sid":"SM1","status":"queued","error_code":null}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if s = strings.TrimSpace(s); gjson.Valid(s) {
			compareWithGJSON(t, s, gjson.Parse(s))
		}
	})
}

func compareWithGJSON(t *testing.T, s string, want gjson.Result) {
	if !want.IsObject() && !want.IsArray() {
		if text := JSONText(s); text != want.String() && want.Type != gjson.Number || want.Type == gjson.Number && text != want.Raw {
			t.Fatalf("%s is %q, want %q", s, text, want)
		}
		return
	}
	var names []string
	var values []gjson.Result
	want.ForEach(func(key, value gjson.Result) bool {
		names, values = append(names, key.Str), append(values, value)
		return true
	})
	n := 0
	for name, value := range Members(s) {
		if n == len(names) || name != names[n] || value != strings.TrimSpace(values[n].Raw) {
			t.Fatalf("%s: member %d is %q %s, want %q %v", s, n, name, value, names, values)
		}
		if want.IsObject() && strings.Trim(name, nameOfMember) == "" && name != "" {
			found, is := OpenJSON([]byte(s)).Values(Path{text: name, isName: true})
			want, wanted := OpenJSON([]byte(s)).Values(Path{text: name})
			if !slices.Equal(found, want) || is != wanted {
				t.Fatalf("%s: %s is %q, want %q", s, name, found, want)
			}
		}
		compareWithGJSON(t, value, values[n])
		n++
	}
	if n != len(names) {
		t.Fatalf("%s has %d members, want %d", s, n, len(names))
	}
}
