package landlock

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"example.com/landlock/internal/seccomp"
	"example.com/landlock/internal/testchild"
)

const (
	childDir = "LANDLOCK_CHILD_DIR" // the scratch directory of a child, see inChild
	childTry = "LANDLOCK_CHILD_TRY" // be a program that tries what its arguments say
	checkOps = "LANDLOCK_CHECK_OPS" // how many operations TestCheckIsTheKernels compares; without, as many as there are in some seconds
)

func TestMain(m *testing.M) {
	if os.Getenv(childTry) != "" {
		tryAll(os.Args[1:])
		syscall.Exit(0) // without the hooks that write a coverage profile
	}
	testchild.HearSignals()
	os.Exit(m.Run())
}

// inChild runs f in a process of its own, since a restriction cannot be undone,
// with a scratch directory that prepare has filled. Where that can be, it does so
// twice: as this user, and as one without any privileges.
func inChild(t *testing.T, prepare, f func(t *testing.T, dir string)) {
	t.Helper()
	inChildAs(t, testUsers(), prepare, f)
}

// inChildAs is inChild for these users.
func inChildAs(t *testing.T, users []testUser, prepare, f func(t *testing.T, dir string)) {
	t.Helper()
	for _, user := range users {
		testchild.Run(t, user.name, func(t *testing.T, cmd *exec.Cmd, own string) {
			dir := scratch(t)
			if prepare != nil {
				prepare(t, dir)
			}
			cmd.Path = self()
			cmd.Env = append(cmd.Env, childDir+"="+dir, "TMPDIR="+dir)
			user.become(cmd, dir)
		}, func(t *testing.T, _ string) {
			os.Unsetenv("GOTMPDIR")
			f(t, os.Getenv(childDir))
			testchild.End(t) // it may be unable to remove what it has made: the parent does
		})
	}
}

// longTests says that what takes long is to run at full length.
func longTests() bool { return os.Getenv("LANDLOCK_LONG_TESTS") != "" }

// scratch makes a directory for the children of a test, whoever they run as.
func scratch(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// write makes a file that everybody may use.
func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, filepath.Dir(path)} {
		os.Chmod(p, 0o777) // whatever the umask
	}
	return path
}

// needABI skips a test that the kernel cannot run.
func needABI(t testing.TB, need ABI) {
	t.Helper()
	if testchild.Inside() {
		return // the parent has asked, and Probe keeps its first answer
	}
	kernel, err := Probe()
	if err != nil {
		t.Skipf("needs ABI %d: %v", int(need), err)
	}
	if kernel.ABI < need {
		t.Skipf("needs ABI %d, this kernel has %d", int(need), int(kernel.ABI))
	}
}

// socketFilters returns why there is no filter to be had, or nil.
func socketFilters() error {
	_, err := newSocketFilter(seccomp.Sockets{})
	return err
}

// needBelow skips a test of what only older kernels do.
func needBelow(t testing.TB, limit ABI) {
	t.Helper()
	if testchild.Inside() {
		return
	}
	if kernel, _ := Probe(); kernel.ABI >= limit {
		t.Skipf("needs a kernel below ABI %d, this one has %d", int(limit), int(kernel.ABI))
	}
}

func mustApply(t *testing.T, r *Ruleset) Report {
	t.Helper()
	report, err := r.Apply()
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	return report
}

func TestWithoutLandlock(t *testing.T) {
	if _, err := Probe(); err == nil {
		t.Skip("this kernel has Landlock")
	}
	checkWithoutLandlock(t)
}

// checkWithoutLandlock checks what holds where Probe fails.
func checkWithoutLandlock(t *testing.T) {
	t.Helper()
	_, reason := Probe()
	if _, err := New(V1).AllowRead("/").Apply(); err != reason {
		t.Errorf("strict Apply: %v, want %v", err, reason)
	}
	if _, err := New(V5).BestEffort(V1).Prepare(); err != reason {
		t.Errorf("Prepare with a floor of V1: %v, want %v", err, reason)
	}
	report, err := New(V5).BestEffort(0).AllowRead("/nonexistent").Apply()
	if err != nil || !report.Enforced.isZero() || report.Missing != V5.Rights() || report.Complete() {
		t.Errorf("Apply with a floor of 0: %v, %v, want everything missing", report, err)
	}
	if !strings.Contains(report.String(), "NOT SANDBOXED") {
		t.Errorf("the report does not say it: %v", report)
	}
	if _, err := os.ReadDir(t.TempDir()); err != nil {
		t.Errorf("after an Apply that restricts nothing: %v", err)
	}
	if _, err := New(V5).BestEffort(0).AllowRead("").Apply(); err == nil {
		t.Error("a mistake is not reported without Landlock")
	}
	sandbox, err := New(V5).BestEffort(0).Prepare()
	if err != nil || sandbox.Fd() != ^uintptr(0) || sandbox.Report().Complete() {
		t.Fatalf("Prepare with a floor of 0: %v", err)
	}
	ran := false
	if err := sandbox.Do(func() error { ran = true; return nil }); err != nil || !ran {
		t.Errorf("Do with nothing to enforce: %v, ran %v", err, ran)
	}
	if err := sandbox.Run(exec.Command(self(), "-test.run=^$")); err != nil {
		t.Errorf("Run with nothing to enforce: %v", err)
	}
	if err := errors.Join(sandbox.Close(), sandbox.Close()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := sandbox.Do(func() error { return nil }); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Do after Close: %v", err)
	}
}
