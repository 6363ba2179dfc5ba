package caddymodule

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
)

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

// noPassword refuses a password as an argument.
func noPassword(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return errors.New("type the password or write it to standard input: all users of this machine can see a command line")
	}
	return nil
}

// readPassword reads a line, from a terminal without echo.
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
