package landlocktest_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/landlocktest"
)

// observer is a test that notes what Denied says of an error.
type observer struct {
	testing.TB
	said string
}

func (o *observer) Error(args ...any) { o.said += fmt.Sprint(args...) }

// denies fails unless Denied answers as it should: it says nothing where said is
// empty, and else something with that text.
func denies(t *testing.T, what string, err error, said string) {
	t.Helper()
	o := &observer{TB: t}
	landlocktest.Denied(o, err)
	if said == "" && o.said != "" || !strings.Contains(o.said, said) {
		t.Errorf("%s: Denied(%v) says %q, want %q", what, err, o.said, said)
	}
}

// Outside of a Run the errno is all that there is.
func TestDeniedByErrno(t *testing.T) {
	const not = "Landlock does not answer that"
	for _, test := range []struct {
		err  error
		said string
	}{
		{nil, "there is no error"},
		{fs.ErrNotExist, "make it before"},
		{exec.ErrNotFound, not},
		{errors.New("permission denied"), not},
		{syscall.EACCES, ""},
		{syscall.EXDEV, ""},
		{syscall.EPERM, ""},
		{syscall.EROFS, not},
		{syscall.ENOENT, "make it before"},
		{fmt.Errorf("wrapped: %w", syscall.EACCES), ""},
		{&fs.PathError{Op: "open", Path: "/x", Err: syscall.EACCES}, ""},
		{&fs.PathError{Op: "open", Path: "/x", Err: syscall.EPERM}, not},
		{&fs.PathError{Op: "open", Path: "/x", Err: syscall.ENOENT}, "make it before"},
		{&os.LinkError{Op: "rename", Old: "/x", New: "/y", Err: syscall.EXDEV}, ""},
		{&os.LinkError{Op: "link", Old: "/x", New: "/y", Err: syscall.EPERM}, not},
		{&net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.EACCES)}, ""},
		{&net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, not},
		{&net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.EPERM)}, ""},
		{os.NewSyscallError("kill", syscall.EPERM), ""},
		{&landlock.DeniedError{Path: "/x", Port: -1, Missing: landlock.Rights{FS: landlock.FSReadFile}}, ""},
		{&landlock.DeniedError{Path: "/dev/null", Port: -1, Missing: landlock.Rights{FS: landlock.FSReadFile}}, "the null device"},
		{&landlock.DeniedError{Port: 80, Missing: landlock.Rights{Net: landlock.NetBindTCP}, Guess: true}, "a guess"},
		{&fs.PathError{Op: "stat", Path: "/x", Err: syscall.EACCES}, not},
		{&fs.PathError{Op: "lstat", Path: "/x", Err: syscall.EACCES}, not},
		{&fs.PathError{Op: "chmod", Path: "/x", Err: syscall.EACCES}, not},
		{&fs.PathError{Op: "readlink", Path: "/x", Err: syscall.EACCES}, not},
		{&fs.PathError{Op: "openat", Path: "x", Err: syscall.EACCES}, ""},
		{&fs.PathError{Op: "ioctl", Path: "/dev/tty", Err: syscall.EACCES}, ""},
		{os.NewSyscallError("openat2", syscall.EACCES), ""},
		{os.NewSyscallError("renameat2", syscall.EXDEV), ""},
		{os.NewSyscallError("stat", syscall.EACCES), not},
		{os.NewSyscallError("chown", syscall.EPERM), not},
		{os.NewSyscallError("mount", syscall.EPERM), not},
		{os.NewSyscallError("copy_file_range", syscall.EXDEV), not},
		{os.NewSyscallError("kill", syscall.EACCES), not},
		{io.EOF, not},
	} {
		denies(t, "outside", test.err, test.said)
	}
}

