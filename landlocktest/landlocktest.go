// Package landlocktest is for the tests of programs that sandbox themselves. A
// sandbox cannot be undone, so [Run] runs a function of a test in a process of
// its own:
//
//	func TestSandbox(t *testing.T) {
//		landlocktest.NeedABI(t, landlock.V3)
//		dir := t.TempDir()
//		secret := filepath.Join(t.TempDir(), "secret")
//		...
//		landlocktest.Run(t, rules(dir), func(t *testing.T) {
//			if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
//				t.Error(err)
//			}
//			_, err := os.ReadFile(secret)
//			landlocktest.Denied(t, err)
//		})
//	}
//
// Test both sides: a sandbox that denies everything passes a test that looks for
// refusals alone, and one that denies nothing passes a test that looks only for
// what is to work.
package landlocktest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"

	"example.com/landlock"
	"example.com/landlock/internal/testchild"
)

// sandbox is what this process is restricted by, in the function of a Run.
var sandbox struct {
	rules  *landlock.Ruleset // nil outside
	report landlock.Report
}

// Run runs f as the subtest "sandboxed" of t, in a child process that the
// ruleset is applied to, by [landlock.Ruleset.Apply]. What f and its subtests
// log, their failures and skips are reported here as those of any subtest, and
// Run reports whether f succeeded, as [testing.T.Run] does.
//
// The child is the test binary, started again for that one subtest. It executes
// TestMain, and the test around up to this call, as this process does and not
// sandboxed; then it restricts itself, runs f, and ends. So f can use what the test
// around has made, such as a temporary directory or a server; each process has
// its own. The rest of the test, all that it defers, and what TestMain does
// afterwards, are only for this process; on Linux, programs that the child has
// started are killed at its end. What f assigns to variables does not come back.
//
// A function that does not come to its end fails the test: one that panics, exits
// with any status, calls [runtime.Goexit], executes another program, is killed, or
// has not run at all, since the test around did not come to Run in the child as it
// does here. So does one that fails the t of the test around. Whether a t further
// out has failed cannot be told in the child: where one logs while f runs, as Error
// does, the test fails; its Fail alone goes unnoticed.
//
// Where Apply fails the test fails, whatever the reason. A test that is to be
// skipped without Landlock, or on a kernel that is too old, says so by [NeedABI]
// before Run. A ruleset with BestEffort restricts what it can here, and one with a
// floor of 0 possibly nothing at all: f runs all the same, and the Report, which is
// logged, says so.
//
// TempDir of f's own t works whatever the ruleset allows: Run adds FSReadWrite
// beneath a directory that these are made in, and nothing else. The TempDir of the
// test around, and [os.TempDir], are other directories of the child, and denied
// unless the ruleset allows them. This process removes them all. Chdir opens the
// directory that it leaves, and ArtifactDir with -artifacts makes one elsewhere:
// both need a rule.
//
// Tests that call Run may be parallel, and so may subtests of f. f itself may call
// neither Parallel nor Run. Two Runs of one t come one after the other, and in the
// same order in each process: a test that ranges over a map makes a subtest for
// each, with the key as its name. A fuzz target can call Run for its seeds, and
// fails while it is fuzzing.
//
// The child gets the flags of this process: -run and -skip select subtests of f,
// and -race, -short, -cpu, -failfast, -args and the like work. testing.Verbose is
// always true. A function that hangs is ended, and shows where, before -timeout
// ends this process. What f covers counts for -cover and -coverprofile of go test;
// other profiles are of this process alone. The cache of go test does not know the
// files that only f opens: -count=1 runs the test again.
func Run(t *testing.T, rules *landlock.Ruleset, f func(t *testing.T)) bool {
	t.Helper()
	if rules == nil || f == nil {
		t.Fatal("landlocktest: Run with a nil ruleset or function")
	}
	return testchild.Run(t, "sandboxed", nil, func(t *testing.T, own string) {
		t.Helper()
		apply(t, rules.Clone(), own)
		f(t)
	})
}

