//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
)

// value is an option of any kind; some have to be base64.
const value = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// everyAdapter is the block of a site with all built-in adapters at once.
func everyAdapter(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, name := range adapters.Names() {
		d, err := adapters.Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "\t\tadapter %s {\n", name)
		for _, o := range d.Options {
			if !o.Optional {
				fmt.Fprintf(&b, "\t\t\t%s {env.VALUE}\n", o.Name)
			}
		}
		if !d.HasBaseURL() {
			b.WriteString("\t\t\tbase_url http://127.0.0.1:9000\n")
		}
		b.WriteString("\t\t}\n")
	}
	return b.String()
}

// TestProvisionOnce is run by the test below in a process of its own. It does once what Caddy does with the adapters of a
// Caddyfile, and says how long it took to read the definitions, when the file is adapted, and to make the adapters, when
// it is provisioned.
func TestProvisionOnce(t *testing.T) {
	if os.Getenv("PROVISION_ONCE") == "" {
		return
	}
	began := time.Now()
	for _, name := range adapters.Names() {
		if _, err := adapters.Builtin(name); err != nil {
			t.Fatal(err)
		}
	}
	read := time.Since(began)
	began = time.Now()
	for _, name := range adapters.Names() {
		d, err := adapters.Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		given, base := map[string]string{}, ""
		for _, o := range d.Options {
			switch {
			case len(o.Values) > 0:
				given[o.Name] = o.Values[0]
			case o.Number:
				given[o.Name] = "1"
			default:
				given[o.Name] = value
			}
		}
		if !d.HasBaseURL() {
			base = "http://127.0.0.1:9000"
		}
		if _, err := d.Bind("", base, given); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Printf("took %d %d\n", read, time.Since(began))
}

// Reading all definitions and binding them to their options is a small part of what caddy validate takes for a site that
// has them all. The goal is a tenth; with the blocks about webhooks it is about that, so the limit has room for noise.
func TestStartWithEveryAdapter(t *testing.T) {
	file := write(t, "Caddyfile", options+"http://127.0.0.1:9001 {\n\tacrobits_sms {\n\t\tdefault_region US\n\t\tuser x {\n\t\t\tpassword {env.VALUE}\n\t\t}\n"+everyAdapter(t)+"\t}\n}\n")
	env := []string{"VALUE=" + value}
	var reading, binding, provisioning []float64
	for range 9 {
		once := exec.Command(os.Args[0], "-test.run=^TestProvisionOnce$")
		once.Env = append(os.Environ(), "PROVISION_ONCE=1")
		out, err := once.Output()
		if err != nil {
			t.Fatal(err)
		}
		var read, bound float64
		if _, err := fmt.Sscanf(string(out), "took %f %f", &read, &bound); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if out, err := command(t, env, "validate", "--config", file, "--adapter", "caddyfile"); err != nil {
			t.Fatal(out)
		}
		whole := float64(time.Since(began))
		reading, binding, provisioning = append(reading, read/whole), append(binding, bound/whole), append(provisioning, (read+bound)/whole)
	}
	for _, list := range [][]float64{reading, binding, provisioning} {
		slices.Sort(list)
	}
	t.Logf("of validating a site with all %d adapters, reading their definitions takes %.1f %%, binding them %.1f %%",
		len(adapters.Names()), 100*reading[4], 100*binding[4])
	if provisioning[4] > 0.2 {
		t.Error("want at most 20 %")
	}
}
