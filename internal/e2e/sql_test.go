//go:build e2e

package e2e

import (
	"crypto/md5"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The tables as the systems make them, with all columns of PostgreSQL, those apart that are
// deprecated, and two users.
// https://github.com/fusionpbx/fusionpbx (app/extensions/app_config.php, core/domains/app_config.php)
const fusionPBX = `
CREATE TABLE v_domains (
	domain_uuid uuid PRIMARY KEY, domain_parent_uuid uuid, domain_name text, domain_enabled boolean, domain_description text,
	insert_date timestamptz, insert_user uuid, update_date timestamptz, update_user uuid
);
CREATE TABLE v_extensions (
	extension_uuid uuid PRIMARY KEY, domain_uuid uuid, extension text, number_alias text, password text, accountcode text,
	effective_caller_id_name text, effective_caller_id_number text, outbound_caller_id_name text, outbound_caller_id_number text,
	emergency_caller_id_name text, emergency_caller_id_number text, directory_first_name text, directory_last_name text,
	directory_visible text, directory_exten_visible text, max_registrations text, limit_max text, limit_destination text,
	missed_call_app text, missed_call_data text, user_context text, toll_allow text, call_timeout numeric, call_group text,
	call_screen_enabled text, user_record text, hold_music text, auth_acl text, cidr text, sip_force_contact text,
	nibble_account text, sip_force_expires numeric, mwi_account text, sip_bypass_media text, unique_id numeric, dial_string text,
	dial_user text, dial_domain text, do_not_disturb text, forward_all_destination text, forward_all_enabled text,
	forward_busy_destination text, forward_busy_enabled text, forward_no_answer_destination text, forward_no_answer_enabled text,
	forward_user_not_registered_destination text, forward_user_not_registered_enabled text, follow_me_uuid uuid,
	follow_me_enabled text, follow_me_destinations text, extension_language text, extension_dialect text, extension_voice text,
	extension_type text, enabled text, description text, absolute_codec_string text, force_ping text,
	insert_date timestamptz, insert_user uuid, update_date timestamptz, update_user uuid
);
INSERT INTO v_domains VALUES ('11111111-1111-1111-1111-111111111111', NULL, 'example.com', true, NULL);
INSERT INTO v_extensions (extension_uuid, domain_uuid, extension, password, outbound_caller_id_number, enabled)
	VALUES ('22222222-2222-2222-2222-222222222222', '11111111-1111-1111-1111-111111111111', 'alice', 'a-password-of-alice', '15550001111', 'true');
INSERT INTO v_extensions (extension_uuid, domain_uuid, extension, password, outbound_caller_id_number, enabled)
	VALUES ('33333333-3333-3333-3333-333333333333', '11111111-1111-1111-1111-111111111111', 'off', 'a-password-of-alice', '15550001111', 'false');
`

// https://www.kamailio.org/docs/db-tables/kamailio-db-5.8.x.html#gen-db-subscriber
func kamailio(id string) string {
	ha1 := func(name string) string {
		sum := md5.Sum([]byte(name + ":example.com:a-password-of-alice"))
		return hex.EncodeToString(sum[:])
	}
	return `
CREATE TABLE subscriber (
	id ` + id + ` NOT NULL, username VARCHAR(64) DEFAULT '' NOT NULL, domain VARCHAR(64) DEFAULT '' NOT NULL, password VARCHAR(64) DEFAULT '' NOT NULL,
	ha1 VARCHAR(128) DEFAULT '' NOT NULL, ha1b VARCHAR(128) DEFAULT '' NOT NULL, PRIMARY KEY (id), CONSTRAINT subscriber_account_idx UNIQUE (username, domain)
);
INSERT INTO subscriber (username, domain, password, ha1) VALUES ('alice', 'example.com', '', '` + ha1("alice") + `');
INSERT INTO subscriber (username, domain, password, ha1) VALUES ('jürgen', 'example.com', '', '` + ha1("jürgen") + `');
INSERT INTO subscriber (username, domain, password, ha1) VALUES ('off', 'example.com', '', '');
`
}

// https://github.com/asterisk/asterisk/tree/master/contrib/ast-db-manage
func asterisk() string {
	sum := md5.Sum([]byte("alice:asterisk:a-password-of-alice"))
	return `
CREATE TABLE ps_auths (id VARCHAR(255) NOT NULL UNIQUE, auth_type ENUM('md5','userpass','google_oauth','digest'), nonce_lifetime INTEGER, md5_cred VARCHAR(40), password VARCHAR(80), realm VARCHAR(255), username VARCHAR(40));
INSERT INTO ps_auths (id, auth_type, md5_cred, username) VALUES ('alice', 'md5', '` + hex.EncodeToString(sum[:]) + `', 'alice');
INSERT INTO ps_auths (id, auth_type, password, username) VALUES ('plain', 'userpass', 'a-password-of-alice', 'plain');
INSERT INTO ps_auths (id, auth_type, username) VALUES ('off', 'md5', 'off');
`
}

// https://github.com/FreePBX/core (module.xml)
const freePBX = `
CREATE TABLE sip (id VARCHAR(20) NOT NULL DEFAULT '-1', keyword VARCHAR(30) NOT NULL DEFAULT '', data VARCHAR(255) NOT NULL, flags INT NOT NULL DEFAULT 0, PRIMARY KEY (id, keyword));
CREATE TABLE users (extension VARCHAR(20) NOT NULL DEFAULT '', password VARCHAR(20), name VARCHAR(50), voicemail VARCHAR(50), outboundcid VARCHAR(50), PRIMARY KEY (extension));
INSERT INTO sip (id, keyword, data) VALUES ('alice', 'secret', 'a-password-of-alice'), ('alice', 'dial', 'PJSIP/alice'), ('off', 'secret', '');
INSERT INTO users (extension, outboundcid) VALUES ('alice', '"Alice" <15550001111>'), ('off', '');
`

const freeSWITCH = `
CREATE TABLE directory (username TEXT, domain TEXT, password TEXT, effective_caller_id_number TEXT);
INSERT INTO directory VALUES ('alice', 'example.com', 'a-password-of-alice', '+15550001111');
INSERT INTO directory VALUES ('off', 'example.com', NULL, NULL);
`

// sqlExamples returns the queries of the pages about databases by their headings, and the grants of
// these pages.
func sqlExamples(t *testing.T) (queries map[string]string, grants string) {
	t.Helper()
	queries = make(map[string]string)
	for _, name := range []string{"users", "fusionpbx", "freepbx-asterisk", "kamailio"} {
		page, err := os.ReadFile("../../docs/" + name + ".md")
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("(?s)\n### ([^\n]+)\n.*?```caddyfile\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
			queries[m[1]] = m[2]
		}
		for _, m := range regexp.MustCompile("(?s)\n```sql\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
			grants += m[1]
		}
	}
	if len(queries) != 7 || strings.Count(grants, "CREATE ") != 5 {
		t.Fatalf("the pages have %d queries, and these grants:\n%s", len(queries), grants)
	}
	return queries, strings.ReplaceAll(grants, "'PASSWORD'", "'canary-database'")
}

// grant executes those of the grants that have all of the words, and makes a user once.
func grant(t *testing.T, kind, address, grants string, words ...string) {
	t.Helper()
	made := ""
	for statement := range strings.Lines(regexp.MustCompile(`\b(asterisk|kamailio)\.`).ReplaceAllString(grants, "sms.")) {
		if create := strings.HasPrefix(statement, "CREATE "); create && statement == made || strings.Contains(statement, "@") != (kind == "mysql") {
			continue
		} else if create {
			made = statement
		} else if !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(statement, " "+w+" ") }) {
			continue
		}
		execute(t, kind, address, strings.TrimSuffix(statement, "\n"))
	}
}

