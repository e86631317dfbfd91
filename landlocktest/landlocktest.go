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
//			landlocktest.Allowed(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
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
	"path/filepath"
	"reflect"
	"slices"
	"strings"
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
// started are killed at its end. What f assigns to variables does not come back. Where
// f panics, the Cleanups of the tests around run in the child as well, sandboxed as it
// is by then: what they log there is left out.
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
// logged, says so. A line of its own has what of the ruleset was not tested on this
// kernel, since it cannot restrict it, such as
//
//	not tested on ABI 7: resolve_unix, UDP, scopes of a whole process
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
	if line := untested(report); line != "" {
		t.Log(line)
	}
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

// Allowed fails the test, and goes on, unless err is nil. In the function of a [Run]
// it says what [landlock.Ruleset.Explain] does: which right is missing, and which rule
// would allow it.
func Allowed(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error("not allowed: " + fmt.Sprint(explained(err))) // which prints a nil pointer too
	}
}

// explained is an error with the reasons for it, where a ruleset is known.
func explained(err error) error {
	if sandbox.rules == nil {
		return err
	}
	return sandbox.rules.Explain(err)
}

// Denied fails the test, and goes on, unless err is what comes of an operation
// that Landlock has denied. nil is not, and neither is the error of a file that is
// not there.
//
// In the function of a [Run] it asks [landlock.Ruleset.Explain]: the ruleset must
// deny what the error names, and what cannot be told fails the test, with the reason.
// A file that its mode keeps from this user is not denied in that sense, nor is a
// program whose loader or interpreter is: the program itself must be. A
// [landlock.DeniedError] that is a Guess does not count, such as that of
// [net.Listen] on a port below 1024 without CAP_NET_BIND_SERVICE. How a file was opened
// is in no error: where the ruleset and the mode allow reading it, the mode allows
// writing, and the ruleset does not, it counts as opened for writing (a directory, for
// O_TMPFILE). Where the ruleset denies reading it that is the reason, and a file that was opened
// for writing counts though its mode forbids that alone: give files of a test that are to be
// denied a mode that lets this user read and write them. A program that is denied counts
// though Dir of the [exec.Cmd] may not be searched, which is the same error: have it
// be one that may. So does a socket that [landlock.Ruleset.FilterSockets] refuses. The null device,
// which os/exec opens where a command has no Stdin, never counts: the ruleset of a test
// that starts programs allows it.
//
// Of errors that are joined, by [errors.Join] or several %w, those count that name what
// was tried, and one that is denied for sure is enough: what a function returns that went
// on after a refusal is an error that the refusal is in. To have all of them denied, call
// Denied for each.
//
// Name files by paths that begin with /. A relative one, of [os.DirFS] and [os.Root]
// above all, does not tell what was tried, and fails the test where the error leaves
// open what it is relative to: ask [landlock.Ruleset.Check] for the whole path.
//
// An error that names no object, such as a bare errno of golang.org/x/sys/unix
// or what [os.Process.Signal] returns, and every error outside of Run, counts by
// its errno, and may have other causes: EACCES; EXDEV of a move or link between
// directories; EPERM of a signal or an abstract Unix socket. Where the error has the
// name of a call, Landlock must be able to deny that with this errno: it never denies
// stat, chmod, chown or readlink.
func Denied(t testing.TB, err error) {
	t.Helper()
	if reason := notDenied(err); reason != "" {
		if sandbox.rules != nil && sandbox.report.Enforced == (landlock.Rights{}) {
			reason += "; " + sandbox.report.String()
		}
		t.Error("not denied: " + reason)
	}
}

// notDenied returns why an error is no refusal of Landlock's, or "". Of several one is
// enough that is.
func notDenied(err error) string {
	var reasons []string
	for _, part := range partsOf(err) {
		reason := partNotDenied(part)
		if reason == "" {
			return ""
		}
		reasons = append(reasons, reason)
	}
	return strings.Join(reasons, "; ")
}

// partsOf returns those of the errors joined in err's tree that name what was tried, or
// err itself where none does.
func partsOf(err error) []error {
	parts := slices.DeleteFunc(split(err), func(part error) bool {
		return slices.ContainsFunc(tree(part), isNil) || !namesObject(part) && callOf(part) == ""
	})
	if len(parts) == 0 {
		return []error{err}
	}
	return parts
}

