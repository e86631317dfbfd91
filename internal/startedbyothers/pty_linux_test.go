package startedbyothers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"example.com/landlock/preset"
)

// The ways in which pty starts a cmd. Each has a terminal of that size.
var ptyStarts = map[string]func(t *testing.T, cmd *exec.Cmd) (*os.File, error){
	"Start": func(t *testing.T, cmd *exec.Cmd) (*os.File, error) {
		file, err := pty.Start(cmd)
		if err == nil {
			err = pty.Setsize(file, size)
		}
		return file, err
	},
	"StartWithSize": func(_ *testing.T, cmd *exec.Cmd) (*os.File, error) { return pty.StartWithSize(cmd, size) },
	"StartWithAttrs": func(t *testing.T, cmd *exec.Cmd) (*os.File, error) { // which replaces what was there
		return pty.StartWithAttrs(cmd, size, &syscall.SysProcAttr{Setsid: true, Setctty: true})
	},
	"StartWithAttrs, the standard output": func(t *testing.T, cmd *exec.Cmd) (*os.File, error) {
		stdin, ours, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { stdin.Close(); ours.Close() })
		cmd.Stdin = stdin
		return pty.StartWithAttrs(cmd, size, &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 1})
	},
}

var size = &pty.Winsize{Rows: 12, Cols: 34}

// onTerminal is a program that pty has started.
type onTerminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	file *os.File
	text *bufio.Scanner
}

func startOnTerminal(t *testing.T, cmd *exec.Cmd, start func(*testing.T, *exec.Cmd) (*os.File, error)) onTerminal {
	t.Helper()
	file, err := start(t, cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return onTerminal{t, cmd, file, bufio.NewScanner(file)}
}

// says reads lines until the one that it is to say.
func (o onTerminal) says(want string) {
	o.t.Helper()
	var got []string
	for o.text.Scan() {
		if o.text.Text() == want {
			return
		}
		got = append(got, o.text.Text())
	}
	o.t.Fatalf("the program said %q until %v, want %q", got, o.text.Err(), want)
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
	for name, start := range ptyStarts {
		t.Run(name, func(t *testing.T) {
			inEach(t, func(t *testing.T, p place) {
				o := startOnTerminal(t, p.command(t, "terminal program"), start)
				o.says(p.want)
				other := &pty.Winsize{Rows: 56, Cols: 78}
				if err := pty.Setsize(o.file, other); err != nil {
					t.Fatal(err)
				}
				o.has(other)
				if !strings.HasSuffix(name, "output") { // where it does not read what is typed
					o.types("typed\n")
					o.says("line: typed")
				}
				o.types("\x03")
				o.says("^Csignal: interrupt")
				o.ends(signalled)
			})
		})
	}
}

func TestPTYHangsUp(t *testing.T) {
	inEach(t, func(t *testing.T, p place) {
		o := startOnTerminal(t, p.command(t, "terminal program"), ptyStarts["StartWithSize"])
		o.says(p.want)
		o.file.Close()
		o.ends(signalled)
	})
}

func TestPTYNotAllowed(t *testing.T) {
	o := startOnTerminal(t, notAllowed(t), ptyStarts["Start"])
	said, _ := io.ReadAll(o.file)
	o.cmd.Wait()
	refused(t, o.cmd.ProcessState.ExitCode(), string(said))
}

func TestRun(t *testing.T) {
	dir := newDir(t)
	sandbox := prepare(t, dir, preset.Programs("sh", "cat"))
	t.Chdir(dir)
	printed, err := run(t.Context(), sandbox, "cat allowed/file; test -t 1 && echo on a terminal; cat denied/file; exit 5")
	if got, want := strings.Split(printed, "\r\n"), "text on a terminal"; len(got) != 4 ||
		strings.Join(got[:2], " ") != want || !strings.HasSuffix(got[2], "denied/file: Permission denied") {
		t.Errorf("the command printed %q", printed)
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
	go func() {
		os.ReadFile("allowed/fifo") // ends once the command has begun
		cancel()
	}()
	_, err := run(ctx, sandbox, "echo begun >allowed/fifo; cat")
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
		t.Errorf("a cancelled command ended with %v, want killed", err)
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
