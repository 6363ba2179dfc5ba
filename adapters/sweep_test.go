package adapters

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// noAnswers are bodies that no API of SMS answers with when it took a message.
var noAnswers = map[string]string{
	"an empty body":            "",
	"white space":              " \r\n\t",
	"an HTML page":             "<html><head><title>Welcome</title></head><body>Welcome to nginx!</body></html>",
	"a maintenance page":       "<!DOCTYPE html>\n<html lang=en><h1>Down for maintenance</h1><p>id=7&status=success&result=success</html>",
	"a login form":             `<html><form action="/login?id=7" method="post"><input name="status" value="success"><input type="password" name="id"></form></html>`,
	"a captive portal":         `<html><head><meta http-equiv="refresh" content="0;url=http://192.0.2.1/login?status=OK&id=1"></head></html>`,
	"an error page":            "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><center>nginx</center></body></html>",
	"a fragment of a page":     "<h1>It works!</h1>",
	"another XML":              `<?xml version="1.0"?><rss version="2.0"><channel><title>News</title><id>7</id></channel></rss>`,
	"a SOAP fault":             `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault><faultcode>s:Server</faultcode><faultstring>x</faultstring></s:Fault></s:Body></s:Envelope>`,
	"a storage error":          "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AccessDenied</Code><Message>Access Denied</Message><RequestId>4442587FB7D0A2F9</RequestId></Error>",
	"null":                     "null",
	"true":                     "true",
	"false":                    "false",
	"an empty list":            "[]",
	"a list of numbers":        "[1,2,3]",
	"zero":                     "0",
	"an empty string":          `""`,
	"half an object":           `{"id":"7","status":"succ`,
	"a gateway's error":        `{"message":"Forbidden"}`,
	"a gateway's other error":  `{"message":"no Route matched with those values","request_id":"7f3a"}`,
	"a framework's error":      `{"timestamp":"2026-11-24T12:00:00Z","status":404,"error":"Not Found","path":"/x"}`,
	"an error with an id":      `{"id":"7","error":"Forbidden"}`,
	"an error with a state":    `{"id":"7","state":"Failed","status":"failed"}`,
	"an error with a reason":   `{"id":"err-7","success":false,"ok":false,"reason":"disabled"}`,
	"an error object":          `{"error":{"code":401,"message":"Unauthorized"}}`,
	"a list of errors":         `{"errors":[{"status":"401","title":"Unauthorized"}]}`,
	"problem details":          `{"type":"about:blank","title":"Unauthorized","status":401,"detail":"x"}`,
	"GraphQL":                  `{"data":null,"errors":[{"message":"x","extensions":{"code":"UNAUTHENTICATED"}}]}`,
	"JSON-RPC":                 `{"jsonrpc":"2.0","id":7,"error":{"code":-32600,"message":"Invalid Request"}}`,
	"a message not sent":       `{"sid":"SM7","id":"7","message_id":"7","messageId":"7","MessageId":"7","guid":"7","message_uuid":"7","RefId":"7","errorCode":7,"errorMessage":"x"}`,
	"a sentence":               "Please log in to continue",
	"another sentence":         "Forbidden",
	"a sentence of an upgrade": "The site is under maintenance, try again later",
	"a long sentence":          "This is the home page of a company that makes furniture, and nothing of what it says has anything to do with texts that people send to each other, even though it is long.",
	"bytes":                    "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x00\x00",
	"base64":                   strings.Repeat("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo", 6),
	"a script":                 "window.location = '/login';",
	"pairs of others":          "error=Forbidden&code=403",
	"lines of others":          "error: Forbidden\ncode: 403\n",
}

// acceptedAnyway are bodies of noAnswers that are success all the same, and why.
var acceptedAnyway = map[string]map[string]string{
	"mikrotik":      {"an empty list": "RouterOS replies so to a command without output"},
	"teltonika_api": {"inteliquent/hidden-recipient": "the same member says success, and no other one is documented"},
	"id generated without predicates": {
		"an empty body":                "an API without a documented body may answer with none",
		"white space":                  "the same",
		"sinch/error-401":              "{} has no word at all, and unknown APIs answer so",
		"gammu/hidden-none":            "a short text without an error word: status 200 and an empty list",
		"africastalking/hidden-nobody": "a short text without an error word: sent to 0/1",
		"reve/hidden-rejected":         "a number and a word that is no word",
		"seven/hidden-credit":          "a number as success",
		"vitelity/hidden-data":         "two words in one",
		"zadarma/hidden-nothing-sent":  "a short text without an error word: success with 0 messages",
	},
}

