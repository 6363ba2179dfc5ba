package params

import "testing"

func TestForm(t *testing.T) {
	for _, c := range []struct {
		accept, contentType string
		want                Form
	}{
		{"", "", FormByRequest},
		{"*/*", "", FormByRequest},
		{"application/json", "", JSON},
		{"text/xml", "application/json", XML},
		{"application/xml;q=0.9, text/plain", "", XML},
		{"application/json, text/xml", "", FormByRequest},
		{"application/json;q=0, text/xml", "", XML},
		{"application/json;q=0.000, text/xml;q=0.1", "", XML},
		{"application/json, text/xml;q=0.0", "", JSON},
		{"application/vnd.api+json", "", JSON},
		{"text/html", "application/json; charset=utf-8", JSON},
		{";;;", "Application/JSON", JSON},
	} {
		if got := formOf(c.accept, MediaType(c.contentType)); got != c.want {
			t.Errorf("Accept %q, Content-Type %q: %d, want %d", c.accept, c.contentType, got, c.want)
		}
	}
}
