package caddymodule

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/recording"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/tryout"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/users"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "acrobits-sms",
		Usage: "adapters|try|record|hash",
		Short: "Lists SMS providers, shows requests to them, records their replies",
		Long: `
Lists the SMS APIs that adapters exist for and prints their definitions; shows
the request that a message becomes, without sending it and without secrets; and
records what a provider answers as a test case. Makes hashes of passwords.
`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Args = cobra.ArbitraryArgs
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				if len(args) == 0 {
					return cmd.Help()
				}
				return fmt.Errorf("there is no command %q%s", args[0], adapters.Meant(args[0], []string{"adapters", "try", "record", "hash"}))
			}
			cmd.AddCommand(adaptersCommand(), tryCommand(), recordCommand(), hashCommand())
		},
	})
}

func adaptersCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "adapters [<name>]",
		Short: "Lists the built-in adapters, or prints the definition of one",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				source, err := adapters.Source(args[0])
				if err != nil {
					return err
				}
				_, err = io.WriteString(cmd.OutOrStdout(), source)
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, name := range adapters.Names() {
				d, err := adapters.Builtin(name)
				if err != nil {
					return err
				}
				fmt.Fprintf(table, "%s\t%s\t%s\n", name, d.Verified, d.Title)
			}
			return table.Flush()
		},
	}
}

// account flags say which adapter a command is about, and what it is to send.
type accountFlags struct {
	config, adapter, define, baseURL, region string
	options, envfiles                        []string
	text                                     tryout.Text
}

func (f *accountFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.config, "config", "c", "", "Configuration that has the adapter (default: Caddyfile, if there is one)")
	flags.StringArrayVar(&f.envfiles, "envfile", nil, "File with environment variables, as of caddy run")
	flags.StringVarP(&f.adapter, "adapter", "a", "", "Name of the config adapter of the configuration")
	flags.StringVar(&f.define, "define", "", "File with a definition, instead of a built-in one")
	flags.StringArrayVarP(&f.options, "option", "o", nil, "Option of the adapter as name=value; a value may be {env.NAME}")
	flags.StringVar(&f.baseURL, "base-url", "", "Base URL of the adapter")
	flags.StringVar(&f.region, "region", "", "Country of numbers without one, such as US")
	flags.StringVar(&f.text.To, "to", "", "Recipient")
	flags.StringVar(&f.text.From, "from", "", "Sender")
	flags.StringVar(&f.text.Body, "body", "Hello World", "Text")
	flags.StringArrayVar(&f.text.Media, "media", nil, "URL of a picture or file")
	_ = cmd.MarkFlagRequired("to")
}

// oneAdapter says what is missing.
func oneAdapter(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return errors.New("name one adapter: that of the configuration, or one of: caddy acrobits-sms adapters")
	}
	return nil
}

