package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/landlock"
	"example.com/landlock/internal/testchild"
	"example.com/landlock/landlocktest"
)

// A job has a session of its own, so no terminal, and a signal to its process
// group ends it alone.
func TestSession(t *testing.T) {
	needShell(t)
	const own = `set -- $(cat /proc/$$/stat); test "$6" = $$`
	if status, stdout, stderr := worker(t, t.TempDir(), "-unsafe", "jobs", own); status != 0 {
		t.Errorf("status %d, %q, %q", status, stdout, stderr)
	}
	for _, mode := range []string{"-unsafe=false", "-unsafe"} {
		t.Run(mode, func(t *testing.T) {
			if mode != "-unsafe" {
				landlocktest.NeedABI(t, landlock.V1)
			}
			cmd := testchild.Program(t, t.TempDir(), "-jobs", "1", mode, "jobs", "kill -KILL 0", "echo next")
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // not to be hit itself
			out, _ := cmd.Output()
			if _, results, _ := strings.Cut(string(out), "\n"); results != "job-1: signal: killed\njob-2: ok\n" {
				t.Errorf("%v, %q", cmd.ProcessState, out)
			}
		})
	}
}

// Ctrl-C ends the jobs, with what they have in the background, and starts no more.
func TestInterrupt(t *testing.T) {
	needShell(t)
	box := t.TempDir()
	fifo := filepath.Join(box, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	alive, err := os.OpenFile(fifo, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	keep, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer keep.Close()
	if err := alive.SetReadDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		t.Fatal(err)
	}

	cmd := testchild.Program(t, box, "-unsafe", "-jobs", "1", "jobs", "exec 3>../../fifo; sleep 600 & echo >&3; wait", "echo >../../late")
	var stdout strings.Builder
	cmd.Stdout = &stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := alive.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	keep.Close()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	// It ends once nobody has it open any more.
	if rest, err := io.ReadAll(alive); err != nil {
		t.Errorf("the job goes on: %q, %v", rest, err)
	}
	cmd.Wait()
	const want = "no sandbox\njob-1: interrupt signal received\njob-2: interrupt signal received\n"
	if code := cmd.ProcessState.ExitCode(); code != 1 || stdout.String() != want {
		t.Errorf("status %d, %q, want 1 and %q", code, stdout.String(), want)
	}
	if _, err := os.Stat(filepath.Join(box, "late")); err == nil {
		t.Error("the second job has run")
	}
}