// anotherAPI are the recorded failures of all other definitions.
func anotherAPI(t *testing.T, name string) map[string]string {
	bodies, seen := make(map[string]string), make(map[string]bool)
	for _, other := range Names() {
		if other == name {
			continue
		}
		for _, x := range exchanges(t, other) {
			if x.Reply != nil && x.Reply.Body != "" && x.Result.Outcome == "refused" && !seen[x.Reply.Body] {
				seen[x.Reply.Body] = true
				bodies[other+"/"+x.Name] = x.Reply.Body
			}
		}
	}
	return bodies
}

// sample is all names, or with -short, as for the race detector, one of eight.
func sample(names []string) (some []string) {
	for i, name := range names {
		if !testing.Short() || i%8 == 0 {
			some = append(some, name)
		}
	}
	return some
}

// eachCall calls f with every request of every definition, as the recorded successes make them.
func eachCall(t *testing.T, f func(name string, x exchange, sent *Call)) {
	for _, name := range sample(Names()) {
		d, err := Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[*sendBlock]bool)
		for _, x := range exchanges(t, name) {
			if x.Result.Outcome != "accepted" {
				continue
			}
			sent, err := x.adapter(t, d).Prepare(t.Context(), x.message(), x.token(), now)
			if err != nil {
				t.Fatal(err)
			}
			if v := sent.request.block; !seen[v] {
				seen[v] = true
				f(name, x, sent)
			}
		}
		if len(seen) != len(d.sends) {
			t.Errorf("%s: successes of %d of %d requests are recorded", name, len(seen), len(d.sends))
		}
	}
}

// statuses are those that mean accepted.
func (r *reply) statuses() (all []int) {
	for _, status := range []int{200, 201, 202, 203, 204, 250, 299} {
		if inRanges(r.status, status) {
			all = append(all, status)
		}
	}
	return all
}

// Bodies that no SMS API answers with are no success, whatever the status.
func TestNoAnswers(t *testing.T) {
	used := make(map[string]bool)
	eachCall(t, func(name string, x exchange, sent *Call) {
		r := sent.request.reply
		class := name
		if r.generated && len(r.accepted) == 0 {
			class = "id generated without predicates"
		}
		others := anotherAPI(t, name)
		bodies := maps.Clone(others)
		maps.Copy(bodies, noAnswers)
		for _, what := range slices.Sorted(maps.Keys(bodies)) {
			statuses := r.statuses()
			if _, ok := others[what]; ok { // there are about 1,000, and the status makes no difference
				statuses = statuses[:1]
			}
			for _, status := range statuses {
				got := sent.Read(status, http.Header{"Content-Type": {"text/html"}}, []byte(bodies[what]), true)
				_, excepted := acceptedAnyway[class][what]
				if accepted := got.Outcome == sms.Accepted; accepted && !excepted {
					t.Errorf("%s: %d with %s is accepted: %.200s", name, status, what, bodies[what])
				} else if accepted {
					used[class+what] = true
				}
			}
		}
	})
	for class, bodies := range acceptedAnyway {
		for what := range bodies {
			if !used[class+what] && !testing.Short() {
				t.Errorf("%s: %s is no exception", class, what)
			}
		}
	}
}

// A 5xx without words of the API says nothing: it may come from anybody on the way, before or after
// the message was taken.
func TestBareServerErrors(t *testing.T) {
	bodies := maps.Clone(noAnswers)
	bodies["an object"], bodies["a server's error"] = "{}", `{"message":"Internal Server Error"}`
	eachCall(t, func(name string, x exchange, sent *Call) {
		for _, rule := range sent.request.reply.causes {
			if rule.when == nil || rule.when.of != "status" || !rule.cause.TryNext(true) {
				continue
			}
			for status := 500; status < 600; status++ {
				if inRanges(rule.when.status, status) {
					t.Errorf("%s: %d alone is %s", name, status, rule.cause)
				}
			}
		}
		for _, what := range slices.Sorted(maps.Keys(bodies)) {
			for _, status := range []int{500, 501, 502, 503, 504, 507, 520, 522, 599} {
				if got := sent.Read(status, http.Header{}, []byte(bodies[what]), true); got.Outcome != sms.OutcomeUnknown {
					t.Errorf("%s: %d with %s is %s %s", name, status, what, got.Outcome, got.Cause())
				}
			}
		}
	})
}
