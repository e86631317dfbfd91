package blackbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/internal/stub"
	"example.com/landlock/internal/testenv"
)

// wrapAndStart makes of a Wrap a way to start.
func wrapAndStart(wrap func(*exec.Cmd) error) func(*exec.Cmd) error {
	return func(cmd *exec.Cmd) error {
		if err := wrap(cmd); err != nil {
			return err
		}
		return cmd.Start()
	}
}

// Each line of the table in Wrap's documentation: what is set before and afterwards,
// and what comes of it.
func TestWrapContract(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		secret, own := filepath.Join(dir, "secret"), filepath.Join(dir, "own", "file")
		s := testenv.MustPrepare(t, runnable(bestForChildren()).AllowReadWrite(filepath.Dir(own)).AllowExecute("/bin/sh"))
		open := func(path string) *os.File {
			file, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { file.Close() })
			return file
		}
		const refused = "cmd.ExtraFiles is not what Wrap has left there"
		for _, test := range []struct {
			name   string
			args   []string
			before func(cmd *exec.Cmd)
			after  func(cmd *exec.Cmd)
			want   []string // of each argument, the first "read=secret"
			fails  string   // what it says instead, or what Start answers
		}{
			{"nothing", []string{"fd=3", "fd=4", "fd=5"}, nil, nil, []string{"EBADF", "EBADF", "EBADF"}, ""},
			{"no Args", nil, func(cmd *exec.Cmd) { cmd.Args = nil }, func(cmd *exec.Cmd) { cmd.Args = append(cmd.Args, "read="+secret) }, []string{}, ""},
			{"Args", []string{"env=A"}, nil, func(cmd *exec.Cmd) { cmd.Args = []string{"", "read=" + secret, "env=A"} }, []string{"not set"}, ""},
			{"Env", []string{"env=A"}, nil, func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "A=b") }, []string{"ok"}, ""},
			{"Dir", []string{"dir=/usr"}, nil, func(cmd *exec.Cmd) { cmd.Dir = "/usr" }, []string{"ok"}, ""},
			{"Dir and a relative Path", nil, func(cmd *exec.Cmd) {
				cmd.Path, cmd.Args = "./sh", []string{"sh", "-c", "read line <" + secret + " || echo read=" + secret + ": EACCES; pwd"}
			}, func(cmd *exec.Cmd) { cmd.Dir = "/bin" }, []string{"/bin"}, ""},
			{"streams", []string{"copy"}, func(cmd *exec.Cmd) { cmd.Stderr = io.Discard }, func(cmd *exec.Cmd) {
				cmd.Stderr, cmd.Stdin = nil, strings.NewReader("input\n")
			}, []string{"input"}, ""},
			{"ExtraFiles before", []string{"fd=3", "fd=4", "fd=5", "fd=6"}, func(cmd *exec.Cmd) { cmd.ExtraFiles = []*os.File{open(secret)} }, nil, []string{"ok", "EBADF", "EBADF", "EBADF"}, ""},
			{"ExtraFiles appended", []string{"fd=3", "fd=4", "fd=5", "fd=6", "fd=7"}, func(cmd *exec.Cmd) { cmd.ExtraFiles = []*os.File{open(secret)} },
				func(cmd *exec.Cmd) { cmd.ExtraFiles = append(cmd.ExtraFiles, open(own)) }, []string{"ok", "EBADF", "EBADF", "ok", "EBADF"}, ""},
			{"an own file replaced", []string{"fd=3"}, func(cmd *exec.Cmd) { cmd.ExtraFiles = []*os.File{open(secret)} }, func(cmd *exec.Cmd) { cmd.ExtraFiles[0] = nil }, []string{"EBADF"}, ""},
			{"ExtraFiles removed", nil, nil, func(cmd *exec.Cmd) { cmd.ExtraFiles = nil }, nil, refused},
			{"ExtraFiles replaced", nil, nil, func(cmd *exec.Cmd) { cmd.ExtraFiles = []*os.File{open(secret), open(secret)} }, nil, refused},
			{"200 appended", []string{"fd=3", "fd=4", "fd=204", "fd=205"}, nil, func(cmd *exec.Cmd) {
				cmd.ExtraFiles = append(cmd.ExtraFiles, slices.Repeat([]*os.File{open(own)}, 200)...)
			}, []string{"EBADF", "EBADF", "ok", "EBADF"}, ""},
			{"the first replaced", nil, nil, func(cmd *exec.Cmd) { cmd.ExtraFiles[0] = open(testenv.Self()) }, nil, "file descriptor in bad state"},
			{"a pipe in place of the second", nil, nil, func(cmd *exec.Cmd) {
				read, write, err := os.Pipe()
				must(t, err)
				t.Cleanup(func() { read.Close(); write.Close() })
				cmd.ExtraFiles[1] = read
			}, nil, refused},
			{"another's, of the same program", nil, nil, func(cmd *exec.Cmd) {
				for range 20 {
					other := exec.Command(testenv.Self())
					must(t, s.Wrap(other))
					cmd.ExtraFiles = other.ExtraFiles
				}
			}, nil, refused},
			{"the second replaced", nil, nil, func(cmd *exec.Cmd) { cmd.ExtraFiles[1] = open(secret) }, nil, refused},
			{"one put in front", nil, nil, func(cmd *exec.Cmd) { cmd.ExtraFiles = slices.Insert(cmd.ExtraFiles, 0, open(testenv.Self())) }, nil, refused},
			{"one put in between", nil, nil, func(cmd *exec.Cmd) { cmd.ExtraFiles = slices.Insert(cmd.ExtraFiles, 1, open(secret)) }, nil, refused},
			{"one removed", nil, func(cmd *exec.Cmd) { cmd.ExtraFiles = []*os.File{open(secret)} }, func(cmd *exec.Cmd) { cmd.ExtraFiles = cmd.ExtraFiles[1:] }, nil, refused},
			{"closed", nil, nil, func(cmd *exec.Cmd) { cmd.ExtraFiles[0].Close() }, nil, refused},
			{"another's", nil, func(cmd *exec.Cmd) { cmd.Path = "/bin/sh" }, func(cmd *exec.Cmd) {
				for range 20 { // of which one is far enough from this one's
					other := exec.Command("/bin/sh")
					if err := s.Wrap(other); err != nil {
						t.Error(err)
					}
					cmd.ExtraFiles = other.ExtraFiles
				}
			}, nil, refused},
			{"SysProcAttr", nil, nil, func(cmd *exec.Cmd) {
				cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
			}, []string{}, ""},
			{"a Ctty that is closed", nil, nil, func(cmd *exec.Cmd) {
				cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}
			}, nil, "inappropriate ioctl for device"},
			{"a context that is done", nil, func(cmd *exec.Cmd) {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				*cmd = *exec.CommandContext(ctx, cmd.Path)
			}, nil, nil, context.Canceled.Error()},
			{"no program", nil, func(cmd *exec.Cmd) { cmd.Path = "/nonexistent\n" }, nil, nil, `landlock: exec "/nonexistent\n": no such file or directory`},
			{"a file in place of a directory", nil, func(cmd *exec.Cmd) { cmd.Path = secret + "/x" }, nil, nil, "/x: not a directory"},
			{"a program that is not allowed", nil, func(cmd *exec.Cmd) { cmd.Path = filepath.Join(dir, "program") }, nil, nil,
				fmt.Sprintf("permission denied: landlock: no rule for execute,read_file on %s/program: AllowExecute(\"%[1]s/program\") would allow it", dir)},
			{"a copy", nil, nil, func(cmd *exec.Cmd) { c := *cmd; *cmd = exec.Cmd{}; runtime.GC(); runtime.GC(); *cmd = c }, []string{}, ""},
			{"a new one of its fields", nil, nil, func(cmd *exec.Cmd) {
				*cmd = exec.Cmd{Path: cmd.Path, Args: cmd.Args, Env: cmd.Env, Stdout: cmd.Stdout, Stderr: cmd.Stderr, ExtraFiles: cmd.ExtraFiles}
				runtime.GC()
				runtime.GC()
			}, []string{}, ""},
			{"a new one of its Path and Args", nil, nil, func(cmd *exec.Cmd) {
				*cmd = exec.Cmd{Path: cmd.Path, Args: cmd.Args, Env: cmd.Env, Stdout: cmd.Stdout, Stderr: cmd.Stderr}
				runtime.GC()
				runtime.GC()
			}, nil, refused},
			{"the executable", nil, func(cmd *exec.Cmd) { cmd.Path = "/proc/self/exe" }, nil, []string{}, ""},
			{"a descriptor that is inherited, whose number an own file gets", nil, func(cmd *exec.Cmd) {
				fd, err := unix.Open(testenv.Self(), unix.O_RDONLY, 0)
				must(t, err)
				t.Cleanup(func() { unix.Close(fd) })
				cmd.Path, cmd.ExtraFiles = fmt.Sprint("/proc/self/fd/", fd), make([]*os.File, fd-3)
			}, nil, []string{}, ""},
		} {
			t.Run(test.name, func(t *testing.T) {
				testenv.Write(t, filepath.Join(dir, "program"), "#!/bin/sh\n")
				must(t, os.Chmod(filepath.Join(dir, "program"), 0o755))
				args := append([]string{"read=" + secret}, test.args...)
				cmd, out := try(args...)
				var errs bytes.Buffer
				cmd.Stderr = &errs
				if test.before != nil {
					test.before(cmd)
				}
				must(t, s.Wrap(cmd))
				if test.after != nil {
					test.after(cmd)
				}
				err := cmd.Run()
				if test.fails != "" {
					status, startErr := 126, err != nil && strings.Contains(err.Error(), test.fails)
					if strings.Contains(test.fails, "no such file") || strings.Contains(test.fails, "not a directory") {
						status = 127
					}
					exit, _ := errors.AsType[*exec.ExitError](err)
					said := exit != nil && exit.ExitCode() == status && strings.Contains(errs.String(), test.fails) && strings.Count(errs.String(), "\n") == 1
					if !said && !startErr || out.Len() > 0 {
						t.Errorf("%v: %q, want %d and %q; output %q", err, errs.String(), status, test.fails, out)
					}
					return
				}
				if err != nil || !strings.HasPrefix(out.String(), "read="+secret+": EACCES\n") {
					t.Errorf("%v: %s%s", err, out, errs.String())
				}
				rest := out.String()
				for _, want := range test.want {
					before, after, found := strings.Cut(rest, want)
					if rest = after; !found {
						t.Errorf("no %q after %q", want, before)
					}
				}
			})
		}
		cmd, out := try("read=" + secret)
		if err := cmd.Run(); err != nil || out.String() != lines("read="+secret+": ok") {
			t.Errorf("without a sandbox: %v: %s", err, out)
		}
	})
}

