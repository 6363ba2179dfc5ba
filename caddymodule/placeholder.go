package caddymodule

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"runtime"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

const (
	literalSecretWarning = "a secret is in plain text in the configuration; write {env.NAME} or {file./path} instead"
	exposedSecretWarning = "other users of this machine may read a file with a secret: chmod 600"
)

// placeholder matches placeholders of environment variables and files.
var placeholder = regexp.MustCompile(`\{(env|file)\.([^{}]*)\}`)

// isLiteral reports whether a configured value has no placeholder.
func isLiteral(s string) bool { return !placeholder.MatchString(s) }

// hasPlaceholder reports whether a value may have a placeholder, so that it is known only when the
// configuration is loaded.
func hasPlaceholder(s string) bool { return strings.Contains(s, "{") }

var (
	// shellVariable matches $NAME and ${NAME}, which Caddy does not replace.
	shellVariable = regexp.MustCompile(`^\$\{?([A-Z_][A-Z0-9_]*)\}?$`)

	// unbraced matches a placeholder without braces.
	unbraced = regexp.MustCompile(`^(?:env\.([A-Za-z_]\w*)|file\.[./].*)$`)

	// caddyfileVariable matches variables of shells, and those that Caddy replaces in a Caddyfile
	// only.
	caddyfileVariable = regexp.MustCompile(`^(?:\{\$[A-Za-z_]\w*(?::[^{}]*)?\}|\$\{[A-Za-z_]\w*\})$`)

	// unclosed matches a placeholder without its closing brace.
	unclosed = regexp.MustCompile(`\{(?:env\.(\w*)|file\.)[^{}]*$`)

	// variableName matches usual names of environment variables, but no keys in base32 or hex.
	variableName = regexp.MustCompile(`^_?[A-Z]+[0-9]{0,3}(?:_+[A-Z]*[0-9]{0,3})*$`)
)

// safeVariableName returns the name, or NAME if it may be a secret in the place of a name.
func safeVariableName(name string) string {
	if variableName.MatchString(name) {
		return name
	}
	return "NAME"
}

// checkPlaceholder refuses misspelled placeholders, which Caddy would not replace. Its errors
// contain nothing that may be a secret.
func checkPlaceholder(s string) error {
	if name := shellVariable.FindStringSubmatch(s); name != nil {
		return fmt.Errorf("$%s is not replaced here; write {env.%[1]s}", safeVariableName(name[1]))
	}
	if name := unbraced.FindStringSubmatch(s); name != nil && name[1] != "" {
		return fmt.Errorf("env.%s is not replaced without braces; write {env.%[1]s}", safeVariableName(name[1]))
	} else if name != nil {
		return errors.New("file./PATH is not replaced without braces; write {file./PATH}")
	}
	if open := unclosed.FindStringSubmatch(s); open != nil && open[1] != "" {
		return fmt.Errorf("the placeholder {env.%s has no closing brace", safeVariableName(open[1]))
	} else if open != nil {
		return errors.New("the placeholder {file. has no closing brace")
	}
	return nil
}

var errQuoteOpen = errors.New("the value spans several lines: is a quote left open?")

// checkValue validates a value of a Caddyfile before placeholders are replaced.
func checkValue(s string) error {
	if strings.Contains(s, "\n") {
		return errQuoteOpen
	}
	return checkPlaceholder(s)
}

// resolve replaces the placeholders of a value. Its errors contain the placeholder and nothing else
// of the value, which may be a secret.
func resolve(repl *caddy.Replacer, s string) (string, error) {
	if err := checkPlaceholder(s); err != nil {
		return "", err
	}
	value, err := repl.ReplaceOrErr(s, true, true)
	if err == nil {
		return value, nil
	}
	for _, p := range placeholder.FindAllStringSubmatch(s, -1) {
		switch v, ok := repl.GetString(p[1] + "." + p[2]); {
		case ok && v != "":
		case p[1] == "env":
			return "", fmt.Errorf("the environment variable %s is not set or empty where Caddy was started; --envfile FILE reads variables from a file",
				safeVariableName(p[2]))
		case strings.HasPrefix(p[2], "/"):
			return "", fmt.Errorf("the file %s is missing or empty", p[2])
		default:
			return "", errors.New("the file of a placeholder is missing or empty; write {file./path}, with an absolute path")
		}
	}
	return "", errors.New("braces that are not a placeholder; write {env.NAME} or {file./path}, and literal braces as \\{")
}

// resolveAll replaces the placeholders of all values of a list.
func resolveAll(repl *caddy.Replacer, list []string) ([]string, error) {
	resolved := make([]string, 0, len(list))
	for _, s := range list {
		value, err := resolve(repl, s)
		if err != nil {
			return nil, err
		}
		resolved = append(resolved, value)
	}
	return resolved, nil
}

// warnExposedSecret warns of a secret in plain text, or in a file that other users of the machine
// may read.
func warnExposedSecret(log *zap.Logger, configured string, fields ...zap.Field) {
	if isLiteral(configured) {
		log.Warn(literalSecretWarning, fields...)
		return
	}
	for _, p := range placeholder.FindAllStringSubmatch(configured, -1) {
		if p[1] == "file" && isReadableByOthers(p[2]) {
			log.Warn(exposedSecretWarning, append(fields, zap.String("file", p[2]))...)
		}
	}
}

// isReadableByOthers reports whether all users of the machine may read or write a file. It is false
// for a file in memory, such as /run/secrets, which is mounted for one container, whatever its
// mode.
func isReadableByOthers(path string) bool {
	file, err := os.Stat(path)
	return err == nil && runtime.GOOS != "windows" && file.Mode().Perm()&othersMode != 0 && !inMemoryFile(path)
}

const othersMode fs.FileMode = 0o006

// inMemoryFile reports whether a file is on a tmpfs or ramfs. It is replaced in tests.
var inMemoryFile = isInMemory
