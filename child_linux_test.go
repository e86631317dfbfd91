package landlock

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
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/osthread"
)

func init() {
	if os.Getenv(childTry) != "" {
		runtime.LockOSThread() // to the main thread: what is asked of it is not asked of another
	}
}

// tryAll is this test binary as a program in a sandbox. Each argument is a verb
// and an object; it prints each with what came of it.
func tryAll(args []string) {
	for _, arg := range args {
		verb, object, _ := strings.Cut(arg, "=")
		number, _ := strconv.Atoi(object)
		var err error
		switch verb {
		case "read":
			_, err = os.ReadFile(object)
		case "write":
			err = os.WriteFile(object, nil, 0o600)
		case "connect":
			_, err = net.Dial("tcp", "127.0.0.1:"+object)
		case "unix":
			_, err = net.Dial("unix", object)
		case "signal":
			err = unix.Kill(number, 0)
		case "fd":
			_, err = unix.FcntlInt(uintptr(number), unix.F_GETFD, 0)
		case "limit": // of descriptors, for a program that does not raise it itself
			sandbox, prepareErr := NewHandling(Rights{FS: FSMakeChar}).Prepare()
			cmd := exec.Command("/bin/sh", "-c", "ulimit -Sn")
			cmd.ExtraFiles = append(make([]*os.File, number), slices.Repeat([]*os.File{os.Stderr}, number)...) // from above it on
			var out []byte
			if err = prepareErr; err == nil {
				out, err = sandbox.Output(cmd)
			}
			if err == nil && string(out) != object+"\n" {
				err = fmt.Errorf("it is %s", out)
			}
		case "open": // whether it has a file open
			err = hasOpen(object)
		case "files": // all that it has open, up to a number
			for fd := range number {
				flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
				if err == nil {
					link, _, _ := strings.Cut(readLink(fd), ":") // without the number of a pipe
					fmt.Printf("%d %s %#x\n", fd, link, flags)
				}
			}
		case "copy": // standard input to output
			_, err = io.Copy(os.Stdout, os.Stdin)
		case "stderr":
			fmt.Fprint(os.Stderr, object)
		case "pdeathsig": // as setpriv --pdeathsig does
			err = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
		case "pdeathsig?":
			var signal int32
			if err = unix.Prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&signal)), 0, 0, 0); err == nil {
				err = syscall.Errno(signal) // as a name
			}
		case "wait": // until the parent closes standard input
			io.Copy(io.Discard, os.Stdin)
		case "family": // start a child, signal it, and have it signal this process
			cmd, out := try(fmt.Sprint("signal=", os.Getpid()), "wait")
			var stdin io.WriteCloser
			if stdin, err = cmd.StdinPipe(); err != nil {
				break
			}
			if err = cmd.Start(); err == nil {
				err = unix.Kill(cmd.Process.Pid, 0)
				stdin.Close()
				err = errors.Join(err, cmd.Wait())
			}
			if err == nil && strings.Count(out.String(), ": ok") != 2 {
				err = errors.New(out.String())
			}
		case "env":
			if os.Getenv(object) == "" {
				err = errors.New("not set")
			}
		case "dir":
			var dir string
			if dir, err = os.Getwd(); err == nil && dir != object {
				err = errors.New(dir)
			}
		case "moveto":
			err = os.Chdir(object)
		case "pid":
			if os.Getpid() != number {
				err = fmt.Errorf("it is %d", os.Getpid())
			}
		case "exec": // restricted, as a wrapper does it
			err = New(V5).BestEffort(V1).AllowExecute("/").Exec(object, []string{object}, nil)
		case "become": // this program in a sandbox, which tells what it finds
			var s *Sandbox
			if s, err = runnable(bestForChildren()).Prepare(); err == nil {
				err = s.Exec(self(), []string{"self", "read=" + object, fmt.Sprint("pid=", os.Getpid()), fmt.Sprint("fd=", s.Fd())}, os.Environ())
			}
		case "panic":
			NewHandling(Rights{FS: FSMakeChar}).do(panicInDo)
		case "escape":
			if err := beAttacker(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				syscall.Exit(1)
			}
			return
		case "terminal": // read it, as a program that has standard input alone
			_, err = os.Stdin.Read(make([]byte, 1))
		case "interrupt": // by what the terminal at standard input answers
			var settings *unix.Termios
			if settings, err = unix.IoctlGetTermios(0, unix.TCGETS); err == nil {
				settings.Cc[unix.VINTR] = itIsMe[len(itIsMe)-1]
				err = unix.IoctlSetTermios(0, unix.TCSETS, settings)
			}
			if err == nil {
				_, err = unix.Write(0, []byte(whoAreYou))
			}
		case "resize": // a terminal, by its name or as standard input
			fd := 0
			if object != "" {
				fd, err = unix.Open(object, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
			}
			var size *unix.Winsize
			if err == nil {
				size, err = unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
			}
			if err == nil {
				size.Row++
				err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, size)
			}
		case "mount":
			err = unix.Mount("tmpfs", object, "tmpfs", 0, "")
		case "sockets": // whether the filter is in force, with UDP refused or not
			err = tryFilter(object == "noudp")
		case "child": // that tries something
			cmd, out := try(object)
			if err = cmd.Run(); err == nil && out.String() != lines(object+": ok") {
				err = errors.New(out.String())
			}
		case "timeapply": // in nanoseconds
			r := NewHandling(Rights{FS: V1.FS(), Net: V4.Net()})
			if object != "" {
				r.FilterSockets()
			}
			start := time.Now()
			_, err = r.Apply()
			fmt.Println(time.Since(start).Nanoseconds())
		case "filteredexec": // what tries the sockets then
			verb, _ := refusesUDP()
			err = filtering().Exec(self(), []string{"self", verb}, os.Environ())
		case "exit":
			os.Exit(number)
		}
		var errno syscall.Errno
		switch {
		case err == nil:
			fmt.Printf("%s: ok\n", arg)
		case errors.As(err, &errno):
			fmt.Printf("%s: %s\n", arg, unix.ErrnoName(errno))
		default:
			fmt.Printf("%s: %v\n", arg, err)
		}
	}
}