// What the documentation says runs without the sandbox, or in a weaker one, does: as
// soon as it does not any more, that is to be said.
func TestWaysAroundWrap(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		secret := filepath.Join(dir, "secret")
		s := testenv.MustPrepare(t, runnable(bestForChildren()))
		// free is a program that says so, wherever it runs.
		var image stub.Image
		image.Add(unix.SYS_WRITE, 1, image.Data([]byte("free\n")), 5)
		image.Add(unix.SYS_EXIT, 0)
		free := filepath.Join(dir, "free")
		must(t, os.WriteFile(free, image.Bytes(0), 0o755))
		for name, around := range map[string]func(t *testing.T, cmd *exec.Cmd) (want string){
			"Path": func(t *testing.T, cmd *exec.Cmd) string {
				cmd.Path = testenv.Self()
				return lines("read=" + secret + ": ok")
			},
			"another's ruleset": func(t *testing.T, cmd *exec.Cmd) string {
				other := exec.Command(testenv.Self())
				must(t, testenv.MustPrepare(t, runnable(bestForChildren()).AllowRead(secret)).Wrap(other))
				cmd.ExtraFiles[0] = other.ExtraFiles[0]
				return lines("read=" + secret + ": ok")
			},
			"many ExtraFiles": func(t *testing.T, cmd *exec.Cmd) string {
				var number int
				fmt.Sscanf(cmd.Path, "/proc/self/fd/%d", &number)
				file, err := os.Open(free)
				must(t, err)
				t.Cleanup(func() { file.Close() })
				cmd.ExtraFiles = append(cmd.ExtraFiles, slices.Repeat([]*os.File{file}, number)...)
				return "free\n"
			},
			"Chroot, root": func(t *testing.T, cmd *exec.Cmd) string {
				root := t.TempDir()
				must(t, errors.Join(os.MkdirAll(filepath.Join(root, "proc/self/fd"), 0o755), os.Link(free, filepath.Join(root, cmd.Path))))
				cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
				return "free\n"
			},
			"Cloneflags": func(t *testing.T, cmd *exec.Cmd) string {
				cmd.Args = []string{"", "moveto=/usr"}
				cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_FS}
				t.Cleanup(func() {
					if now, err := os.Getwd(); err != nil || now != "/usr" {
						t.Errorf("this process is in %s, %v", now, err)
					}
				})
				return lines("moveto=/usr: ok")
			},
		} {
			t.Run(name, func(t *testing.T) {
				if strings.HasSuffix(name, "root") {
					testenv.NeedRoot(t, "to change the root")
				}
				cmd, out := try("read=" + secret)
				must(t, s.Wrap(cmd))
				want := around(t, cmd)
				if err := cmd.Run(); err != nil || out.String() != want {
					t.Errorf("%v: %s, want %s", err, out, want)
				}
			})
		}
	})
}

