// Package stub makes the program that a sandboxed child is at first: it
// restricts itself and executes the program that was asked for.
//
// # Why it exists
//
// A child has to be restricted between clone and execve, in the child itself.
// Landlock lets a process trace, signal and take descriptors from whatever
// shares its domain, and a thread shares memory, descriptors and fate with its
// whole process. So a thread that restricts itself to start a child hands its
// process to that child. os/exec has no hook between clone and execve, and so
// it is made to execute this program first.
//
// # What it is
//
// A static ELF file of a page or a few, made anew for each child: some fifty
// instructions and a table of system calls. It makes the calls one after the
// other and then executes the program, with the arguments and the environment
// that it has itself. Where one of them fails it writes which and why to a
// descriptor and exits. It has no libc, and takes input from nobody but its
// maker: the table is in the file, which is sealed, and cannot be written to.
// Writable are its stack and a copy of the table, where the calls leave their
// answers.
//
// # For another architecture
//
// The assembly file has the four numbers that a table cannot hold and the
// registers of the system call convention; elf.go the machine's number.
// TestImage runs it.
package stub

import (
	"encoding/binary"
	"errors"
	"io"
	"unsafe"
)

// Image is a stub to be: the system calls that it makes, and what they point to.
type Image struct {
	calls []Call
	data  []byte
}

// What can be added to the number of a call.
const (
	// Indirect: the first argument is the address of a descriptor, and not
	// the descriptor itself.
	Indirect = 1 << 20
	// Store: the answer is a descriptor, and goes to the address that is the
	// last argument.
	Store = 1 << 21
)

// Call is a system call that the stub makes: it goes on unless the answer is an
// errno.
type Call struct {
	Number uintptr
	Args   [5]uintptr
}

// Failure says which of the calls failed: its index, or their number for the
// execve that comes last.
type Failure struct {
	Call  int
	Errno int
}

// Add adds a call.
func (i *Image) Add(number uintptr, args ...uintptr) {
	call := Call{Number: number}
	copy(call.Args[:], args)
	i.calls = append(i.calls, call)
}

// Calls returns the calls added so far.
func (i *Image) Calls() []Call { return i.calls }

// Data adds what a call points to, and returns its address in the stub.
func (i *Image) Data(data []byte) uintptr {
	address := dataAddress + uintptr(len(i.data))
	i.data = append(i.data, data...)
	for len(i.data)%8 != 0 {
		i.data = append(i.data, 0)
	}
	return address
}

// Writable is Data for what the calls may change.
func (i *Image) Writable(data []byte) uintptr { return i.Data(data) + writableOffset }

// Path is Data for a path.
func (i *Image) Path(path string) uintptr { return i.Data(append([]byte(path), 0)) }

// end follows the last call, and the program's path follows it.
const end = ^uintptr(0)

// Bytes returns the ELF file of a stub that makes the calls and executes the
// program at path. A Failure goes to the descriptor at the address status.
func (i *Image) Bytes(status uintptr, path string) []byte { return i.bytes(status, 0, path) }

// BytesFor is Bytes for the program that is open as the descriptor at the address
// program.
func (i *Image) BytesFor(status, program uintptr) []byte { return i.bytes(status, program, "") }

func (i *Image) bytes(status, program uintptr, path string) []byte {
	table := append(newHead(status, program, dataAddress+uintptr(len(i.data))), i.data...)
	for _, call := range i.calls {
		table = word(table, call.Number)
		for _, arg := range call.Args {
			table = word(table, arg)
		}
	}
	table = word(table, end)
	table = append(table, path...)
	table = append(table, 0)
	return elf(table, code())
}

// ReadFailure reads what a stub reports: nothing, once it has become the program.
func ReadFailure(status io.Reader) (failure Failure, failed bool, err error) {
	var report [2]uintptr
	const size = unsafe.Sizeof(report)
	switch _, err := io.ReadFull(status, unsafe.Slice((*byte)(unsafe.Pointer(&report)), size)); {
	case errors.Is(err, io.EOF):
		return Failure{}, false, nil
	case err != nil:
		return Failure{}, true, err
	}
	return Failure{int(report[0]), int(report[1])}, true, nil
}

// word appends a machine word, in the order of the machine.
func word(b []byte, w uintptr) []byte {
	if unsafe.Sizeof(w) == 4 {
		return binary.NativeEndian.AppendUint32(b, uint32(w))
	}
	return binary.NativeEndian.AppendUint64(b, uint64(w))
}
