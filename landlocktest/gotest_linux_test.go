package landlocktest_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/landlock"
	"example.com/landlock/landlocktest"
)

const fifoVariable = "LANDLOCKTEST_FIFO"

// A child does not outlive the test binary, however that ends.
func TestEndsWithItsParent(t *testing.T) {
	if path := os.Getenv(fifoVariable); path != "" { // the test binary that is to end
		fifo, err := os.OpenFile(path, os.O_WRONLY, 0)
		must(t, err)
		defer fifo.Close()
		run(t, func(t *testing.T) {
			fifo.WriteString("in the child")
			syscall.Kill(os.Getppid(), syscall.SIGKILL)
			select {}
		})
		return
	}
	path := filepath.Join(t.TempDir(), "fifo")
	must(t, syscall.Mkfifo(path, 0o600))
	fifo, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	must(t, err)
	defer fifo.Close()
	must(t, fifo.SetReadDeadline(time.Now().Add(5*time.Minute)))
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self, "-test.run=^TestEndsWithItsParent$")
	cmd.Env = append(os.Environ(), fifoVariable+"="+path, "TMPDIR="+t.TempDir())
	err = cmd.Run()
	if said, readErr := io.ReadAll(fifo); string(said) != "in the child" || readErr != nil || err == nil {
		t.Errorf("the test binary: %v; the child: %q, %v, want it to have ended", err, said, readErr)
	}
}

// What go test makes of it, with a binary that it builds in other ways.
func TestGoTest(t *testing.T) {
	if os.Getenv("LANDLOCK_LONG_TESTS") == "" {
		t.Skip("builds binaries: set LANDLOCK_LONG_TESTS to run it")
	}
	landlocktest.NeedABI(t, landlock.V1)
	profile := filepath.Join(t.TempDir(), "profile")
	goTest := func(t *testing.T, flags string, passes bool, want ...string) {
		t.Helper()
		cmd := exec.Command("go", append([]string{"test", "-count=1"}, append(strings.Fields(flags), "./testdata/user")...)...)
		out, err := cmd.CombinedOutput()
		if strings.Contains(string(out), "-race is not supported") || strings.Contains(string(out), "-race requires cgo") {
			t.Skipf("needs the race detector: %s", out)
		}
		if (err == nil) != passes {
			t.Errorf("%s: %v", flags, err)
		}
		covered, _ := os.ReadFile(profile)
		os.Remove(profile)
		for _, want := range want {
			if !regexp.MustCompile(want).Match(append(out, covered...)) {
				t.Errorf("%s: no %q in\n%s%s", flags, want, out, covered)
			}
		}
	}
	goTest(t, "-run=User -coverprofile="+profile, true, "66.7% of statements",
		`user.go:4\.\S+ 1 1`, `user.go:6\.\S+ 1 1`, `user.go:8\.\S+ 1 0`)
	goTest(t, "-run=User -covermode=atomic -coverprofile="+profile, true, "66.7% of statements",
		`user.go:4\.\S+ 1 2`, `user.go:6\.\S+ 1 1`, `user.go:8\.\S+ 1 0`) // in both processes, in the child alone
	goTest(t, "-run=User/sand/sub -json", true,
		`"Action":"output",.*"Test":"TestUser/sandboxed/sub","Output":"    user_test.go:\d+: it is 2\\n"`,
		`"Action":"pass",.*"Test":"TestUser/sandboxed/sub"`, `"Action":"pass",.*"Test":"TestUser/sandboxed"`)
	t.Run("race", func(t *testing.T) {
		goTest(t, "-run=User -race", true, "ok")
		goTest(t, "-run=Racing -race", false, "WARNING: DATA RACE", "--- FAIL: TestRacing/sandboxed")
	})
}
