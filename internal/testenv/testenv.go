// Package testenv has what the tests of the library need of the machine that they run
// on: children to restrict, as this user and as an ordinary one, files for them, and a
// word on whether the kernel and the user can do at all what a test is about.
//
// It does not import the library, whose own tests import it.
package testenv

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"example.com/landlock/internal/testchild"
)

// ChildDir is the environment variable with the scratch directory of a child.
const ChildDir = "LANDLOCK_CHILD_DIR"

// InChild runs f in a process of its own, since a restriction cannot be undone,
// with a scratch directory that prepare has filled. Where that can be, it does so
// twice: as this user, and as one without any privileges.
func InChild(t *testing.T, prepare, f func(t *testing.T, dir string)) {
	t.Helper()
	InChildAs(t, Users(), prepare, f)
}

// InChildAs is InChild for these users.
func InChildAs(t *testing.T, users []User, prepare, f func(t *testing.T, dir string)) {
	t.Helper()
	for _, user := range users {
		testchild.Run(t, user.Name, func(t *testing.T, cmd *exec.Cmd, own string) {
			dir := Scratch(t)
			if prepare != nil {
				prepare(t, dir)
			}
			cmd.Path = Self()
			cmd.Env = append(cmd.Env, ChildDir+"="+dir, "TMPDIR="+dir)
			user.become(cmd, dir)
		}, func(t *testing.T, _ string) {
			os.Unsetenv("GOTMPDIR")
			f(t, os.Getenv(ChildDir))
			testchild.End(t) // it may be unable to remove what it has made: the parent does
		})
	}
}

// InBoth runs f in a child for each user, where there is Landlock: what it starts is
// restricted, it itself is not. Its directory has a file "secret" and one "own/file".
func InBoth(t *testing.T, f func(t *testing.T, dir string)) {
	t.Helper()
	NeedABI(t, 1)
	InChild(t, func(t *testing.T, dir string) {
		Write(t, filepath.Join(dir, "secret"), "secret")
		Write(t, filepath.Join(dir, "own", "file"), "file")
	}, f)
}

// LongTests says that what takes long is to run at full length.
func LongTests() bool { return os.Getenv("LANDLOCK_LONG_TESTS") != "" }

// Scratch makes a directory for the children of a test, whoever they run as.
func Scratch(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Write makes a file that everybody may use.
func Write(t testing.TB, path, text string) string {
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

// NeedABI skips a test that the kernel cannot run. In a child it does nothing: the
// parent has asked.
func NeedABI[ABI ~int](t testing.TB, need ABI) {
	t.Helper()
	if testchild.Inside() {
		return
	}
	abi, err := kernelABI()
	if err != nil {
		t.Skipf("needs ABI %d: %v", int(need), err)
	}
	if abi < int(need) {
		t.Skipf("needs ABI %d, this kernel has %d", int(need), abi)
	}
}

// NeedBelow skips a test of what only older kernels do.
func NeedBelow[ABI ~int](t testing.TB, limit ABI) {
	t.Helper()
	if testchild.Inside() {
		return
	}
	if abi, _ := kernelABI(); abi >= int(limit) {
		t.Skipf("needs a kernel below ABI %d, this one has %d", int(limit), abi)
	}
}

// NeedRoot skips what an ordinary user cannot do. In a child it comes first, before
// the function takes privileges away.
func NeedRoot(t testing.TB, why string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, " + why)
	}
}

// MustApply applies a ruleset, and returns the report.
func MustApply[Report any](t *testing.T, ruleset interface{ Apply() (Report, error) }) Report {
	t.Helper()
	report, err := ruleset.Apply()
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	return report
}

// MustPrepare prepares a ruleset. The Sandbox is closed when the test ends.
func MustPrepare[Sandbox io.Closer](t testing.TB, ruleset interface{ Prepare() (Sandbox, error) }) Sandbox {
	t.Helper()
	s, err := ruleset.Prepare()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
