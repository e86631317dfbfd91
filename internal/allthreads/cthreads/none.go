//go:build !(linux && cgo)

package cthreads

// Available reports whether this binary has C code, and with it a libc.
const Available = false

// Glibc reports whether that libc is glibc.
var Glibc = false

// Setup does nothing without C.
func Setup(path string, ruleset int) {}

// Start starts no thread without C.
func Start(kind Kind, count int, masked bool) {}

// StartBlockedChain starts no thread without C.
func StartBlockedChain() {}

// Probe finds no thread without C.
func Probe(stack bool) Result { return Result{} }

// Armed does nothing without C.
func Armed(layers int) {}
