package adapters

import "testing"

func TestBuiltin(t *testing.T) {
	for _, n := range Names() {
		if _, err := Builtin(n); err != nil {
			t.Error(err)
		}
	}
}
