package caddymodule

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// TestCommands runs the sessions of testdata/script: what the commands print, their errors and exit
// codes. Each session has a provider at $PROVIDER, which accepts all.
//
//	[!] admits FILE   whether the last stdout is a hash of the password in the file
//	requests N        the provider has got so many requests
func TestCommands(t *testing.T) {
	definitions, err := filepath.Abs("../adapters/providers")
	if err != nil {
		t.Fatal(err)
	}
	type counter struct{}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			count := new(atomic.Int64)
			provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				count.Add(1)
				w.WriteHeader(http.StatusCreated)
				_, _ = io.WriteString(w, `{"sid":"SM1","to":"+12125550123","status":"queued"}`)
			}))
			env.Defer(provider.Close)
			env.Setenv("PROVIDER", provider.URL)
			env.Setenv("DEFINITIONS", definitions)
			env.Values[counter{}] = count
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"admits": func(ts *testscript.TestScript, neg bool, args []string) {
				hash, password := strings.TrimSpace(ts.ReadFile("stdout")), strings.TrimRight(ts.ReadFile(args[0]), "\r\n")
				l, err := users.NewList([]users.Account{{User: users.User{Name: "ann"}, Passwords: []string{hash}}})
				ts.Check(err)
				if _, err := l.Authenticate(t.Context(), users.Credential{User: "ann", Secret: sms.Hide(password)}); (err == nil) == neg {
					ts.Fatalf("%s: %v", args[0], err)
				}
			},
			"requests": func(ts *testscript.TestScript, _ bool, args []string) {
				count := ts.Value(counter{}).(*atomic.Int64)
				if got := strconv.FormatInt(count.Load(), 10); got != args[0] {
					ts.Fatalf("the provider got %s requests, want %s", got, args[0])
				}
			},
		},
	})
}