func tryCommand() *cobra.Command {
	var f accountFlags
	var curl bool
	var maxParts int
	cmd := &cobra.Command{
		Use:   "try <adapter> --to <number> [--body <text>] [--curl]",
		Short: "Prints the request that a message becomes, with secrets masked; sends nothing",
		Args:  oneAdapter,
		RunE: func(cmd *cobra.Command, args []string) error {
			account, err := f.account(args[0], false)
			if err != nil {
				return err
			}
			if maxParts < 1 {
				return errors.New("--max-parts is at least 1")
			}
			return account.Show(cmd.OutOrStdout(), f.text, maxParts, curl)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&curl, "curl", false, "Print curl lines, with secrets as variables of the shell")
	cmd.Flags().IntVar(&maxParts, "max-parts", delivery.DefaultMaxParts, "Messages that a long text may become")
	return cmd
}

func recordCommand() *cobra.Command {
	var f accountFlags
	var live bool
	var status int
	var reply, mediaType, out string
	cmd := &cobra.Command{
		Use:   "record <adapter> --to <number> (--status <n> --reply <file> | --live) [--out <file>]",
		Short: "Writes a provider's reply as a test case, with secrets and numbers masked; --live sends one real message",
		Args:  oneAdapter,
		RunE: func(cmd *cobra.Command, args []string) error {
			account, err := f.account(args[0], live)
			if err != nil {
				return err
			}
			to := cmd.OutOrStdout()
			if out != "" { // before a message is sent
				file, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
				if err != nil {
					return err
				}
				defer file.Close()
				to = file
			}
			var x *recording.Exchange
			if live {
				x, err = account.RecordLive(context.Background(), f.text, http.DefaultTransport)
			} else {
				x, err = recordFile(account, f.text, status, mediaType, reply, cmd.InOrStdin())
			}
			if err == nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "The definition reads this reply as: %s\n", strings.Join(strings.Fields(x.Receipt.Outcome+" "+x.Receipt.Cause+" "+x.Receipt.ID), ", "))
				err = x.Write(to)
			}
			if err != nil && out != "" {
				os.Remove(out)
			}
			return err
		},
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&live, "live", false, "Send one real message")
	flags.IntVar(&status, "status", 0, "HTTP status of the reply")
	flags.StringVar(&reply, "reply", "-", "File with the body of the reply, - for standard input")
	flags.StringVar(&mediaType, "content-type", "", "Content-Type of the reply")
	flags.StringVar(&out, "out", "", "File to write, which must not exist yet (default: standard output)")
	for _, flag := range []string{"status", "reply", "content-type"} {
		cmd.MarkFlagsMutuallyExclusive("live", flag)
	}
	return cmd
}

func recordFile(account *tryout.Account, text tryout.Text, status int, mediaType, file string, stdin io.Reader) (*recording.Exchange, error) {
	if status < 100 || status > 599 {
		return nil, errors.New("give --status, from 100 to 599, and the reply, or --live to send a real message")
	}
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		stdin = f
	}
	body, err := io.ReadAll(io.LimitReader(stdin, adapters.MaxReply))
	if err != nil {
		return nil, err
	}
	r := recording.Reply{Status: status, Body: string(body)}
	if mediaType != "" {
		r.Headers = map[string]string{"Content-Type": mediaType}
	}
	return account.Record(text, r)
}

// account finds the adapter in the configuration, or else makes one of a definition. Only a live message needs secrets.
func (f *accountFlags) account(name string, live bool) (*tryout.Account, error) {
	for _, file := range f.envfiles {
		if err := loadEnvironment(file); err != nil {
			return nil, err
		}
	}
	configured, own, site, err := f.configured(name)
	if err != nil {
		return nil, err
	}
	if configured == nil {
		configured = &Adapter{Definition: name}
	}
	if f.define != "" {
		source, err := os.ReadFile(f.define)
		if err != nil {
			return nil, err
		}
		d, err := adapters.Parse(configured.Definition, f.define, 1, string(source))
		if err != nil {
			return nil, err
		}
		own = map[string]*adapters.Definition{configured.Definition: d}
	}
	d, err := configured.find(own)
	if err != nil {
		return nil, err
	}
	account := &tryout.Account{Definition: d, Name: configured.Name, BaseURL: configured.BaseURL, Options: maps.Clone(configured.Options), Region: site.DefaultRegion}
	if account.Options == nil {
		account.Options = make(map[string]string)
	}
	for _, o := range f.options {
		key, value, ok := strings.Cut(o, "=")
		if !ok {
			return nil, fmt.Errorf("--option %s: write name=value", o)
		}
		account.Options[key] = value
	}
	if f.baseURL != "" {
		account.BaseURL = f.baseURL
	}
	if f.region != "" {
		account.Region = f.region
	}
	if err := checkRegion(account.Region); err != nil {
		return nil, err
	}
	if f.text.From == "" && len(site.Users) > 0 && len(site.Users[0].From) > 0 { // as the handler does
		if f.text.From, err = resolve(caddy.NewReplacer(), site.Users[0].From[0]); err != nil {
			f.text.From = ""
		}
	}
	return account, resolveAccount(account, live)
}

// loadEnvironment sets the variables of a file of NAME=VALUE lines that are not set yet, as caddy run does.
func loadEnvironment(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if !ok {
			return fmt.Errorf("%s:%d: write NAME=VALUE", file, number)
		}
		if len(value) > 1 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
			value = value[1 : len(value)-1]
		}
		if _, set := os.LookupEnv(name); !set {
			if err := os.Setenv(name, value); err != nil {
				return fmt.Errorf("%s:%d: %w", file, number, err)
			}
		}
	}
	return nil
}

