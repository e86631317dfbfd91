package stub

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// run runs a stub as a program, with a status pipe.
func run(t *testing.T, calls []Call, path string, args ...string) (output string, f Failure, failed bool) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	program := filepath.Join(t.TempDir(), "stub")
	if err := os.WriteFile(program, (&Image{calls: calls}).Bytes(3, path), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Args = args
	cmd.ExtraFiles = []*os.File{write}
	cmd.Env = []string{"STUB=an environment"}
	out, err := cmd.Output()
	write.Close()
	f, failed, readErr := ReadFailure(read)
	if readErr != nil || failed != (err != nil) {
		t.Errorf("%v, status %v", err, readErr)
	}
	return string(out), f, failed
}

func TestImage(t *testing.T) {
	if !Supported {
		t.Skip("needs an architecture with a stub")
	}
	closeOnExec := Call{unix.SYS_FCNTL, [5]uintptr{3, unix.F_SETFD, unix.FD_CLOEXEC}}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("needs sh")
	}
	script := `echo "$0 $1 $STUB"; if (: >&3) 2>/dev/null; then echo open; fi`
	out, _, failed := run(t, []Call{closeOnExec}, sh, "zero", "-c", script, "name", "argument")
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
		{"a call", []Call{closeOnExec, {unix.SYS_CLOSE, [5]uintptr{1 << 20}}, closeOnExec}, sh, Failure{1, int(syscall.EBADF)}},
		{"five arguments", []Call{{unix.SYS_PRCTL, [5]uintptr{unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 1}}}, sh, Failure{0, int(syscall.EINVAL)}},
		{"a long path", nil, "/" + strings.Repeat("x", 5000), Failure{0, int(syscall.ENAMETOOLONG)}},
		{"an empty path", nil, "", Failure{0, int(syscall.ENOENT)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, f, failed := run(t, test.calls, test.path, "x", "-c", "echo ran")
			if f != test.want || !failed || out != "" {
				t.Errorf("failed %v, %+v, want %+v; output %q", failed, f, test.want, out)
			}
		})
	}
	var image Image
	image.Data([]byte("odd"))
	image.Add(unix.SYS_CHDIR, image.Path("/usr"))
	program := filepath.Join(t.TempDir(), "stub")
	if err := os.WriteFile(program, image.Bytes(2, sh), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-c", "pwd -P")
	cmd.Stderr = os.Stderr
	if out, err := cmd.Output(); string(out) != "/usr\n" || err != nil {
		t.Errorf("%v: %q", err, out)
	}
}
