package sms

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted is printed instead of a hidden value.
const redacted = "REDACTED"

// Hidden is text that must never be printed: a password, a provider's secret, the text of a
// message. Formatting, logging and marshaling write REDACTED; only Reveal returns the text. The
// field is a pointer, because fmt prints unexported fields of other types without calling their
// methods.
type Hidden struct{ text *string }

// Hide wraps a text.
func Hide(text string) Hidden {
	if text == "" {
		return Hidden{}
	}
	return Hidden{&text}
}

// Reveal returns the text itself. The caller must keep the text out of logs and errors.
func (h Hidden) Reveal() string {
	if h.text == nil {
		return ""
	}
	return *h.text
}

// Empty reports whether there is no text.
func (h Hidden) Empty() bool { return h.text == nil }

// Equal reports whether two texts are the same. Package go-cmp calls it too.
func (h Hidden) Equal(other Hidden) bool { return h.Reveal() == other.Reveal() }

// String returns REDACTED.
func (Hidden) String() string { return redacted }

// Format prints REDACTED for every verb.
func (Hidden) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText returns REDACTED. Packages encoding/json and zap call it too.
func (Hidden) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns REDACTED for log/slog.
func (Hidden) LogValue() slog.Value { return slog.StringValue(redacted) }
