// Package testchild runs the function of a subtest in a process of its own: what
// cannot be undone, such as a sandbox, ends with that process.
//
// The child is this test binary, started again for that one subtest. It executes
// TestMain and the test around [Run] as this process does, comes to the same
// call, and there runs the function. It prints what -test.v=test2json prints,
// from which the parent makes subtests of its own, and says by a line with a
// random number in it how the function has ended. Whatever happens without that
// line is a failure.
package testchild

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// variable tells a test binary that it is a child: the process that it is one of,
// the token, the test and the directory, with spaces between.
const variable = "LANDLOCK_TEST_CHILD"

// How this process was started. What TestMain and the test change of it, the
// child changes again.
var (
	arguments    = slices.Clone(os.Args)
	environment  = os.Environ()
	directory, _ = os.Getwd()
	output       = os.Stderr // the function may close os.Stdout, which testing makes os.Stderr too
)

// this is the process as a child; without a name it is none.
var this child

type child struct {
	token   string     // what the parent knows its word by
	test    string     // whose function to run
	dir     string     // see Run
	around  *testing.T // whose subtest the function is
	entered atomic.Bool
}

func init() {
	fields := strings.SplitN(os.Getenv(variable), " ", 4)
	os.Unsetenv(variable) // a program that the function starts is no child of this kind
	if len(fields) != 4 || fields[0] != fmt.Sprint(os.Getppid()) {
		return // whoever kept the variable: a child for nobody would run no function at all
	}
	this.token, this.test, this.dir = fields[1], fields[2], fields[3]
}

// Inside reports whether this process is a child.
func Inside() bool { return this.test != "" }

// How a function ends, as the child says it.
const (
	passed   = "passed"
	failed   = "failed"
	skipped  = "skipped"
	above    = "above"    // the test around the function has failed
	parallel = "parallel" // the function has called Parallel, and would go on at another time
)

// The status of a child that has said how the function ended. It is not 0: there
// os.Exit panics in a test.
const status = 1

// wordOf returns the beginning of the line in which a child says how its function
// ended.
func wordOf(token string) string { return "=== child " + token + " " }

// running has each test that is inside Run, in a process that is no child.
var running sync.Map

// Run runs f as a subtest of t in a process of its own, and reports there all
// that comes of it, as t.Run does. The child has a directory of its own, for what
// it makes by os.MkdirTemp and TempDir: the parent removes it. Before the child is
// started, prepare, which may be nil, may change how. In the child, f gets the
// part of that directory that only f's own TempDir uses.
func Run(t *testing.T, name string, prepare func(t *testing.T, cmd *exec.Cmd, dir string), f func(t *testing.T, own string)) bool {
	t.Helper()
	if Inside() {
		return this.run(t, name, f)
	}
	if _, busy := running.LoadOrStore(t, true); busy {
		t.Error("Run called at the same time as another Run of this test: which of them is which cannot be told: give each a subtest of its own")
		return false
	}
	defer running.Delete(t)
	return t.Run(name, func(t *testing.T) {
		t.Helper()
		start(t, prepare)
	})
}

// ownFolder is the part of a child's directory that only the function uses.
func ownFolder(dir string) string { return filepath.Join(dir, "f") }

// run is Run in the child. It does not return from the one call that the child is
// for.
func (c *child) run(around *testing.T, name string, f func(t *testing.T, own string)) bool {
	around.Helper()
	if c.entered.Load() {
		around.Fatal("Run called inside the function of another Run: a process is sandboxed once: call it in the test around")
	}
	var inner *testing.T
	ended := false
	around.Run(name, func(t *testing.T) {
		t.Helper()
		if t.Name() != c.test {
			return
		}
		inner, c.around = t, around
		c.entered.Store(true)
		defer func() { ended = true }()
		own := ownFolder(c.dir)
		os.Setenv("GOTMPDIR", own) // from here on TempDir makes its directories there
		f(t, own)
	})
	switch {
	case inner == nil:
		return true // the child is for another call
	case !ended:
		c.end(parallel)
	}
	End(inner)
	return false
}

// End says how the function of a child has ended, given the t that it got, and
// ends the process: what comes after Run in the test is the parent's. A function
// calls it itself, in place of returning, where what it has done keeps the process
// from going on, or its Cleanups from working; parallel subtests of it would not
// run.
func End(t *testing.T) {
	switch {
	case t.Failed():
		this.end(failed)
	case this.around.Failed(): // f may have called Error of that t, and nothing else than this would fail
		this.end(above)
	case t.Skipped():
		this.end(skipped)
	}
	this.end(passed)
}

// end says a word, and ends the process.
func (c *child) end(word string) {
	if testing.CoverMode() != "" {
		counters := filepath.Join(ownFolder(c.dir), coverFolder)
		os.Mkdir(counters, 0o777)
		os.Setenv("GOCOVERDIR", counters) // where os.Exit writes them
	}
	fmt.Fprintf(output, "%c%s%s\n", marker, wordOf(c.token), word)
	os.Exit(status)
}

