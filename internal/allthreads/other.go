//go:build !linux || !(amd64 || arm64)

package allthreads

import "errors"

// Supported reports whether this architecture has a handler.
const Supported = false

// Restrict fails on this architecture, and restricts nothing.
func Restrict(ruleset int, flags uint32, noNewPrivs bool) error { return errors.ErrUnsupported }
