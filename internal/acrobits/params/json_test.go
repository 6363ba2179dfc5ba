package params

import (
	"encoding/json"
	"testing"

	"github.com/tidwall/gjson"
	"pgregory.net/rapid"
)

// The repair never changes a document that was valid.
func TestRepairKeepsValidJSON(t *testing.T) {
	var value *rapid.Generator[any]
	value = rapid.Custom(func(t *rapid.T) any {
		switch rapid.IntRange(0, 6).Draw(t, "kind") {
		case 0:
			return rapid.String().Draw(t, "string")
		case 1:
			return rapid.Float64Range(-1e12, 1e12).Draw(t, "number")
		case 2:
			return rapid.Bool().Draw(t, "bool")
		case 3:
			return nil
		case 4:
			return rapid.SampledFrom([]any{"", ":", `":`, `": ,`, `": x`, `":+1,"`, `\`, `\":}`, "{\"a\": }", ": ,", "+1555"}).Draw(t, "tricky")
		case 5:
			return rapid.SliceOfN(rapid.Deferred(func() *rapid.Generator[any] { return value }), 0, 3).Draw(t, "list")
		}
		return rapid.MapOfN(rapid.String(), rapid.Deferred(func() *rapid.Generator[any] { return value }), 0, 3).Draw(t, "object")
	})
	rapid.Check(t, func(t *rapid.T) {
		doc, err := json.MarshalIndent(value.Draw(t, "value"), "", rapid.SampledFrom([]string{"", " ", "\n\t"}).Draw(t, "indent"))
		if err != nil {
			t.Fatal(err)
		}
		if repaired := repairJSON(doc); string(repaired) != string(doc) {
			t.Fatalf("%s became %s", doc, repaired)
		}
	})
}

func FuzzRepair(f *testing.F) {
	for _, s := range []string{`{"a": ,}`, `{"a":+1,"b":"\n"}`, "{\"a\":\"\n\"}", `[{"a":b c}]`, `{"a":"\`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		repaired := repairJSON(doc)
		if gjson.ValidBytes(doc) && string(repaired) != string(doc) {
			t.Errorf("%s became %s", doc, repaired)
		}
	})
}
