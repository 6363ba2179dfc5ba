package adapters

import (
	"fmt"
	"strings"
	"testing"
)

// mistake is a definition that is right, to be spoiled.
const mistaken = `base_url https://api.example.com
option key secret
send {
	POST /send
	bearer {option.key}
	form {
		to {sms.to}
		text {sms.body}
	}
}
reply json
accepted status 200
id id
code error.code
cause busy 7
`

// Errors about the mistakes that people make say what to write, in the line that is wrong.
func TestMistakes(t *testing.T) {
	const noJSON = "no JSON here: one `name value` a line, such as: "
	const topWords = "known words: source, verified, base_url, option, number, text, media, token, upload, send, tell, proof, receive, receipt, reply, accepted, id, code, message, cause"
	for _, c := range []struct{ old, new, want string }{
		// JSON
		{"option key secret", "option key secret\n\"key\": \"{option.key}\",", "3: " + noJSON + "key {option.key}"},
		{"to {sms.to}", `"to": "{sms.to}",`, "7: " + noJSON + "to {sms.to}"},
		{"to {sms.to}", `"to" : "{sms.to}"`, "7: " + noJSON + "to {sms.to}"},
		{"to {sms.to}", `"to":"{sms.to}",`, "7: " + noJSON + "to {sms.to}"},
		{"to {sms.to}", `"to": ["{sms.to}"],`, "7: " + noJSON + "to {sms.to}"},
		{"to {sms.to}", "\"data\": {\n\"to\": \"{sms.to}\"\n},", "7: " + noJSON + "to {sms.to}"},
		{"to {sms.to}", "to {sms.to}\n},", "8: " + noJSON + "to {sms.to}"},
		{"to {sms.to}", `"urgent": true,`, "7: " + noJSON + "to {sms.to}"},
		// other pairs
		{"to {sms.to}", "to={sms.to}", "7: write: to {sms.to}"},
		{"to {sms.to}", "to = {sms.to}", "7: write: to {sms.to}"},
		{"to {sms.to}", "to= {sms.to}", "7: write: to {sms.to}"},
		{"to {sms.to}", "to={sms.to}&text={sms.body}", "7: write: to {sms.to}"},
		{"to {sms.to}", "to: {sms.to}", "7: write: to {sms.to}"},
		{"to {sms.to}", "to:{sms.to}", "7: write: to {sms.to}"},
		{"to {sms.to}", "to: '{sms.to}'", "7: write: to {sms.to}"},
		{"to {sms.to}", `"to"="x"`, "7: write: to VALUE"},
		{"to {sms.to}", `"to" => "{sms.to}",`, "7: write: to {sms.to}"},
		{"to {sms.to}", "apikey=0123", "7: write: apikey VALUE"},
		{"to {sms.to}", "X-9f3=0123", "7: write: NAME VALUE"},
		{"option key secret", "option key secret\nnumber=e164", "3: write: number VALUE, without ="},
		{"reply json", "reply: json", "11: write: reply VALUE, without :"},
		{"base_url https://api.example.com", "base_url=https://api.example.com", "1: write: base_url VALUE, without ="},
		{"bearer {option.key}", "Authorization: Bearer {option.key}", "5: write: header NAME VALUE, without :"},
		{"bearer {option.key}", "header Authorization: Bearer {option.key}", "5: write: header NAME VALUE; put a value with spaces in quotes"},
		{"bearer {option.key}", "header X-Key: {option.key}", "5: the name of a header may contain letters, digits and -; its value follows after a space: header NAME VALUE"},
		{"bearer {option.key}", "bearer: {option.key}", "5: write: bearer VALUE, without :"},
		{"bearer {option.key}", "-H \"X: y\"", "5: write: header NAME VALUE"},
		{"bearer {option.key}", "headers X y", "5: write: header NAME VALUE, a line each"},
		// the target
		{"POST /send", "POST /send?to={sms.to}", "4: write parameters in query { … }, not after ? in the path"},
		{"POST /send", "GET /send?to={sms.to}&text={sms.body}", "4: write parameters in query { … }, not after ? in the path"},
		{"POST /send", "POST /send?key={option.key}", "4: write parameters in query { … }, not after ? in the path"},
		{"POST /send", "POST https://api.example.com/send", "4: write POST and a path that begins with /; the host belongs in base_url"},
		{"POST /send", "post /send", "4: write POST in capitals"},
		{"POST /send", "DELETE /send", "4: unknown word; known words: basic, bearer, header, query, form, multipart, json, xml, sign, GET, POST, PUT, PATCH, when, text, number, reply, accepted, id, code, message, cause"},
		{"option key secret", "option key secret\nGET /send", "3: write send { GET … }"},
		{"option key secret", "option key secret\nPOST /send", "3: write send { POST … }"},
		{"option key secret", "option key secret\nput /send", "3: write send { PUT … }"},
		{"option key secret", "option key secret\nPOST /send {\na b\n}", "3: write send { POST … }"},
		{"option key secret", "option key secret\nform {\na b\n}", "3: write form inside send { … }"},
		{"option key secret", "option key secret\nheader A b", "3: write header inside send { … }"},
		{"option key secret", "option key secret\nbearer {option.key}", "3: write bearer inside send { … }"},
		{"option key secret", "option key secret\nwhen media", "3: write when inside send { … }"},
		{"option key secret", "option key secret\nurl https://x", "3: write: base_url https://HOST, and send { POST /path … }"},
		{"POST /send", "GET /send", "6: GET has no body, write query { … }"},
		// holes of other languages
		{"{sms.to}", "${sms.to}", "7: write {sms.to}, without $ in front of it"},
		{"{sms.to}", "{{sms.to}}", "7: write {sms.to}, without { in front of it"},
		{"{sms.to}", "%{sms.to}", "7: write {sms.to}, without % in front of it"},
		{"{sms.to}", "%sms_to%", "7: write {sms.to}: a hole is written in braces, without other signs around it"},
		{"{sms.to}", "$sms_to", "7: write {sms.to}: a hole is written in braces, without other signs around it"},
		{"{sms.to}", "$(sms.to)", "7: write {sms.to}: a hole is written in braces, without other signs around it"},
		{"{sms.to}", "<sms.to>", "7: write {sms.to}: a hole is written in braces, without other signs around it"},
		{"{sms.to}", "[sms_to]", "7: write {sms.to}: a hole is written in braces, without other signs around it"},
		{"{sms.to}", "sms.to", "7: write {sms.to}: a hole is written in braces, without other signs around it"},
		{"{sms.to}", "tel:%sms_to%", "7: write {sms.to}: a hole is written in braces, without other signs around it"},
		{"{option.key}", "%option_key%", "5: write {option.key}: a hole is written in braces, without other signs around it"},
		{"POST /send", "POST /send/:sms_to", "4: write {sms.to}: a hole is written in braces, without other signs around it"},
		// blocks
		{mistaken, "define sms {\n" + mistaken + "}", "1: remove define { and its }: a file contains only the lines between them"},
		{"reply json", "adapter own {\nkey x\n}\nreply json", "11: adapter is a word of the Caddyfile and belongs outside of define; is a } missing above?"},
		{"\t}\n}\nreply json", "\t}\nreply json", "10: is a } missing above? The braces do not match"},
		{"\t\ttext {sms.body}\n\t}\n}", "\t\ttext {sms.body}\n}", "9: is a } missing above? The braces do not match"},
		{"cause busy 7\n", "cause busy 7\ntoken {\n\tPOST /t\n", "16: the braces do not match, one is not closed"},
		{"POST /send", "POST /send\noption more", "5: option does not belong in send { … }, is a } missing above?"},
		{"POST /send", "POST /send\nadapter own", "5: adapter does not belong in send { … }, is a } missing above?"},
		{"text {sms.body}", "text {sms.body}\naccepted status 200", "9: NAME needs exactly one value; quote it if it has spaces; is a } missing above?"},
		{"text {sms.body}", "text {sms.body}\nsend {\nPOST /x\n}", "9: send is a block, but a form contains only names and values; a value that is JSON is written send json { … }; is a } missing above?"},
		// what is not known
		{"option key secret", "optoin key secret", `2: unknown word "optoin", did you mean option? known words: option, token, upload, proof, text, media, tell, id, code, source, number, send, …`},
		{"option key secret", "option key secret\n9f8e7d6c5b4a", "3: unknown word; " + topWords},
		{"option key secret", "option key hidden", "2: option key: unknown word; known words: secret, optional, in"},
		{"option key secret", "option key secrte", `2: option key: unknown word "secrte", did you mean secret? known words: secret, in, optional`},
		{"{sms.to}", "{sms.too}", `7: unknown hole "sms.too", did you mean sms.to? known holes: sms.to, `},
		{"{sms.to}", "{sms_to}", `7: unknown hole "sms_to", did you mean sms.to`},
		{"{sms.to}", "{recipient_of_it}", "7: unknown hole; known holes: attempt.uuid, message.id, "},
		{"{option.key}", "{option.kye}", `5: unknown hole "option.kye", did you mean option.key? known holes: option.key, `},
		{"accepted status 200", "accepted status 200\naccepted state is sent", "13: unknown operator, did you mean ==? known operators: ==, !=, in, exists, empty, matches, every; write: accepted PATH OPERATOR VALUE"},
		{"accepted status 200", "accepted status 200\naccepted state existst", `13: unknown operator "existst", did you mean exists? known operators: exists, `},
		{"accepted status 200", "accepted status 200\naccepted state 9f8e7d6c5b4a", "13: unknown operator; known operators: ==, !=, in, exists, empty, matches, every; write: accepted PATH OPERATOR VALUE"},
		{"cause busy 7", "cause busy when state = 1", "15: unknown operator, did you mean ==?"},
		{"cause busy 7", "cause bussy 7", `15: unknown cause "bussy", did you mean busy? known causes: busy, `},
		{"bearer {option.key}", "bearer {option.key}\nsign aws_v5 a", `6: unknown signature "aws_v5", did you mean aws_v4? known signatures: aws_v4, zadarma, azure_hmac`},
		// the line that is wrong
		{"option key secret", "option key secret\noption more\nnumber e164", "3: option more of x is never used"},
		{"code error.code\n", "", "14: this line tests the code; say where to find it: code PATH"},
		{"code error.code\ncause busy 7", "cause busy when message == x", "14: this line tests the message; say where to find it: message PATH"},
		{"accepted status 200\nid id", "accepted status 200\naccepted id exists\nid generated", "13: this line tests the id, but id generated says that there is none"},
		{"bearer {option.key}", "bearer {option.key}\nheader X-T {token}", "6: {token} is used, but there is no token block; write: token { POST /path … access PATH }"},
	} {
		spoiled := strings.Replace(mistaken, c.old, c.new, 1)
		if spoiled == mistaken {
			t.Fatalf("%q is not in the definition", c.old)
		}
		_, err := Parse("x", "x", 1, spoiled)
		want, exact := "x:"+c.want, !strings.HasSuffix(c.want, " ") && !strings.HasSuffix(c.want, "?")
		exact = exact && !strings.HasSuffix(c.want, "did you mean sms.to") || strings.HasSuffix(c.want, "above?")
		if err == nil || exact && err.Error() != want || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q for %q:\n  got  %v\n  want %s", c.new, c.old, err, want)
		}
	}
	if _, err := Parse("x", "x", 1, mistaken); err != nil {
		t.Error(err)
	}
}

