package adapters

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// jsonObject is a JSON object.
type jsonObject = map[string]any

// recipientStates says of each definition whose published reply has a state for each recipient
// where that list is, in which member the state is, and how failures look.
var recipientStates = map[string]struct {
	list, state string
	failures    []jsonObject
}{
	"africastalking": {"SMSMessageData.Recipients", "statusCode", []jsonObject{{"statusCode": 403, "status": "InvalidPhoneNumber"}, {"statusCode": 406, "status": "UserInBlacklist"}, {"statusCode": 500, "status": "InternalServerError"}}},
	"azure":          {"value", "", []jsonObject{{"httpStatusCode": 400, "successful": false, "errorMessage": "x"}, {"httpStatusCode": 503, "successful": false}, {"successful": false}}},
	"bulksms":        {"", "status.type", []jsonObject{{"status": jsonObject{"type": "FAILED", "subtype": "NOT_SENT"}}, {"status": jsonObject{"type": "UNKNOWN"}}, {"status": nil}}},
	"bulkvs":         {"Results", "Status", []jsonObject{{"Status": "FAILED"}}},
	"clickatell":     {"messages", "accepted", []jsonObject{{"accepted": false, "apiMessageId": nil, "error": jsonObject{"code": 105, "description": "x"}}, {"accepted": nil}}},
	"clicksend":      {"data.messages", "status", []jsonObject{{"status": "INVALID_RECIPIENT"}, {"status": "INSUFFICIENT_CREDIT"}, {"status": "FAILED"}}},
	"cm":             {"messages", "status", []jsonObject{{"status": "Rejected", "messageErrorCode": 303}}},
	"ejoin":          {"status", "status", []jsonObject{{"status": "5 Wrong phone number"}, {"status": "10 x"}}},
	"infobip":        {"messages", "status.groupId", []jsonObject{{"status": jsonObject{"groupId": 5, "groupName": "REJECTED", "name": "REJECTED_NETWORK"}}, {"status": jsonObject{"groupId": 2, "name": "UNDELIVERABLE_REJECTED_OPERATOR"}}, {"status": jsonObject{"groupId": 4, "name": "EXPIRED_EXPIRED"}}}},
	"inteliquent":    {"result.resultResponses", "status", []jsonObject{{"status": "Failure"}, {"status": "Failed"}, {"status": "Invalid"}}},
	"messagebird":    {"recipients.items", "status", []jsonObject{{"status": "delivery_failed"}, {"status": "expired"}, {"status": "delivery_failed", "statusErrorCode": 10}}},
	"openvox":        {"report", "", []jsonObject{{"0": []any{jsonObject{"result": "fail"}}}, {"0": []any{jsonObject{}}}}},
	"phonecom":       {"to", "status", []jsonObject{{"status": "failed"}}},
	"playsms":        {"data", "status", []jsonObject{{"status": "ERR", "error": "203"}, {"status": "ERR"}}},
	"ringcentral":    {"to", "messageStatus", []jsonObject{{"messageStatus": "SendingFailed"}, {"messageStatus": "DeliveryFailed", "errorCode": "SMS-UP-410"}}},
	"seven":          {"messages", "success", []jsonObject{{"success": false, "error": "202"}, {"success": false}}},
	"smsapi":         {"list", "status", []jsonObject{{"error": 13}, {"status": "ERROR", "error": 14}, {"status": "UNDELIVERED"}, {"status": "REJECTED"}}},
	"smseagle":       {"", "status", []jsonObject{{"status": "error", "message": "x"}}},
	"smsgate": {"recipients", "state", []jsonObject{{"state": "Failed"}, {"state": "Failed", "error": "Phone parsing: Invalid phone number"},
		{"state": "Pending", "error": "no service"}}},
	"telnyx":     {"data.to", "status", []jsonObject{{"status": "sending_failed"}, {"status": "delivery_failed"}, {"status": "expired"}}},
	"voodoosms":  {"messages", "status", []jsonObject{{"status": "FAILED"}, {"status": "REJECTED"}, {"status": "UNDELIVERED"}}},
	"vonage_sms": {"messages", "status", []jsonObject{{"status": "6", "error-text": "x"}, {"status": "29"}, {"status": "5"}}},
	"zadarma":    {"denied_numbers", "", []jsonObject{{"number": "15551231234", "message": "x"}}},
}

// noRecipientStates are the definitions whose replies have a list, but no state in it.
var noRecipientStates = map[string]string{
	"esendex":   "messageheaders has ids only",
	"messente":  "messages has ids only",
	"questblue": "data has ids only",
	"textlocal": "messages has ids only; a recipient who is refused makes the whole a failure",
}

// failedStates are what no API writes for a message that was taken.
var failedStates = []any{"failed", "FAILED", "Rejected", "REJECTED_BY_CARRIER", "error", "undelivered", "undeliverable", "blocked", "InvalidNumber"}

// at walks a path of members. Without a list there it makes one with an empty object.
func at(t *testing.T, root any, path string) []any {
	if path == "" {
		return root.([]any)
	}
	names := strings.Split(path, ".")
	parent := root.(jsonObject)
	for _, name := range names[:len(names)-1] {
		parent = parent[name].(jsonObject)
	}
	last := names[len(names)-1]
	if list, _ := parent[last].([]any); len(list) > 0 {
		return list
	}
	parent[last] = []any{jsonObject{}}
	return parent[last].([]any)
}

