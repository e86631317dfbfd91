package blackbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/internal/testenv"
)

func TestRunRestrictsTheChild(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		listener, err := listenTCP("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		port := listener.Addr().(*net.TCPAddr).Port
		secret, own := filepath.Join(dir, "secret"), filepath.Join(dir, "own")
		args := []string{
			"read=" + secret,
			"write=" + filepath.Join(dir, "new"),
			"read=" + filepath.Join(own, "file"),
			"write=" + filepath.Join(own, "new"),
			fmt.Sprint("connect=", port),
			fmt.Sprint("signal=", os.Getpid()),
		}
		want := []string{"EACCES", "EACCES", "ok", "ok", "ok", "ok"}
		kernel, _ := landlock.Probe()
		if kernel.ABI >= landlock.V4 {
			want[4] = "EACCES"
		}
		if kernel.ABI >= landlock.V6 {
			want[5] = "EPERM"
		}
		r := runnable(bestForChildren()).AllowReadWrite(own)
		check := func(call string, run func(*exec.Cmd) error, restricted bool) {
			cmd, out := try(args...)
			err := run(cmd)
			for i, arg := range args {
				line := fmt.Sprintf("%s: %s\n", arg, want[i])
				if !restricted {
					line = arg + ": ok\n"
				}
				if !strings.Contains(out.String(), line) {
					t.Errorf("%s: %v: not %q in %s", call, err, line, out)
				}
			}
			if err != nil {
				t.Errorf("%s: %v", call, err)
			}
		}
		s := testenv.MustPrepare(t, r)
		check("Sandbox.Run", s.Run, true)
		check("Ruleset.Run", r.Run, true)
		check("again", s.Run, true)
		check("Start and Wait", func(cmd *exec.Cmd) error { return errors.Join(s.Start(cmd), cmd.Wait()) }, true)
		check("Ruleset.Start and Wait", func(cmd *exec.Cmd) error { return errors.Join(r.Start(cmd), cmd.Wait()) }, true)
		check("os/exec", (*exec.Cmd).Run, false)
		if report := s.Report(); report.Enforced != kernel.ABI.Rights() || report.Kernel != kernel {
			t.Errorf("report %v", report)
		}
		if _, err := os.ReadFile(secret); err != nil {
			t.Errorf("the parent cannot read: %v", err)
		}
	})
}