// A tracer meets what restricts itself first, and then the program, in the sandbox.
func TestWrapAndPtrace(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		runtime.LockOSThread() // for good: of the tracer
		secret := filepath.Join(dir, "secret")
		cmd, out := try("read=" + secret)
		must(t, testenv.MustPrepare(t, runnable(bestForChildren())).Wrap(cmd))
		cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
		must(t, cmd.Start())
		for stop := range 2 {
			var status unix.WaitStatus
			if _, err := unix.Wait4(cmd.Process.Pid, &status, 0, nil); err != nil || status.StopSignal() != unix.SIGTRAP {
				t.Fatalf("stop %d: %#x, %v", stop, status, err)
			}
			if stop == 0 {
				must(t, unix.PtraceCont(cmd.Process.Pid, 0))
			} else {
				must(t, unix.PtraceDetach(cmd.Process.Pid))
			}
		}
		if err := cmd.Wait(); err != nil || out.String() != lines("read="+secret+": EACCES") {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// What is set afterwards for the end of the child counts.
func TestWrapAndCancel(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		ctx, cancel := context.WithCancel(t.Context())
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", "read line")
		must(t, testenv.MustPrepare(t, withLibraries(bestForChildren()).AllowExecute("/bin/sh")).Wrap(cmd))
		stdin, err := cmd.StdinPipe()
		must(t, err)
		defer stdin.Close()
		called := false
		cmd.Cancel = func() error { called = true; return cmd.Process.Signal(syscall.SIGTERM) }
		must(t, cmd.Start())
		cancel()
		if err := cmd.Wait(); err == nil || !called || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
			t.Errorf("%v, called: %v", err, called)
		}
	})
}

