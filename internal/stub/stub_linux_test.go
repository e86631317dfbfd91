package stub

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// run runs a stub as a program, with a status pipe.
func run(t *testing.T, image Image, path string, args ...string) (output string, f Failure, failed bool) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	program := filepath.Join(t.TempDir(), "stub")
	image.calls = slices.Clone(image.calls)
	if path == "" {
		image.ExecuteOpen(descriptor(&image, 4))
	} else {
		image.Execute(path)
	}
	if err := os.WriteFile(program, image.Bytes(descriptor(&image, 3)), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Args = args
	cmd.ExtraFiles = []*os.File{write}
	if self, err := os.Open("/bin/sh"); err == nil {
		defer self.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, self)
	}
	cmd.Env = []string{"STUB=an environment"}
	out, err := cmd.Output()
	write.Close()
	f, failed, readErr := ReadFailure(read)
	if readErr != nil || failed != (err != nil) {
		t.Errorf("%v, status %v", err, readErr)
	}
	return string(out), f, failed
}

// descriptor gives an image a number that its calls can change.
func descriptor(image *Image, fd int32) uintptr {
	return image.Writable(binary.NativeEndian.AppendUint32(nil, uint32(fd)))
}

func TestImage(t *testing.T) {
	if !Supported {
		t.Skip("needs an architecture with a stub")
	}
	closeOnExec := Call{Number: unix.SYS_FCNTL, Args: [5]uintptr{3, unix.F_SETFD, unix.FD_CLOEXEC}}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("needs sh")
	}
	script := `echo "$0 $1 $STUB"; if (: >&3) 2>/dev/null; then echo open; fi`
	out, _, failed := run(t, Image{calls: []Call{closeOnExec}}, sh, "zero", "-c", script, "name", "argument")
	if out != "name argument an environment\n" || failed {
		t.Errorf("output %q, failed %v", out, failed)
	}
	for _, test := range []struct {
		name  string
		calls []Call
		path  string
		want  Failure
	}{
		{"no program", nil, "/nonexistent", Failure{0, int(syscall.ENOENT)}},
		{"no program after calls", []Call{closeOnExec, closeOnExec}, "/", Failure{2, int(syscall.EACCES)}},
		{"a call", []Call{closeOnExec, {Number: unix.SYS_CLOSE, Args: [5]uintptr{1 << 20}}, closeOnExec}, sh, Failure{1, int(syscall.EBADF)}},
		{"five arguments", []Call{{Number: unix.SYS_PRCTL, Args: [5]uintptr{unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 1}}}, sh, Failure{0, int(syscall.EINVAL)}},
		{"a long path", nil, "/" + strings.Repeat("x", 5000), Failure{0, int(syscall.ENAMETOOLONG)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, f, failed := run(t, Image{calls: test.calls}, test.path, "x", "-c", "echo ran")
			if f != test.want || !failed || out != "" {
				t.Errorf("failed %v, %+v, want %+v; output %q", failed, f, test.want, out)
			}
		})
	}
	var image Image
	image.Data([]byte("odd"))
	image.Add(unix.SYS_CHDIR, image.Path("/usr"))
	image.Execute(sh)
	program := filepath.Join(t.TempDir(), "stub")
	if err := os.WriteFile(program, image.Bytes(0), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-c", "pwd -P")
	cmd.Stderr = os.Stderr
	if out, err := cmd.Output(); string(out) != "/usr\n" || err != nil {
		t.Errorf("%v: %q", err, out)
	}
}

