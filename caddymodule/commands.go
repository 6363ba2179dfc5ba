package caddymodule

import (
	"errors"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/suggest"
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
				return errors.New(suggest.Unknown("command", args[0], []string{"adapters", "try", "record", "hash"}))
			}
			cmd.AddCommand(adaptersCommand(), tryCommand(), recordCommand(), hashCommand())
		},
	})
}