// A child that fails can be ended by a signal, also where nobody reads what it says.
func TestWrapIntoAFullPipe(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		read, write, err := os.Pipe()
		must(t, err)
		defer read.Close()
		defer write.Close()
		cmd := &exec.Cmd{Path: "/nonexistent", Stderr: write}
		must(t, testenv.MustPrepare(t, landlock.New(landlock.V1)).Wrap(cmd))
		fd := int(write.Fd()) // which makes it block
		must(t, unix.SetNonblock(fd, true))
		for err == nil {
			_, err = unix.Write(fd, make([]byte, 1<<16))
		}
		must(t, unix.SetNonblock(fd, false))
		must(t, errors.Join(cmd.Start(), cmd.Process.Signal(syscall.SIGTERM)))
		if cmd.Wait(); cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
			t.Errorf("%v, want it ended by SIGTERM", cmd.ProcessState)
		}
	})
}

// A cmd for which Wrap fails cannot be started, whatever its owner makes of the error.
func TestWrapErrors(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		s := testenv.MustPrepare(t, runnable(bestForChildren()))
		closed := testenv.MustPrepare(t, landlock.New(landlock.V1))
		closed.Close()
		attr := func(attr syscall.SysProcAttr) *exec.Cmd { return &exec.Cmd{Path: testenv.Self(), SysProcAttr: &attr} }
		own := errors.New("an error of its own")
		for _, test := range []struct {
			name string
			wrap func(*exec.Cmd) error
			cmd  *exec.Cmd
			is   error
			text string
		}{
			{"no cmd", s.Wrap, nil, nil, "nil"},
			{"no Sandbox", (*landlock.Sandbox)(nil).Wrap, exec.Command(testenv.Self()), os.ErrClosed, ""},
			{"a closed Sandbox", closed.Wrap, exec.Command(testenv.Self()), os.ErrClosed, ""},
			{"a Ruleset that is wrong", landlock.New(landlock.V1).AllowRead("").Wrap, exec.Command(testenv.Self()), fs.ErrInvalid, ""},
			{"no Ruleset", (*landlock.Ruleset)(nil).Wrap, exec.Command(testenv.Self()), fs.ErrInvalid, ""},
			{"a Ruleset without a cmd", landlock.New(landlock.V1).Wrap, nil, nil, "nil"},
			{"what is not in the path", s.Wrap, exec.Command("no-such-program"), exec.ErrNotFound, ""},
			{"Err", s.Wrap, &exec.Cmd{Path: testenv.Self(), Err: own}, own, ""},
			{"an Err that others pass over", s.Wrap, &exec.Cmd{Path: testenv.Self(), Err: exec.ErrDot}, exec.ErrDot, ""},
			{"no path", s.Wrap, &exec.Cmd{}, nil, "no command"},
			{"a NUL in the path", s.Wrap, &exec.Cmd{Path: "/\x00"}, unix.EINVAL, ""},
			{"a path that is too long", s.Wrap, &exec.Cmd{Path: "/" + strings.Repeat("x/", 3000)}, unix.ENAMETOOLONG, ""},
			{"Chroot", s.Wrap, attr(syscall.SysProcAttr{Chroot: "/"}), nil, "use Sandbox.Start"},
			{"Ptrace", s.Wrap, attr(syscall.SysProcAttr{Ptrace: true}), nil, "use Sandbox.Start"},
			{"CLONE_FILES", s.Wrap, attr(syscall.SysProcAttr{Cloneflags: unix.CLONE_FILES}), fs.ErrInvalid, ""},
			{"a capability that is none", s.Wrap, attr(syscall.SysProcAttr{AmbientCaps: []uintptr{64}}), fs.ErrInvalid, ""},
			{"a Ctty that is none", s.Wrap, attr(syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}), nil, "Ctty not valid"},
		} {
			before := testenv.OpenFiles()
			err := test.wrap(test.cmd)
			if err == nil || test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%s: %v, want %v %q", test.name, err, test.is, test.text)
			}
			if len(testenv.OpenFiles()) != len(before) {
				t.Errorf("%s: left open: %v, before: %v", test.name, testenv.OpenFiles(), before)
			}
			if test.cmd == nil {
				continue
			}
			if startErr := test.cmd.Start(); startErr != err || test.cmd.Err != err || test.cmd.Process != nil {
				t.Errorf("%s: Start answers %v, Err is %v, want %v", test.name, startErr, test.cmd.Err, err)
			}
			copied := *test.cmd
			copied.Err = nil
			if err := copied.Run(); err == nil || copied.Process != nil {
				t.Errorf("%s: it can be started all the same: %v", test.name, err)
			}
		}
		cmd, _ := try("wait")
		stdin, err := cmd.StdinPipe()
		must(t, errors.Join(err, cmd.Start()))
		if err := s.Wrap(cmd); err == nil || !strings.Contains(err.Error(), "started") || cmd.Path != testenv.Self() {
			t.Errorf("a cmd that is running: %v, and its Path is %q", err, cmd.Path)
		}
		stdin.Close()
		must(t, cmd.Wait())

		cmd, out := try("fd=3")
		must(t, s.Wrap(cmd))
		copied := *cmd
		for name, c := range map[string]*exec.Cmd{"it": cmd, "its copy": &copied} {
			if err := s.Wrap(c); err == nil || c.Start() != err || !strings.Contains(err.Error(), "already") {
				t.Errorf("%s wrapped again: %v", name, err)
			}
		}
		if out.Len() > 0 {
			t.Errorf("it has run: %s", out)
		}
	})
}

