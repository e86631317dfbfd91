package landlock

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

var ruleCounts = []int{1, 10, 100, 1_000, 10_000}

// benchPaths makes as many files as there are rules.
func benchPaths(b *testing.B, n int) []string {
	b.Helper()
	needABI(b, V1)
	dir := b.TempDir()
	paths := make([]string, n)
	for i := range paths {
		paths[i] = filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(paths[i], nil, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	return paths
}

func perRule(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/rule")
}

func BenchmarkProbe(b *testing.B) {
	for b.Loop() {
		Probe()
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, n := range ruleCounts {
		b.Run(fmt.Sprint("rules=", n), func(b *testing.B) {
			paths := benchPaths(b, n)
			for b.Loop() {
				New(V1).AllowRead(paths...)
			}
			perRule(b, n)
		})
	}
}

// BenchmarkPrepare pairs Prepare with the same system calls made by hand.
func BenchmarkPrepare(b *testing.B) {
	for _, n := range ruleCounts {
		paths := benchPaths(b, n)
		b.Run(fmt.Sprint("rules=", n, "/by=hand"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := prepareByHand(paths); err != nil {
					b.Fatal(err)
				}
			}
			perRule(b, n)
		})
		b.Run(fmt.Sprint("rules=", n, "/by=Prepare"), func(b *testing.B) {
			b.ReportAllocs()
			r := NewHandling(Rights{FS: V1.FS()}).Allow(FSReadFile, paths...)
			for b.Loop() {
				sandbox, err := r.Prepare()
				if err != nil {
					b.Fatal(err)
				}
				sandbox.Close()
			}
			perRule(b, n)
		})
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
	needABI(b, V1)
	program, err := exec.LookPath("true")
	if err != nil {
		b.Skip("needs true")
	}
	r := New(V5).BestEffort(V1).AllowExecute("/")
	sandbox := mustPrepare(b, r)
	plain := func() *exec.Cmd { return exec.Command(program) }
	wrapped := func() *exec.Cmd {
		cmd := exec.Command(self(), "exec="+program)
		cmd.Env = append(os.Environ(), childTry+"=1")
		return cmd
	}
	for _, way := range []struct {
		name string
		cmd  func() *exec.Cmd
		run  func(*exec.Cmd) error
	}{
		{"plain", plain, (*exec.Cmd).Run},
		{"Sandbox", plain, sandbox.Run},
		{"Ruleset", plain, r.Run},
		{"wrapper", wrapped, (*exec.Cmd).Run},
	} {
		b.Run("by="+way.name, func(b *testing.B) {
			timed := func(run func(*exec.Cmd) error, cmd *exec.Cmd) time.Duration {
				start := time.Now()
				if err := run(cmd); err != nil {
					b.Fatal(err)
				}
				return time.Since(start)
			}
			var base, ours time.Duration
			for b.Loop() {
				base += timed((*exec.Cmd).Run, plain())
				ours += timed(way.run, way.cmd())
			}
			b.ReportMetric(float64(ours)/float64(base), "times-plain")
			b.ReportMetric(float64(ours.Nanoseconds())/float64(b.N), "ns/child")
		})
	}
}
