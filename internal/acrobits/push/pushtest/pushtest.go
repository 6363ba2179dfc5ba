// Package pushtest is a stand-in for the push service of the apps' vendor. It answers as the service
// is documented to answer, with faults on demand, and counts what it received.
// https://doc.acrobits.net/api/server/http_push.html
//
// Only tests import it. A Service is safe for concurrent use.
package pushtest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
)

// Push is the body of a request.
type Push struct {
	Verb        string `json:"verb"`
	AppID       string `json:"AppId"`
	DeviceToken string
	Selector    string
	Badge       int
	Sound       string
	UserName    string
	Message     string
	ContentType string
	ID          string `json:"Id"`
	ThreadID    string `json:"ThreadId"`
}

// Reply is a reply of the service. The zero value stands for success.
type Reply struct {
	Status int    // of HTTP, 200 by default
	Code   int    // in the JSON, 200 by default
	Body   string // in place of the JSON
}

// Service is a push service.
type Service struct {
	*httptest.Server

	mu      sync.Mutex
	pushes  []Push
	invalid int
	replies []Reply
	gone    map[string]bool
	shown   map[string]map[string]int
}

// New starts a service, which ends with the test.
func New(t testing.TB) *Service {
	s := &Service{gone: make(map[string]bool), shown: make(map[string]map[string]int)}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Server.Close)
	return s
}

// Next sets the replies to the next requests, one each.
func (s *Service) Next(replies ...Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replies = append(s.replies, replies...)
}

// Forget makes a device token unknown, as if the app was removed from the device.
func (s *Service) Forget(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone[token] = true
}

// Pushes returns the valid requests so far, also those with a fault as the reply.
func (s *Service) Pushes() []Push {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.pushes)
}

// Invalid returns the number of requests that the service did not accept: without JSON or without a
// required field.
func (s *Service) Invalid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.invalid
}

// Notified returns by the id of a message how many pushes about it reached a device.
func (s *Service) Notified(token string) map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.shown[token])
}

// ServeHTTP answers a request as the service does.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var p Push
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err == nil {
		err = json.Unmarshal(body, &p)
	}
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	reply := Reply{Status: http.StatusOK, Code: http.StatusOK}
	switch {
	case err != nil || r.Method != http.MethodPost || mediaType != "application/json":
		s.invalid++
		reply.Status, reply.Code = http.StatusBadRequest, http.StatusBadRequest
	case p.Verb == "" || p.AppID == "" || p.DeviceToken == "" || p.Selector == "" && p.Verb != "NotifyGenericTextMessage":
		s.invalid++
		reply.Code = http.StatusBadRequest
	default:
		s.pushes = append(s.pushes, p)
		if s.gone[p.DeviceToken] {
			reply.Code = http.StatusNotFound
		}
		if len(s.replies) > 0 {
			reply, s.replies = s.replies[0], s.replies[1:]
		}
	}
	if reply.Status == 0 {
		reply.Status = http.StatusOK
	}
	if reply.Code == 0 {
		reply.Code = http.StatusOK
	}
	if reply.Status < 300 && reply.Code < 300 && reply.Body == "" && p.DeviceToken != "" {
		if s.shown[p.DeviceToken] == nil {
			s.shown[p.DeviceToken] = make(map[string]int)
		}
		s.shown[p.DeviceToken][p.ID]++
	}
	if reply.Body == "" {
		reply.Body = fmt.Sprintf(`{"code":%d,"response":"%s"}`, reply.Code, http.StatusText(reply.Code))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(reply.Status)
	_, _ = io.WriteString(w, reply.Body)
}
