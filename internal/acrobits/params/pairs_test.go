package params

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzPairs(f *testing.F) {
	for _, s := range []string{"a=b&c=d", "a=%zz%", "a=b;c=d", "=&=", "to=+1&body=%F0%9F", "from=%account[username]%", "a=%ac%", "a=\xfc", "\xfc=a", "a=%FC", " & ", "a=b\n&\r\nc=d", "a=b&amp;c=d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		pairs(s, func(name, value string) {
			if !utf8.ValidString(name) || !utf8.ValidString(value) {
				t.Errorf("%q gives %q=%q", s, name, value)
			}
		})
		if values, err := url.ParseQuery(s); err == nil && utf8.ValidString(s) && !strings.ContainsAny(s, "\r\n") { // where both understand, they agree
			got := url.Values{}
			pairs(s, func(name, value string) { got.Add(name, value) })
			for name, want := range values {
				if !utf8.ValidString(name + strings.Join(want, "")) {
					continue
				}
				if fmt.Sprint(got[name]) != fmt.Sprint(want) && !isVariable(strings.Join(got[name], "")) {
					t.Errorf("%q: %s is %q, want %q", s, name, got[name], want)
				}
			}
		}
	})
}
