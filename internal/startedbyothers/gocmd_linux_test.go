package startedbyothers

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/go-cmd/cmd"
	"golang.org/x/sys/unix"
)

// goCmd returns one of the programs as a command of go-cmd, which makes the
// exec.Cmd itself and hands it out last.
func goCmd(t *testing.T, p place, program string) *cmd.Cmd {
	c := cmd.NewCmdOptions(cmd.Options{Streaming: true, BeforeExec: []func(*exec.Cmd){func(c *exec.Cmd) {
		if p.sandbox != nil {
			p.sandbox.Wrap(c) // where it fails, so does the start
		}
	}}}, self(t), p.dir)
	c.Env = append(os.Environ(), startedAs+"="+program, "GORACE=atexit_sleep_ms=0")
	return c
}

func TestGoCmd(t *testing.T) {
	inEach(t, func(t *testing.T, p place) {
		c := goCmd(t, p, "terminal program")
		ended := c.Start()
		if got := <-c.Stdout; got != p.want {
			t.Errorf("the program says %q, want %q", got, p.want)
		}
		<-c.Stdout
		c.Stop() // its error tells whether it was too early, and then it stops the program later
		if status := <-ended; status.Exit != endedBy(unix.SIGTERM) {
			t.Errorf("stopped: %+v, want status %d", status, endedBy(unix.SIGTERM))
		}
	})
}

func TestGoCmdNotAllowed(t *testing.T) {
	dir := newDir(t)
	c := goCmd(t, place{dir: dir, sandbox: prepare(t, dir)}, "attempts")
	ended := c.Start()
	var said []string
	for line := range c.Stderr {
		said = append(said, line)
	}
	refused(t, (<-ended).Exit, strings.Join(said, "\n"))
}

func TestGoCmdWrapFails(t *testing.T) {
	dir := newDir(t)
	sandbox := prepare(t, dir)
	sandbox.Close()
	c := goCmd(t, place{dir: dir, sandbox: sandbox}, "attempts")
	if status := <-c.Start(); status.Error == nil || status.PID != 0 {
		t.Errorf("Wrap failed, and the program was started: %+v", status)
	}
}
