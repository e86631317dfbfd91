package landlock

import (
	"sync"

	"example.com/landlock/internal/seccomp"
)

// socketFilter is the seccomp filter of a FilterSockets, a [seccomp.Program]. All
// others know it by this interface, and newSocketFilter, which makes it, is named by
// FilterSockets alone: so a program that never calls that is linked without any of it.
type socketFilter interface {
	CanRestrictProcess(noNewPrivs bool) error
	RestrictProcess() error
	RestrictThread() error
	Instructions() []seccomp.Instruction
}

// madeFilters holds each filter that was used: there are four in all.
var madeFilters sync.Map

// newSocketFilter returns a filter, which nobody may change, or why there is none to be
// had here.
func newSocketFilter(sockets seccomp.Sockets) (socketFilter, error) {
	if err := canFilter(); err != nil {
		return nil, err
	}
	if filter, known := madeFilters.Load(sockets); known {
		return filter.(seccomp.Program), nil
	}
	filter, err := sockets.Program()
	if err != nil {
		return nil, err
	}
	madeFilters.Store(sockets, filter)
	return filter, nil
}
