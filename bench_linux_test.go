package landlock

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/osthread"
	"example.com/landlock/internal/testchild"
	"example.com/landlock/internal/testenv"
)

func TestMain(m *testing.M) { testchild.Main(m, benchMain) }

// benchMain is this test binary as the program that a benchmark starts, which sandboxes
// itself.
func benchMain() {
	everything := NewHandling(Rights{FS: V1.FS(), Net: V4.Net()})
	var err error
	switch os.Args[1] {
	case "exec": // as a wrapper does it
		err = New(V5).BestEffort(V1).AllowExecute("/").Exec(os.Args[2], os.Args[2:], nil)
	case "apply sockets":
		everything.FilterSockets()
		fallthrough
	case "apply": // which prints how long it took
		start := time.Now()
		_, err = everything.Apply()
		fmt.Println(time.Since(start).Nanoseconds())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var ruleCounts = []int{1, 10, 100, 1_000, 10_000}

// benchPaths makes as many files as there are rules.
func benchPaths(b *testing.B, n int) []string {
	b.Helper()
	testenv.NeedABI(b, V1)
	dir := b.TempDir()
	paths := make([]string, n)
	for i := range paths {
		paths[i] = filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(paths[i], nil, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return paths
}

func BenchmarkProbe(b *testing.B) {
	for b.Loop() {
		Probe()
	}
}

// BenchmarkBuild measures what building a ruleset costs by itself: all paths in
// one call, or each in a call of its own.
func BenchmarkBuild(b *testing.B) {
	for _, n := range ruleCounts {
		paths := benchPaths(b, n)
		b.Run(fmt.Sprintf("rules=%d/calls=1", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				New(V1).AllowRead(paths...)
			}
		})
		b.Run(fmt.Sprintf("rules=%d/calls=%d", n, n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := New(V1)
				for _, path := range paths {
					r.AllowRead(path)
				}
			}
		})
	}
}

// BenchmarkPrepareFiles is BenchmarkPrepare with rights for directories too,
// which the kernel has to refuse for each file.
func BenchmarkPrepareFiles(b *testing.B) { benchPrepare(b, FSRead) }

// BenchmarkPrepare builds a ruleset and prepares it, in turn with the same
// system calls made by hand, and reports the ratio of their times.
func BenchmarkPrepare(b *testing.B) { benchPrepare(b, FSReadFile) }

func benchPrepare(b *testing.B, access AccessFS) {
	for _, n := range ruleCounts {
		b.Run(fmt.Sprint("rules=", n), func(b *testing.B) {
			paths := benchPaths(b, n)
			pair(b, func() error { return prepareByHand(paths) }, func() error {
				sandbox, err := NewHandling(Rights{FS: V1.FS()}).Allow(access, paths...).Prepare()
				if err != nil {
					return err
				}
				return sandbox.Close()
			})
		})
	}
}

// pair times base and ours in turn, so that both meet the same noise, and
// reports the ratio of their medians.
func pair(b *testing.B, base, ours func() error) {
	timed := func(f func() error) time.Duration {
		start := time.Now()
		if err := f(); err != nil {
			b.Fatal(err)
		}
		return time.Since(start)
	}
	var baseTimes, oursTimes []time.Duration
	for b.Loop() {
		baseTimes = append(baseTimes, timed(base))
		oursTimes = append(oursTimes, timed(ours))
	}
	report(b, [2][]time.Duration{baseTimes, oursTimes}, 1)
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// What is allocated does not grow with the number of rules.
func TestPrepareAllocations(t *testing.T) {
	testenv.NeedABI(t, V1)
	dir := t.TempDir()
	var paths []string
	for i := range 200 {
		paths = append(paths, dir+strings.Repeat("/.", i))
	}
	file := testenv.Write(t, filepath.Join(dir, "file"), "")
	for range 200 { // of which the kernel refuses the rights of directories
		paths = append(paths, file)
	}
	perRun := testing.AllocsPerRun(10, func() {
		sandbox, err := New(V1).AllowRead(paths...).AllowOptional(FSWrite, paths...).Prepare()
		if err != nil {
			t.Fatal(err)
		}
		sandbox.Close()
	})
	if perRun > 30 {
		t.Errorf("%v allocations for %d rules, want as many as for none", perRun, 2*len(paths))
	}
}

func prepareByHand(paths []string) error {
	attr := unix.LandlockRulesetAttr{Handled_access_fs: uint64(V1.FS())}
	ruleset, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), 8, 0)
	if errno != 0 {
		return errno
	}
	defer unix.Close(int(ruleset))
	for _, path := range paths {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		rule := unix.LandlockPathBeneathAttr{Allowed_access: uint64(FSReadFile), Parent_fd: int32(fd)}
		_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, ruleset, unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
		unix.Close(fd)
		if errno != 0 {
			return errno
		}
	}
	return nil
}

// BenchmarkChild runs each way to start a sandboxed child in turn with a plain
// start, and reports the ratio of their times.
func BenchmarkChild(b *testing.B) {
	testenv.NeedABI(b, V1)
	program, err := exec.LookPath("true")
	if err != nil {
		b.Skip("needs true")
	}
	r := New(V5).BestEffort(V1).AllowExecute("/")
	sandbox := testenv.MustPrepare(b, r)
	plain := func() *exec.Cmd { return exec.Command(program) }
	wrapper := testchild.Program(b, "", "exec", program)
	wrapped := func() *exec.Cmd {
		return &exec.Cmd{Path: wrapper.Path, Args: wrapper.Args, Env: wrapper.Env}
	}
	for _, way := range []struct {
		name string
		cmd  func() *exec.Cmd
		run  func(*exec.Cmd) error
	}{
		{"plain", plain, (*exec.Cmd).Run},
		{"Sandbox", plain, sandbox.Run},
		{"Ruleset", plain, r.Run},
		{"Wrap", plain, func(cmd *exec.Cmd) error { return errors.Join(sandbox.Wrap(cmd), cmd.Run()) }},
		{"wrapper", wrapped, (*exec.Cmd).Run},
	} {
		b.Run("by="+way.name, func(b *testing.B) {
			pair(b, func() error { return plain().Run() }, func() error { return way.run(way.cmd()) })
		})
	}
}

// BenchmarkCheck measures an answer of a Sandbox, by how deep the path is beneath its
// rule, and by how many rules there are.
func BenchmarkCheck(b *testing.B) {
	testenv.NeedABI(b, V1)
	for _, depth := range []int{1, 4, 16} {
		dir := b.TempDir()
		path := dir + strings.Repeat("/d", depth)
		if err := os.MkdirAll(path, 0o700); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) { benchCheck(b, true, path, dir) })
	}
	for _, n := range ruleCounts {
		paths := benchPaths(b, n)
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) { benchCheck(b, true, paths[0], paths...) })
		other := testenv.Write(b, b.TempDir()+"/file", "")
		b.Run(fmt.Sprintf("rules=%d/denied", n), func(b *testing.B) { benchCheck(b, false, other, paths...) })
	}
}