// apply restricts this process, but for its own directory.
func apply(t *testing.T, rules *landlock.Ruleset, own string) {
	t.Helper()
	if access := landlock.FSReadWrite & rules.Handled().FS; access != 0 {
		rules.Allow(access, own)
	}
	report, err := rules.Apply()
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		t.Fatalf("%v (to skip the test here, call landlocktest.NeedABI before Run)", err)
	case err != nil:
		t.Fatal(err)
	}
	sandbox.rules, sandbox.report = rules, report
	t.Log(report)
}

// NeedABI skips the test where the kernel does not have this ABI of Landlock, and
// says so. In a test that calls [Run] it comes before.
func NeedABI(t testing.TB, abi landlock.ABI) {
	t.Helper()
	if abi < landlock.V1 {
		t.Fatalf("landlocktest: need %v", abi)
	}
	kernel, err := landlock.Probe()
	switch {
	case err != nil:
		t.Skipf("needs Landlock %v: %v", abi, err)
	case kernel.ABI < abi:
		t.Skipf("needs Landlock %v, this kernel has ABI %d", abi, int(kernel.ABI))
	}
}

// Denied fails the test, and goes on, unless err is what comes of an operation
// that Landlock has denied. nil is not, and neither is the error of a file that is
// not there.
//
// In the function of a [Run] it asks [landlock.Ruleset.Explain]: the ruleset must
// deny what the error names. A file that its mode keeps from this user is not
// denied in that sense, nor is a program whose loader or interpreter is: the
// program itself must be. How a file was opened is in no error: where the ruleset
// denies reading or writing it, either counts. The null device, which os/exec opens
// where a command has no Stdin, never is: the ruleset of a test that starts
// programs allows it.
//
// An error that names no operation, such as a bare errno of golang.org/x/sys/unix
// or what [os.Process.Signal] returns, and every error outside of Run, counts by
// its errno, and may have other causes: EACCES; EXDEV of a move or link between
// directories; EPERM of a signal or an abstract Unix socket.
func Denied(t testing.TB, err error) {
	t.Helper()
	if reason := notDenied(err); reason != "" {
		if sandbox.rules != nil && sandbox.report.Enforced == (landlock.Rights{}) {
			reason += "; " + sandbox.report.String()
		}
		t.Error("not denied: " + reason)
	}
}

// notDenied returns why an error is no refusal of Landlock's, or "".
func notDenied(err error) string {
	if err == nil {
		return "there is no error: it was allowed"
	}
	if sandbox.rules != nil {
		err = sandbox.rules.Explain(err)
	}
	var denied *landlock.DeniedError
	switch {
	case errors.As(err, &denied):
		return notMeant(err, denied)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("%v: make it before, and outside of the sandbox", err)
	case !byErrno(err):
		return fmt.Sprintf("%v: Landlock does not answer that", err)
	case sandbox.rules != nil && namesOperation(err):
		return fmt.Sprintf("%v: the ruleset does not deny it, something else does", err)
	}
	return ""
}

// notMeant returns why what was denied is not what a test is about, or "".
func notMeant(err error, denied *landlock.DeniedError) string {
	if denied.Path == os.DevNull {
		return fmt.Sprintf("%v: that is the null device, which os/exec opens for a command without streams: allow it in the ruleset", err)
	}
	var path *fs.PathError
	if sandbox.rules == nil || !errors.As(err, &path) || path.Op != "fork/exec" {
		return ""
	}
	if sandbox.rules.Check(landlock.FSExecute, path.Path) == nil {
		return fmt.Sprintf("%v: the ruleset allows the program itself", err)
	}
	return ""
}

// namesOperation reports whether an error says what was tried, for Explain.
func namesOperation(err error) bool {
	var path *fs.PathError
	var link *os.LinkError
	if errors.As(err, &path) || errors.As(err, &link) {
		return true
	}
	for ; err != nil; err = errors.Unwrap(err) {
		if fmt.Sprintf("%T", err) == "*net.OpError" { // net would make it a binary with cgo
			return true
		}
	}
	return false
}
