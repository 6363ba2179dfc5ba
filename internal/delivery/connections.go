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

// check compares the result of a reply with the previous reply on its connection. If the reply may
// belong to another message, check makes the result unknown and closes the connection. early means
// that the reply began before the request was written. shared means that the provider gives all
// messages the same id.
func (c *connections) check(conn net.Conn, message string, r *sms.Result, early, shared bool) {
	if conn == nil {
		return
	}
	key, now, id := keyOf(conn), time.Now(), r.PhoneID()
	last, known := c.last.Get(key)
	why := ""
	switch {
	case known && last.spoiled && now.Sub(last.at) < distrustPeriod:
		why = afterOther
	case early:
		why = earlyReply
	case known && !shared && id != "" && id == last.id && message != last.message && now.Sub(last.at) < repeatWindow:
		why = repeatedID
	}
	switch {
	case why != "":
		c.last.Put(key, lastReply{spoiled: true, at: now})
		conn.Close()
		*r = sms.Result{
			Outcome: sms.OutcomeUnknown, Refusal: &sms.Refusal{Cause: sms.Unconfirmed, ByProvider: true}, Adapter: r.Adapter, Status: r.Status,
			Detail: why, Attempts: r.Attempts, MaybeOtherReply: true,
		}
	case id != "":
		c.last.Put(key, lastReply{id: id, message: message, at: now})
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