// put sets members of an object, those of objects in it too.
func put(into, members jsonObject) {
	for name, value := range members {
		inner, ok := value.(jsonObject)
		if old, is := into[name].(jsonObject); ok && is {
			put(old, inner)
			continue
		}
		into[name] = value
	}
}

// nested makes an object of a path and a value.
func within(path string, value any) jsonObject {
	name, rest, more := strings.Cut(path, ".")
	if more {
		value = within(rest, value)
	}
	return jsonObject{name: value}
}

// successes are the recorded successes of a definition whose replies are JSON.
func successes(t *testing.T, name string) (list []exchange) {
	for _, x := range exchanges(t, name) {
		if x.Result.Outcome == "accepted" && json.Valid([]byte(x.Reply.Body)) {
			list = append(list, x)
		}
	}
	return list
}

// The failure of the recipient inside a whole that succeeded is no success.
func TestRecipientFailures(t *testing.T) {
	for name, c := range recipientStates {
		d, err := Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		failures := c.failures
		if c.state != "" {
			for _, state := range failedStates {
				failures = append(failures, within(c.state, state))
			}
		}
		for _, x := range successes(t, name) {
			sent, err := x.adapter(t, d).Prepare(t.Context(), x.message(), x.token(), now)
			if err != nil {
				t.Fatal(err)
			}
			for _, failure := range failures {
				root := valueOf(t, x.Reply.Body)
				for _, item := range at(t, root, c.list) {
					put(item.(jsonObject), failure)
				}
				body, err := json.Marshal(root)
				if err != nil {
					t.Fatal(err)
				}
				if r := sent.Read(x.Reply.Status, http.Header{}, body, true); r.Outcome == sms.Accepted {
					t.Errorf("%s/%s: a recipient with %v is accepted", name, x.Name, failure)
				}
			}
		}
	}
}

// Each definition with a list of objects in its reply says whether that list has states, and if so
// there is a recorded exchange in which the whole succeeds and the recipient fails.
func TestRecipientFailuresAreRecorded(t *testing.T) {
	for _, name := range Names() {
		c, hasStates := recipientStates[name]
		_, hasNone := noRecipientStates[name]
		lists := false
		for _, x := range successes(t, name) {
			lists = lists || hasListOfObjects(valueOf(t, x.Reply.Body))
		}
		if lists && !hasStates && !hasNone {
			t.Errorf("%s: the reply has a list of objects: add it to recipientStates or noRecipientStates", name)
		}
		if !lists && hasNone {
			t.Errorf("%s: the reply has no list of objects", name)
		}
		if !hasStates {
			continue
		}
		wholes := make(map[string]bool)
		for _, x := range successes(t, name) {
			wholes[statesOutside(valueOf(t, x.Reply.Body), c.list)] = true
		}
		if !slices.ContainsFunc(exchanges(t, name), func(x exchange) bool {
			return x.Reply != nil && x.Result.Outcome == "refused" && json.Valid([]byte(x.Reply.Body)) && x.Reply.Status < 300 &&
				hasListOfObjects(valueOf(t, x.Reply.Body)) && wholes[statesOutside(valueOf(t, x.Reply.Body), c.list)]
		}) {
			t.Errorf("%s: record an exchange in which the whole succeeds and the recipient fails", name)
		}
	}
}

// recipientInText are the definitions whose replies are no JSON and name the recipient, each with
// the exchange in which such a reply, of a status that means accepted, refuses the recipient.
var recipientInText = map[string]string{"goip": "hidden-number", "ozeki": "hidden-number"}

// The recipient's state is also read from replies in words and in XML.
func TestRecipientFailuresInText(t *testing.T) {
	for _, name := range Names() {
		d, err := Builtin(name)
		if err != nil {
			t.Fatal(err)
		}
		failure, known := recipientInText[name]
		named, failed := false, false
		for _, x := range exchanges(t, name) {
			if x.Reply == nil || json.Valid([]byte(x.Reply.Body)) {
				continue
			}
			if x.Result.Outcome == "accepted" {
				named = named || strings.Contains(x.Reply.Body, strings.TrimPrefix(x.message().To.Value, "+"))
			} else if x.Name == failure {
				sent, err := x.adapter(t, d).Prepare(t.Context(), x.message(), x.token(), now)
				if err != nil {
					t.Fatal(err)
				}
				failed = inRanges(sent.request.reply.status, x.Reply.Status) && x.Result.Outcome == "refused"
			}
		}
		if named != known || known && !failed {
			t.Errorf("%s: the reply names the recipient: %t; add a refused exchange to recipientInText, it has %q", name, named, failure)
		}
	}
}

func hasListOfObjects(v any) bool {
	switch v := v.(type) {
	case jsonObject:
		for _, item := range v {
			if hasListOfObjects(item) {
				return true
			}
		}
	case []any:
		if len(v) > 0 {
			_, ok := v[0].(jsonObject)
			return ok
		}
	}
	return false
}

// statesOutside are the states and statuses of a reply outside a list.
func statesOutside(v any, list string) string {
	var all []string
	var walk func(path, name string, v any)
	walk = func(path, name string, v any) {
		switch v := v.(type) {
		case jsonObject:
			for _, key := range slices.Sorted(maps.Keys(v)) {
				walk(strings.TrimPrefix(path+"."+key, "."), key, v[key])
			}
		case []any:
		default:
			if path != list && memberOf(name)&(successMember|statusMember) != 0 {
				all = append(all, fmt.Sprint(path, "=", v))
			}
		}
	}
	walk("", "", v)
	return strings.Join(all, " ")
}