func TestStartErrors(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		s := testenv.MustPrepare(t, runnable(bestForChildren()))
		closed := testenv.MustPrepare(t, landlock.New(landlock.V1))
		closed.Close()
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		program := filepath.Join(dir, "program")
		script := filepath.Join(dir, "script")
		nobody := filepath.Join(dir, "mode")
		if err := errors.Join(os.WriteFile(script, []byte("#! "+program+" x\n"), 0o755), os.WriteFile(nobody, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(testenv.Self())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(program, text, 0o755); err != nil {
			t.Fatal(err)
		}
		tests := []struct {
			name string
			s    *landlock.Sandbox
			cmd  *exec.Cmd
			is   error
			text string
		}{
			{"not found", s, exec.Command("/nonexistent"), os.ErrNotExist, "fork/exec /nonexistent: no such file or directory"},
			{"not in the path", s, exec.Command("landlock-no-such-program"), exec.ErrNotFound, "not found in $PATH"},
			{"no command", s, &exec.Cmd{}, nil, "exec: no command"},
			{"canceled", s, exec.CommandContext(canceled, testenv.Self()), context.Canceled, "context canceled"},
			{"no directory", s, &exec.Cmd{Path: testenv.Self(), Dir: filepath.Join(dir, "missing")}, os.ErrNotExist, "chdir"},
			{"not allowed", s, exec.Command(program), unix.EACCES, fmt.Sprintf("AllowExecute(%q) would allow it", program)},
			{"relative", s, &exec.Cmd{Path: "./program", Dir: dir}, unix.EACCES, fmt.Sprintf("AllowExecute(%q) would allow it", program)},
			{"script", s, exec.Command(script), unix.EACCES, fmt.Sprintf("AllowExecute(%q) would allow it", script)},
			{"not by the sandbox", s, exec.Command(nobody), unix.EACCES, "permission denied"},
			{"closed", closed, exec.Command(testenv.Self()), os.ErrClosed, "use of a Sandbox that is closed"},
		}
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				before := testenv.OpenFiles()
				pipe, _ := test.cmd.StdoutPipe()
				err := test.s.Start(test.cmd)
				if err == nil || test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.text) {
					t.Errorf("error %v, want %q", err, test.text)
				}
				if test.name == "not by the sandbox" && strings.Contains(err.Error(), "ruleset") {
					t.Errorf("the ruleset is blamed: %v", err)
				}
				if test.cmd.Process != nil {
					t.Errorf("process %v", test.cmd.Process)
				}
				if _, err := pipe.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
					t.Errorf("the pipe is not closed: %v", err)
				}
				for fd, link := range testenv.LeftOpen(before) {
					t.Errorf("descriptor %d is left open: %s", fd, link)
				}
				if err := test.s.Start(test.cmd); err == nil || err.Error() != "exec: already started" {
					t.Errorf("second Start: %v", err)
				}
			})
		}
		cmd, _ := try()
		if err := s.Run(cmd); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(cmd); err == nil || err.Error() != "exec: already started" {
			t.Errorf("Start of a command that has run: %v", err)
		}
		if err := landlock.New(0).Start(exec.Command(testenv.Self())); err == nil || !strings.Contains(err.Error(), "target ABI 0") {
			t.Errorf("Start with a mistake: %v", err)
		}
		for name, err := range map[string]error{
			"Do": closed.Do(func() error { return nil }), "Exec": closed.Exec(testenv.Self(), nil, nil), "Run": closed.Run(exec.Command(testenv.Self())),
		} {
			if !errors.Is(err, os.ErrClosed) {
				t.Errorf("%s on a closed Sandbox: %v", name, err)
			}
		}
	})
}

// To the kernel the thread that made a child is its parent: the caller's, which
// must outlive the child where it has locked its goroutine to it, and no thread
// of this package's.
func TestPdeathsig(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		s := testenv.MustPrepare(t, runnable(bestForChildren()))
		for _, attr := range []*syscall.SysProcAttr{nil, {Pdeathsig: syscall.SIGKILL}} {
			cmd, out := try("pdeathsig=", "wait=", "exit=3")
			cmd.SysProcAttr = attr
			stdin, err := cmd.StdinPipe()
			if err := errors.Join(err, s.Start(cmd)); err != nil {
				t.Fatal(err)
			}
			for range 100 { // threads come and go
				if err := s.Do(func() error { return nil }); err != nil {
					t.Fatal(err)
				}
			}
			stdin.Close()
			if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 3 {
				t.Errorf("%+v: %v: %s", attr, err, out)
			}
		}
	})
}

// What is no command to start, and no Sandbox to start it in, runs nothing.
func TestStartOfNothing(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}))
		this, err := os.FindProcess(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		_, output := s.Output(nil)
		_, combined := s.CombinedOutput(nil)
		var none *landlock.Sandbox
		for name, test := range map[string]struct {
			err  error
			want string
		}{
			"nil command":                 {s.Start(nil), "nil command"},
			"Run of a nil command":        {s.Run(nil), "nil command"},
			"Output":                      {output, "nil command"},
			"CombinedOutput":              {combined, "nil command"},
			"a command that has started":  {s.Start(&exec.Cmd{Path: "/bin/true", Process: this}), "already started"},
			"Start of a nil Sandbox":      {none.Start(exec.Command("/bin/true")), "never prepared"},
			"Exec of a nil Sandbox":       {none.Exec("/bin/true", nil, nil), "never prepared"},
			"Do of a nil Sandbox":         {none.Do(func() error { t.Error("f runs"); return nil }), "never prepared"},
			"a capability that is none":   {s.Start(&exec.Cmd{Path: "/bin/true", SysProcAttr: &syscall.SysProcAttr{Chroot: "/", AmbientCaps: []uintptr{99}, Credential: &syscall.Credential{Uid: 7}}}), "invalid argument"},
			"a terminal that is not open": {s.Start(&exec.Cmd{Path: "/bin/true", SysProcAttr: &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}}), "Ctty not valid"},
		} {
			if test.err == nil || !strings.Contains(test.err.Error(), test.want) {
				t.Errorf("%s: %v, want %q", name, test.err, test.want)
			}
		}
	})
}