// In a Run it is the ruleset that decides.
func TestDeniedByRuleset(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	kernel, _ := landlock.Probe()
	dir, secret := t.TempDir(), t.TempDir()
	must(t, write(dir, "file"), write(secret, "file"))
	free := t.TempDir()
	must(t, os.WriteFile(filepath.Join(free, "no-mode"), nil, 0))
	for name, text := range map[string]string{"program": "#!/nonexistent\n", "script": "#!" + filepath.Join(secret, "program") + "\n"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700), os.WriteFile(filepath.Join(secret, name), []byte(text), 0o700))
	}
	r := landlock.New(landlock.V11).BestEffort(landlock.V1).Allow(landlock.FSReadExecute|landlock.FSWriteFile, dir).Allow(landlock.V11.FS(), free)
	landlocktest.Run(t, r, func(t *testing.T) {
		in := func(name string) string { return filepath.Join(dir, name) }
		out := func(name string) string { return filepath.Join(secret, name) }
		read := func(path string) error { _, err := os.ReadFile(path); return err }
		denies(t, "read what is allowed", read(in("file")), "it was allowed")
		denies(t, "read what is not", read(out("file")), "")
		denies(t, "what is not there", read(out("none")), "make it before")
		denies(t, "its mode", &fs.PathError{Op: "open", Path: filepath.Join(free, "no-mode"), Err: syscall.EACCES}, "the ruleset does not deny it")
		denies(t, "remove", os.Remove(in("file")), "")
		denies(t, "move", os.Rename(in("file"), out("file")), "")
		denies(t, "wrapped", fmt.Errorf("config: %w", read(out("file"))), "")
		denies(t, "by an errno", syscall.Unlink(in("file")), "")
		denies(t, "explained", rulesError(r.Check(landlock.FSReadFile, out("file"))), "")

		denies(t, "a program", program(out("program")), "")
		denies(t, "a program's interpreter", program(in("script")), "the ruleset allows the program itself")
		denies(t, "a program without streams", exec.Command(out("program")).Run(), "the null device")
		denies(t, "a program that is not there", program(out("none")), "make it before")

		parent, err := os.FindProcess(os.Getppid())
		must(t, err)
		if kernel.ABI >= landlock.V8 {
			denies(t, "a signal", parent.Signal(syscall.SIGCONT), "")
		}
		_, err = net.Dial("tcp", "127.0.0.1:1")
		if said := "Landlock does not answer that"; kernel.ABI >= landlock.V4 {
			denies(t, "connect", err, "")
		} else {
			denies(t, "connect", err, said)
		}
	})
	landlocktest.Run(t, landlock.New(landlock.V4).BestEffort(landlock.V1).FilterSockets(), func(t *testing.T) {
		if _, err := net.Dial("ip4:icmp", "127.0.0.1"); errors.Is(err, syscall.EACCES) { // where there is a filter
			denies(t, "a socket that is filtered", err, "")
		}
		refused := os.NewSyscallError("socket", syscall.EACCES)
		if _, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP); err == unix.EACCES {
			denies(t, "a socket of some kind", os.NewSyscallError("socket", err), "")
		}
		denies(t, "a socket that the filter allows", &net.OpError{Op: "dial", Net: "tcp", Err: refused}, "the ruleset does not deny it")
		denies(t, "the same, wrapped twice", errors.Join(io.EOF, &net.OpError{Op: "dial", Net: "tcp", Err: refused}), "the ruleset does not deny it")
	})
	// Also where it may have been one for UDP, which is then denied as well.
	landlocktest.Run(t, landlock.New(landlock.V10).BestEffort(landlock.V1).FilterSockets(), func(t *testing.T) {
		if _, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP); err == unix.EACCES {
			denies(t, "a socket of some kind", os.NewSyscallError("socket", err), "")
		}
	})
	// What is not restricted is not denied, whatever the errno.
	landlocktest.Run(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeDir}), func(t *testing.T) {
		denies(t, "not handled", &fs.PathError{Op: "open", Path: filepath.Join(secret, "file"), Err: syscall.EACCES}, "the ruleset does not deny it")
		denies(t, "no scope", os.NewSyscallError("kill", syscall.EPERM), "Landlock does not answer that")
		denies(t, "handled", os.Mkdir(filepath.Join(secret, "d"), 0o700), "")
	})
}

// Of joined errors one that is denied is enough, wherever it is.
func TestDeniedJoined(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	dir, secret := t.TempDir(), t.TempDir()
	must(t, write(dir, "file"), write(secret, "file"))
	landlocktest.Run(t, landlock.New(landlock.V11).BestEffort(landlock.V1).AllowReadWrite(dir), func(t *testing.T) {
		_, gone := os.Open(filepath.Join(dir, "none"))
		_, denied := os.Open(filepath.Join(secret, "file"))
		allowed := &fs.PathError{Op: "open", Path: dir, Err: syscall.EACCES}
		mode := &fs.PathError{Op: "chmod", Path: dir, Err: syscall.EACCES}
		for _, others := range [][]error{{gone}, {allowed}, {mode}, {io.EOF}, {gone, mode, nil}} {
			for _, err := range []error{errors.Join(append(others, denied)...), errors.Join(append([]error{denied}, others...)...)} {
				denies(t, "one of them", err, "")
				denies(t, "one of them, deeper", fmt.Errorf("a: %w, %w", io.EOF, fmt.Errorf("b: %w", err)), "")
			}
			denies(t, "none of them", errors.Join(append(others, mode)...), "Landlock does not answer that")
		}
		denies(t, "what names nothing", fmt.Errorf("%w: %w", syscall.EACCES, gone), "make it before")
		denies(t, "two, each with its reason", errors.Join(gone, mode), "outside of the sandbox; chmod")
	})
}