// A call can take a descriptor from memory and leave one there, and the program
// can be one.
func TestDescriptors(t *testing.T) {
	if !Supported {
		t.Skip("needs an architecture with a stub")
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("needs sh")
	}
	var image Image
	number := descriptor(&image, -1)
	image.Add(unix.SYS_FCNTL|Store, 1, unix.F_DUPFD, 60, 0, number)
	image.Add(unix.SYS_DUP3|Indirect, number, 2)
	if out, _, failed := run(t, image, sh, "x", "-c", "echo here >&2; echo there >/proc/self/fd/60"); out != "here\nthere\n" || failed {
		t.Errorf("output %q, failed %v", out, failed)
	}
	image.Add(unix.SYS_CLOSE|Indirect, number)
	image.Add(unix.SYS_CLOSE|Indirect, number)
	if _, f, failed := run(t, image, sh, "x", "-c", "echo ran"); !failed || f != (Failure{3, int(syscall.EBADF)}) {
		t.Errorf("failed %v, %+v: closed twice", failed, f)
	}
	image.calls = image.calls[:2]
	if out, _, failed := run(t, image, "", "x", "-c", "echo ran"); out != "ran\n" || failed {
		t.Errorf("a program by its descriptor: output %q, failed %v", out, failed)
	}
	// It is stored where a failure is reported to, too.
	program := filepath.Join(t.TempDir(), "stub")
	image = Image{}
	status := descriptor(&image, 100) // which is not open
	image.Add(unix.SYS_FCNTL|Store, 1, unix.F_DUPFD_CLOEXEC, 60, 0, status)
	image.Execute("/nonexistent")
	if err := os.WriteFile(program, image.Bytes(status), 0o755); err != nil {
		t.Fatal(err)
	}
	out, _ := exec.Command(program).Output()
	if f, failed, err := ReadFailure(bytes.NewReader(out)); f != (Failure{1, int(syscall.ENOENT)}) || !failed || err != nil {
		t.Errorf("%+v, %v, %v", f, failed, err)
	}
}

// What fails is said in words, where there are some for it, and ends the stub as they
// have it.
func TestSay(t *testing.T) {
	if !Supported {
		t.Skip("needs an architecture with a stub")
	}
	for _, test := range []struct {
		name   string
		add    func(i *Image)
		text   string
		status int
	}{
		{"a call", func(i *Image) { i.Add(unix.SYS_CLOSE, 1<<20) }, "first: bad file descriptor\n", StatusFailed},
		{"the last that has a name", func(i *Image) { i.Add(Same, 1, 2, 132) }, "first: " + syscall.Errno(132).Error() + "\n", StatusFailed},
		{"one without a name", func(i *Image) { i.Add(Same, 1, 2, 41) }, "first: an error that has no name\n", StatusFailed},
		{"a later one", func(i *Image) { i.Add(Same, 1, 2, mostErrno+1) }, "first: an error that has no name\n", StatusFailed},
		{"no program", func(i *Image) { i.Execute("/nonexistent") }, "first: no such file or directory\n", StatusFailed},
		{"a reason of its own", func(i *Image) {
			i.Add(Same, 7, 7, uintptr(syscall.EBADF))
			i.Say("first: ")
			i.Execute("/nonexistent")
			i.Say("second: ", Reason{int(syscall.EACCES), "not this", 1}, Reason{int(syscall.ENOENT), "this", StatusMissing}, Reason{int(syscall.ENOENT), "not this", 2})
		}, "second: this\n", StatusMissing},
		{"none of its own", func(i *Image) {
			i.Execute("/")
			i.Say("second: ", Reason{int(syscall.ENOENT), "not this", 1})
		}, "second: permission denied\n", StatusFailed},
		{"other words", func(i *Image) { i.Add(Same|Indirect, descriptor(i, 5), 6, uintptr(syscall.EPERM)) }, "first: operation not permitted\n", StatusFailed},
		{"the same words", func(i *Image) {
			i.Add(Same|Indirect, descriptor(i, -5), uintptr(0xfffffffb), uintptr(syscall.EPERM))
			i.Execute("/nonexistent")
		}, "first: no such file or directory\n", StatusFailed},
	} {
		t.Run(test.name, func(t *testing.T) {
			image := Talking()
			test.add(&image)
			image.Execute("/bin/sh")
			image.Say("first: ")
			program := filepath.Join(t.TempDir(), "stub")
			if err := os.WriteFile(program, image.Bytes(0), 0o755); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(program, "-c", "echo ran").CombinedOutput()
			exit, ok := errors.AsType[*exec.ExitError](err)
			if string(out) != test.text || !ok || exit.ExitCode() != test.status {
				t.Errorf("%v: %q, want status %d: %q", err, out, test.status, test.text)
			}
		})
	}
}

// No reason is the number of an errno.
func TestWords(t *testing.T) {
	if Supported && bytes.Contains(words(), []byte("errno ")) {
		t.Error("a number in the words")
	}
}
