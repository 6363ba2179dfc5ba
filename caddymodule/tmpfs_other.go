//go:build !linux

package caddymodule

func isInMemory(string) bool { return false }
