package blackbox

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"example.com/landlock"
	"example.com/landlock/internal/testchild"
	"example.com/landlock/internal/testenv"
)

// childTry has this test binary be a program that tries what its arguments say.
const childTry = "LANDLOCK_CHILD_TRY"

func TestMain(m *testing.M) {
	if os.Getenv(childTry) != "" {
		tryAll(os.Args[1:])
		syscall.Exit(0) // without the hooks that write a coverage profile
	}
	testchild.HearSignals()
	os.Exit(m.Run())
}

func TestWithoutLandlock(t *testing.T) {
	if _, err := landlock.Probe(); err == nil {
		t.Skip("this kernel has Landlock")
	}
	checkWithoutLandlock(t)
}

// checkWithoutLandlock checks what holds where Probe fails.
func checkWithoutLandlock(t *testing.T) {
	t.Helper()
	_, reason := landlock.Probe()
	if _, err := landlock.New(landlock.V1).AllowRead("/").Apply(); err != reason {
		t.Errorf("strict Apply: %v, want %v", err, reason)
	}
	if _, err := landlock.New(landlock.V5).BestEffort(landlock.V1).Prepare(); err != reason {
		t.Errorf("Prepare with a floor of V1: %v, want %v", err, reason)
	}
	report, err := landlock.New(landlock.V5).BestEffort(0).AllowRead("/nonexistent").Apply()
	if err != nil || report.Enforced != (landlock.Rights{}) || report.Missing != landlock.V5.Rights() || report.Complete() {
		t.Errorf("Apply with a floor of 0: %v, %v, want everything missing", report, err)
	}
	if !strings.Contains(report.String(), "NOT SANDBOXED") {
		t.Errorf("the report does not say it: %v", report)
	}
	if _, err := os.ReadDir(t.TempDir()); err != nil {
		t.Errorf("after an Apply that restricts nothing: %v", err)
	}
	if _, err := landlock.New(landlock.V5).BestEffort(0).AllowRead("").Apply(); err == nil {
		t.Error("a mistake is not reported without Landlock")
	}
	sandbox, err := landlock.New(landlock.V5).BestEffort(0).Prepare()
	if err != nil || sandbox.Fd() != ^uintptr(0) || sandbox.Report().Complete() {
		t.Fatalf("Prepare with a floor of 0: %v", err)
	}
	ran := false
	if err := sandbox.Do(func() error { ran = true; return nil }); err != nil || !ran {
		t.Errorf("Do with nothing to enforce: %v, ran %v", err, ran)
	}
	if err := sandbox.Run(exec.Command(testenv.Self(), "-test.run=^$")); err != nil {
		t.Errorf("Run with nothing to enforce: %v", err)
	}
	if err := errors.Join(sandbox.Close(), sandbox.Close()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := sandbox.Do(func() error { return nil }); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Do after Close: %v", err)
	}
	for name, start := range map[string]func(*exec.Cmd) error{"Start": sandbox.Start, "Wrap": sandbox.Wrap} {
		if err := start(exec.Command(testenv.Self(), "-test.run=^$")); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
}