// reader is the address of a database for the user that the pages create.
func reader(address string) string { return strings.Replace(address, "sms:", "sms_reader:", 1) }

// Every example of the page finds the users of the system that it is for, in a real server, and
// nobody else; an attacker's names reach nothing; a server that is gone admits nobody, and all is
// well when it is back.
func TestUsersOfDatabases(t *testing.T) {
	postgresServer, postgresAddress := postgres(t)
	mariadbServer, mariadbAddress := mariadb(t)
	file := filepath.Join(t.TempDir(), "users.db")
	lite, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lite.Exec(freeSWITCH); err != nil {
		t.Fatal(err)
	}
	_ = lite.Close()
	latin1 := "CREATE DATABASE latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
	execute(t, "postgres", postgresAddress, fusionPBX+latin1)
	latin1Address := strings.Replace(postgresAddress, "/postgres?", "/latin1?", 1)
	execute(t, "postgres", latin1Address, kamailio("SERIAL"))
	execute(t, "mysql", mariadbAddress, kamailio("INT(10) UNSIGNED AUTO_INCREMENT")+asterisk()+freePBX)
	queries, grants := sqlExamples(t)
	grant(t, "postgres", postgresAddress, grants, "v_domains", "v_extensions")
	grant(t, "postgres", latin1Address, strings.ReplaceAll(grants, "CREATE ROLE", "ALTER ROLE"), "subscriber")
	grant(t, "mysql", mariadbAddress, grants, "sms.sip", "sms.users", "sms.ps_auths", "sms.subscriber")
	p := newProvider(t).plain()
	for name, example := range queries {
		t.Run(name, func(t *testing.T) {
			kind, address, server := "postgres", postgresAddress, postgresServer
			switch {
			case name == "Kamailio on PostgreSQL":
				address = latin1Address
			case strings.Contains(example, "sql mysql"):
				kind, address, server = "mysql", mariadbAddress, mariadbServer
			case strings.Contains(example, "sql sqlite"):
				kind, address, server = "sqlite", file, nil
			}
			at := freeAddress(t)
			config := write(t, "Caddyfile", options+fmt.Sprintf(`%s {
	acrobits_sms * {
		%s
		default_region US
		lockout off
		limit off
		bursts off
		adapter twilio {
			base_url    %s
			account_sid AC1
			auth_token  {env.TOKEN}
		}
	}
}
`, site("http", at), strings.Replace(strings.ReplaceAll(example, "\n", "\n\t\t"), "query `", "cache 1s\n\t\t\ttimeout 2s\n\t\t\tquery `", 1), p.URL))
			env := []string{"USERS_DATABASE=" + reader(address), "TOKEN=x"}
			s := start(t, config, at, env...)
			send := func(name, password string) int { // each time another text, or else it may be a repeat
				t.Helper()
				resp, err := http.PostForm("http://"+at+"/", url.Values{"username": {name}, "password": {password}, "sms_to": {"+15551234567"}, "sms_body": {time.Now().String()}})
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if sent := len(p.take()); (resp.StatusCode == 200) != (sent == 1) || sent > 1 {
					t.Errorf("%q: %d, and the provider got %d requests", name, resp.StatusCode, sent)
				}
				return resp.StatusCode
			}
			domain := "@example.com"
			if name == "Asterisk" || name == "FreePBX query" || name == "One domain" {
				domain = ""
			}
			want := func(status int, name, password string) {
				t.Helper()
				if got := send(name, password); got != status {
					t.Errorf("%.60q: %d, want %d\n%s", name, got, status, s.out)
				}
			}
			const right = "a-password-of-alice"
			want(200, "alice"+domain, right)
			want(200, "alice"+domain, right)
			want(200, strings.ToLower("alice")+strings.ToUpper(domain), right)
			want(401, "alice"+domain, "guess")
			want(401, "nobody"+domain, right)
			want(401, "off"+domain, right)
			want(401, "off"+domain, "")
			for _, attack := range []string{
				"' OR 1=1 --", "alice' --", "alice" + domain + "' OR 'a'='a", `\' OR 1=1 -- `, "%", "_lice" + domain, "alice" + domain + "\x00", "\xff\xfe", "{user}", "$1", "?", ":name",
				strings.Repeat("x", 10_000), "'; DROP TABLE subscriber; --", "мария" + domain, "иван@пример.com", "😀",
			} {
				want(401, attack, right)
			}
			want(200, "alice"+domain, right)
			if strings.HasPrefix(name, "Kamailio") { // in LATIN1, which has this letter
				want(200, "jürgen"+domain, right)
			}
			if server == nil {
				return
			}
			// A row that has changed counts when its time is over.
			table := map[string]string{"Several domains": "v_extensions", "One domain": "v_extensions", "Asterisk": "ps_auths", "FreePBX query": "sip"}[name]
			if table == "" {
				table = "subscriber"
			}
			db := open(t, kind, address)
			if _, err := db.Exec("ALTER TABLE " + table + " RENAME TO hidden"); err != nil { // the query fails, and says so
				t.Fatal(err)
			}
			if !eventually(func() bool { return send("alice"+domain, right) == 500 }) {
				t.Error("a query that fails admits somebody")
			}
			if _, err := db.Exec("ALTER TABLE hidden RENAME TO " + table); err != nil {
				t.Fatal(err)
			}
			if !eventually(func() bool { return send("alice"+domain, right) == 200 }) {
				t.Errorf("the table is back, and nobody is admitted:\n%s", s.out)
			}
			server.stop()
			if !eventually(func() bool { return send("alice"+domain, right) == 500 }) {
				t.Error("a server that is gone admits somebody")
			}
			server.start()
			if !eventually(func() bool { return send("alice"+domain, right) == 200 }) {
				t.Errorf("the server is back, and nobody is admitted:\n%s", s.out)
			}
			if out, err := command(t, append(env, "USERS_DATABASE=postgres://nobody@127.0.0.1:1/none"), "validate", "--config", config, "--adapter", "caddyfile"); err != nil && kind == "postgres" {
				t.Errorf("validating needs the database: %s", out)
			}
			if log := s.out.String(); strings.Contains(log, "canary-database") || strings.Contains(log, right) || strings.Contains(log, "OR 1=1") {
				t.Errorf("the log tells a secret or what stood for a name:\n%s", log)
			}
		})
	}
}