// split returns the errors that are joined in err's tree, or err itself. One that comes
// with its DeniedErrors is one.
func split(err error) (parts []error) {
	for _, inner := range tree(err) {
		joined, ok := inner.(interface{ Unwrap() []error })
		switch {
		case isNil(inner):
			return []error{err}
		case !ok:
			continue
		case slices.ContainsFunc(joined.Unwrap(), isDenial):
			return []error{err}
		}
		for _, one := range joined.Unwrap() {
			parts = append(parts, split(one)...)
		}
		return parts
	}
	return []error{err}
}

func isDenial(err error) bool {
	_, ok := err.(*landlock.DeniedError)
	return ok
}

func isNil(err error) bool {
	value := reflect.ValueOf(err)
	return err == nil || value.Kind() == reflect.Pointer && value.IsNil()
}

// partNotDenied is notDenied for one error.
func partNotDenied(err error) string {
	switch {
	case err == nil:
		return "there is no error: it was allowed"
	case slices.ContainsFunc(tree(err), isNil):
		return fmt.Sprintf("a nil pointer in %T is the error of no operation", err)
	}
	tried := err
	var call *os.SyscallError
	if !namesObject(tried) && !errors.As(tried, &call) && len(landlock.All[*landlock.DeniedError](tried)) == 0 && byErrno(tried) {
		return "" // an errno alone, which Explain could only guess at
	}
	err = explained(err)
	all := landlock.All[*landlock.DeniedError](err)
	knows := len(tree(err)) != len(tree(tried)) // Explain has something to say of it
	switch {
	case len(all) == 0 && errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("%v: make it before, and outside of the sandbox", err)
	case len(all) == 0 && !byErrno(err):
		return fmt.Sprintf("%v: Landlock does not answer that", err)
	case sandbox.rules != nil && relative(err):
		return fmt.Sprintf("%v: what the path is relative to (a directory of os.DirFS, os.Root or exec.Cmd, or the working directory) "+
			"is not in the error, so whether that is denied cannot be told: use a path that begins with /, or ask Check", err)
	case sandbox.report.SocketFilter && makesSocket(tried) && knows && (len(all) == 0 || !namesObject(tried)):
		return "" // it has refused a kind of socket
	case len(all) > 0:
		return notMeant(err, all)
	case sandbox.rules != nil && knows:
		return fmt.Sprintf("%v: no right of the ruleset is known to deny it", err)
	case sandbox.rules != nil && namesObject(tried):
		return fmt.Sprintf("%v: the ruleset does not deny it, something else does", err)
	}
	return ""
}

// tree returns an error, and all that it wraps.
func tree(err error) []error {
	all := []error{err}
	if isNil(err) {
		return all // its methods would not expect that
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			all = append(all, tree(inner)...)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			all = append(all, tree(inner)...)
		}
	}
	return all
}

// makesSocket reports whether an error is that of making a socket.
func makesSocket(err error) bool {
	var call *os.SyscallError
	return errors.As(err, &call) && (call.Syscall == "socket" || call.Syscall == "socketpair")
}

// notMeant returns why nothing of what was denied is what a test is about, or "".
func notMeant(err error, all []*landlock.DeniedError) string {
	if slices.ContainsFunc(all, func(denied *landlock.DeniedError) bool { return denied.Path == os.DevNull }) {
		return fmt.Sprintf("%v: that is the null device, which os/exec opens for a command without streams: allow it in the ruleset", err)
	}
	var path *fs.PathError
	if sandbox.rules != nil && errors.As(err, &path) && path.Op == "fork/exec" {
		program, statErr := os.Stat(path.Path)
		if statErr != nil {
			return fmt.Sprintf("%v: whether the program itself is denied cannot be told: %v", err, statErr)
		}
		all = slices.DeleteFunc(all, func(denied *landlock.DeniedError) bool {
			info, err := os.Stat(denied.Path)
			return err != nil || !os.SameFile(info, program)
		})
		if len(all) == 0 {
			return fmt.Sprintf("%v: the ruleset allows the program itself", err)
		}
	}
	certain := func(denied *landlock.DeniedError) bool { return !denied.Guess || forWriting(path, denied) }
	if !slices.ContainsFunc(all, certain) {
		return fmt.Sprintf("%v: that is a guess: whether the ruleset denied it cannot be told", err)
	}
	return ""
}

