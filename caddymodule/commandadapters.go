package caddymodule

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
)

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