// hasOpen returns an error where this process has none of its descriptors for a
// file.
func hasOpen(path string) error {
	for fd := range openFiles() {
		if strings.HasPrefix(readLink(fd), path) {
			return nil
		}
	}
	return unix.EBADF
}

func (r *Ruleset) do(f func() error) error {
	s, err := r.Prepare()
	if err != nil {
		return err
	}
	return s.Do(f)
}

// try returns a command that tries args, and its output.
func try(args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command(self(), args...)
	cmd.Env = append(os.Environ(), childTry+"=1", "GORACE=atexit_sleep_ms=0")
	var out bytes.Buffer
	cmd.Stdout = &out
	return cmd, &out
}

// lines is what tryAll prints.
func lines(l ...string) string { return strings.Join(l, "\n") + "\n" }

// runnable allows what the test binary needs to run, and no more: the race
// detector reads its options in /proc.
func runnable(r *Ruleset) *Ruleset { return withLibraries(r).AllowOptional(FSRead, "/proc") }

// withLibraries is runnable for a binary without the race detector.
func withLibraries(r *Ruleset) *Ruleset {
	return r.AllowExecute(self()).
		AllowOptional(FSReadExecute, "/lib", "/lib64", "/usr/lib", "/usr/lib64").
		AllowOptional(FSRead, "/etc/ld.so.cache")
}

// bestForChildren returns everything that this kernel can deny to a child.
func bestForChildren() *Ruleset { return New(V11).BestEffort(V1) }