// Where nobody listens to what fails, the status says it all the same.
func TestWrapIntoABrokenPipe(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		read, write, err := os.Pipe()
		must(t, errors.Join(err, read.Close()))
		defer write.Close()
		cmd := &exec.Cmd{Path: "/nonexistent", Stderr: write}
		must(t, testenv.MustPrepare(t, landlock.New(landlock.V1)).Wrap(cmd))
		if exit, ok := errors.AsType[*exec.ExitError](cmd.Run()); !ok || exit.ExitCode() != 127 {
			t.Errorf("%v, want status 127", cmd.ProcessState)
		}
	})
}

// The socket filter is in force with Wrap, too.
func TestWrapFiltersSockets(t *testing.T) {
	needFilter(t)
	testenv.InBoth(t, func(t *testing.T, dir string) {
		verb, _ := refusesUDP()
		cmd, out := try(verb)
		must(t, filtering().Wrap(cmd))
		if err := cmd.Run(); err != nil || out.String() != lines(verb+": ok") {
			t.Errorf("with the filter: %v: %s", err, out)
		}
	})
}

// A wrapped cmd that Sandbox.Start starts has the layers of both.
func TestStartOfAWrapped(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		secret, own := filepath.Join(dir, "secret"), filepath.Join(dir, "own", "file")
		one := testenv.MustPrepare(t, runnable(bestForChildren()).AllowRead(secret))
		other := testenv.MustPrepare(t, runnable(bestForChildren()).AllowRead(own))
		both := testenv.MustPrepare(t, runnable(bestForChildren()).AllowRead(own, secret))
		for _, test := range []struct {
			start *landlock.Sandbox
			want  []string
		}{{other, []string{"EACCES", "EACCES"}}, {both, []string{"ok", "EACCES"}}} {
			cmd, out := try("fd=3", "fd=4", "fd=5", "read="+secret, "read="+own)
			must(t, one.Wrap(cmd))
			err := test.start.Run(cmd)
			if want := lines("fd=3: EBADF", "fd=4: EBADF", "fd=5: EBADF", "read="+secret+": "+test.want[0], "read="+own+": "+test.want[1]); err != nil || out.String() != want {
				t.Errorf("%v: %s, want %s", err, out, want)
			}
		}
	})
}

