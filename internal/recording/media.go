package recording

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"strings"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Files returns the pictures and files of a message: URLs, and data URIs with the bytes.
// https://www.rfc-editor.org/rfc/rfc2397
func Files(media []string) (list []sms.Media, err error) {
	for i, s := range media {
		m := sms.Media{URL: sms.Hide(s)}
		if data, is := strings.CutPrefix(s, "data:"); is {
			if m, err = fromData(data, i); err != nil {
				return nil, err
			}
		}
		list = append(list, m)
	}
	return list, nil
}

// fromData reads a data URI without its scheme. i is the position of the file in the message.
func fromData(data string, i int) (sms.Media, error) {
	mediaType, encoded, ok := strings.Cut(data, ";base64,")
	content, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil {
		return sms.Media{}, errors.New("a data URI is written data:TYPE;base64,BYTES")
	}
	name := fmt.Sprint(i + 1)
	if endings, _ := mime.ExtensionsByType(mediaType); len(endings) > 0 {
		name += endings[len(endings)-1]
	}
	return sms.Media{
		Type: mediaType, Name: name, Size: int64(len(content)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(content))), nil },
	}, nil
}