// resolveAccount puts in what placeholders stand for. What cannot be resolved is left out where nothing is sent.
func resolveAccount(a *tryout.Account, live bool) error {
	repl := caddy.NewReplacer()
	for _, o := range slices.Sorted(maps.Keys(a.Options)) {
		if err := a.Definition.CheckOption(a.Definition.Name, o); err != nil {
			return err
		}
		value, err := resolve(repl, a.Options[o])
		if err != nil && live {
			return fmt.Errorf("%s: %w", o, err)
		}
		a.Options[o] = value
	}
	base, err := resolve(repl, a.BaseURL)
	if err != nil && live && a.BaseURL != "" {
		return fmt.Errorf("base_url: %w", err)
	}
	a.BaseURL = base
	return nil
}

// configured finds an adapter by its name, or its definition's, in the handlers of a configuration. Without one it is nil,
// and the site is empty.
func (f *accountFlags) configured(name string) (found *Adapter, own map[string]*adapters.Definition, site *Handler, err error) {
	site = new(Handler)
	file := f.config
	if file == "" {
		if _, err := os.Stat("Caddyfile"); err != nil {
			return nil, nil, site, nil
		}
		file = "Caddyfile"
	}
	config, _, _, err := caddycmd.LoadConfig(file, f.adapter)
	if err != nil {
		return nil, nil, site, err
	}
	var others []string
	for _, h := range handlersIn(config) {
		definitions, err := parseDefinitions(h.Definitions)
		if err != nil {
			return nil, nil, site, err
		}
		for _, a := range h.Adapters {
			switch {
			case a == nil:
			case a.Name == name, a.Name == "" && a.Definition == name:
				return a, definitions, h, nil
			case a.Definition == name:
				others = append(others, a.Name)
			}
		}
		if own == nil && definitions[name] != nil {
			own, site = definitions, h
		}
	}
	if len(others) > 0 {
		return nil, nil, site, fmt.Errorf("%s has %s as %s: name one of them", file, name, strings.Join(others, ", "))
	}
	if own != nil {
		found = &Adapter{Definition: name}
	}
	return found, own, site, nil
}

// handlersIn finds the handlers of this module, wherever they stand in a configuration.
func handlersIn(config []byte) (list []*Handler) {
	var object map[string]json.RawMessage
	var array []json.RawMessage
	if json.Unmarshal(config, &array) == nil {
		for _, item := range array {
			list = append(list, handlersIn(item)...)
		}
	}
	if json.Unmarshal(config, &object) != nil {
		return list
	}
	if string(object["handler"]) == `"acrobits_sms"` {
		h := new(Handler)
		if json.Unmarshal(config, h) == nil {
			list = append(list, h)
		}
		return list
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		list = append(list, handlersIn(object[key])...)
	}
	return list
}

func hashCommand() *cobra.Command {
	var algorithm string
	cmd := &cobra.Command{
		Use:   "hash [--algorithm bcrypt|argon2id]",
		Short: "Reads a password and prints a hash of it, for password in a user block, a file or a database",
		Args:  noPassword,
		RunE: func(cmd *cobra.Command, _ []string) error {
			password, err := readPassword(cmd)
			if err != nil {
				return err
			}
			hash, err := users.MakeHash(algorithm, password)
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), hash)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&algorithm, "algorithm", "bcrypt", "bcrypt or argon2id")
	return cmd
}

// noPassword refuses what everybody on the machine can read.
func noPassword(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return errors.New("the password is asked for, or read from standard input: a command line is seen by everybody on this machine")
	}
	return nil
}

// readPassword reads a line, from a terminal without showing it.
func readPassword(cmd *cobra.Command) (string, error) {
	if f, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(cmd.ErrOrStderr(), "Password: ")
		password, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		return string(password), err
	}
	line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err == io.EOF {
		err = nil
	}
	return strings.TrimRight(line, "\r\n"), err
}
