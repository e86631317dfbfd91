//go:build !linux || !(386 || amd64 || arm64)

package stub

import "errors"

// Supported reports whether this architecture has a stub.
const Supported = false

const (
	dataAddress    = uintptr(0)
	writableOffset = uintptr(0)
)

func newHead(status, first uintptr) []byte { return nil }
func code() []byte                         { return nil }
func words() []byte                        { return nil }
func elf(table, code []byte) []byte        { return nil }

// SendInherited returns an error that Is errors.ErrUnsupported.
func SendInherited(socket, fd int, descriptors []int) (sent bool, err error) {
	return false, errors.ErrUnsupported
}
