package sms

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted is all that anybody who prints a hidden value sees.
const redacted = "REDACTED"

// Hidden is text that must never be printed: a password, a provider's secret, what a person wrote. Formatting,
// logging and marshaling all give REDACTED; only Reveal gives the text. The text stands behind a pointer because
// fmt looks into unexported fields of other types without asking their methods.
type Hidden struct{ text *string }

// Hide wraps a text.
func Hide(text string) Hidden {
	if text == "" {
		return Hidden{}
	}
	return Hidden{&text}
}

// Reveal returns the text itself. Whoever calls it answers for where the text goes.
func (h Hidden) Reveal() string {
	if h.text == nil {
		return ""
	}
	return *h.text
}

// Empty reports whether there is no text.
func (h Hidden) Empty() bool { return h.text == nil }

// String returns REDACTED.
func (Hidden) String() string { return redacted }

// Format prints REDACTED for every verb.
func (Hidden) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText gives REDACTED, also to encoding/json and zap.
func (Hidden) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue gives REDACTED to log/slog.
func (Hidden) LogValue() slog.Value { return slog.StringValue(redacted) }
