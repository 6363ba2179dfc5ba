package acrobitssms_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestStampCoversEmbeddedFiles shows that an edit of an embedded file makes xcaddy.sh build again: its stamp reads the files of all
// extensions that a go:embed line names.
func TestStampCoversEmbeddedFiles(t *testing.T) {
	script, err := os.ReadFile("xcaddy.sh")
	if err != nil {
		t.Fatal(err)
	}
	embed, found := regexp.MustCompile(`(?m)^//go:embed (.+)$`), 0
	err = filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && file != "." && strings.HasPrefix(entry.Name(), "."):
			return filepath.SkipDir
		case !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		source, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for _, line := range embed.FindAllSubmatch(source, -1) {
			for pattern := range strings.FieldsSeq(string(line[1])) {
				found++
				if ext := filepath.Ext(pattern); ext == "" || !strings.Contains(string(script), "-name '*"+ext+"'") {
					t.Errorf("%s embeds %s, which the stamp of xcaddy.sh does not cover; name the extension in both", file, pattern)
				}
			}
		}
		return nil
	})
	if err != nil || found == 0 {
		t.Errorf("%d embedded patterns, %v", found, err)
	}
}
