//go:build linux && (amd64 || arm64)

package allthreads

import (
	"sync/atomic"
	"time"
)

// SetPatience has Restrict give up sooner, until restore is called.
func SetPatience(milliseconds ...time.Duration) (restore func()) {
	full := patience
	patience = milliseconds
	return func() { patience = full }
}

// Listed reports whether Restrict has a list of threads.
func Listed() bool { return tasks.listed }

// Enter counts a thread more into the handler, until leave is called.
func Enter() (leave func()) {
	atomic.AddUint32(&shared.inside, 1)
	return func() { atomic.AddUint32(&shared.inside, ^uint32(0)) }
}