func mustPrepare(t testing.TB, r *Ruleset) *Sandbox {
	t.Helper()
	s, err := r.Prepare()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// inBoth runs f in a child process for each user: what it starts is restricted,
// it itself is not.
func inBoth(t *testing.T, f func(t *testing.T, dir string)) {
	t.Helper()
	needABI(t, V1)
	inChild(t, func(t *testing.T, dir string) {
		write(t, filepath.Join(dir, "secret"), "secret")
		write(t, filepath.Join(dir, "own", "file"), "file")
	}, f)
}

func TestRunRestrictsTheChild(t *testing.T) {
	inBoth(t, func(t *testing.T, dir string) {
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
		kernel, _ := Probe()
		if kernel.ABI >= V4 {
			want[4] = "EACCES"
		}
		if kernel.ABI >= V6 {
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
		s := mustPrepare(t, r)
		check("Sandbox.Run", s.Run, true)
		check("Ruleset.Run", r.Run, true)
		check("again", s.Run, true)
		check("Start and Wait", func(cmd *exec.Cmd) error { return errors.Join(s.Start(cmd), cmd.Wait()) }, true)
		check("Ruleset.Start and Wait", func(cmd *exec.Cmd) error { return errors.Join(r.Start(cmd), cmd.Wait()) }, true)
		check("os/exec", (*exec.Cmd).Run, false)
		if report := s.Report(); report.Enforced != r.handled.intersect(kernel.ABI.Rights()) || report.Kernel != kernel {
			t.Errorf("report %v", report)
		}
		if _, err := os.ReadFile(secret); err != nil {
			t.Errorf("the parent cannot read: %v", err)
		}
	})
}

func TestStartErrors(t *testing.T) {
	inBoth(t, func(t *testing.T, dir string) {
		s := mustPrepare(t, runnable(bestForChildren()))
		closed := mustPrepare(t, New(V1))
		closed.Close()
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		program := filepath.Join(dir, "program")
		script := filepath.Join(dir, "script")
		nobody := filepath.Join(dir, "mode")
		if err := errors.Join(os.WriteFile(script, []byte("#! "+program+" x\n"), 0o755), os.WriteFile(nobody, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(self())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(program, text, 0o755); err != nil {
			t.Fatal(err)
		}
		tests := []struct {
			name string
			s    *Sandbox
			cmd  *exec.Cmd
			is   error
			text string
		}{
			{"not found", s, exec.Command("/nonexistent"), os.ErrNotExist, "fork/exec /nonexistent: no such file or directory"},
			{"not in the path", s, exec.Command("landlock-no-such-program"), exec.ErrNotFound, "not found in $PATH"},
			{"no command", s, &exec.Cmd{}, nil, "exec: no command"},
			{"canceled", s, exec.CommandContext(canceled, self()), context.Canceled, "context canceled"},
			{"no directory", s, &exec.Cmd{Path: self(), Dir: filepath.Join(dir, "missing")}, os.ErrNotExist, "chdir"},
			{"not allowed", s, exec.Command(program), unix.EACCES, fmt.Sprintf("AllowExecute(%q) would allow it", program)},
			{"relative", s, &exec.Cmd{Path: "./program", Dir: dir}, unix.EACCES, fmt.Sprintf("AllowExecute(%q) would allow it", program)},
			{"script", s, exec.Command(script), unix.EACCES, fmt.Sprintf("AllowExecute(%q) would allow it", script)},
			{"not by the sandbox", s, exec.Command(nobody), unix.EACCES, "permission denied"},
			{"closed", closed, exec.Command(self()), os.ErrClosed, "use of a Sandbox that is closed"},
		}
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				before := openFiles()
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
				for fd := range openFiles() {
					if !before[fd] {
						t.Errorf("descriptor %d is left open: %s", fd, readLink(fd))
					}
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
		if err := New(0).Start(exec.Command(self())); err == nil || !strings.Contains(err.Error(), "target ABI 0") {
			t.Errorf("Start with a mistake: %v", err)
		}
		for name, err := range map[string]error{
			"Do": closed.Do(func() error { return nil }), "Exec": closed.Exec(self(), nil, nil), "Run": closed.Run(exec.Command(self())),
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
	inBoth(t, func(t *testing.T, dir string) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		s := mustPrepare(t, runnable(bestForChildren()))
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

// What an Exec or Do has restricted has a layer more than the others until it has
// ended, and Apply must not find out half way that such a thread takes no more.
func TestLayersAfterDo(t *testing.T) {
	for name, use := range map[string]func(s *Sandbox, dir string) error{
		"Do": func(s *Sandbox, dir string) error { return s.Do(func() error { return nil }) },
		"Exec that fails": func(s *Sandbox, dir string) error {
			if err := s.Exec(filepath.Join(dir, "nothing"), []string{"x"}, nil); !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("Exec: %w", err)
			}
			return nil
		},
		"a child": func(s *Sandbox, dir string) error { return s.Run(exec.Command("/proc/self/exe", "-test.run=^$")) },
	} {
		t.Run(name, func(t *testing.T) {
			inBoth(t, func(t *testing.T, dir string) {
				apply := func() error {
					_, err := NewHandling(Rights{FS: FSMakeChar}).Apply()
					return err
				}
				for layer := range 15 {
					if err := apply(); err != nil {
						t.Fatalf("layer %d: %v", layer+1, err)
					}
				}
				s := mustPrepare(t, NewHandling(Rights{FS: FSMakeChar}))
				// Apply at the very moment that the last is done.
				var all sync.WaitGroup
				var applied atomic.Int32
				for i := range 40 {
					all.Go(func() {
						if i%2 == 0 {
							if err := use(s, dir); err != nil && !errors.Is(err, ErrTooManyLayers) {
								t.Error(err)
							}
							return
						}
						err := errDoRunning
						for err == errDoRunning {
							err = apply()
						}
						if err == nil {
							applied.Add(1)
						} else if !errors.Is(err, ErrTooManyLayers) {
							t.Error(err)
						}
					})
				}
				all.Wait()
				if n := applied.Load(); n != 1 {
					t.Errorf("%d times room for the last layer", n)
				}
			})
		})
	}
}

// What is no command to start, and no Sandbox to start it in, runs nothing.
func TestStartOfNothing(t *testing.T) {
	inBoth(t, func(t *testing.T, dir string) {
		s := mustPrepare(t, NewHandling(Rights{FS: FSMakeChar}))
		this, err := os.FindProcess(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		_, output := s.Output(nil)
		_, combined := s.CombinedOutput(nil)
		var none *Sandbox
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
	var s Sandbox
	run := func() error { t.Error("f runs"); return nil }
	for name, err := range map[string]error{
		"Start": s.Start(exec.Command(self())), "Do": s.Do(run), "Exec": s.Exec(self(), nil, nil), "Close": s.Close(),
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
	inBoth(t, func(t *testing.T, dir string) {
		kernel, _ := Probe()
		secret := filepath.Join(dir, "secret")
		rulesets := map[string]*Ruleset{"": bestForChildren(), "with a socket filter": bestForChildren().FilterSockets(), "with a log": bestForChildren().Log(LogNewExecOn | LogSameExecOff)}
		for name, r := range rulesets {
			s := mustPrepare(t, r.AllowRead(filepath.Join(dir, "own")).AllowRead("/proc"))
			e := s.Enforcement()
			if e.SocketFilter != s.Report().SocketFilter || kernel.ABI < V11 && !e.NoNewPrivs || name == "with a log" && (e.Flags != 0) != (kernel.ABI >= V7) {
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
		with := mustPrepare(t, bestForChildren().AllowNewPrivs())
		if e := with.Enforcement(); e.NoNewPrivs || e.Flags != 0 {
			t.Errorf("with AllowNewPrivs: %+v", e)
		}
		for name, s := range map[string]*Sandbox{"nil": nil, "zero": {}, "without anything": {unrestricted: true, restriction: restriction{noNewPrivs: true}}} {
			if e := s.Enforcement(); e != (Enforcement{}) {
				t.Errorf("%s: %+v", name, e)
			}
		}
	})
}

func TestExec(t *testing.T) {
	inBoth(t, func(t *testing.T, dir string) {
		secret := filepath.Join(dir, "secret")
		s := mustPrepare(t, runnable(bestForChildren()))
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

func TestDo(t *testing.T) {
	inBoth(t, func(t *testing.T, dir string) {
		secret := filepath.Join(dir, "secret")
		s := mustPrepare(t, runnable(bestForChildren()))
		read := func() error { _, err := os.ReadFile(secret); return err }
		if err := s.Do(read); !errors.Is(err, unix.EACCES) {
			t.Errorf("reading what is denied: %v", err)
		}
		if err := read(); err != nil {
			t.Errorf("reading after Do: %v", err)
		}
		if err := s.Do(func() error { return nil }); err != nil {
			t.Error(err)
		}
		if err := s.Do(nil); err == nil || !strings.Contains(err.Error(), "nil function") {
			t.Errorf("Do of nil: %v", err)
		}
		func() {
			defer func() {
				if value := recover(); value != "a panic" {
					t.Errorf("recovered %v", value)
				}
			}()
			s.Do(func() error { panic("a panic") })
			t.Error("a panic in f is lost")
		}()
		ended := make(chan bool)
		go func() {
			defer close(ended)
			s.Do(func() error { runtime.Goexit(); return nil })
			t.Error("a Goexit in f is lost")
		}()
		<-ended

		// From inside: Start alone.
		err := s.Do(func() error {
			cmd, out := try("read=" + secret)
			cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr // f may not open /dev/null
			if err := mustPrepare(t, NewHandling(Rights{FS: FSMakeChar})).Run(cmd); err != nil || out.String() != lines("read="+secret+": EACCES") {
				t.Errorf("a child of f, in a sandbox that allows reading: %v: %s", err, out)
			}
			_, applyErr := New(V1).Apply()
			for name, err := range map[string]error{"Do": s.Do(read), "Exec": s.Exec(self(), nil, nil), "Apply": applyErr} {
				if err == nil || !strings.Contains(err.Error(), "inside") {
					t.Errorf("%s inside Do: %v", name, err)
				}
			}
			return read()
		})
		if !errors.Is(err, unix.EACCES) {
			t.Errorf("after all that, f reads: %v", err)
		}
	})
}

// A panic that nobody recovers prints the stack of the function, not just that
// of its caller.
func TestDoPrintsTheStackOfAPanic(t *testing.T) {
	inBoth(t, func(t *testing.T, dir string) {
		cmd, _ := try("panic")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		err := cmd.Run()
		for _, want := range []string{"panic: in the function of a Do", "landlock.panicInDo(", "panic: the value"} {
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 2 || !strings.Contains(stderr.String(), want) {
				t.Errorf("%v, not %q in:\n%s", err, want, &stderr)
			}
		}
	})
}

//go:noinline
func panicInDo() error { panic("the value") }

// Nobody else ever runs on a thread that is restricted, and the main thread is
// not one.
func TestThreadsAreNotShared(t *testing.T) {
	inBoth(t, func(t *testing.T, dir string) {
		secret := filepath.Join(dir, "secret")
		s := mustPrepare(t, runnable(bestForChildren()))
		var busy, idle sync.WaitGroup
		var stop atomic.Bool
		for range 16 {
			idle.Go(func() {
				for !stop.Load() {
					if _, err := os.ReadFile(secret); err != nil {
						t.Errorf("a goroutine that has no sandbox: %v", err)
						return
					}
				}
			})
		}
		rounds := 10
		if longTests() {
			rounds = 100
		}
		for range 8 {
			busy.Go(func() {
				for range rounds {
					err := s.Do(func() error {
						if osthread.IsMain() {
							t.Error("the main thread is restricted")
						}
						_, err := os.ReadFile(secret)
						return err
					})
					if !errors.Is(err, unix.EACCES) {
						t.Errorf("Do: %v", err)
					}
				}
			})
		}
		busy.Wait()
		stop.Store(true)
		idle.Wait()
	})
}

// Take must find another thread where it is handed the main one.
func TestTakeThreadFromMain(t *testing.T) {
	for range 200 {
		var wg sync.WaitGroup
		for range 8 {
			wg.Add(1)
			go osthread.Take(func() bool {
				defer wg.Done()
				if osthread.IsMain() {
					t.Error("f runs on the main thread")
				}
				return true
			})
		}
		wg.Wait()
	}
}

func TestManyChildrenLeakNothing(t *testing.T) {
	inBoth(t, func(t *testing.T, dir string) {
		workers, children := 4, 32
		if longTests() {
			workers, children = 16, 1000
		}
		count := func(what string) int {
			entries, err := os.ReadDir("/proc/self/" + what)
			if err != nil {
				t.Fatal(err)
			}
			return len(entries)
		}
		s := mustPrepare(t, runnable(bestForChildren()))
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
		files, threads := openFiles(), count("task")
		run(children)
		if after := openFiles(); len(after) > len(files) {
			t.Errorf("%d open files, %d before", len(after), len(files))
		}
		if after := count("task"); after > threads+workers {
			t.Errorf("%d threads, %d before", after, threads)
		}
		s.Close()
		if after := openFiles(); len(after) != len(files)-1 {
			t.Errorf("%d open files after Close, want %d", len(after), len(files)-1)
		}
		if _, err := os.ReadFile(filepath.Join(dir, "secret")); err != nil {
			t.Errorf("the parent: %v", err)
		}
	})
}

// From ABI 8 on Apply gives all threads one domain, and so it would set free a thread
// that is restricted for a child, or for a Do.
func TestApplyBesideSandboxes(t *testing.T) {
	beside := func(name string, work func(s *Sandbox, secret string) error) {
		t.Run(name, func(t *testing.T) {
			inBoth(t, func(t *testing.T, dir string) { applyBeside(t, filepath.Join(dir, "secret"), work) })
		})
	}
	beside("children", func(s *Sandbox, secret string) error {
		cmd, out := try("read=" + secret)
		err := s.Run(cmd)
		if err == nil && out.String() != lines("read="+secret+": EACCES") {
			err = fmt.Errorf("a child: %s", out)
		}
		return err
	})
	beside("Do", func(s *Sandbox, secret string) error {
		return s.Do(func() error {
			for range 100 {
				if _, err := os.ReadFile(secret); !errors.Is(err, unix.EACCES) {
					return fmt.Errorf("f reads the secret: %v", err)
				}
			}
			return nil
		})
	})
}

// applyBeside starts an Apply and some work at the same moment, since the one to
// get between is short, until no layer is left.
func applyBeside(t *testing.T, secret string, work func(s *Sandbox, secret string) error) {
	s := mustPrepare(t, runnable(bestForChildren()))
	loose := NewHandling(Rights{FS: FSMakeChar})
	applied, refused, enough := 0, 0, 5
	if longTests() {
		enough = 15 // which is when the layers run out
	}
	for applied < enough && refused < 100 {
		start := make(chan bool)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				<-start
				if err := work(s, secret); err != nil && !errors.Is(err, ErrTooManyLayers) {
					t.Error(err)
				}
			})
		}
		wg.Go(func() {
			<-start
			switch _, err := loose.Apply(); {
			case err == nil:
				applied++
			case errors.Is(err, errDoRunning), errors.Is(err, ErrTooManyLayers):
				refused++
			default:
				t.Errorf("Apply: %v", err)
			}
		})
		close(start)
		wg.Wait()
	}
	if t.Logf("%d Applies, %d refused", applied, refused); applied == 0 {
		t.Error("no Apply has worked: this shows nothing")
	}
}

// From Linux 7.1 a thread that follows such a link while the kernel restricts
// all threads holds everything up: see interruptWaits.
func TestApplyBesideLinksInProc(t *testing.T) {
	needABI(t, V1)
	inBoth(t, func(t *testing.T, dir string) {
		followed := make(chan bool)
		go func() {
			unix.Readlink("/proc/self/exe", make([]byte, 1))
			close(followed)
			for {
				unix.Readlink("/proc/self/exe", make([]byte, 1))
			}
		}()
		<-followed
		for range 10 {
			mustApply(t, NewHandling(Rights{FS: FSMakeChar}))
		}
	})
}

// The danger that TestApplyBesideSandboxes is about, without the library's care:
// the kernel sets a stricter thread free.
func TestThreadSyncReplacesDomains(t *testing.T) {
	needABI(t, V8)
	inBoth(t, func(t *testing.T, dir string) {
		secret := filepath.Join(dir, "secret")
		s := mustPrepare(t, NewHandling(Rights{FS: FSReadFile}))
		restricted, synced, result := make(chan bool), make(chan bool), make(chan [2]error)
		go func() {
			enforceOnThread(t, s)
			_, before := os.ReadFile(secret)
			close(restricted)
			<-synced
			_, after := os.ReadFile(secret)
			result <- [2]error{before, after}
		}()
		<-restricted
		mustApply(t, NewHandling(Rights{FS: FSMakeChar}))
		close(synced)
		if errs := <-result; !errors.Is(errs[0], unix.EACCES) || errs[1] != nil {
			t.Errorf("before TSYNC %v, after it %v", errs[0], errs[1])
		}
	})
}

func TestDoRefusesApply(t *testing.T) {
	inBoth(t, func(t *testing.T, dir string) {
		s := mustPrepare(t, New(V1))
		inside, leave, done := make(chan bool), make(chan bool), make(chan error)
		go func() {
			done <- s.Do(func() error {
				close(inside)
				<-leave
				return nil
			})
		}()
		<-inside
		if _, err := New(V1).Apply(); !errors.Is(err, errDoRunning) {
			t.Errorf("Apply while a Do is running: %v", err)
		}
		if _, err := os.ReadDir("/"); err != nil {
			t.Errorf("the Apply that failed: %v", err)
		}
		close(leave)
		if err := <-done; err != nil {
			t.Error(err)
		}
		mustApply(t, New(V1))
	})
}

func TestProgramFiles(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("needs sh")
	}
	files := programFiles(sh)
	if len(files) == 0 || files[0] != sh || len(files) > 2 {
		t.Errorf("programFiles(%s) = %q", sh, files)
	}
	t.Log(files)
	if got := programFiles("/nonexistent"); got != nil {
		t.Errorf("of a file that is not there: %q", got)
	}
	if dir := t.TempDir(); programFiles(dir) != nil {
		t.Error("a directory is taken for a program")
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o777); err != nil {
		t.Fatal(err)
	}
	if files := programFiles(fifo); files != nil {
		t.Errorf("a FIFO is taken for a program: %q", files)
	}
	loop := filepath.Join(t.TempDir(), "loop")
	if err := os.WriteFile(loop, []byte("#!"+loop), 0o755); err != nil {
		t.Fatal(err)
	}
	if files := programFiles(loop); !slices.Equal(files, []string{loop, loop, loop, loop, loop, loop}) {
		t.Errorf("a script that names itself: %q", files)
	}
}

// Output and CombinedOutput are those of os/exec, in the sandbox.
func TestOutput(t *testing.T) {
	inBoth(t, func(t *testing.T, dir string) {
		s := mustPrepare(t, runnable(bestForChildren()))
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
