package caddymodule

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery"
)

func tryCommand() *cobra.Command {
	var f accountFlags
	var curl bool
	var maxParts int
	cmd := &cobra.Command{
		Use:   "try <adapter> --to <number> [--body <text>] [--curl]",
		Short: "Prints the request that a message becomes, with secrets masked; sends nothing",
		Args:  requireAdapter,
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
