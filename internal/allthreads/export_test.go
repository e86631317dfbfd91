//go:build linux && (amd64 || arm64)

package allthreads

import "time"

// SetPatience has Restrict give up sooner, until restore is called.
func SetPatience(milliseconds ...time.Duration) (restore func()) {
	full := patience
	patience = milliseconds
	return func() { patience = full }
}