// The zero Sandbox, which nobody prepared, must not run anything.
func TestZeroSandbox(t *testing.T) {
	var s landlock.Sandbox
	run := func() error { t.Error("f runs"); return nil }
	for name, err := range map[string]error{
		"Start": s.Start(exec.Command(testenv.Self())), "Do": s.Do(run), "Exec": s.Exec(testenv.Self(), nil, nil), "Close": s.Close(),
	} {
		if (name == "Close") != (err == nil) || err != nil && !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if fd := s.Fd(); fd != ^uintptr(0) {
		t.Errorf("Fd %d", fd)
	}
}

// What Fd and Enforcement return is all that it takes to enforce a ruleset by system
// calls of one's own.
func TestEnforcement(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		kernel, _ := landlock.Probe()
		secret := filepath.Join(dir, "secret")
		rulesets := map[string]*landlock.Ruleset{"": bestForChildren(), "with a socket filter": bestForChildren().FilterSockets(), "with a log": bestForChildren().Log(landlock.LogNewExecOn | landlock.LogSameExecOff)}
		for name, r := range rulesets {
			s := testenv.MustPrepare(t, r.AllowRead(filepath.Join(dir, "own")).AllowRead("/proc"))
			e := s.Enforcement()
			if e.SocketFilter != s.Report().SocketFilter || kernel.ABI < landlock.V11 && !e.NoNewPrivs || name == "with a log" && (e.Flags != 0) != (kernel.ABI >= landlock.V7) {
				t.Errorf("%s: %+v, report %v", name, e, s.Report())
			}
			done := make(chan error)
			go func() {
				runtime.LockOSThread() // for good
				var err error
				if e.NoNewPrivs {
					err = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
				}
				if _, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, s.Fd(), uintptr(e.Flags), 0); errno != 0 {
					err = errors.Join(err, errno)
				}
				set, prctlErr := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
				_, readErr := os.ReadFile(secret)
				_, ownErr := os.ReadFile(filepath.Join(dir, "own", "file"))
				if !errors.Is(readErr, unix.EACCES) || set != 1 {
					err = errors.Join(err, prctlErr, fmt.Errorf("read: %v, no_new_privs: %d", readErr, set))
				}
				done <- errors.Join(err, ownErr)
			}()
			if err := <-done; err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		with := testenv.MustPrepare(t, bestForChildren().AllowNewPrivs())
		if e := with.Enforcement(); e.NoNewPrivs || e.Flags != 0 {
			t.Errorf("with AllowNewPrivs: %+v", e)
		}
		for name, s := range map[string]*landlock.Sandbox{"nil": nil, "zero": {}} {
			if e := s.Enforcement(); e != (landlock.Enforcement{}) {
				t.Errorf("%s: %+v", name, e)
			}
		}
	})
}

func TestExec(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		secret := filepath.Join(dir, "secret")
		s := testenv.MustPrepare(t, runnable(bestForChildren()))
		env := append(os.Environ(), childTry+"=1")
		if err := s.Exec("/nonexistent", []string{"x"}, env); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("Exec of what is not there: %v", err)
		}
		denied := filepath.Join(dir, "denied")
		if err := os.WriteFile(denied, []byte("#!"+denied), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := s.Exec(denied, []string{"x"}, env); !errors.Is(err, unix.EACCES) || !strings.Contains(err.Error(), fmt.Sprintf("AllowExecute(%q) would allow it", denied)) {
			t.Errorf("Exec of what is not allowed: %v", err)
		}
		if _, err := os.ReadFile(secret); err != nil {
			t.Errorf("after Exec failed: %v", err)
		}
		cmd, out := try("become=" + secret)
		if err := cmd.Run(); err != nil {
			t.Error(err)
		}
		if l := strings.Split(out.String(), "\n"); len(l) != 4 || !strings.HasSuffix(l[0], ": EACCES") ||
			l[1] != fmt.Sprintf("pid=%d: ok", cmd.Process.Pid) || !strings.HasSuffix(l[2], ": EBADF") {
			t.Errorf("the program printed %q", l)
		}
	})
}

