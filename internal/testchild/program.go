package testchild

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
)

// programVariable has a test binary be the program that it tests.
const programVariable = "LANDLOCK_EXAMPLE_MAIN"

// Main is the TestMain of a program whose tests run it by Program: that needs no
// Go toolchain.
func Main(m *testing.M, main func()) {
	if os.Getenv(programVariable) == "1" {
		main()
		return
	}
	HearSignals()
	m.Run()
}

// Program returns the program as a child that runs in dir.
func Program(t testing.TB, dir string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), programVariable+"=1", raceQuickly())
	cmd.Dir = dir
	return cmd
}

// raceQuickly returns what keeps the race detector from sleeping for a second
// where a process ends.
func raceQuickly() string { return "GORACE=" + os.Getenv("GORACE") + " atexit_sleep_ms=0" }

// HearSignals has what this process starts end with Ctrl-C and with its terminal, also
// where it was itself started to ignore those, by nohup or in the background of a
// shell: what is ignored stays so in a program that is executed, and what is handled
// does not.
func HearSignals() {
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGHUP} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
}
