package landlock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/program"
	"example.com/landlock/internal/stub"
)

// wrap is Wrap for a cmd that can be started.
//
// os/exec starts a stub here as well, with nobody there to prepare it and to listen
// to it. So what it gets is among cmd's ExtraFiles, and what fails it says itself.
// (By a socket, as for Start, files would be on their way until cmd is garbage, and of
// those a user may have as many as RLIMIT_NOFILE in all processes.)
//
// What is in ExtraFiles must have no say in what is executed. So the stub is executed
// by a number that this process alone has it under. os/exec puts files under the
// numbers that they have in ExtraFiles, and under those above the highest that one of
// them has here. The stub's is between them, since another of its numbers, which is
// among ExtraFiles, is higher.
func (s *Sandbox) wrap(cmd *exec.Cmd) error {
	if attr := cmd.SysProcAttr; attr != nil && (attr.Chroot != "" || attr.Ptrace) {
		return errors.New("landlock: wrap: SysProcAttr has Chroot or Ptrace, which a cmd that others start cannot have: use Sandbox.Start")
	}
	if err := noStubFor(cmd); err != nil {
		return err
	}
	if _, twice := wrapped.Load(cmd.Path); twice {
		return errors.New("landlock: wrap: the cmd is wrapped already")
	}
	w, err := s.buildWrapper(cmd)
	if err != nil {
		return err
	}
	if len(cmd.Args) == 0 {
		cmd.Args = []string{cmd.Path}
	}
	cmd.Path = wrapperPath(w.number)
	cmd.ExtraFiles = slices.Concat(cmd.ExtraFiles, w.files[:])
	return nil
}

// wrapper is what a wrapped cmd has in place of its program.
type wrapper struct {
	number int         // of the stub
	files  [2]*os.File // what it gets: the ruleset, if there is one, and what it knows its own by
}

// wrapped has the Path of each wrapped cmd.
var wrapped sync.Map

// wrapperPath returns the path of a stub's descriptor, which stays open for as long as
// anybody has that path, copies of cmd among them: nothing else must ever be executed
// by it. Nor can it be closed with the ExtraFiles.
func wrapperPath(number int) string {
	text := fmt.Append(make([]byte, 0, 64), "/proc/self/fd/", number) // in memory that it does not share
	path := unsafe.String(&text[0], len(text))
	key := strings.Clone(path)
	wrapped.Store(key, nil)
	runtime.AddCleanup(&text[0], func(number int) {
		wrapped.Delete(key)
		unix.Close(number)
	}, number)
	return path
}

// buildWrapper opens what the stub gets, and makes the stub.
func (s *Sandbox) buildWrapper(cmd *exec.Cmd) (w wrapper, err error) {
	if err := procIsThere(); err != nil {
		return w, err
	}
	file, err := stub.NewFile()
	if err != nil {
		return w, fmt.Errorf("landlock: start a child: %w", err)
	}
	defer file.Close()
	if err := sharesDescriptors(file); err != nil {
		return w, err
	}
	ruleset, err := s.copyRuleset()
	if err != nil {
		return w, err
	}
	if ruleset != noFile {
		w.files[0] = os.NewFile(uintptr(ruleset), "landlock-ruleset")
	}
	defer func() {
		if err != nil {
			w.files[0].Close()
		}
	}()
	second, err := openSecond(cmd, file)
	if err != nil {
		return w, err
	}
	defer second.Close()
	position, err := randomPosition()
	if err != nil {
		return w, err
	}
	image := s.wrapperImage(cmd, second != file, position)
	if err := stub.WriteFile(file, image.Bytes(0)); err != nil {
		return w, fmt.Errorf("landlock: start a child: %w", err)
	}
	if _, err := unix.Seek(int(second.Fd()), int64(position), io.SeekStart); err != nil {
		return w, fmt.Errorf("landlock: wrap: mark the program: %w", os.NewSyscallError("lseek", err))
	}
	if w.number, w.files[1], err = numberWrapper(cmd, file, second); err != nil {
		return w, err
	}
	if w.files[0] == nil {
		w.files[0] = w.files[1]
	}
	return w, nil
}

// openSecond returns the second file: the program, where the stub cannot go by its path,
// or else the stub's own. It has a position, by which the stub knows it, and so it is
// open for reading.
func openSecond(cmd *exec.Cmd, own *os.File) (*os.File, error) {
	if here, err := foundHere(cmd, len(wrapper{}.files)); err != nil || !here {
		return own, err
	}
	file, err := program.Open(programPath(cmd))
	if err != nil {
		return nil, startError(cmd, err)
	}
	return file, nil
}

// randomPosition returns a position that no other file is likely to have.
func randomPosition() (position uint32, err error) {
	var random [4]byte
	if _, err := unix.Getrandom(random[:], 0); err != nil {
		return 0, fmt.Errorf("landlock: wrap: %w", os.NewSyscallError("getrandom", err))
	}
	return binary.NativeEndian.Uint32(random[:]) >> 1, nil // as many bits as a position has everywhere
}