// Everything that os/exec can start, and a wrapper too, is as without one.
func TestWrapIsLikeExec(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		s := testenv.MustPrepare(t, landlock.New(landlock.V5).BestEffort(landlock.V1).AllowExecute("/").AllowReadWrite(dir, "/dev"))
		scratch := filepath.Join(dir, "scratch")
		openPoller()
		tried := 0
		for i, way := range startings {
			if !testenv.LongTests() && i%5 > 0 {
				continue
			}
			t.Run(way.name, func(t *testing.T) {
				if strings.HasSuffix(way.name, "root") {
					testenv.NeedRoot(t, "with os/exec too")
				}
				switch way.name {
				case "cancelled its own way", "PidFD of what is not there", "what is not there, with input":
					t.Skip("sees the wrapper, or that it has been started")
				}
				var startErr, wrapErr error
				want := observe(t, scratch, way.make, func(cmd *exec.Cmd) error {
					err := cmd.Start()
					if startErr == nil && cmd.Process == nil {
						startErr = err
					}
					return err
				}, closesItself)
				var was *exec.Cmd
				got := observe(t, scratch, way.make, func(cmd *exec.Cmd) error {
					if was != nil {
						return cmd.Start()
					}
					was = new(*cmd)
					if wrapErr = s.Wrap(cmd); wrapErr != nil { // not its kind of cmd
						cmd.Err, cmd.Path = was.Err, was.Path
						return cmd.Start()
					}
					err := cmd.Start()
					cmd.Path, cmd.Args, cmd.ExtraFiles = was.Path, was.Args, was.ExtraFiles // as it is to be seen
					if failed, ok := errors.AsType[*fs.PathError](err); ok && failed.Op == "fork/exec" {
						failed.Path = was.Path
					}
					return err
				}, func(before map[int]bool) {
					for n := 0; n < 1000 && len(testenv.LeftOpen(before)) > 0; n++ {
						runtime.GC() // which closes the wrapper's
					}
				})
				switch said := strings.Contains(got, "exit status 126\n") || strings.Contains(got, "exit status 127\n"); {
				case wrapErr != nil && startErr == nil && !strings.Contains(wrapErr.Error(), "Chroot or Ptrace"):
					t.Error(wrapErr)
				case wrapErr == nil && !said && got != want, said && startErr == nil:
					t.Error(difference(want, got))
				case startErr == nil && wrapErr == nil:
					tried++
				}
			})
		}
		if tried < 5 {
			t.Errorf("%d ways: this shows nothing", tried)
		}
	})
}

// forget has the garbage collector close what nobody has any more, until no more than so
// many files are open, and returns how many are.
func forget(t *testing.T, want int) (open int) {
	t.Helper()
	for range 1000 {
		runtime.GC()
		last := open
		if open = len(testenv.OpenFiles()); want == 0 && open == last || want > 0 && open <= want {
			return open
		}
	}
	t.Errorf("%d open files, want %d", open, want)
	return open
}

