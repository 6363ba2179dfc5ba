package delivery

import (
	"io"
	"net/http"
	"strings"

	"github.com/tidwall/gjson"
)

// Sandbox is the transport of the adapter `sandbox`. It sends nothing. It accepts every message,
// unless the recipient's number has one of the endings below.
type Sandbox struct{}

// endings are the last 4 digits of recipients that get an error: a status and an error code. Status
// 0 stands for a provider that never replies.
var endings = map[string]struct {
	status int
	code   string
}{
	"0402": {http.StatusPaymentRequired, "no_credit"},
	"0406": {http.StatusBadRequest, "invalid_recipient"},
	"0410": {http.StatusForbidden, "opted_out"},
	"0413": {http.StatusRequestEntityTooLarge, "too_long"},
	"0429": {http.StatusTooManyRequests, "too_many_requests"},
	"0503": {http.StatusServiceUnavailable, "busy"},
	"0504": {},
}

// RoundTrip implements http.RoundTripper.
func (Sandbox) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	to := gjson.GetBytes(body, "to").String()
	reply := `{"id":` + gjson.GetBytes(body, "id").Raw + `}`
	status := http.StatusAccepted
	if end, magic := endings[to[max(0, len(to)-4):]]; magic {
		if status = end.status; status == 0 {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		reply = `{"error":"` + end.code + `"}`
	}
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
		Body: io.NopCloser(strings.NewReader(reply)), ContentLength: int64(len(reply)),
	}, nil
}