func TestManyChildrenLeakNothing(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		workers, children := 4, 32
		if testenv.LongTests() {
			workers, children = 16, 1000
		}
		count := func(what string) int {
			entries, err := os.ReadDir("/proc/self/" + what)
			if err != nil {
				t.Fatal(err)
			}
			return len(entries)
		}
		s := testenv.MustPrepare(t, runnable(bestForChildren()))
		run := func(n int) {
			var wg sync.WaitGroup
			var left atomic.Int64
			left.Store(int64(n))
			for range workers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						cmd, out := try("read=" + filepath.Join(dir, "secret"))
						if err := s.Run(cmd); err != nil || !strings.HasSuffix(out.String(), ": EACCES\n") {
							t.Errorf("%v: %s", err, out)
						}
					}
				})
			}
			wg.Wait()
		}
		run(4 * workers) // so that the runtime has the threads that it wants
		files, threads := testenv.OpenFiles(), count("task")
		run(children)
		if after := testenv.OpenFiles(); len(after) > len(files) {
			t.Errorf("%d open files, %d before", len(after), len(files))
		}
		if after := count("task"); after > threads+workers {
			t.Errorf("%d threads, %d before", after, threads)
		}
		s.Close()
		if after := testenv.OpenFiles(); len(after) != len(files)-1 {
			t.Errorf("%d open files after Close, want %d", len(after), len(files)-1)
		}
		if _, err := os.ReadFile(filepath.Join(dir, "secret")); err != nil {
			t.Errorf("the parent: %v", err)
		}
	})
}

// Output and CombinedOutput are those of os/exec, in the sandbox.
func TestOutput(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		s := testenv.MustPrepare(t, runnable(bestForChildren()))
		secret := filepath.Join(dir, "secret")
		command := func(args ...string) *exec.Cmd {
			cmd, _ := try(args...)
			cmd.Stdout = nil
			return cmd
		}
		out, err := s.Output(command("read="+secret, "stderr=lost"))
		if want := lines("read="+secret+": EACCES", "stderr=lost: ok"); err != nil || string(out) != want {
			t.Errorf("Output: %q, %v, want %q", out, err, want)
		}
		reading := command("copy")
		reading.Stdin = struct{ io.Reader }{strings.NewReader("input ")}
		if out, err := s.Output(reading); err != nil || string(out) != "input copy: ok\n" {
			t.Errorf("Output with input: %q, %v", out, err)
		}
		out, err = s.Output(command("stderr="+strings.Repeat("x", 100_000)+" end", "exit=3"))
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.ExitCode() != 3 || !strings.HasSuffix(string(exit.Stderr), "x end") || len(exit.Stderr) != 64<<10 || len(out) == 0 {
			t.Errorf("Output of a program that fails: %d bytes, %v, want status 3 and the end of what it wrote to standard error", len(out), err)
		}
		cmd := command("stderr=kept", "exit=3")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		_, err = s.Output(cmd)
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || len(exit.Stderr) > 0 || stderr.String() != "kept" {
			t.Errorf("Output with standard error of its own: %q, %v", stderr.String(), err)
		}
		out, err = s.CombinedOutput(command("stderr=both,", "exit=4"))
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 4 || !strings.HasPrefix(string(out), "both,stderr=both,: ok") {
			t.Errorf("CombinedOutput: %q, %v", out, err)
		}
		cmd = command("stderr=")
		cmd.Stdout = io.Discard
		for name, output := range map[string]func(*exec.Cmd) ([]byte, error){"Output": s.Output, "CombinedOutput": s.CombinedOutput} {
			if _, err := output(cmd); err == nil || cmd.Process != nil {
				t.Errorf("%s with Stdout set: %v, want an error and no child", name, err)
			}
		}
		if out, err := s.Output(exec.Command(filepath.Join(dir, "missing"))); !errors.Is(err, os.ErrNotExist) || len(out) > 0 {
			t.Errorf("Output of a program that does not exist: %q, %v", out, err)
		}
	})
}
