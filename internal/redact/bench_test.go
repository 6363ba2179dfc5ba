package redact

import (
	"strings"
	"testing"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

func benchFilter() *Filter {
	a := NewAccount()
	a.AddSecret("0123456789abcdef0123456789abcdef")
	return &Filter{Account: a, Body: sms.Hide(strings.Repeat("Meet me at the station at 8. ", 5)), Numbers: [2]sms.Number{{Value: "+15551231234", Kind: sms.Phone}, {Value: "+15550001111", Kind: sms.Phone}}}
}

func BenchmarkID(b *testing.B) {
	f := benchFilter()
	b.ReportAllocs()
	for b.Loop() {
		f.ID("SM5ef8732a3c49700934481addd5ce1659")
		f.ID("7b4dd7ed-4b5d-4b2a-9c39-5b4c4a3c1b2a")
	}
}

func BenchmarkWords(b *testing.B) {
	f := benchFilter()
	b.ReportAllocs()
	for b.Loop() {
		f.Words("The 'To' number +15551231234 is not a valid phone number, see https://www.twilio.com/docs/errors/21211", 200)
	}
}