func benchCheck(b *testing.B, allowed bool, path string, rules ...string) {
	s := testenv.MustPrepare(b, NewHandling(Rights{FS: FSReadFile}).Allow(FSReadFile, rules...))
	for b.Loop() {
		if err := s.Check(FSReadFile, path); (err == nil) != allowed {
			b.Fatal(err)
		}
	}
}

// BenchmarkSockets measures what FilterSockets costs, each time in turn with the
// same without.
func BenchmarkSockets(b *testing.B) {
	testenv.NeedABI(b, V4)
	program, err := exec.LookPath("true")
	if err != nil {
		b.Skip("needs true")
	}
	plain := NewHandling(Rights{FS: V1.FS(), Net: V4.Net()}).AllowExecute("/")
	filtered := plain.Clone().FilterSockets()
	if _, err := filtered.DryRun(); err != nil {
		b.Skip("needs a socket filter: ", err)
	}
	prepare := func(r *Ruleset) func() error {
		return func() error {
			s, err := r.Prepare()
			if err != nil {
				return err
			}
			return s.Close()
		}
	}
	start := func(r *Ruleset) func() error {
		s := testenv.MustPrepare(b, r)
		return func() error { return s.Run(exec.Command(program)) }
	}
	b.Run("Prepare", func(b *testing.B) { pair(b, prepare(plain), prepare(filtered)) })
	b.Run("Run", func(b *testing.B) { pair(b, start(plain), start(filtered)) })
	b.Run("Apply", func(b *testing.B) {
		var times [2][]time.Duration // of children, each of which does it once
		for b.Loop() {
			for i, what := range []string{"apply", "apply sockets"} {
				out, err := testchild.Program(b, "", what).Output()
				if err != nil {
					b.Fatal(err)
				}
				var took int64
				if _, err := fmt.Sscan(string(out), &took); err != nil {
					b.Fatalf("%v: %q", err, out)
				}
				times[i] = append(times[i], time.Duration(took))
			}
		}
		report(b, times, 1)
	})
	// The filter stays on this thread, which ends with the goroutine that has it.
	for name, call := range map[string]func() error{
		"getppid": func() error { unix.Getppid(); return nil },
		"sendto":  func() error { return unix.Sendto(-1, nil, 0, &unix.SockaddrInet4{}) },
		"socket":  func() error { fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); unix.Close(fd); return err },
		"read":    func() error { _, err := unix.Read(-1, nil); return err },
	} {
		b.Run("call="+name, func(b *testing.B) { benchCall(b, func() { call() }) })
	}
}

// benchCall times a system call on a thread with the filter and on one without.
func benchCall(b *testing.B, call func()) {
	const calls = 1_000
	ask, answers := [2]chan bool{make(chan bool), make(chan bool)}, make(chan time.Duration)
	for i, r := range []*Ruleset{nil, NewHandling(Rights{Net: V10.Net()}).BestEffort(0).FilterSockets()} {
		var s *Sandbox
		if r != nil {
			s = testenv.MustPrepare(b, r)
		}
		ready := make(chan error)
		osthread.Take(func() (reusable bool) {
			var err error
			if s != nil {
				err = s.withFd(s.restrictThread)
			}
			ready <- err
			for range ask[i] {
				start := time.Now()
				for range calls {
					call()
				}
				answers <- time.Since(start)
			}
			return false
		})
		if err := <-ready; err != nil {
			b.Fatal(err)
		}
		defer close(ask[i])
	}
	var times [2][]time.Duration
	for b.Loop() {
		for i := range ask {
			ask[i] <- true
			times[i] = append(times[i], <-answers)
		}
	}
	report(b, times, calls)
}

// report reports the ratio of the medians, and what one of the calls takes.
func report(b *testing.B, times [2][]time.Duration, calls float64) {
	base, ours := median(times[0]), median(times[1])
	b.ReportMetric(float64(ours)/float64(base), "times-base")
	b.ReportMetric(float64(ours.Nanoseconds())/calls, "ns/ours")
}
