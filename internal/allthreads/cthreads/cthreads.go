//go:build linux && cgo

package cthreads

// #cgo CFLAGS: -Wall -pthread
// #cgo LDFLAGS: -pthread
// #include "cthreads.h"
import "C"

// Available reports whether this binary has C code, and with it a libc.
const Available = true

// Glibc reports whether that libc is glibc.
var Glibc = C.ct_glibc != 0

// Setup names the file that threads open, and the ruleset that they stack.
func Setup(path string, ruleset int) { C.ct_setup(C.CString(path), C.int(ruleset)) }

// Start starts threads of one kind, with every signal blocked where masked is
// set, and returns once each has opened the file.
func Start(kind Kind, count int, masked bool) {
	block := C.int(0)
	if masked {
		block = 1
	}
	if errno := C.ct_start(C.int(kind), C.int(count), block); errno != 0 {
		panic("pthread_create failed")
	}
}

// StartBlockedChain starts a thread that blocks every signal, those too that libc lets
// nobody block, starts the next one like itself, and ends: for as long as the process lives.
func StartBlockedChain() { C.ct_start_blocked_chain() }

// Probe makes every thread open the file, and go on as before. Where stack is
// set each also stacks as many layers as it can, which is possible once.
func Probe(stack bool) Result {
	count := C.int(0)
	if stack {
		count = 1
	}
	var r C.struct_ct_result
	C.ct_probe(count, &r)
	result := Result{
		Threads: int(r.threads),
		Opened:  int(r.opened), Denied: int(r.denied), Failed: int(r.failed),
		Least: int(r.least), Most: int(r.most),
		Children: int(r.children), Escaped: int(r.escaped), OddChildren: int(r.odd),
		GIDFailed: int(r.gid_failed), GIDDiffers: int(r.gid_differs),
		NoNewPrivs: int(r.no_new_privs),
	}
	for kind := range result.Interrupted {
		result.Interrupted[kind] = int(r.interrupted[kind])
	}
	return result
}

// Armed tells that every thread is restricted and, unless it is 0, how many layers
// each can still stack. From now on short-lived threads must find it so.
func Armed(layers int) { C.ct_armed(C.int(layers)) }
