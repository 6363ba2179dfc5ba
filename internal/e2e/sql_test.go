//go:build e2e

package e2e

import (
	"crypto/md5"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/database"
)

// The tables as the systems make them, with all columns of PostgreSQL, those apart that are deprecated, and two users.
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

const freeSWITCH = `
CREATE TABLE directory (username TEXT, domain TEXT, password TEXT, effective_caller_id_number TEXT);
INSERT INTO directory VALUES ('alice', 'example.com', 'a-password-of-alice', '+15550001111');
INSERT INTO directory VALUES ('off', 'example.com', NULL, NULL);
`

// dbServer is a database server of the machine, with its data in a folder of its own.
type dbServer struct {
	t       *testing.T
	command func() *exec.Cmd
	running *exec.Cmd
	address string // of the loopback interface
}

func (s *dbServer) start() {
	s.t.Helper()
	s.running = s.command()
	out := new(output)
	s.running.Stdout, s.running.Stderr = out, out
	if err := s.running.Start(); err != nil {
		s.t.Fatal(err)
	}
	if !eventually(func() bool {
		conn, err := net.DialTimeout("tcp", s.address, time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}) {
		s.t.Fatalf("no answer from the database server: %s", out)
	}
}

func (s *dbServer) stop() {
	if s.running != nil {
		_ = s.running.Process.Signal(syscall.SIGINT) // without waiting for connections
		if s.running.Args[0] != "postgres" {
			_ = s.running.Process.Signal(syscall.SIGTERM)
		}
		_ = s.running.Wait()
		s.running = nil
	}
}

// installed finds a program of a database server.
func installed(t *testing.T, name string, folders ...string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil && len(folders) == 0 {
		return path
	}
	for _, folder := range folders {
		found, _ := filepath.Glob(filepath.Join(folder, name))
		if len(found) > 0 {
			return found[len(found)-1]
		}
	}
	t.Skipf("%s is not installed; on Debian: apt-get install postgresql mariadb-server", name)
	return ""
}

// as runs a program as a user of the machine where we are root, which database servers refuse to be.
func as(t *testing.T, name, dir string, program string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C"}
	if os.Getuid() != 0 {
		return cmd
	}
	u, err := user.Lookup(name)
	if err != nil {
		t.Skip(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// shortDir is a folder for a server: the name of its socket has to be short, and others have to reach it.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "sql")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// lend copies a file into a folder of a server's, where nobody else can read it.
func lend(t *testing.T, name, dir, file string) string {
	t.Helper()
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	copied := filepath.Join(dir, filepath.Base(file))
	cmd := as(t, name, dir, "sh", "-c", `umask 077; cat >"$0"`, copied)
	cmd.Stdin = in
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return copied
}

func postgres(t *testing.T, options ...string) (*dbServer, string) {
	dir := shortDir(t)
	initdb := installed(t, "initdb", "/usr/lib/postgresql/*/bin")
	_, port, _ := net.SplitHostPort(freeAddress(t))
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("canary-database"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := as(t, "postgres", dir, initdb, "--pgdata", filepath.Join(dir, "data"), "--username", "sms", "--auth", "scram-sha-256", "--pwfile", password, "--no-sync", "--encoding", "UTF8").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := &dbServer{t: t, address: "127.0.0.1:" + port, command: func() *exec.Cmd {
		cmd := as(t, "postgres", dir, filepath.Join(filepath.Dir(initdb), "postgres"), "-D", filepath.Join(dir, "data"), "-p", port, "-k", dir, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off")
		cmd.Args = append(cmd.Args, options...)
		cmd.Args[0] = "postgres"
		return cmd
	}}
	s.start()
	t.Cleanup(s.stop)
	address := "postgres://sms:canary-database@127.0.0.1:" + port + "/postgres?sslmode=disable"
	if db := open(t, "postgres", address); !eventually(func() bool { return db.Ping() == nil }) {
		t.Fatal("PostgreSQL does not start")
	}
	return s, address
}

func mariadb(t *testing.T, options ...string) (*dbServer, string) {
	dir := shortDir(t)
	install, daemon := installed(t, "mariadb-install-db"), installed(t, "mariadbd", "/usr/sbin", "/usr/libexec")
	_, port, _ := net.SplitHostPort(freeAddress(t))
	data := filepath.Join(dir, "data")
	if out, err := as(t, "mysql", dir, install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := &dbServer{t: t, address: "127.0.0.1:" + port, command: func() *exec.Cmd {
		cmd := as(t, "mysql", dir, daemon, "--no-defaults", "--datadir="+data, "--port="+port, "--bind-address=127.0.0.1", "--socket="+filepath.Join(dir, "s"), "--pid-file="+filepath.Join(dir, "pid"))
		cmd.Args = append(cmd.Args, options...)
		return cmd
	}}
	s.start()
	t.Cleanup(s.stop)
	root := "root@unix(" + filepath.Join(dir, "s") + ")/"
	if db := open(t, "mysql", root); !eventually(func() bool { return db.Ping() == nil }) {
		t.Fatal("MariaDB does not start")
	}
	execute(t, "mysql", root, "CREATE DATABASE sms;\nCREATE USER 'sms'@'127.0.0.1' IDENTIFIED BY 'canary-database';\nGRANT ALL ON sms.* TO 'sms'@'127.0.0.1';")
	return s, "sms:canary-database@tcp(127.0.0.1:" + port + ")/sms?multiStatements=true&interpolateParams=true"
}

// open opens a database as the product does.
func open(t *testing.T, kind, address string) *sql.DB {
	t.Helper()
	i := slices.IndexFunc(database.Kinds, func(k database.Kind) bool { return k.Name == kind })
	db, err := database.Kinds[i].Open(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func execute(t *testing.T, kind, address, statements string) {
	t.Helper()
	db := open(t, kind, address)
	defer db.Close()
	for statement := range strings.SplitSeq(statements, ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// examples are the blocks of the page about databases, by their headings.
func sqlExamples(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../../caddymodule/users.md")
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, m := range regexp.MustCompile("(?s)\n### ([^\n]+)\n.*?```caddyfile\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		all[m[1]] = m[2]
	}
	return all
}

// Every example of the page finds the users of the system that it is for, in a real server, and nobody else; an attacker's
// names reach nothing; a server that is gone admits nobody, and all is well when it is back.
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
	execute(t, "mysql", mariadbAddress, kamailio("INT(10) UNSIGNED AUTO_INCREMENT")+asterisk())
	p := newProvider(t).plain()
	for name, example := range sqlExamples(t) {
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
	acrobits_sms {
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
			env := []string{"USERS_DATABASE=" + address, "TOKEN=x"}
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
			if name == "Asterisk" {
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
			table := map[string]string{"FusionPBX": "v_extensions", "Asterisk": "ps_auths"}[name]
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

// A database is asked over TLS if the address says so, and not at all if somebody else may be answering: then nobody is
// admitted, and the log says why.
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
	acrobits_sms {
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