// start runs the child for a subtest.
func start(t *testing.T, prepare func(t *testing.T, cmd *exec.Cmd, dir string)) {
	t.Helper()
	// A short name, since the path of a Unix socket has no more than 107 bytes.
	dir, err := os.MkdirTemp(os.Getenv("GOTMPDIR"), "test")
	if err == nil {
		dir, err = filepath.Abs(dir) // the child has another working directory, where the test has changed it
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove what the child process has made: %v", err)
		}
	})
	if err := os.Mkdir(ownFolder(dir), 0o777); err != nil {
		t.Fatal(err)
	}
	token := fmt.Sprintf("%016x", rand.Uint64())
	cmd, err := command(t, token, dir)
	if err != nil {
		t.Fatal(err)
	}
	if prepare != nil {
		prepare(t, cmd, dir)
	}
	r := newReport(t, wordOf(token))
	err = execute(cmd, r)
	r.close()
	if cmd.ProcessState == nil {
		t.Fatalf("start a child process: %v", err)
	}
	r.judge(cmd.ProcessState, err)
	if err := addCounters(filepath.Join(ownFolder(dir), coverFolder)); err != nil {
		t.Errorf("add what the child process has covered: %v", err)
	}
	if r.word == skipped {
		t.SkipNow()
	}
}

// command returns the child for a subtest.
func command(t *testing.T, token, dir string) (*exec.Cmd, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, childArguments(t)...)
	cmd.Args[0] = arguments[0]
	cmd.Dir = directory
	cmd.Env = append(slices.Clone(environment), fmt.Sprintf("%s=%d %s %s %s", variable, os.Getpid(), token, t.Name(), dir),
		"GOTMPDIR=", "TMPDIR="+dir, "TMP="+dir, "TEMP="+dir, raceQuickly())
	return cmd, nil
}

// execute runs the child, and all that it starts, to its end. What it prints goes
// to r.
func execute(cmd *exec.Cmd, r *report) error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	cmd.Stdout, cmd.Stderr = write, write
	tie(cmd)
	runtime.LockOSThread() // the child ends with the thread that has started it
	defer runtime.UnlockOSThread()
	err = cmd.Start()
	write.Close()
	if err != nil {
		return err
	}
	done := make(chan bool)
	go func() {
		r.read(read)
		close(done)
	}()
	cmd.Wait() // whatever the status is: judge looks at it
	endRest(cmd)
	patience := time.NewTimer(30 * time.Second)
	defer patience.Stop()
	select {
	case <-done:
		return nil
	case <-patience.C:
		read.Close()
		<-done
		return errHeld
	}
}

var errHeld = errors.New("a process that the child process has started goes on and holds its output: end it in the function, or give it other streams")

// childArguments returns the arguments for a child that is to run just t: those
// of this process, and after them, so that they prevail, what is different. It has
// as many runs, since the subtests of a fuzz target are numbered through all.
func childArguments(t *testing.T) []string {
	flags := arguments[1 : len(arguments)-min(flag.NArg(), len(arguments)-1)]
	if n := len(flags); n > 0 && flags[n-1] == "--" {
		flags = flags[:n-1]
	}
	flags = append(slices.Clone(flags),
		"-test.run="+childPattern(t.Name(), value("test.run")),
		"-test.v=test2json", "-test.shuffle=off", "-test.list=", "-test.bench=", "-test.fuzz=",
		"-test.cpu="+strings.Repeat(fmt.Sprint(runtime.GOMAXPROCS(0), ","), 1+strings.Count(value("test.cpu"), ",")),
		fmt.Sprint("-test.timeout=", timeLeft(t)))
	// Files that are this process's own. Go has some of these flags for itself, and
	// may have others one day.
	for _, name := range []string{"testlogfile", "coverprofile", "gocoverdir", "cpuprofile", "memprofile", "blockprofile", "mutexprofile", "trace"} {
		if flag.Lookup("test."+name) != nil {
			flags = append(flags, "-test."+name+"=")
		}
	}
	if flag.Lookup("test.fuzzworker") != nil {
		flags = append(flags, "-test.fuzzworker=false")
	}
	if flag.NArg() > 0 {
		flags = append(append(flags, "--"), flag.Args()...)
	}
	return flags
}

// timeLeft returns for how long a child may run, 0 for as long as it likes: one
// that hangs is to say where before this process is ended.
func timeLeft(t *testing.T) time.Duration {
	deadline, ok := t.Deadline()
	if !ok {
		return 0
	}
	left := time.Until(deadline)
	return max(left-min(left/3, 5*time.Second), time.Millisecond)
}

// value returns a flag's value.
func value(name string) string {
	if f := flag.Lookup(name); f != nil {
		return f.Value.String()
	}
	return ""
}
