package gateway_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/caddy-acrobits/caddy-acrobits-sms/adapters"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/lockout"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/access/users"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/params"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/acrobits/sendmessage"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/delivery"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/gateway"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/journal"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/number"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/policy/destination"
	"github.com/caddy-acrobits/caddy-acrobits-sms/internal/sms"
)

// open is a journal that is open already.
type open struct{ *journal.Journal }

func (j open) Acquire() (*journal.Journal, error) {
	j.Journal.Acquire()
	return j.Journal, nil
}

func (open) NoteFailure() {}

// A gateway whose one adapter is the sandbox, which accepts all but a few recipients and sends
// nothing.
func ExampleGateway_Send() {
	from, _ := number.Sender("+12125550101", "")
	list, err := users.NewList([]users.Account{{User: users.User{Name: "ann", Numbers: []sms.Number{from}}, Passwords: []string{"correct horse battery"}}})
	if err != nil {
		panic(err)
	}
	definition, err := adapters.Builtin("sandbox")
	if err != nil {
		panic(err)
	}
	sandbox, err := definition.Bind("", "", nil)
	if err != nil {
		panic(err)
	}
	j, err := journal.Open(journal.NewMemory(), func(journal.Entry) {}, func(error) {})
	if err != nil {
		panic(err)
	}
	defer j.Release()
	g := &gateway.Gateway{
		Users: list, ByName: list,
		Guard: lockout.NewGuard(lockout.Default), LoginQueues: lockout.NewQueues(),
		Region: "US", Numbers: number.NewCache(), Destinations: new(destination.Policy),
		Paused:  func() bool { return false },
		Journal: open{j},
		Deliverer: &delivery.Deliverer{
			Routes:  []delivery.Route{{Adapter: sandbox, Transport: delivery.Sandbox{}, Account: delivery.NewAccount()}},
			Timeout: delivery.DefaultTimeout, AttemptTimeout: delivery.DefaultAttemptTimeout, MaxParts: delivery.DefaultMaxParts,
		},
	}

	for _, to := range []string{"(212) 555-0123", "(212) 555-0402", "+44 7400 123456"} {
		response := g.Send(context.Background(), gateway.Request{
			Request: &sendmessage.Request{
				Caller: params.Caller{User: "ann", Secret: sms.Hide("correct horse battery")}, To: []string{to}, Body: sms.Hide("Hello World"),
			},
			Received: time.Now(), Site: "sms.example.com/send", Network: netip.MustParsePrefix("192.0.2.1/32"),
		})
		fmt.Println(response.Message.To, response.Result.Outcome, response.Result.Cause())
		response.Acknowledge(time.Since(response.Message.Received))
		response.Close()
	}
	// Output:
	// +121•••0123 accepted none
	// +121•••0402 refused no_credit
	// +447•••3456 refused destination_not_allowed
}
