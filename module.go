// Package acrobitssms makes `xcaddy build --with github.com/caddy-acrobits/caddy-acrobits-sms` work. The module itself
// is package caddymodule.
package acrobitssms

import _ "github.com/caddy-acrobits/caddy-acrobits-sms/caddymodule" // the handler acrobits_sms