// What no operation returns is not denied, and does not end the test.
func TestDeniedNothing(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	all := func(t *testing.T) {
		for _, err := range []error{(*fs.PathError)(nil), (*os.LinkError)(nil), (*os.SyscallError)(nil), (*net.OpError)(nil), (*exec.ExitError)(nil), (*landlock.DeniedError)(nil)} {
			denies(t, "a nil pointer", err, "nil pointer")
			denies(t, "a nil pointer that is wrapped", fmt.Errorf("wrapped: %w", err), "nil pointer")
			landlocktest.Allowed(&observer{TB: t}, err)
		}
		for _, err := range []error{&fs.PathError{}, &os.LinkError{}, &os.SyscallError{}, &net.OpError{}, &exec.ExitError{}} {
			denies(t, "a zero error", err, "Landlock does not answer that")
			landlocktest.Allowed(&observer{TB: t}, err)
		}
	}
	all(t)
	landlocktest.Run(t, landlock.New(landlock.V1), all)
}

// Where something else than the ruleset denies, and where that cannot be told, nothing
// is denied.
func TestDeniedBySomethingElse(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	free, secret := t.TempDir(), t.TempDir()
	must(t, write(free, "file"), write(free, "no-mode"), write(free, "read-only"), write(secret, "file"))
	socket := filepath.Join(free, "socket")
	listener, err := net.Listen("unix", socket)
	must(t, err)
	defer listener.Close()
	must(t, os.Chmod(filepath.Join(free, "no-mode"), 0), os.Chmod(filepath.Join(free, "read-only"), 0o400), os.Chmod(socket, 0))
	must(t, os.Mkdir(filepath.Join(free, "closed"), 0), os.Symlink("file", filepath.Join(free, "link")))
	kernel, _ := landlock.Probe()
	const (
		allowed  = "the ruleset does not deny it"
		not      = "Landlock does not answer that"
		relative = "relative to"
	)
	r := landlock.New(landlock.V11).BestEffort(landlock.V1).Allow(landlock.V11.FS(), free)
	if _, err := os.Stat("/dev/shm"); err == nil {
		r.Allow(landlock.V11.FS(), "/dev/shm")
	}
	landlocktest.Run(t, r, func(t *testing.T) {
		in := func(name string) string { return filepath.Join(free, name) }
		fsys := os.DirFS(free)
		root, err := os.OpenRoot(free)
		must(t, err, withoutCapabilities())
		if _, err := os.ReadFile(in("no-mode")); !errors.Is(err, fs.ErrPermission) {
			t.Skipf("needs file modes that are minded: %v", err)
		}
		read := func(path string) error { _, err := os.ReadFile(path); return err }
		denies(t, "its mode", read(in("no-mode")), allowed)
		_, err = fs.ReadFile(fsys, "no-mode")
		denies(t, "its mode, by a DirFS", err, relative)
		_, err = root.ReadFile("no-mode")
		denies(t, "its mode, by a Root", err, relative)
		_, err = root.OpenFile("read-only", os.O_WRONLY, 0)
		denies(t, "its mode for writing, by a Root", err, relative)
		denies(t, "its mode, by a Root: remove", root.Mkdir("closed/new", 0o700), relative)
		denies(t, "its mode, by a Root: move", root.Rename("file", "closed/file"), relative)
		must(t, os.Chdir(free))
		denies(t, "its mode, in the working directory", read("no-mode"), relative)
		denies(t, "a program's mode, in the working directory", program("./no-mode"), relative)
		_, err = fs.ReadFile(os.DirFS(secret), "file")
		denies(t, "denied, by a DirFS", err, relative)
		_, err = fs.ReadFile(fsys, "none")
		denies(t, "not there, by a DirFS", err, "make it before")

		_, err = os.OpenFile(in("read-only"), os.O_WRONLY, 0)
		denies(t, "its mode, for writing", err, allowed)
		denies(t, "a directory's mode", read(in("closed/file")), allowed)
		denies(t, "a program's mode", program(in("no-mode")), allowed)
		_, err = net.Dial("unix", socket)
		denies(t, "a socket's mode", err, allowed)
		_, err = os.Stat(in("closed/file"))
		denies(t, "stat", err, not)
		_, err = os.Readlink(in("closed/link"))
		denies(t, "readlink", err, not)
		_, err = exec.LookPath(in("read-only"))
		denies(t, "a mode that is asked for", err, allowed)
		denies(t, "chmod", os.Chmod(in("closed/file"), 0), not)
		denies(t, "chown", os.Chown(in("file"), 1, 1), not)
		denies(t, "mount", os.NewSyscallError("mount", unix.Mount("none", free, "tmpfs", 0, "")), not)
		var here, there unix.Stat_t
		if unix.Stat("/dev/shm", &there) == nil && unix.Stat(free, &here) == nil && here.Dev != there.Dev {
			denies(t, "another mount", os.Rename(in("file"), fmt.Sprint("/dev/shm/landlocktest-", os.Getpid())), allowed)
		}
		if kernel.ABI >= landlock.V5 {
			denies(t, "an ioctl", &fs.PathError{Op: "ioctl", Path: in("file"), Err: syscall.EACCES}, allowed)
		}
		denies(t, "a guess", &landlock.DeniedError{Port: 80, Missing: landlock.Rights{Net: landlock.NetBindTCP}, Guess: true}, "a guess")
		denies(t, "a guess, and its program", errors.Join(&fs.PathError{Op: "fork/exec", Path: in("file"), Err: syscall.EACCES},
			&landlock.DeniedError{Path: in("file"), Port: -1, Missing: landlock.Rights{FS: landlock.FSExecute}, Guess: true}), "a guess")
		denies(t, "a program that is gone", errors.Join(&fs.PathError{Op: "fork/exec", Path: in("none"), Err: syscall.EACCES},
			&landlock.DeniedError{Path: in("none"), Port: -1, Missing: landlock.Rights{FS: landlock.FSExecute}}), "cannot be told")
	})
}

