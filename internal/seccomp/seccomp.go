// Package seccomp builds and installs the socket filter.
package seccomp

import (
	"errors"
	"fmt"
	"runtime"
)

// Instruction is one instruction of classic BPF, laid out as struct sock_filter.
type Instruction struct {
	Code   uint16
	JT, JF uint8
	K      uint32
}

// Sockets says what the filter refuses beyond what it always does.
type Sockets struct {
	RefuseUDP      bool // no datagram sockets of IP at all
	RefuseFastOpen bool // connect_tcp is handled, which MSG_FASTOPEN would pass
}

// Program returns the filter for the architecture that this program was built
// for. The error Is errors.ErrUnsupported where there is none.
func (s Sockets) Program() ([]Instruction, error) {
	return nil, fmt.Errorf("seccomp: there is no socket filter for %s: %w", runtime.GOARCH, errors.ErrUnsupported)
}
