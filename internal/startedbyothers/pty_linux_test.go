package startedbyothers

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"example.com/landlock/preset"
)

// The ways in which pty starts a cmd.
var ptyStarts = []struct {
	name  string
	size  *pty.Winsize // that the program finds
	start func(cmd *exec.Cmd) (*os.File, error)
}{
	{"Start", &pty.Winsize{}, pty.Start},
	{"StartWithSize", size, func(cmd *exec.Cmd) (*os.File, error) { return pty.StartWithSize(cmd, size) }},
	{"StartWithAttrs", size, func(cmd *exec.Cmd) (*os.File, error) { // which replaces what was there
		return pty.StartWithAttrs(cmd, size, &syscall.SysProcAttr{Setsid: true, Setctty: true})
	}},
	{"StartWithAttrs, with another standard input", size, func(cmd *exec.Cmd) (*os.File, error) {
		cmd.Stdin = strings.NewReader("typed\n")
		return pty.StartWithAttrs(cmd, size, &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 1})
	}},
}

var size = &pty.Winsize{Rows: 12, Cols: 34}

// onTerminal is a program that pty has started.
type onTerminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	file *os.File
	text *bufio.Scanner
}

func startOnTerminal(t *testing.T, cmd *exec.Cmd, start func(*exec.Cmd) (*os.File, error)) onTerminal {
	t.Helper()
	file, err := start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return onTerminal{t, cmd, file, bufio.NewScanner(file)}
}

// says reads the next line.
func (o onTerminal) says(want string) {
	o.t.Helper()
	if !o.text.Scan() || o.text.Text() != want {
		o.t.Fatalf("the terminal says %q, %v, want %q", o.text.Text(), o.text.Err(), want)
	}
}

func (o onTerminal) has(size *pty.Winsize) {
	o.t.Helper()
	o.says(fmt.Sprintf("terminal: %d rows, %d columns; leads its session: true; in the foreground: true", size.Rows, size.Cols))
}

func (o onTerminal) types(text string) {
	o.t.Helper()
	if _, err := io.WriteString(o.file, text); err != nil {
		o.t.Fatal(err)
	}
}

func (o onTerminal) ends(status int) {
	o.t.Helper()
	err := o.cmd.Wait()
	if got := o.cmd.ProcessState.ExitCode(); got != status {
		o.t.Errorf("the program ended with %v, want status %d", err, status)
	}
}

func TestPTY(t *testing.T) {
	for _, start := range ptyStarts {
		t.Run(start.name, func(t *testing.T) {
			inEach(t, func(t *testing.T, p place) {
				cmd := p.command(t, "terminal program")
				o := startOnTerminal(t, cmd, start.start)
				o.says(p.want)
				o.has(start.size)
				if _, reader := cmd.Stdin.(*strings.Reader); !reader {
					o.types("typed\n")
					o.says("typed") // by the terminal
				}
				o.says("line: typed")
				other := &pty.Winsize{Rows: 56, Cols: 78}
				if err := pty.Setsize(o.file, other); err != nil {
					t.Fatal(err)
				}
				o.has(other)
				o.types("\x03")
				o.ends(endedBy(unix.SIGINT))
			})
		})
	}
}

func TestPTYHangsUp(t *testing.T) {
	inEach(t, func(t *testing.T, p place) {
		o := startOnTerminal(t, p.command(t, "terminal program"), pty.Start)
		o.says(p.want)
		o.file.Close()
		o.ends(endedBy(unix.SIGHUP))
	})
}

func TestPTYNotAllowed(t *testing.T) {
	o := startOnTerminal(t, notAllowed(t), pty.Start)
	said, _ := io.ReadAll(o.file)
	o.cmd.Wait()
	refused(t, o.cmd.ProcessState.ExitCode(), string(said))
}

func TestRun(t *testing.T) {
	dir := newDir(t)
	sandbox := prepare(t, dir, preset.Programs("sh", "cat"))
	t.Chdir(dir)
	t.Setenv("LC_ALL", "C")
	var printed bytes.Buffer
	err := run(t.Context(), sandbox, "cat allowed/file; test -t 0 && echo on a terminal; cat denied/file; exit 5", &printed)
	if want := "text\r\non a terminal\r\ncat: denied/file: Permission denied\r\n"; printed.String() != want {
		t.Errorf("the command printed %q, want %q", printed.String(), want)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 5 {
		t.Errorf("the command ended with %v, want status 5", err)
	}
	if text, err := os.ReadFile("denied/file"); err != nil || string(text) != "text\n" {
		t.Errorf("outside: %q, %v", text, err)
	}
}

// A command that does not end is ended by its context, and what it has started
// by the end of its terminal.
func TestRunIsCancelled(t *testing.T) {
	dir := newDir(t)
	sandbox := prepare(t, dir, preset.Programs("sh", "cat"))
	t.Chdir(dir)
	if err := unix.Mkfifo("allowed/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		fifo, err := os.Open("allowed/fifo")
		if err == nil {
			fifo.Read(make([]byte, 100)) // the command has begun
		}
		cancel()
		if err == nil {
			_, err = io.ReadAll(fifo) // until nothing of it is left
		}
		ended <- err
	}()
	err := run(ctx, sandbox, "exec 3>allowed/fifo; echo begun >&3; cat; true", io.Discard)
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
		t.Errorf("a cancelled command ended with %v, want killed", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// What a command leaves running, and what ignores that it is hung up, ends with its
// pid namespace.
func TestPTYInNamespace(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	dir := newDir(t)
	if err := unix.Mkfifo(filepath.Join(dir, allowed, "never"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", "trap '' HUP; cat allowed/never & exit 4")
	cmd.Dir = dir
	place{sandbox: prepare(t, dir, preset.Programs("sh", "cat"), preset.NullDevices)}.wrap(t, cmd)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	o := startOnTerminal(t, cmd, pty.Start)
	if printed, _ := io.ReadAll(o.file); len(printed) > 0 {
		t.Errorf("the command printed %q", printed)
	}
	o.ends(4)
}

// A command whose output nobody takes is hung up.
func TestRunWithoutOutput(t *testing.T) {
	dir := newDir(t)
	sandbox := prepare(t, dir, preset.Programs("sh", "cat"))
	closed, output := io.Pipe()
	closed.Close()
	err := run(t.Context(), sandbox, "while echo a line; do :; done", output)
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Sys().(syscall.WaitStatus).Signal() != unix.SIGHUP {
		t.Errorf("a command without output ended with %v, want hung up", err)
	}
}

// README has run as it is here.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("needs README.md, which is not beside a test binary that runs elsewhere")
	}
	source, err2 := os.ReadFile("run.go")
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	_, function, _ := strings.Cut(string(source), "// run runs")
	if function == "" || !strings.Contains(string(readme), "```go\n// run runs"+function+"```\n") {
		t.Errorf("README does not have this function:\n// run runs%s", function)
	}
}
