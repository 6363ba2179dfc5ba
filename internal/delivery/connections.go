package delivery

import (
	"net"
	"reflect"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/cache"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// Reasons why a reply may belong to another message, for the operator.
const (
	repeatedID = "provider repeated the id of another message"
	earlyReply = "a reply came before the request was written"
	afterOther = "the connection gave a reply too many before"
)

// repeatWindow is the time within which the id of the previous message on a connection counts as a
// repeated id.
const repeatWindow = time.Second

// distrustPeriod bounds how long results from a closed connection are distrusted: it may still deliver
// a reply to a request that it accepted before. Later, another connection may have the same address
// in memory, and net/http does not always report when it opened one.
const distrustPeriod = time.Minute

// connections detects surplus replies. If a server answers one request twice on a kept connection,
// the second reply is read as the reply to the next message, and each further reply as that to the
// message after its own. It is safe for concurrent use, as long as a connection has one request in
// flight at a time.
type connections struct {
	last *cache.Table[uintptr, lastReply]
}

// lastReply is the last reply with an id that was read on a connection. spoiled is set once the
// connection has given a surplus reply.
type lastReply struct {
	id, message string
	at          time.Time
	spoiled     bool
}

func newConnections() *connections {
	return &connections{last: cache.NewTable[uintptr, lastReply](1024)}
}

// check compares the result of a reply with the previous reply on its connection, and closes the
// connection if it does not believe the reply.
func (c *connections) check(conn net.Conn, message string, r *sms.Result, early, shared bool) {
	if conn == nil {
		return
	}
	key := keyOf(conn)
	last, _ := c.last.Get(key)
	before := last
	if !last.believe(message, r, early, shared) {
		conn.Close()
	}
	if last != before {
		c.last.Put(key, last)
	}
}

// believe compares the result of a reply with the previous reply on its connection. If the reply may
// belong to another message, believe makes the result unknown and returns false; then the connection
// must be closed. early means that the reply began before the request was written. shared means that
// the provider gives all messages the same id.
func (last *lastReply) believe(message string, r *sms.Result, early, shared bool) bool {
	now, id, why := time.Now(), r.PhoneID(), ""
	switch {
	case last.spoiled && now.Sub(last.at) < distrustPeriod:
		why = afterOther
	case early:
		why = earlyReply
	case !shared && id != "" && id == last.id && message != last.message && now.Sub(last.at) < repeatWindow:
		why = repeatedID
	}
	if why != "" {
		*last = lastReply{spoiled: true, at: now}
		*r = surplus(why, *r)
		return false
	}
	if id != "" {
		*last = lastReply{id: id, message: message, at: now}
	}
	return true
}

// surplus is the result of a reply that may belong to another message.
func surplus(why string, r sms.Result) sms.Result {
	return sms.Result{
		Outcome: sms.OutcomeUnknown, Refusal: &sms.Refusal{Cause: sms.Unconfirmed, ByProvider: true}, Adapter: r.Adapter, Status: r.Status,
		Detail: why, Attempts: r.Attempts, MaybeOtherReply: true,
	}
}

// opened forgets the previous connection at the same address in memory.
func (c *connections) opened(conn net.Conn) {
	if _, known := c.last.Get(keyOf(conn)); known {
		c.last.Put(keyOf(conn), lastReply{})
	}
}

// keyOf is the connection's address in memory. The table does not contain the connection itself, so
// that the garbage collector can free it.
func keyOf(conn net.Conn) uintptr {
	if v := reflect.ValueOf(conn); v.Kind() == reflect.Pointer {
		return v.Pointer()
	}
	return 0
}
