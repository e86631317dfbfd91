//go:build linux && (amd64 || arm64)

package allthreads_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/allthreads"
	"example.com/landlock/internal/allthreads/cthreads"
)

const (
	threadsVariable = "ALLTHREADS_THREADS"
	rulesVariable   = "ALLTHREADS_RULES" // a directory, of whose files each gets a rule
)

// measure has a scenario print how long restrict takes.
func measure(restrict func(ruleset int) error) func(*child) {
	return func(c *child) {
		directory := os.Getenv(rulesVariable)
		entries, err := os.ReadDir(directory)
		c.must("os.ReadDir", err)
		for _, entry := range entries {
			fd, err := unix.Open(filepath.Join(directory, entry.Name()), unix.O_PATH|unix.O_CLOEXEC, 0)
			c.must("open", err)
			rule := unix.LandlockPathBeneathAttr{Allowed_access: denyWrite, Parent_fd: int32(fd)}
			_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(c.ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
			if errno != 0 {
				c.fatalf("landlock_add_rule: %v, want no error", errno)
			}
			unix.Close(fd)
		}
		threads, _ := strconv.Atoi(os.Getenv(threadsVariable))
		for range threads - 1 { // besides those that the Go runtime has
			c.goThreads = append(c.goThreads, newGoThread(c, cthreads.Futex))
		}
		c.probe(false) // now they have all started
		start := time.Now()
		err = restrict(c.ruleset)
		took := time.Since(start)
		c.must("restrict", err)
		fmt.Println(took.Nanoseconds())
	}
}

func measuredRestrict(ruleset int) error { return allthreads.Restrict(ruleset, 0, true) }

// measuredRuntime does the same by the means of the Go runtime, in a binary without C.
func measuredRuntime(ruleset int) error {
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// BenchmarkRestrict starts a process for each measurement, since a restriction
// cannot be undone, and reports the median. In a binary without C (CGO_ENABLED=0) it compares with
// syscall.AllThreadsSyscall.
func BenchmarkRestrict(b *testing.B) {
	path := witness(b)
	for _, rules := range []int{1, 100, 1000} {
		directory := b.TempDir()
		for i := range rules {
			if err := os.WriteFile(filepath.Join(directory, strconv.Itoa(i)), nil, 0o600); err != nil {
				b.Fatal(err)
			}
		}
		for _, threads := range []int{5, 100, 500} {
			for _, by := range []string{"Restrict", "AllThreadsSyscall"} {
				if by != "Restrict" && cthreads.Available {
					continue // that answers ENOTSUP
				}
				b.Run(fmt.Sprintf("rules=%d/threads=%d/by=%s", rules, threads, by), func(b *testing.B) {
					var times []float64
					for b.Loop() {
						cmd := exec.Command(self(b))
						cmd.Env = append(os.Environ(), scenarioVariable+"=measure "+by, witnessVariable+"="+path,
							threadsVariable+"="+strconv.Itoa(threads), rulesVariable+"="+directory)
						output, err := cmd.CombinedOutput()
						line, _, _ := strings.Cut(string(output), "\n")
						took, parseErr := strconv.Atoi(line)
						if err != nil || parseErr != nil {
							b.Fatalf("measure: %v, %v, want a number; output:\n%s", err, parseErr, output)
						}
						times = append(times, float64(took))
					}
					slices.Sort(times)
					b.ReportMetric(times[len(times)/2], "ns/restrict")
					b.ReportMetric(0, "ns/op") // that of starting the process
				})
			}
		}
	}
}