// Of the guesses that a file was opened for writing, those count that leave nothing
// else.
func TestDeniedForWriting(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	dir, secret := t.TempDir(), t.TempDir()
	must(t, write(dir, "file"), write(dir, "read-only"), write(secret, "file"))
	closed := filepath.Join(dir, "closed")
	must(t, os.Chmod(filepath.Join(dir, "read-only"), 0o400), os.Mkdir(closed, 0o500))
	r := landlock.New(landlock.V11).BestEffort(landlock.V1).AllowRead(dir)
	landlocktest.Run(t, r, func(t *testing.T) {
		must(t, withoutCapabilities())
		guess := func(op, path string, missing landlock.AccessFS) error {
			return fmt.Errorf("%w: %w", &fs.PathError{Op: op, Path: path, Err: syscall.EACCES},
				&landlock.DeniedError{Path: path, Port: -1, Missing: landlock.Rights{FS: missing}, Guess: true})
		}
		const writing = landlock.FSWriteFile | landlock.FSTruncate
		file := filepath.Join(dir, "file")
		_, err := os.OpenFile(file, os.O_WRONLY, 0)
		denies(t, "opened for writing", err, "")
		if unnamed, err := os.OpenFile(dir, unix.O_TMPFILE|os.O_RDWR, 0o600); errors.Is(err, syscall.EACCES) { // where there is O_TMPFILE
			denies(t, "a file without a name", err, "")
		} else {
			unnamed.Close()
		}
		denies(t, "a directory that its mode lets nobody write", guess("open", closed, landlock.FSWriteFile), "a guess")
		denies(t, "a directory that may not be read", guess("open", secret, landlock.FSWriteFile), "a guess")
		denies(t, "writing", guess("open", file, landlock.FSWriteFile), "")
		denies(t, "writing and truncating", guess("open", file, writing), "")
		denies(t, "more than writing", guess("open", file, writing|landlock.FSReadFile), "a guess")
		denies(t, "nothing", guess("open", file, 0), "a guess")
		denies(t, "another operation", guess("truncate", file, landlock.FSTruncate), "a guess")
		denies(t, "its mode", guess("open", filepath.Join(dir, "read-only"), landlock.FSWriteFile), "a guess")
		denies(t, "reading is denied", guess("open", filepath.Join(secret, "file"), landlock.FSWriteFile), "a guess")
		denies(t, "whether reading is denied cannot be told", guess("open", filepath.Join(dir, "none", "file"), landlock.FSWriteFile), "a guess")
	})
}

// withoutCapabilities has root heed file modes, on a thread that is then the
// goroutine's.
func withoutCapabilities() error {
	runtime.LockOSThread()
	return unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &make([]unix.CapUserData, 2)[0])
}

// program runs a program with the streams of this process.
func program(path string) error {
	cmd := exec.Command(path)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

// rulesError is an error of the package landlock as one of a program.
func rulesError(err error) error { return fmt.Errorf("beforehand: %w", err) }