// forWriting reports whether a file can only have been opened for writing, and then
// only the ruleset has denied that. A directory is, to make a file without a name there.
func forWriting(opened *fs.PathError, denied *landlock.DeniedError) bool {
	const writing = landlock.FSWriteFile | landlock.FSTruncate
	if sandbox.rules == nil || opened == nil || !strings.HasPrefix(opened.Op, "open") || denied.Missing.FS == 0 {
		return false
	}
	info, err := os.Stat(denied.Path)
	reading, other := landlock.FSReadFile, denied.Missing.FS&^writing
	if err == nil && info.IsDir() {
		reading, other = landlock.FSReadDir, other&^landlock.FSReadFile
	}
	return err == nil && other == 0 && sandbox.rules.Check(reading, denied.Path) == nil && modeAllowsAll(denied.Path, info.IsDir())
}

// relative reports whether an error names a file by a path that may be relative to
// any directory.
func relative(err error) bool {
	open := func(op string) bool { return op == "open" || op == "fork/exec" || strings.HasSuffix(op, "at") }
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &link):
		from := !filepath.IsAbs(link.Old) && !strings.HasPrefix(link.Op, "symlink") // which has a text there
		return open(link.Op) && (from || !filepath.IsAbs(link.New))
	case errors.As(err, &path):
		return open(path.Op) && !filepath.IsAbs(path.Path)
	}
	return false
}

// namesObject reports whether an error says what was tried, and on what.
func namesObject(err error) bool {
	return slices.ContainsFunc(tree(err), func(err error) bool {
		switch err.(type) {
		case *fs.PathError, *os.LinkError:
			return true
		}
		// By LookPath, which asks for modes; package net would make it a binary with cgo.
		return slices.Contains([]string{"*exec.Error", "*net.OpError"}, fmt.Sprintf("%T", err))
	})
}

// callOf returns what was called, as far as an error says it, as answers have it.
func callOf(err error) string {
	var path *fs.PathError
	var link *os.LinkError
	var call *os.SyscallError
	name := ""
	switch {
	case errors.As(err, &path):
		name = path.Op
	case errors.As(err, &link):
		name = link.Op
	case errors.As(err, &call):
		name = call.Syscall
	}
	return strings.TrimSuffix(strings.TrimSuffix(name, "2"), "at")
}

// untested returns what of its ruleset a report says is not restricted here, for
// people; "" where all is.
func untested(report landlock.Report) string {
	const tcp, udp = landlock.NetBindTCP | landlock.NetConnectTCP, landlock.NetBindUDP | landlock.NetConnectSendUDP
	missing := report.Missing
	var all []string
	add := func(is bool, what string) {
		if is {
			all = append(all, strings.ReplaceAll(what, ",", ", "))
		}
	}
	if fs := missing.FS; fs&landlock.FSReadWrite == landlock.FSReadWrite {
		add(true, "all filesystem rights")
	} else {
		add(fs != 0, fs.String())
	}
	for _, group := range []struct {
		rights landlock.AccessNet
		name   string
	}{{tcp, "TCP"}, {udp, "UDP"}} {
		if rights := missing.Net & group.rights; rights == group.rights {
			add(true, group.name)
		} else {
			add(rights != 0, rights.String())
		}
	}
	scopes := "scopes"
	if missing.Scope&(missing.Scope-1) == 0 {
		scopes = missing.Scope.String() + " scope"
	}
	if report.Kernel.ABI >= landlock.V6 {
		scopes += " of a whole process"
	}
	add(missing.Scope != 0, scopes)
	add(report.MissingSocketFilter, "the socket filter")
	add(report.MissingLog != 0, report.MissingLog.String())
	add(report.MissingQuiet, "quiet rules")
	if len(all) == 0 {
		return ""
	}
	where := "without Landlock"
	if abi := int(report.Kernel.ABI); abi > 0 {
		where = fmt.Sprint("on ABI ", abi)
	}
	return "not tested " + where + ": " + strings.Join(all, ", ")
}
