//go:build e2e

package e2e

import (
	"database/sql"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/database"
)

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
	execute(t, "mysql", root, "CREATE DATABASE sms;\nCREATE USER 'sms'@'127.0.0.1' IDENTIFIED BY 'canary-database';\nGRANT ALL ON sms.* TO 'sms'@'127.0.0.1' WITH GRANT OPTION;\nGRANT CREATE USER ON *.* TO 'sms'@'127.0.0.1';")
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
