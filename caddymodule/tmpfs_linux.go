package caddymodule

import "syscall"

// The kinds of file systems in memory. https://man7.org/linux/man-pages/man2/statfs.2.html
const (
	tmpfs = 0x01021994
	ramfs = 0x858458f6
)

func isInMemory(path string) bool {
	var s syscall.Statfs_t
	if syscall.Statfs(path, &s) != nil {
		return false
	}
	kind := uint32(s.Type)
	return kind == tmpfs || kind == ramfs
}
