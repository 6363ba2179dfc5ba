package params

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of parameters into its page")

// parametersPage has the table.
const parametersPage = "../../../docs/settings.md"

// TestParameterTable keeps the table of parameters true.
func TestParameterTable(t *testing.T) {
	var table strings.Builder
	table.WriteString("| Parameter | Known names; case, `_` and `-` make no difference |\n|---|---|\n")
	for r, list := range aliases[:RoleFrom+1] {
		name := "`" + roleNames[r] + "`"
		if Role(r) == RoleFrom {
			name = "the user, or beside one the sender"
		}
		fmt.Fprintf(&table, "| %s | `%s` |\n", name, strings.Join(list, "` `"))
	}
	data, err := os.ReadFile(parametersPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(data), "<!-- params -->\n")
	old, after, found := strings.Cut(rest, "<!-- /params -->")
	switch {
	case !found:
		t.Fatal("the page has no place for the parameters")
	case *update:
		if err := os.WriteFile(parametersPage, []byte(before+"<!-- params -->\n"+table.String()+"<!-- /params -->"+after), 0o644); err != nil {
			t.Fatal(err)
		}
	case old != table.String():
		t.Error("the table of parameters is stale, run: go test ./internal/acrobits/params -run ParameterTable -update")
	}
}