// A wrapped cmd that nobody starts leaves nothing once it is garbage, and one that is
// not garbage stays what it is, whatever becomes of the others.
func TestWrappedIsForgotten(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		many, starts := 300, 16
		if testenv.LongTests() {
			many, starts = 10_000, 1000
		}
		secret := filepath.Join(dir, "secret")
		s := testenv.MustPrepare(t, runnable(bestForChildren()))
		openPoller()
		kept, keptOut := try("read=" + secret)
		must(t, s.Wrap(kept))
		if cap(kept.ExtraFiles) != len(kept.ExtraFiles) {
			t.Error("copies of cmd share what is appended to ExtraFiles")
		}
		before := forget(t, 0)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range many / 4 {
					if err := s.Wrap(exec.Command(testenv.Self())); errors.Is(err, unix.EMFILE) {
						runtime.GC() // as many as there may be
					} else if err != nil {
						t.Error(err)
					}
				}
			})
			wg.Go(func() {
				for range starts / 4 {
					cmd, out := try("read="+secret, "fd=3", "fd=4", "fd=5")
					cmd.ExtraFiles = []*os.File{nil}
					if err := s.Wrap(cmd); err != nil {
						t.Error(err)
						continue
					}
					if err := cmd.Run(); err != nil || out.String() != lines("read="+secret+": EACCES", "fd=3: EBADF", "fd=4: EBADF", "fd=5: EBADF") {
						t.Errorf("%v: %s", err, out)
					}
				}
			})
		}
		wg.Wait()
		forget(t, before)
		if err := kept.Run(); err != nil || keptOut.String() != lines("read="+secret+": EACCES") {
			t.Errorf("the one that was kept: %v: %s", err, keptOut)
		}
	})
}

// Where descriptors run out, a Wrap works or is an error, and leaves nothing.
func TestWrapNearFileLimit(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}))
		run := func() error {
			cmd, out := try("exit=0")
			if err := s.Wrap(cmd); err != nil {
				return err
			}
			cmd.ExtraFiles = append(cmd.ExtraFiles, slices.Repeat([]*os.File{os.Stdin}, 200)...) // whose number is in the way
			err := cmd.Run()
			if err == nil && out.Len() > 0 {
				t.Errorf("it printed %q", out)
			}
			return err
		}
		if err := run(); err != nil {
			t.Fatal(err)
		}
		before := forget(t, 0)
		worked := 0
		for limit := uint64(460); limit < 490; limit += 3 {
			undo := limitFilesTo(t, limit)
			err := run()
			undo()
			switch {
			case err == nil:
				worked++
			case !errors.Is(err, unix.EMFILE) && !errors.Is(err, unix.EINVAL):
				t.Errorf("a limit of %d: %v", limit, err)
			case worked > 0:
				t.Errorf("a limit of %d: %v, and fewer were enough", limit, err)
			}
			forget(t, before)
		}
		if worked == 0 || worked == 10 {
			t.Errorf("%d of 10 worked: this shows nothing", worked)
		}
	})
}

// What the child cannot have when it is started ends it with one line.
func TestWrapSays(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	for _, test := range []struct {
		name string
		take func(t *testing.T)
		want string
	}{
		{"a layer", func(t *testing.T) {
			for range 16 {
				if _, err := landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}).Apply(); err != nil {
					t.Fatal(err)
				}
			}
		}, "no room for another layer: the kernel stacks 16"},
		{"Landlock", func(t *testing.T) { testenv.Refuse(t, unix.SYS_LANDLOCK_RESTRICT_SELF, unix.EPERM) }, "system calls refused"},
		{"its files", func(t *testing.T) { testenv.Refuse(t, unix.SYS_LSEEK, unix.EPERM) }, "take over the sandbox: operation not permitted"},
		{"a word for it", func(t *testing.T) { testenv.Refuse(t, unix.SYS_LSEEK, 524) }, "take over the sandbox: an error that has no name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			testenv.InBoth(t, func(t *testing.T, dir string) {
				runtime.LockOSThread() // for good
				s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}))
				must(t, unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
				cmd, out := try("exit=0")
				cmd.Stderr = out
				must(t, s.Wrap(cmd))
				test.take(t)
				err := cmd.Run()
				exit, ok := errors.AsType[*exec.ExitError](err)
				if text := out.String(); !ok || exit.ExitCode() != 126 || !strings.HasPrefix(text, "landlock: exec "+testenv.Self()+": ") ||
					!strings.Contains(text, test.want) || strings.Count(text, "\n") != 1 {
					t.Errorf("%v: %q, want %q", err, text, test.want)
				}
			})
		})
	}
}