// A database is asked over TLS if the address says so. If the server's identity cannot be verified,
// it is not asked: then nobody is admitted, and the log gives the reason.
func TestTLSToDatabases(t *testing.T) {
	ca, key, _ := certificate(t)
	another, _, _ := certificate(t)
	dir := shortDir(t)
	_, postgresAddress := postgres(t, "-c", "ssl=on", "-c", "ssl_cert_file="+lend(t, "postgres", dir, ca), "-c", "ssl_key_file="+lend(t, "postgres", dir, key))
	dir = shortDir(t)
	_, mariadbAddress := mariadb(t, "--ssl-cert="+lend(t, "mysql", dir, ca), "--ssl-key="+lend(t, "mysql", dir, key))
	const table = "CREATE TABLE people (name VARCHAR(64), password VARCHAR(64));\nINSERT INTO people VALUES ('alice', 'a-password-of-alice')"
	execute(t, "postgres", postgresAddress, table)
	execute(t, "mysql", mariadbAddress, table)
	p := newProvider(t).plain()
	for _, c := range []struct{ kind, address, encrypted string }{
		{"postgres", strings.Replace(postgresAddress, "disable", "verify-full&sslrootcert=", 1), "SELECT 1 FROM pg_stat_ssl WHERE ssl AND pid = pg_backend_pid()"},
		{"mysql", mariadbAddress + "&tls=true", "SELECT 1 FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher' AND variable_value <> ''"},
	} {
		at := freeAddress(t)
		config := write(t, "Caddyfile", options+fmt.Sprintf(`%s {
	acrobits_sms * {
		users sql %s {env.USERS_DATABASE} {
			query "SELECT name, password FROM people WHERE name = {user} AND EXISTS (%s)"
		}
		default_region US
		adapter twilio {
			base_url    %s
			account_sid AC1
			auth_token  {env.TOKEN}
		}
	}
}
`, site("http", at), c.kind, c.encrypted, p.URL))
		for trusted, want := range map[string]int{ca: 200, another: 500} {
			env := []string{"TOKEN=x", "USERS_DATABASE=" + c.address + trusted}
			if c.kind == "mysql" { // whose addresses name no file
				env = []string{"TOKEN=x", "USERS_DATABASE=" + c.address, "SSL_CERT_FILE=" + trusted}
			}
			s := start(t, config, at, env...)
			resp, err := http.PostForm("http://"+at+"/", url.Values{"username": {"alice"}, "password": {"a-password-of-alice"}, "sms_to": {"+15551234567"}, "sms_body": {"Hello World"}})
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			s.stop()
			log := s.out.String()
			if sent := len(p.take()); resp.StatusCode != want || (sent == 1) != (want == 200) {
				t.Errorf("%s: %d and %d messages, want %d\n%s", c.kind, resp.StatusCode, sent, want, log)
			}
			if strings.Contains(log, "signed by unknown authority") != (want == 500) || strings.Contains(log, "canary-database") || strings.Contains(log, "a-password-of-alice") {
				t.Errorf("%s: the log is\n%s", c.kind, log)
			}
		}
	}
}
