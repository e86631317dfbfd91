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
	"strings"
	"syscall"
	"testing"

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

		run := func(path string) error {
			cmd := exec.Command(path)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
			return cmd.Run()
		}
		denies(t, "a program", run(out("program")), "")
		denies(t, "a program's interpreter", run(in("script")), "the ruleset allows the program itself")
		denies(t, "a program without streams", exec.Command(out("program")).Run(), "the null device")
		denies(t, "a program that is not there", run(out("none")), "make it before")

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
	// What is not restricted is not denied, whatever the errno.
	landlocktest.Run(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeDir}), func(t *testing.T) {
		denies(t, "not handled", &fs.PathError{Op: "open", Path: filepath.Join(secret, "file"), Err: syscall.EACCES}, "the ruleset does not deny it")
		denies(t, "no scope", os.NewSyscallError("kill", syscall.EPERM), "Landlock does not answer that")
		denies(t, "handled", os.Mkdir(filepath.Join(secret, "d"), 0o700), "")
	})
}

// rulesError is an error of the package landlock as one of a program.
func rulesError(err error) error { return fmt.Errorf("beforehand: %w", err) }