// An error repeats nothing that may be a secret in the wrong place.
func TestErrorsKeepSecrets(t *testing.T) {
	sources := map[string]string{"mistaken": mistaken}
	for _, name := range []string{"twilio", "ringcentral", "clicksend", "voipms", "aws_sns", "kannel", "cm", "smsgate", "jasmin", "bandwidth_oauth"} {
		source, err := Source(name)
		if err != nil {
			t.Fatal(err)
		}
		sources[name] = source
	}
	refused := 0
	for name, source := range sources {
		lines := strings.Split(source, "\n")
		for i, line := range lines {
			words := strings.Fields(line)
			for at := range len(words) + 1 {
				for _, canary := range []string{"Sk-Canary9fQ2", "qcanaryx7f3k", "`Sk-Canary 9(f[Q2`", "{Canary.9fQ2}", "{option.canary9fq2}", "key=Canary9fQ2", "password:Canary9fQ2", "auth_token={Canary9fQ2", "\"Canary\":", "//Canary[9f(", "https://u:Canary@h\x00"} {
					for _, replace := range []bool{true, false} {
						if replace && at == len(words) {
							continue
						}
						end := at
						if replace {
							end++
						}
						changed := append(append(append([]string{}, words[:at]...), canary), words[end:]...)
						text := append(append(append([]string{}, lines[:i]...), strings.Join(changed, " ")), lines[i+1:]...)
						_, err := Parse("x", "x", 1, strings.Join(text, "\n"))
						if err == nil {
							continue
						}
						refused++
						// A name that an option is declared by is no secret: it is repeated where
						// the option is never used.
						if low := strings.ToLower(err.Error()); strings.Contains(low, "canary") && !(at == 1 && words[0] == "option") {
							t.Fatalf("%s: %q\n%v", name, strings.Join(changed, " "), err)
						}
					}
				}
			}
		}
	}
	if refused < 5000 {
		t.Errorf("only %d mistakes", refused)
	}
	d, err := Builtin("twilio")
	if err != nil {
		t.Fatal(err)
	}
	for _, option := range []string{"Canary9f", "auth_token=Canary9f", "auth_token:Canary9f"} {
		if err := d.Check("own", "", map[string]string{option: "x"}); err == nil || strings.Contains(fmt.Sprint(err), "Canary") {
			t.Error(err)
		}
	}
	if _, err := Builtin("Canary9f"); err == nil || strings.Contains(err.Error(), "Canary") {
		t.Error(err)
	}
}