// wrapperImage writes down what the stub does, and what it says. Its second file is open
// as the program, or is not.
func (s *Sandbox) wrapperImage(cmd *exec.Cmd, asProgram bool, position uint32) stub.Image {
	image := stub.Talking()
	failed := "landlock: exec " + printable(cmd.Path) + ": "
	first, second := takeFiles(&image, cmd, position)
	const changed = "cmd.ExtraFiles is not what Wrap has left there: append to it, and change nothing else of it"
	image.Say(failed+"take over the sandbox: ",
		stub.Reason{Errno: int(unix.EBADF), Text: changed, Status: stub.StatusFailed},
		stub.Reason{Errno: int(unix.ESPIPE), Text: changed, Status: stub.StatusFailed})
	s.restrictStub(&image, first)
	image.Say(failed, s.restrictReasons()...)
	if !asProgram {
		second = 0
	}
	executeProgram(&image, cmd, second)
	image.Say(failed,
		stub.Reason{Errno: int(unix.ENOENT), Text: unix.ENOENT.Error(), Status: stub.StatusMissing},
		stub.Reason{Errno: int(unix.ENOTDIR), Text: unix.ENOTDIR.Error(), Status: stub.StatusMissing},
		stub.Reason{Errno: int(unix.EACCES), Text: s.refusal(programPath(cmd)), Status: stub.StatusFailed})
	return image
}

// takeFiles has the stub close its files once it executes the program, and fail where
// the second is not this one: then they have other numbers, or are another cmd's. It
// knows its own by its position, to which nobody else has put a file. It returns the
// addresses of their descriptors there.
func takeFiles(image *stub.Image, cmd *exec.Cmd, position uint32) (first, second uintptr) {
	number := uintptr(3 + len(cmd.ExtraFiles))
	first = image.Writable(bytesOf(&[2]uint32{uint32(number), uint32(number + 1)}))
	found := image.Writable(bytesOf(new(uint32)))
	image.Add(unix.SYS_LSEEK|stub.Store, number+1, 0, io.SeekCurrent, 0, found)
	image.Add(stub.Same|stub.Indirect, found, uintptr(position), uintptr(unix.EBADF))
	image.Add(unix.SYS_FCNTL, number, unix.F_SETFD, unix.FD_CLOEXEC)
	image.Add(unix.SYS_FCNTL, number+1, unix.F_SETFD, unix.FD_CLOEXEC)
	return first, first + 4
}

// restrictReasons returns what Start would say of a restriction that fails.
func (s *Sandbox) restrictReasons() []stub.Reason {
	var reasons []stub.Reason
	add := func(errno syscall.Errno, err error) {
		text := strings.TrimPrefix(err.Error(), "landlock: ")
		reasons = append(reasons, stub.Reason{Errno: int(errno), Text: text, Status: stub.StatusFailed})
	}
	for _, errno := range []syscall.Errno{unix.E2BIG, unix.EPERM} {
		add(errno, restrictError(errno, s.setsNoNewPrivs()))
	}
	if s.filter != nil {
		add(unix.EACCES, filterError(os.NewSyscallError("seccomp", unix.EACCES)))
	}
	return reasons
}

// refusal says in one line what it is that a program is denied to run, and what would
// allow it, where that is the ruleset's doing. It looks once at a program that is wrapped
// many times.
func (s *Sandbox) refusal(program string) string {
	var err error = unix.EACCES
	if last := s.allowed.Load(); last != nil && *last == program {
		return err.Error()
	}
	for _, file := range programFiles(program) {
		if s.Check(FSExecute|FSReadFile, file) != nil {
			return strings.ReplaceAll(s.explain(err, program).Error(), "\n", "; ")
		}
	}
	s.allowed.Store(&program)
	return err.Error()
}

// numberWrapper gives the stub a number that os/exec puts no file under, and the second
// file one above that.
func numberWrapper(cmd *exec.Cmd, file, second *os.File) (number int, above *os.File, err error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, nil, fmt.Errorf("landlock: wrap: %w", os.NewSyscallError("getrlimit", err))
	}
	least := 5 + len(cmd.ExtraFiles)
	// Above all others are those that os/exec needs itself, or moves files to whose
	// numbers are in its way.
	const appended = 200
	ofExec := uint64(16 + len(cmd.ExtraFiles) + appended)
	for _, more := range []int{1000, 500, appended + 50} {
		number, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, least+more)
		if err != nil {
			continue
		}
		above, err := unix.FcntlInt(second.Fd(), unix.F_DUPFD_CLOEXEC, number+1)
		if err == nil && uint64(above)+ofExec < limit.Cur {
			return number, os.NewFile(uintptr(above), "landlock-stub"), nil
		}
		if err == nil {
			unix.Close(above)
		}
		unix.Close(number)
	}
	return 0, nil, fmt.Errorf("landlock: wrap: RLIMIT_NOFILE is %d, and must be above %d for this cmd: raise it (ulimit -n): %w",
		limit.Cur, uint64(least+appended+50)+ofExec, unix.EMFILE)
}
