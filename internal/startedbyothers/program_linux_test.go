package startedbyothers

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/testchild"
)

// startedAs has this test binary be one of the programs that are started.
const startedAs = "STARTED_AS"

var programs = map[string]func(){
	"attempts":              func() { fmt.Println(attempts(os.Args[1])) },
	"terminal program":      terminalProgram,
	"MCP server":            serveMCP,
	"MCP server that stays": func() { serveMCP(); unix.Pause() }, // when its client has gone
	"plugin":                servePlugin,
}

func TestMain(m *testing.M) {
	if program := programs[os.Getenv(startedAs)]; program != nil {
		program()
		return
	}
	testchild.HearSignals()
	m.Run()
}

// attempts does what is allowed and what is not, and tells how each went.
func attempts(dir string) string {
	return fmt.Sprintf("allowed: %s; denied: %s, %s; parent: %s",
		outcome(read(filepath.Join(dir, allowed, "file"))),
		outcome(read(filepath.Join(dir, denied, "file"))),
		outcome(os.WriteFile(filepath.Join(dir, denied, "new"), nil, 0o600)),
		outcome(unix.Kill(os.Getppid(), 0)))
}

// How the attempts go.
const (
	inSandbox = "allowed: ok; denied: EACCES, EACCES; parent: EPERM"
	outside   = "allowed: ok; denied: ok, ok; parent: ok"
)

func read(path string) error {
	_, err := os.ReadFile(path)
	return err
}

func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

// terminalProgram makes the attempts in the directory that is its argument, and
// then says what comes: a line on its standard input, another size of the
// terminal, and the signal that ends it.
func terminalProgram() {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGWINCH, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	lines := make(chan string)
	go func() {
		for scanner := bufio.NewScanner(os.Stdin); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	fmt.Println(attempts(os.Args[1]))
	fmt.Println(terminal())
	for {
		select {
		case line := <-lines:
			fmt.Println("line:", line)
		case got := <-signals:
			if got != unix.SIGWINCH {
				os.Exit(endedBy(got.(syscall.Signal)))
			}
			fmt.Println(terminal())
		}
	}
}

// endedBy is the status of the terminal program when a signal ends it. It prints
// none: the terminal throws away what is printed when somebody types an interrupt.
func endedBy(s syscall.Signal) int { return 100 + int(s) }

// terminal describes the terminal that is the standard output.
func terminal() string {
	size, err := unix.IoctlGetWinsize(1, unix.TIOCGWINSZ)
	if err != nil {
		return "terminal: " + outcome(err)
	}
	session, _ := unix.Getsid(0)
	foreground, _ := unix.IoctlGetInt(1, unix.TIOCGPGRP)
	return fmt.Sprintf("terminal: %d rows, %d columns; leads its session: %t; in the foreground: %t",
		size.Row, size.Col, session == os.Getpid(), foreground == unix.Getpgrp())
}
