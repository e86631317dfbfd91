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
// A static ELF file of a page or a few, made anew for each child: some eighty
// instructions and a table of system calls. It makes the calls one after the
// other and then executes the program, with the arguments and the environment
// that it has itself. Where one of them fails it exits, and says which and why: to
// its maker, by a descriptor, or, where nobody listens, in words on its standard
// error. It has no libc, and takes input from nobody but its
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
	"slices"
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

// Numbers that are no system call's.
const (
	// Same fails, with the errno that is the third argument, unless the first,
	// of 32 bits, is the second.
	Same = 0xffffe
	// execute executes the program at the path that is the first argument, or
	// the one that is open as the descriptor at the address that is the second. It
	// comes last.
	execute = 0xfffff
)

// Call is a system call that the stub makes: it goes on unless the answer is an
// errno.
type Call struct {
	Number uintptr
	Args   [5]uintptr

	says uintptr // the address of the saying for where it fails; 0: it is reported
}

// saying is what the stub says where a call fails: a text, and then a reason, by
// the errno: a special one, or else the one in words.
type saying struct{ text, size, special uintptr }

// reason is the end of what a stub says, and the status with which it exits.
type reason struct{ text, size, status uintptr }

// special is a reason of its own for one errno; the last of several has none. The
// assembly takes its offsets from here, and those of the two above.
type special struct{ errno, text, size, status uintptr }

// mostErrno is the highest that has a reason of its own. For all above it is that
// of 0.
const mostErrno = 133

// Failure says which of the calls failed: its index.
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

// Execute adds the last call, which executes the program at path.
func (i *Image) Execute(path string) { i.Add(execute, i.Path(path)) }

// ExecuteOpen is Execute for the program that is open as the descriptor at an
// address.
func (i *Image) ExecuteOpen(program uintptr) { i.Add(execute, i.Path(""), program) }

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

// Talking returns a stub that knows how to say what fails.
func Talking() Image { return Image{data: slices.Clip(words())} }

// How a stub ends that says what fails: as a shell.
const (
	StatusFailed  = 126
	StatusMissing = 127
)

// Reason is what a stub says of an errno, and how it ends then.
type Reason struct {
	Errno  int
	Text   string
	Status int
}

// Say has the stub say on its standard error what fails, of the calls that were
// added since Say was used last: the text, and why, which is one of the reasons or in
// the words of package syscall. The stub is a Talking one.
func (i *Image) Say(text string, reasons ...Reason) {
	var list []byte
	for _, r := range reasons {
		text := r.Text + "\n"
		one := special{uintptr(r.Errno), i.Data([]byte(text)), uintptr(len(text)), uintptr(r.Status)}
		list = word(word(word(word(list, one.errno), one.text), one.size), one.status)
	}
	list = word(list, 0)
	says := saying{i.Data([]byte(text)), uintptr(len(text)), i.Data(list)}
	address := i.Data(word(word(word(nil, says.text), says.size), says.special))
	for n := range i.calls {
		if call := &i.calls[n]; call.says == 0 {
			call.says = address
		}
	}
}

// Bytes returns the ELF file of the stub. A Failure goes to the descriptor at the
// address status.
func (i *Image) Bytes(status uintptr) []byte {
	table := append(newHead(status, dataAddress+uintptr(len(i.data))), i.data...)
	table = slices.Grow(table, len(i.calls)*int(unsafe.Sizeof(Call{})))
	for _, call := range i.calls {
		table = word(table, call.Number)
		for _, arg := range call.Args {
			table = word(table, arg)
		}
		table = word(table, call.says)
	}
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
