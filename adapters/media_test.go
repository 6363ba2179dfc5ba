package adapters

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// The limits of an account are those of the definition, as far as the send blocks of the account
// can carry files.
func TestMediaLimits(t *testing.T) {
	const block = "media {\nfiles 10\neach 600KB\ntotal 5MiB\ntypes image/jpeg video/*\n}\n"
	whole := sms.MediaLimits{Count: 10, Each: 600_000, Total: 5 << 20, Types: []string{"image/jpeg", "video/*"}}
	few := whole
	few.Count = 2
	for name, c := range map[string]struct {
		around, send string
		want         sms.MediaLimits
		ok           bool
	}{
		"a list":                 {block, "json {\nm[] {sms.media}\n}", whole, true},
		"two places":             {block, "json {\na {sms.media.0}\nb {sms.media.1}\n}", few, true},
		"a place is missing":     {block, "json {\na {sms.media.0}\nb {sms.media.1}\nc {sms.media.3}\n}", few, true},
		"no limits":              {"", "json {\nm[] {sms.media}\n}", sms.MediaLimits{}, true},
		"no limits, one place":   {"", "json {\nm {sms.media.0}\n}", sms.MediaLimits{Count: 1}, true},
		"texts only":             {"", "json {\nt {sms.body}\n}", sms.MediaLimits{}, false},
		"not with these options": {block + "option mms optional\n", "when {option.mms}\njson {\nm[] {sms.media}\n}\n}\nsend {\nPOST /\njson {\nt {sms.body}\n}", sms.MediaLimits{}, false},
	} {
		got, ok := define(t, "POST /\n"+c.send, c.around, nil).MediaLimits()
		if diff := cmp.Diff(c.want, got); diff != "" || ok != c.ok {
			t.Errorf("%s: %v %s", name, ok, diff)
		}
	}
}

// A mistake in a media block is reported with its line and what to write.
func TestMediaMistakes(t *testing.T) {
	const whole = "media {\nfiles 10\neach 1MB\ntotal 5MB\ntypes image/jpeg\nsource https://example.com\n}\n" +
		"base_url https://x\nsend {\nPOST /\njson {\nto {sms.to}\nt {sms.body}\nm[] {sms.media}\n}\n}\nreply json\naccepted status 200\nid id"
	for _, c := range []struct{ old, new, want string }{
		{"files 10", "files many", "x:2: write the number of files, from 1 to 62: files 10"},
		{"files 10", "files 0", "x:2: write the number of files"},
		{"files 10", "files 63", "x:2: write the number of files"},
		{"files 10", "files", "x:2: files needs exactly one number"},
		{"files 10", "file 10", `x:2: unknown word "file", did you mean files?`},
		{"files 10", "files 10\nfiles 11", "x:3: files appears twice"},
		{"each 1MB", "each big", "x:3: write a size such as 600KB, 5MB or 5MiB: each 5MB"},
		{"each 1MB", "each 0", "x:3: write a size"},
		{"each 1MB", "each -1", "x:3: write a size"},
		{"each 1MB", "each 9EiB", "x:3: write a size"},
		{"each 1MB", "each 6MB", "x:1: each must not exceed total"},
		{"types image/jpeg", "types", "x:5: write media types: types image/jpeg image/png"},
		{"types image/jpeg", "types jpeg", "x:5: a media type has lower-case letters and one /"},
		{"types image/jpeg", "types image/JPEG", "x:5: a media type has lower-case letters"},
		{"types image/jpeg", "types {\n}", "x:5: types must not have a block"},
		{"total 5MB", "accepted status 200", "x:4: accepted does not belong in media { … }"},
		{"media {\nfiles 10", "media {\n}\nmedia {\nfiles 10", "x:1: write: media { files 10 … }, line by line"},
		{"media {\nfiles 10", "media {\nfiles 1\n}\nmedia {\nfiles 10", "x:4: media appears twice"},
		{"media {\n", "media 10 {\n", "x:1: write: media { files 10 … }"},
		{"m[] {sms.media}", "", "x:1: media says what the provider accepts, but no send block sends {sms.media}"},
	} {
		_, err := Parse("own", "x", 1, strings.Replace(whole, c.old, c.new, 1))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.new, err, c.want)
		}
	}
	if _, err := Parse("own", "x", 1, whole); err != nil {
		t.Error(err)
	}
}
