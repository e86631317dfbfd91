//go:build cgo && !netgo

package preset

// cLibrary says that this binary can ask the C library for hosts and users.
const cLibrary = true
