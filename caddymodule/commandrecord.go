package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/dryrun"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/recording"
)

func recordCommand() *cobra.Command {
	var f accountFlags
	var live bool
	var status int
	var reply, mediaType, out string
	var headers []string
	cmd := &cobra.Command{
		Use:   "record <adapter> --to <number> (--status <n> --reply <file> | --live) [--out <file>]",
		Short: "Writes a provider's reply as a test case, with secrets and numbers masked; --live sends one real message",
		Args:  requireAdapter,
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
				x, err = recordFile(account, f.text, status, append(headers, "Content-Type: "+mediaType), reply, cmd.InOrStdin())
			}
			if err == nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "The definition reads this reply as: %s\n", x.Result)
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
	flags.StringArrayVar(&headers, "header", nil, "Header of the reply that the definition reads, as in 'Location: https://…'")
	flags.StringVar(&out, "out", "", "File to write, which must not exist yet (default: standard output)")
	for _, flag := range []string{"status", "reply", "content-type", "header"} {
		cmd.MarkFlagsMutuallyExclusive("live", flag)
	}
	return cmd
}

// recordFile records a reply of a file.
func recordFile(
	account *dryrun.Account, text dryrun.Text, status int, headers []string, file string, stdin io.Reader,
) (*recording.Exchange, error) {
	if status < 100 || status > 599 {
		return nil, errors.New("give --status, from 100 to 599, and the reply, or --live to send a real message")
	}
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, flagError("reply", file, err)
		}
		defer f.Close()
		stdin = f
	}
	body, err := io.ReadAll(io.LimitReader(stdin, adapters.MaxReply))
	if err != nil {
		return nil, err
	}
	r := recording.Reply{Status: status, Body: string(body), Headers: map[string]string{}}
	for _, h := range headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return nil, errors.New("write --header 'Name: value'")
		}
		if value = strings.TrimSpace(value); value != "" {
			r.Headers[strings.TrimSpace(name)] = value
		}
	}
	return account.Record(text, r)
}
