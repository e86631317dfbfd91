package blackbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/internal/testenv"
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
			sandbox, prepareErr := landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}).Prepare()
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
					link, _, _ := strings.Cut(testenv.ReadLink(fd), ":") // without the number of a pipe
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
		case "become": // this program in a sandbox, which tells what it finds
			var s *landlock.Sandbox
			if s, err = runnable(bestForChildren()).Prepare(); err == nil {
				err = s.Exec(testenv.Self(), []string{"self", "read=" + object, fmt.Sprint("pid=", os.Getpid()), fmt.Sprint("fd=", s.Fd())}, os.Environ())
			}
		case "become beside Apply": // this program without a sandbox
			err = becomeBesideApply()
		case "panic":
			if s, prepareErr := landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}).Prepare(); prepareErr == nil {
				s.Do(panicInDo)
			}
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
		case "filteredexec": // what tries the sockets then
			verb, _ := refusesUDP()
			err = filtering().Exec(testenv.Self(), []string{"self", verb}, os.Environ())
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
	for fd := range testenv.OpenFiles() {
		if strings.HasPrefix(testenv.ReadLink(fd), path) {
			return nil
		}
	}
	return unix.EBADF
}

//go:noinline
func panicInDo() error { panic("the value") }

// try returns a command that tries args, and its output.
func try(args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command(testenv.Self(), args...)
	cmd.Env = append(os.Environ(), childTry+"=1", "GORACE=atexit_sleep_ms=0")
	var out bytes.Buffer
	cmd.Stdout = &out
	return cmd, &out
}

// lines is what tryAll prints.
func lines(l ...string) string { return strings.Join(l, "\n") + "\n" }

// runnable allows what the test binary needs to run, and no more: the race
// detector reads its options in /proc.
func runnable(r *landlock.Ruleset) *landlock.Ruleset {
	return withLibraries(r).AllowOptional(landlock.FSRead, "/proc")
}

// withLibraries is runnable for a binary without the race detector.
func withLibraries(r *landlock.Ruleset) *landlock.Ruleset {
	return r.AllowExecute(testenv.Self()).
		AllowOptional(landlock.FSReadExecute, "/lib", "/lib64", "/usr/lib", "/usr/lib64").
		AllowOptional(landlock.FSRead, "/etc/ld.so.cache")
}

// bestForChildren returns everything that this kernel can deny to a child.
func bestForChildren() *landlock.Ruleset { return landlock.New(landlock.V11).BestEffort(landlock.V1) }

// becomeBesideApply replaces this process, which takes long with so large an environment,
// while Applies are under way.
func becomeBesideApply() error {
	s, err := landlock.NewHandling(landlock.Rights{Net: landlock.NetBindUDP}).BestEffort(0).Prepare()
	if err != nil {
		return err
	}
	began := make(chan bool)
	go func() {
		r := landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}).BestEffort(0)
		close(began)
		for err := error(nil); err == nil; {
			_, err = r.Apply() // until no layer is left
		}
	}()
	<-began
	env := slices.Concat(os.Environ(), slices.Repeat([]string{"LONG=" + strings.Repeat("x", 100_000)}, 10))
	return s.Exec(testenv.Self(), []string{"self", fmt.Sprint("pid=", os.Getpid())}, env)
}
