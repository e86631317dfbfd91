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
	"os/signal"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/internal/testenv"
)

// stateScript prints what a shell finds of its own state, by its own means.
const stateScript = `
echo "arguments: $0 $*"; echo "directory: $PWD"; umask; ulimit -a; export -p
echo /proc/self/fd/*
while read key value; do case $key in
Name:|Umask:|Uid:|Gid:|Groups:|SigPnd:|SigBlk:|SigIgn:|SigCgt:|ShdPnd:|Cap*) echo "$key $value";; esac; done </proc/self/status
if read line; then echo "input: $line"; fi; echo "error text" >&2`

// starting is a command to start in different ways, and what to do with it.
type starting struct {
	t   *testing.T
	dir string // a scratch directory of this start alone; the same path for each
	cmd *exec.Cmd
	ctx context.Context

	cancel context.CancelFunc
	begun  func() string // called once it has started
}

// sh makes it the shell, which prints its state.
func (s *starting) sh(script string, args ...string) {
	path, err := exec.LookPath("sh")
	if err != nil {
		s.t.Skip("needs sh")
	}
	s.program(path, append([]string{"-c", script, "name"}, args...)...)
}

func (s *starting) program(path string, args ...string) {
	s.ctx, s.cancel = context.WithCancel(s.t.Context())
	s.cmd = exec.CommandContext(s.ctx, path, args...)
}

// self makes it this test binary, which tries what the arguments say.
func (s *starting) self(args ...string) {
	s.program(testenv.Self(), args...)
	s.cmd.Env = append(os.Environ(), childTry+"=1", "GORACE=atexit_sleep_ms=0")
}

func (s *starting) file(name string, mode os.FileMode, text string) string {
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s *starting) open(path string) *os.File {
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { file.Close() })
	return file
}

// terminal returns the slave of a new pseudo-terminal.
func (s *starting) terminal() *os.File {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		s.t.Skip("needs /dev/ptmx: ", err)
	}
	s.t.Cleanup(func() { master.Close() })
	unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		s.t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		s.t.Skip("needs /dev/pts: ", err)
	}
	s.t.Cleanup(func() { slave.Close() })
	return slave
}

func (s *starting) attr() *syscall.SysProcAttr {
	if s.cmd.SysProcAttr == nil {
		s.cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	return s.cmd.SysProcAttr
}

// The ways of starting that have to be like os/exec. A name that ends in "root"
// needs it.
var startings = []struct {
	name string
	make func(s *starting)
}{
	{"state", func(s *starting) {
		s.sh(stateScript, "one", "two")
		s.cmd.Stdin = strings.NewReader("a line\n")
	}},
	{"nil streams", func(s *starting) { s.sh(stateScript); s.cmd.Stdout, s.cmd.Stderr = nil, nil }},
	{"files", func(s *starting) {
		s.sh(stateScript)
		s.cmd.Stdin = s.open(s.file("in", 0o600, "a line in a file\n"))
		s.cmd.Stdout = s.open(s.file("out", 0o600, ""))
	}},
	{"extra files", func(s *starting) {
		s.sh(stateScript)
		file := s.open(s.file("extra", 0o600, ""))
		s.cmd.ExtraFiles = []*os.File{file, nil, file, nil, nil}
	}},
	{"many extra files", func(s *starting) {
		s.self("fd=3", "fd=99", "fd=102", "fd=103", "fd=104", "fd=105", "fd=106", "copy")
		file := s.open(s.file("extra", 0o600, ""))
		for range 100 {
			s.cmd.ExtraFiles = append(s.cmd.ExtraFiles, file)
		}
		s.cmd.Stdin = strings.NewReader("input")
	}},
	{"the executable", func(s *starting) { s.self("copy"); s.cmd.Stdin = io.LimitReader(strings.NewReader("input\n"), 3) }},
	{"arguments that are none", func(s *starting) { s.sh(""); s.cmd.Args = nil; s.cmd.Stdin = strings.NewReader("echo $0") }},
	{"an environment", func(s *starting) { s.sh(stateScript); s.cmd.Env = []string{"SOME=thing"} }},
	{"an empty environment", func(s *starting) { s.sh(stateScript); s.cmd.Env = []string{} }},
	{"a directory", func(s *starting) { s.sh(stateScript); s.cmd.Dir = s.dir }},
	{"a relative path", func(s *starting) {
		s.file("script", 0o700, "#!/bin/sh\n"+stateScript)
		s.program("./script", "argument")
		s.cmd.Dir, s.cmd.Err = s.dir, nil
	}},
	{"a path by way of the working directory", func(s *starting) {
		s.file("script", 0o700, "#!/bin/sh\n"+stateScript)
		s.program("/proc/self/cwd/script")
		s.cmd.Dir = s.dir
	}},
	{"an inherited descriptor", func(s *starting) {
		s.self("copy")
		program, err := os.Open(testenv.Self())
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { program.Close() })
		s.cmd.ExtraFiles = []*os.File{program}
		s.cmd.Path = "/proc/self/fd/3"
	}},
	{"a descriptor of this process", func(s *starting) {
		s.self("copy")
		program, err := os.Open(testenv.Self())
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { program.Close() })
		s.cmd.Path = fmt.Sprint("/proc/self/fd/", program.Fd())
	}},
	{"a mask and limits", func(s *starting) {
		old := unix.Umask(0o27)
		s.t.Cleanup(func() { unix.Umask(old) })
		s.sh(stateScript)
	}},
	{"ignored signals", func(s *starting) {
		signal.Ignore(syscall.SIGUSR1, syscall.SIGPIPE)
		s.t.Cleanup(func() { signal.Reset(syscall.SIGUSR1, syscall.SIGPIPE) })
		s.sh(stateScript)
	}},
	{"exit status", func(s *starting) { s.sh("exit 7") }},
	{"killed", func(s *starting) { s.sh("kill -9 $$") }},
	{"cancelled", func(s *starting) {
		s.sh("read line")
		read, write := io.Pipe()
		s.cmd.Stdin = read
		s.begun = func() string {
			s.cancel()
			for errors.Is(unix.Waitid(unix.P_PID, s.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
			}
			write.Close() // which the shell would have ended of, too
			return ""
		}
	}},
	{"cancelled its own way", func(s *starting) {
		s.sh("read line; echo $line")
		stdin, err := s.cmd.StdinPipe()
		if err != nil {
			s.t.Fatal(err)
		}
		s.cmd.Cancel = func() error { // it may look at the command
			_, err := fmt.Fprintln(stdin, "cancelled", s.cmd.Args[1:], s.cmd.Path, s.cmd.ExtraFiles, s.cmd.SysProcAttr)
			stdin.Close()
			return errors.Join(err, os.ErrProcessDone)
		}
		s.begun = func() string { s.cancel(); return "" }
	}},
	{"cancelled before", func(s *starting) { s.sh(stateScript); s.cancel() }},
	{"a Cancel without a context", func(s *starting) {
		s.sh("")
		s.cmd = &exec.Cmd{Path: s.cmd.Path, Cancel: func() error { return nil }}
	}},
	{"WaitDelay", func(s *starting) {
		s.sh("read line <&3 &") // the other process keeps standard output
		read, write, err := os.Pipe()
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { write.Close() })
		s.cmd.ExtraFiles = []*os.File{read}
		s.cmd.WaitDelay = time.Millisecond
		s.begun = func() string { read.Close(); return "" }
	}},
	{"pipes", func(s *starting) {
		s.sh(stateScript)
		stdin, err1 := s.cmd.StdinPipe()
		stderr, err2 := (*exec.Cmd).StderrPipe(func() *exec.Cmd { s.cmd.Stderr = nil; return s.cmd }())
		if err := errors.Join(err1, err2); err != nil {
			s.t.Fatal(err)
		}
		s.begun = func() string {
			io.WriteString(stdin, "through a pipe\n")
			stdin.Close()
			out, err := io.ReadAll(stderr)
			return fmt.Sprint(string(out), err)
		}
	}},
	{"Setsid", func(s *starting) {
		s.sh("read line")
		s.attr().Setsid = true
		s.relatives(func(pid, group, session int) string { return fmt.Sprint(group == pid, session == pid) })
	}},
	{"Setpgid", func(s *starting) {
		s.sh("read line")
		s.attr().Setpgid = true
		s.relatives(func(pid, group, session int) string { return fmt.Sprint(group == pid, session == pid) })
	}},
	{"Setctty", func(s *starting) {
		s.sh("read line; if : </dev/tty; then echo a terminal; fi")
		s.cmd.ExtraFiles = []*os.File{s.terminal()}
		*s.attr() = syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}
	}},
	{"Foreground", func(s *starting) {
		s.sh("")
		*s.attr() = syscall.SysProcAttr{Foreground: true, Ctty: int(s.terminal().Fd())}
	}},
	{"Setctty, of standard input", func(s *starting) {
		s.sh("if : </dev/tty; then echo a terminal; fi")
		s.cmd.Stdin = s.terminal()
		*s.attr() = syscall.SysProcAttr{Setsid: true, Setctty: true}
	}},
	{"Setctty, of all there is", func(s *starting) {
		s.sh("if : </dev/tty; then echo a terminal >&2; fi")
		s.cmd.Stdin, s.cmd.Stdout = strings.NewReader("input"), io.Discard
		s.cmd.Stderr = s.terminal()
		*s.attr() = syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 2}
	}},
	{"Noctty", func(s *starting) { s.sh(stateScript); s.attr().Noctty = true }},
	{"PidFD", func(s *starting) {
		s.sh("read line")
		fd := -1
		s.attr().PidFD = &fd
		s.begun = func() string { return fmt.Sprint(unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0), unix.Close(fd)) }
		stdin, _ := s.cmd.StdinPipe()
		s.t.Cleanup(func() { stdin.Close() })
	}},
	{"PidFD of what is not there", func(s *starting) {
		s.program("/nonexistent")
		fd := -1
		s.attr().PidFD = &fd
		s.t.Cleanup(func() {
			if fd != -1 {
				s.t.Errorf("PidFD is %d after an error", fd)
			}
		})
	}},
	{"Pdeathsig", func(s *starting) {
		s.self("pdeathsig?")
		s.attr().Pdeathsig = syscall.SIGUSR2
	}},
	{"Ptrace", func(s *starting) {
		s.sh("exit 5")
		s.attr().Ptrace = true
		s.begun = func() string {
			var status unix.WaitStatus
			_, err := unix.Wait4(s.cmd.Process.Pid, &status, 0, nil)
			var regs unix.PtraceRegs
			return fmt.Sprint(status, err, unix.PtraceGetRegs(s.cmd.Process.Pid, &regs), unix.PtraceDetach(s.cmd.Process.Pid))
		}
	}},
	{"Ptrace of what is not there", func(s *starting) { s.program("/nonexistent"); s.attr().Ptrace = true }},
	{"Credential, root", func(s *starting) {
		s.sh(stateScript)
		s.attr().Credential = &syscall.Credential{Uid: 1000, Gid: 1001, Groups: []uint32{1002}}
	}},
	{"Credential of the executable, root", func(s *starting) {
		s.self("copy")
		s.attr().Credential = &syscall.Credential{Uid: 1000, Gid: 1001}
	}},
	{"Credential that may not, ", func(s *starting) {
		s.sh(stateScript)
		s.attr().Credential = &syscall.Credential{Uid: 4294967295, Gid: 1001}
	}},
	{"AmbientCaps, root", func(s *starting) {
		s.sh(stateScript)
		s.attr().Credential = &syscall.Credential{Uid: 1000, Gid: 1001}
		s.attr().AmbientCaps = []uintptr{unix.CAP_NET_BIND_SERVICE, unix.CAP_SYS_PTRACE}
	}},
	{"Chroot, root", func(s *starting) { s.sh(stateScript); s.attr().Chroot = "/"; s.cmd.Dir = "/" }},
	{"Chroot without a /proc, root", func(s *starting) { // but with a shell, where /usr has it all
		s.program("/bin/sh", "-c", `pwd; echo $PWD; read line; echo "$line"; read line </proc/self/status || echo no proc`)
		s.attr().Chroot, s.cmd.Dir = "/usr", "/lib"
		s.cmd.Stdin = strings.NewReader("input\n")
	}},
	{"Chroot that is no other, and all else, root", func(s *starting) {
		s.sh(stateScript)
		s.cmd.Dir = "/"
		*s.attr() = syscall.SysProcAttr{Chroot: "/", Credential: &syscall.Credential{Uid: 1000, Gid: 1001, Groups: []uint32{1002}}, Pdeathsig: syscall.SIGUSR1,
			AmbientCaps: []uintptr{unix.CAP_NET_BIND_SERVICE}}
	}},
	{"Chroot, and a user, root", func(s *starting) {
		s.sh(stateScript)
		s.cmd.Dir = "/"
		*s.attr() = syscall.SysProcAttr{Chroot: "/", Credential: &syscall.Credential{Uid: 1000, Gid: 1001}}
	}},
	{"Chroot in a mount namespace, root", func(s *starting) {
		s.sh(stateScript)
		s.cmd.Dir = "/usr"
		*s.attr() = syscall.SysProcAttr{Chroot: "/", Cloneflags: unix.CLONE_NEWNS}
	}},
	{"Chroot, and the executable, root", func(s *starting) {
		s.self("copy")
		s.cmd.Dir, s.attr().Chroot = "/", "/"
	}},
	{"Chroot in a user namespace", func(s *starting) { // whose root it is
		s.sh(stateScript)
		s.cmd.Dir = "/"
		*s.attr() = inUserNamespace(0)
	}},
	{"Chroot in a user namespace, another user", func(s *starting) {
		s.sh(stateScript)
		s.cmd.Dir = "/"
		*s.attr() = inUserNamespace(1234)
	}},
	{"Chroot in a user namespace, another user, and a capability", func(s *starting) {
		s.sh(stateScript)
		s.cmd.Dir = "/"
		*s.attr() = inUserNamespace(1234)
		s.attr().AmbientCaps = []uintptr{unix.CAP_NET_BIND_SERVICE}
	}},
	{"Chroot in a user namespace without users", func(s *starting) {
		s.sh(stateScript)
		s.cmd.Dir = "/"
		*s.attr() = syscall.SysProcAttr{Chroot: "/", Cloneflags: unix.CLONE_NEWUSER}
	}},
	{"Chroot in a user namespace, with a Credential", func(s *starting) {
		s.sh(stateScript)
		s.cmd.Dir = "/"
		*s.attr() = inUserNamespace(1234)
		s.attr().Credential = &syscall.Credential{Uid: 1234, Gid: 1234, NoSetGroups: true}
	}},
	{"Chroot to a file, root", func(s *starting) { s.sh(""); s.attr().Chroot = s.file("file", 0o600, "") }},
	{"Chroot and a directory that is not there, root", func(s *starting) { s.sh(""); s.attr().Chroot, s.cmd.Dir = "/", "/nonexistent" }},
	{"Chroot that is too long, root", func(s *starting) { s.sh(""); s.attr().Chroot = "/" + strings.Repeat("x/", 5000) }},
	{"Chroot and a directory that is too long, root", func(s *starting) { s.sh(""); s.attr().Chroot, s.cmd.Dir = "/", "/"+strings.Repeat("x/", 5000) }},
	{"a NUL in Chroot, root", func(s *starting) { s.sh(""); s.attr().Chroot = "/\x00" }},
	{"a NUL in Chroot, in a mount namespace, root", func(s *starting) {
		s.sh("")
		*s.attr() = syscall.SysProcAttr{Chroot: "/\x00", Cloneflags: unix.CLONE_NEWNS}
	}},
	{"a NUL in the directory of a Chroot, root", func(s *starting) { s.sh(""); s.attr().Chroot, s.cmd.Dir, s.cmd.Env = "/", "/\x00", []string{} }},
	{"Ctty that is none", func(s *starting) { s.sh(""); *s.attr() = syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3} }},
	{"Chroot to what is not there", func(s *starting) { s.sh(stateScript); s.attr().Chroot = "/nonexistent" }},
	{"Cloneflags, root", func(s *starting) {
		s.sh("echo $$")
		s.attr().Cloneflags = unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC
	}},
	{"Unshareflags, root", func(s *starting) {
		s.sh("echo $$")
		s.cmd.Args[2] = "echo pid"
		s.attr().Unshareflags = unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET
	}},
	{"a user namespace", func(s *starting) {
		s.sh(stateScript)
		s.attr().Cloneflags = unix.CLONE_NEWUSER
		s.attr().UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		s.attr().GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}},
	{"a user namespace, unshared", func(s *starting) {
		s.sh(stateScript)
		s.attr().Unshareflags = unix.CLONE_NEWUSER
		s.attr().UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		s.attr().GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}},
	{"a user namespace without mappings", func(s *starting) { s.sh(stateScript); s.attr().Cloneflags = unix.CLONE_NEWUSER }},
	{"a cgroup, root", func(s *starting) {
		group := "/sys/fs/cgroup/landlock-test"
		if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			s.t.Skip("needs cgroups: ", err)
		}
		s.t.Cleanup(func() { os.Remove(group) })
		dir, err := os.Open(group)
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { dir.Close() })
		s.sh(`read line </proc/self/cgroup; echo "$line"`)
		s.attr().UseCgroupFD, s.attr().CgroupFD = true, int(dir.Fd())
	}},
	{"a cgroup that is none", func(s *starting) { s.sh(""); s.attr().UseCgroupFD, s.attr().CgroupFD = true, 9999 }},
	{"a script", func(s *starting) { s.program(s.file("script", 0o700, "#!/bin/sh -u\n"+stateScript), "argument") }},
	{"a link to the executable", func(s *starting) {
		s.self("copy")
		link := filepath.Join(s.dir, "link")
		os.Symlink("/proc/self/exe", link)
		s.cmd.Path = link
	}},
	{"the executable, in other words", func(s *starting) { s.self("copy"); s.cmd.Path = "//proc/self/../self/exe" }},
	{"the executable, from its directory", func(s *starting) { s.self("copy"); s.cmd.Path, s.cmd.Dir = "./exe", "/proc/self" }},
	{"a descriptor that is not open", func(s *starting) { s.program("/proc/self/fd/5") }},
	{"a descriptor that is not open, of many", func(s *starting) { s.program("/dev/fd/500") }},
	{"a descriptor of this process, by its id", func(s *starting) {
		s.self("copy")
		program, err := os.Open(testenv.Self())
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { program.Close() })
		if err := unix.Dup3(int(program.Fd()), 51, 0); err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { unix.Close(51) })
		s.cmd.Path = fmt.Sprintf("/proc/%d/fd/51", os.Getpid())
	}},
	{"a script by an inherited descriptor", func(s *starting) {
		file := s.open(s.file("script", 0o700, "#!/bin/sh\necho from a descriptor\n"))
		if err := unix.Dup3(int(file.Fd()), 50, 0); err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { unix.Close(50) })
		s.program("/dev/fd/50")
	}},
	{"a script without a first line", func(s *starting) { s.program(s.file("script", 0o700, "echo no\n")) }},
	{"an empty file", func(s *starting) { s.program(s.file("script", 0o700, "")) }},
	{"a script whose interpreter is not there", func(s *starting) { s.program(s.file("script", 0o700, "#!/nonexistent\n")) }},
	{"a file that is not executable", func(s *starting) { s.program(s.file("script", 0o600, "#!/bin/sh\n")) }},
	{"a directory as a program", func(s *starting) { s.program(s.dir) }},
	{"a file as a directory", func(s *starting) { s.program(s.file("file", 0o700, "") + "/program") }},
	{"a loop of links", func(s *starting) {
		link := filepath.Join(s.dir, "link")
		os.Symlink(link, link)
		s.program(link)
	}},
	{"what is not there", func(s *starting) { s.program("/nonexistent") }},
	{"what is not there, with input", func(s *starting) { s.program("/nonexistent"); s.cmd.Stdin = untouched{s.t} }},
	{"what is not in the path", func(s *starting) { s.program("no-such-program") }},
	{"no path", func(s *starting) { s.program(""); s.cmd = &exec.Cmd{Err: errors.New("exec: no command")} }},
	{"a NUL in the path", func(s *starting) { s.program("/bin/sh\x00x") }},
	{"a NUL in an argument", func(s *starting) { s.sh("", "a\x00b") }},
	{"a NUL in the environment", func(s *starting) { s.sh(""); s.cmd.Env = []string{"A=\x00"} }},
	{"a path that is too long", func(s *starting) { s.program("/" + strings.Repeat("x/", 5000)) }},
	{"a name that is too long", func(s *starting) { s.program("/" + strings.Repeat("x", 300)) }},
	{"an argument that is too long", func(s *starting) { s.sh("", strings.Repeat("x", 32*os.Getpagesize())) }},
	{"too many arguments", func(s *starting) {
		s.sh("")
		for range 100 {
			s.cmd.Args = append(s.cmd.Args, strings.Repeat("x", 31*os.Getpagesize()))
		}
	}},
	{"a directory that is not there", func(s *starting) { s.sh(""); s.cmd.Dir = "/nonexistent" }},
	{"a directory that is not there, and attributes", func(s *starting) { s.sh(""); s.cmd.Dir = "/nonexistent"; s.attr() }},
	{"a closed file", func(s *starting) {
		s.sh("")
		file := s.open(s.file("closed", 0o600, ""))
		file.Close()
		s.cmd.Stdout = file
	}},
}

// inUserNamespace changes the root to "/" in a user namespace, where this user has
// another number.
func inUserNamespace(id int) syscall.SysProcAttr {
	return syscall.SysProcAttr{Chroot: "/", Cloneflags: unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: id, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: id, HostID: os.Getgid(), Size: 1}}}
}

// untouched fails the test where anybody reads it: os/exec does not read what
// is meant for a program that it cannot start.
type untouched struct{ t *testing.T }

func (u untouched) Read([]byte) (int, error) {
	u.t.Error("standard input is read for a program that does not start")
	return 0, io.EOF
}

// relatives has the process group and session looked at while it runs.
func (s *starting) relatives(describe func(pid, group, session int) string) {
	stdin, err := s.cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	s.begun = func() string {
		defer stdin.Close()
		pid := s.cmd.Process.Pid
		group, err1 := unix.Getpgid(pid)
		session, err2 := unix.Getsid(pid)
		return fmt.Sprint(describe(pid, group, session), err1, err2)
	}
}

// observe starts a command and tells all that can be seen of it. What start leaves to the
// garbage collector to close, it closes by settle, given what was open before.
func observe(t *testing.T, dir string, make func(*starting), start func(*exec.Cmd) error, settle func(before map[int]bool)) string {
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o777), os.Chmod(dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // of a tracer
	defer runtime.UnlockOSThread()
	s := &starting{t: t, dir: dir}
	make(s)
	var out, errs bytes.Buffer
	if s.cmd.Stdout == nil && s.cmd.Stderr == nil {
		s.cmd.Stdout, s.cmd.Stderr = &out, &errs
	}
	before := testenv.OpenFiles()
	fields := exported(s.cmd)
	var report strings.Builder
	err := start(s.cmd)
	fmt.Fprintf(&report, "start: %s\n", errorChain(err))
	if after := exported(s.cmd); !reflect.DeepEqual(fields, after) {
		t.Errorf("the command has changed from %v to %v", fields, after)
	}
	if err == nil && s.begun != nil {
		fmt.Fprintf(&report, "begun: %s\n", s.begun())
	}
	if s.cmd.Process != nil && err != nil || s.cmd.ProcessState != nil {
		t.Errorf("process %v, state %v after %v", s.cmd.Process, s.cmd.ProcessState, err)
	}
	waitErr := s.cmd.Wait()
	fmt.Fprintf(&report, "wait: %s\nstate: %v\noutput: %q\nerrors: %q\n", errorChain(waitErr), s.cmd.ProcessState, out.String(), errs.String())
	if file, ok := s.cmd.Stdout.(*os.File); ok {
		text, _ := os.ReadFile(file.Name())
		fmt.Fprintf(&report, "file: %q\n", text)
	}
	fmt.Fprintf(&report, "again: %v\n", start(s.cmd))
	settle(before)
	for fd, link := range testenv.LeftOpen(before) {
		t.Errorf("descriptor %d is left open: %s", fd, link)
	}
	var none unix.Siginfo
	if err := unix.Waitid(unix.P_ALL, 0, &none, unix.WEXITED|unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("a child is left: %v", err)
	}
	return report.String()
}

// closesItself is for a start that leaves nothing to be closed.
func closesItself(map[int]bool) {}

// What the stub needs and cannot have is an error that says so, and nothing is
// left behind.
func TestStartWithoutItsNeeds(t *testing.T) {
	cannot := func(name, want string, is error, take func(t *testing.T, dir string, cmd *exec.Cmd)) {
		t.Run(name, func(t *testing.T) {
			testenv.InBoth(t, func(t *testing.T, dir string) {
				if strings.HasSuffix(name, "root") {
					testenv.NeedRoot(t, "to take it away")
				}
				runtime.LockOSThread() // for good
				s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}))
				cmd := exec.Command(testenv.Self())
				cmd.Stdin = untouched{t}
				pipe, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil { // for seccomp
					t.Fatal(err)
				}
				take(t, dir, cmd)
				err = s.Start(cmd)
				if err == nil || is != nil && !errors.Is(err, is) || !strings.Contains(err.Error(), want) || cmd.Process != nil {
					t.Errorf("%v, want %q; process %v", err, want, cmd.Process)
				}
				if _, err := pipe.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
					t.Errorf("the pipe is not closed: %v", err)
				}
				var none unix.Siginfo
				if err := unix.Waitid(unix.P_ALL, 0, &none, unix.WEXITED|unix.WNOHANG, nil); err != unix.ECHILD {
					t.Errorf("a child is left: %v", err)
				}
			})
		})
	}
	cannot("a /proc that is one, root", "/proc/self/fd, which is not there: mount proc", unix.ENOENT, func(t *testing.T, dir string, cmd *exec.Cmd) {
		cmd.Path = "/bin/sh"
		err := errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("none", "/proc", "tmpfs", 0, ""), os.MkdirAll("/proc/self/fd", 0o755))
		for fd := range 40 {
			err = errors.Join(err, os.Symlink("/bin/sh", fmt.Sprint("/proc/self/fd/", fd)))
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	cannot("descriptors of its own", "CLONE_FILES", nil, func(t *testing.T, dir string, cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_FILES}
	})
	cannot("proc, root", "/proc/self/fd, which is not there: mount proc", unix.ENOENT, func(t *testing.T, dir string, cmd *exec.Cmd) {
		cmd.Path = "/bin/sh"
		err := errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("none", "/proc", "tmpfs", 0, ""))
		if err != nil {
			t.Fatal(err)
		}
	})
	cannot("memory files", "vm.memfd_noexec", unix.EACCES, func(t *testing.T, dir string, cmd *exec.Cmd) {
		testenv.Refuse(t, unix.SYS_MEMFD_CREATE, unix.EACCES)
	})
	cannot("a file of some size", "RLIMIT_FSIZE of 100 bytes", unix.EFBIG, func(t *testing.T, dir string, cmd *exec.Cmd) {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 100, Max: 100}); err != nil {
			t.Fatal(err)
		}
	})
	cannot("Landlock", "refused", unix.EPERM, func(t *testing.T, dir string, cmd *exec.Cmd) {
		testenv.Refuse(t, unix.SYS_LANDLOCK_RESTRICT_SELF, unix.EPERM)
	})
	cannot("a layer", "no room for another layer", landlock.ErrTooManyLayers, func(t *testing.T, dir string, cmd *exec.Cmd) {
		for range 16 {
			if _, err := landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}).Apply(); err != nil {
				t.Fatal(err)
			}
		}
	})
	cannot("a process", "resource temporarily unavailable", unix.EAGAIN, func(t *testing.T, dir string, cmd *exec.Cmd) {
		testenv.RefuseBy(t, 0, unix.SYS_CLONE, unix.EAGAIN) // of this thread: where none can start a thread, the Go runtime gives up
	})
}

// Where descriptors run out, a start works or is an error, and leaves nothing.
func TestStartNearFileLimit(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}))
		run := func(start func(*exec.Cmd) error) error {
			cmd, out := try("exit=0")
			err := start(cmd)
			if err == nil {
				if err = cmd.Wait(); err == nil && out.String() != "" {
					t.Errorf("it printed %q", out)
				}
			}
			return err
		}
		if err := run(s.Start); err != nil { // opens what the Go runtime keeps
			t.Fatal(err)
		}
		before := testenv.OpenFiles()
		worked := 0
		for more := range 30 {
			undo := limitFiles(t, more)
			err := run(s.Start)
			undo()
			switch {
			case err == nil:
				worked++
			case !errors.Is(err, unix.EMFILE) && !errors.Is(err, unix.EBADF) && !errors.Is(err, unix.EINVAL):
				t.Errorf("%d more descriptors: %v", more, err)
			case worked > 0:
				t.Errorf("%d more descriptors: %v, and fewer were enough", more, err)
			}
			if after := testenv.OpenFiles(); len(after) != len(before) {
				t.Errorf("%d open files after it, %d before", len(after), len(before))
			}
		}
		if worked == 0 || worked == 30 {
			t.Errorf("%d of 30 worked: this shows nothing", worked)
		}
	})
}

// What a program inherits besides the files that os/exec passes, it inherits
// also where the stub has its own.
func TestStartKeepsInheritedFiles(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}))
		file, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		var args []string
		for _, fd := range []int{203, 205, 206} {
			if err := unix.Dup3(int(file.Fd()), fd, 0); err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
		}
		var want []string
		for fd := 200; fd < 210; fd++ {
			args = append(args, fmt.Sprint("fd=", fd))
			want = append(want, fmt.Sprintf("fd=%d: %s", fd, map[bool]string{true: "ok", false: "EBADF"}[fd == 203 || fd == 205 || fd == 206 || fd == 200]))
		}
		cmd, out := try(args...)
		cmd.ExtraFiles = make([]*os.File, 198) // 3 to 200
		cmd.ExtraFiles[197] = file
		if err := s.Run(cmd); err != nil || out.String() != lines(want...) {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// What it inherits is the very file: what others do to it, they do to its flags
// and locks.
func TestInheritedFilesStayAsTheyAre(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}))
		file, err := os.OpenFile(filepath.Join(dir, "own", "file"), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		lock := unix.Flock_t{Type: unix.F_WRLCK}
		err = errors.Join(unix.Dup3(int(file.Fd()), 20, 0), unix.FcntlFlock(20, unix.F_SETLK, &lock), unix.SetNonblock(20, true))
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(20)
		// With nothing for a standard stream, and for some of the numbers.
		cmd, out := try("fd=19", "fd=20", "fd=21", "fd=22", "open="+file.Name())
		cmd.Stdin = (*os.File)(nil)
		closed := os.NewFile(1000, "closed")
		closed.Close()
		cmd.ExtraFiles = append(make([]*os.File, 16), closed) // 3 to 19
		err = s.Run(cmd)
		if want := lines("fd=19: EBADF", "fd=20: ok", "fd=21: EBADF", "fd=22: EBADF", "open="+file.Name()+": ok"); err != nil || out.String() != want {
			t.Errorf("%v: %s", err, out)
		}
		if flags, err := unix.FcntlInt(20, unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
			t.Errorf("flags %#x, %v: it blocks now", flags, err)
		}
		found := lock
		if err := errors.Join(fromAnotherProcess(t, file.Name(), &found)); err != nil || found.Type != unix.F_WRLCK {
			t.Errorf("%v: the lock is gone", err)
		}
	})
}

// fromAnotherProcess has lock tell whether there is one on a file, as another
// process sees it: a description of its own, with a lock of its own, does.
func fromAnotherProcess(t *testing.T, path string, lock *unix.Flock_t) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	t.Cleanup(func() { file.Close() }) // not before: it would take the lock away
	lock.Pid = 0
	return unix.FcntlFlock(file.Fd(), unix.F_OFD_GETLK, lock)
}

// More of them than go into a message, and as many numbers as there may be.
func TestManyInheritedFiles(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}))
		file, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		const first, last = 200, 800
		for fd := first; fd <= last; fd++ {
			if err := unix.Dup3(int(file.Fd()), fd, 0); err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
		}
		cmd, out := try("fd=199", "fd=200", "fd=449", "fd=450", "fd=451", "fd=800", "fd=801", "fd=802", "fd=803", "fd=804", "fd=805")
		cmd.ExtraFiles = make([]*os.File, 197) // 3 to 199
		before := testenv.OpenFiles()
		err = s.Run(cmd)
		want := lines("fd=199: EBADF", "fd=200: ok", "fd=449: ok", "fd=450: ok", "fd=451: ok", "fd=800: ok", "fd=801: EBADF", "fd=802: EBADF",
			"fd=803: EBADF", "fd=804: EBADF", "fd=805: EBADF")
		if err != nil || out.String() != want {
			t.Errorf("%v: %s", err, out)
		}
		if after := testenv.OpenFiles(); len(after) != len(before) {
			t.Errorf("%d descriptors are open after it, %d before", len(after), len(before))
		}
	})
}

// A number can become another file's at any time. What this process has open and
// close-on-exec is never in a child, and every child starts.
func TestDescriptorsThatChange(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}))
		secret := filepath.Join(dir, "secret")
		shared, err := os.Open(filepath.Join(dir, "own", "file"))
		if err != nil {
			t.Fatal(err)
		}
		defer shared.Close()
		free, err := unix.FcntlInt(shared.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(free)
		stop := make(chan struct{})
		var all sync.WaitGroup
		defer all.Wait()
		defer close(stop)
		for i := range 2 {
			flags := []int{0, unix.O_CLOEXEC}[i] // as C code opens files, and as Go does
			path := []string{dir, secret}[i]
			all.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						if fd, err := unix.Open(path, unix.O_RDONLY|flags, 0); err == nil {
							unix.Close(fd)
						}
					}
				}
			})
		}
		children := 10
		if testenv.LongTests() {
			children = 1500
		}
		for range children {
			cmd, out := try("open="+secret, "open="+shared.Name())
			cmd.ExtraFiles = slices.Repeat([]*os.File{shared}, free-3) // the stub's are where the others open theirs
			if err := s.Run(cmd); err != nil || out.String() != lines("open="+secret+": EBADF", "open="+shared.Name()+": ok") {
				t.Fatalf("%v: %s", err, out)
			}
		}
	})
}

// A thread with descriptors of its own may have another ruleset under the number
// of the Sandbox's.
func TestStartFromDescriptorsOfItsOwn(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		other := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}))
		cmd, out := try("read=" + filepath.Join(dir, "secret"))
		runtime.LockOSThread() // for good
		if err := unix.Unshare(unix.CLONE_FILES); err != nil {
			t.Fatal(err)
		}
		prepared := make(chan *landlock.Sandbox)
		go func() { // in those of the process, under the same number
			number := int(other.Fd())
			other.Close()
			s, err := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).Prepare()
			if err == nil && int(s.Fd()) != number {
				t.Errorf("the number is %d, want %d", s.Fd(), number)
			}
			prepared <- s
		}()
		if err := (<-prepared).Run(cmd); err == nil || !strings.Contains(err.Error(), "do not share their descriptors") || cmd.Process != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// A program has the limit of descriptors that this process was started with, and
// the stub has more than that.
func TestLimitOfDescriptors(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		program, err := os.Open(testenv.Self())
		if err != nil {
			t.Fatal(err)
		}
		defer program.Close()
		cmd, out := try()
		cmd.ExtraFiles = []*os.File{program}
		cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", "ulimit -Sn 50; exec /proc/self/fd/3 limit=50"}
		if err := cmd.Run(); err != nil || out.String() != lines("limit=50: ok") {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// Whatever the streams and files are, the program has what os/exec gives it, and
// what it inherits: the stub's socket has been in one of those places.
func TestEveryPlaceOfTheSocket(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}))
		file, err := os.OpenFile(filepath.Join(dir, "own", "file"), os.O_RDWR|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if err := errors.Join(unix.Dup3(int(file.Fd()), 90, 0), unix.Dup3(int(file.Fd()), 92, 0), unix.SetNonblock(90, true)); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(90)
		defer unix.Close(92)
		extras := [][]*os.File{nil, {nil, file}, {file, nil}, make([]*os.File, 87), make([]*os.File, 89)}
		for i := range 3 * 3 * 3 * len(extras) {
			if !testenv.LongTests() && i%4 > 0 {
				continue
			}
			kinds := [...]int{i % 3, i / 3 % 3, i / 9 % 3}
			observe := func(start func(*exec.Cmd) error) string {
				cmd, out := try("files=120")
				var errs bytes.Buffer
				cmd.Stdin = []io.Reader{nil, file, strings.NewReader("input")}[kinds[0]]
				cmd.Stdout = []io.Writer{nil, file, out}[kinds[1]]
				cmd.Stderr = []io.Writer{nil, file, &errs}[kinds[2]]
				cmd.ExtraFiles = extras[i/27]
				file.Truncate(0)
				err := start(cmd)
				if err == nil {
					err = cmd.Wait()
				}
				text, _ := os.ReadFile(file.Name())
				return fmt.Sprintf("%v, output %q, errors %q, file %q", err, out, &errs, text)
			}
			if want, got := observe((*exec.Cmd).Start), observe(s.Start); got != want {
				t.Errorf("streams %v, %d extra files: %s", kinds, len(extras[i/27]), difference(want, got))
			}
		}
	})
}

// Children that run hold no thread of this process.
func TestChildrenHoldNoThread(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		s := testenv.MustPrepare(t, runnable(bestForChildren()))
		threads := func() int {
			entries, err := os.ReadDir("/proc/self/task")
			if err != nil {
				t.Fatal(err)
			}
			return len(entries)
		}
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		const children = 20
		before := threads()
		var all []*exec.Cmd
		for range children {
			cmd, _ := try("wait")
			cmd.Stdin, cmd.Stdout = read, nil
			if err := s.Start(cmd); err != nil {
				t.Fatal(err)
			}
			all = append(all, cmd)
		}
		if after := threads(); after > before+children/5 {
			t.Errorf("%d threads with %d children, %d before", after, children, before)
		}
		write.Close()
		for _, cmd := range all {
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		}
	})
}

// What the calling thread has given up, what it starts does not get back.
func TestGivenUpStaysGivenUp(t *testing.T) {
	giveUp := []struct {
		name, part string
		do         func() error
		root       bool
	}{
		{"user", "user or groups", func() error { return onThread(unix.SYS_SETRESUID, 1000, 1000, 1000) }, true},
		{"groups", "user or groups", func() error { return onThread(unix.SYS_SETGROUPS, 0, 0, 0) }, true},
		{"capabilities", "capabilities", func() error {
			header, sets := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{}
			return unix.Capset(&header, &sets[0])
		}, true},
		{"bounding set", "capabilities", func() error { return unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_ADMIN, 0, 0, 0) }, true},
		{"securebits", "capabilities", func() error { return unix.Prctl(unix.PR_SET_SECUREBITS, 1, 0, 0, 0) }, true},
		{"seccomp", "seccomp filters", func() error {
			if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
				return err
			}
			allow := unix.SockFilter{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ALLOW}
			program := unix.SockFprog{Len: 1, Filter: &allow}
			return onThread(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program)))
		}, false},
		{"namespace", "namespaces", func() error { return unix.Unshare(unix.CLONE_NEWNET) }, true},
		{"pid namespace of children", "namespaces", func() error { return unix.Unshare(unix.CLONE_NEWPID) }, true},
		{"root", "descriptors, umask, root or working directory", func() error {
			return errors.Join(unix.Unshare(unix.CLONE_FS), unix.Chroot("/usr"))
		}, true},
	}
	for _, test := range giveUp {
		t.Run(test.name, func(t *testing.T) {
			testenv.InBoth(t, func(t *testing.T, dir string) {
				if test.root {
					testenv.NeedRoot(t, "to change it")
				}
				s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}))
				done := make(chan bool)
				go func() {
					defer close(done)
					runtime.LockOSThread() // for good
					if test.name == "groups" {
						if err := syscall.Setgroups([]int{7}); err != nil {
							t.Error(err)
						}
					}
					if err := s.Do(func() error { return nil }); err != nil {
						t.Errorf("Do before: %v", err)
					}
					if err := test.do(); err != nil {
						t.Error(err)
						return
					}
					for name, err := range map[string]error{
						"Do":   s.Do(func() error { t.Error("f runs"); return nil }),
						"Exec": s.Exec("/nonexistent", []string{"x"}, nil),
					} {
						if err == nil || !strings.Contains(err.Error(), "the calling thread has other "+test.part) {
							t.Errorf("%s: %v", name, err)
						}
					}
					if test.name == "root" || test.name == "pid namespace of children" {
						return // there is no program, or no second process
					}
					var states [2]string
					for i, run := range []func(*exec.Cmd) error{(*exec.Cmd).Run, s.Run} {
						var text bytes.Buffer
						cmd := exec.Command("/bin/sh", "-c", `while read line; do case "$line" in Uid:*|Gid:*|Groups:*|Cap*|Seccomp*) echo "$line"; esac; done </proc/self/status`)
						cmd.Stdout = &text
						if err := run(cmd); err != nil {
							t.Error(err)
						}
						states[i] = text.String()
					}
					if states[0] != states[1] {
						t.Errorf("a sandboxed child:\n%s\nos/exec:\n%s", states[1], states[0])
					}
				}()
				<-done
			})
		})
	}
}

// onThread makes a system call that the Go runtime would make on all threads.
func onThread(number, a, b, c uintptr) error {
	if _, _, errno := unix.RawSyscall(number, a, b, c); errno != 0 {
		return errno
	}
	return nil
}

// difference shows where got departs from want.
func difference(want, got string) string {
	at := 0
	for at < min(len(want), len(got)) && want[at] == got[at] {
		at++
	}
	from := max(at-100, 0)
	return fmt.Sprintf("%s\nos/exec:\n%s", got[from:min(at+300, len(got))], want[from:min(at+300, len(want))])
}

// exported returns the fields of cmd that its owner sets, but for functions.
func exported(cmd *exec.Cmd) []any {
	return []any{cmd.Path, cmd.Args, cmd.Env, cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles, cmd.SysProcAttr, cmd.Err, cmd.WaitDelay, cmd.Cancel == nil}
}

// errorChain returns an error with the types and values beneath it.
func errorChain(err error) string {
	var all []string
	for ; err != nil; err = errors.Unwrap(err) {
		if errno, ok := err.(syscall.Errno); ok {
			return fmt.Sprint(all, unix.ErrnoName(errno))
		}
		if path, ok := err.(*fs.PathError); ok {
			all = append(all, path.Op+" "+path.Path)
		}
		all = append(all, fmt.Sprintf("%T", err))
		if errors.Unwrap(err) == nil {
			all = append(all, err.Error())
		}
	}
	return fmt.Sprint(all)
}

// openPoller opens what the Go runtime keeps once it has opened a pipe.
func openPoller() {
	if read, write, err := os.Pipe(); err == nil {
		read.Close()
		write.Close()
	}
}

// Everything that os/exec can do works as with os/exec.
func TestStartIsLikeExec(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		ways := []struct {
			name  string
			start func(*exec.Cmd) error
		}{
			{"os/exec", (*exec.Cmd).Start},
			{"filesystem rights", testenv.MustPrepare(t, landlock.New(landlock.V5).BestEffort(landlock.V1).AllowExecute("/").AllowReadWrite(dir, "/dev")).Start},
			{"network rights", testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{Net: landlock.NetBindTCP}).BestEffort(0)).Start},
		}
		if !testenv.LongTests() {
			ways = ways[:2]
		}
		openPoller()
		scratch := filepath.Join(dir, "scratch")
		for i, s := range startings {
			if os.Getuid() != 0 && !testenv.LongTests() && i%3 > 0 {
				continue
			}
			t.Run(s.name, func(t *testing.T) {
				if strings.HasSuffix(s.name, "root") {
					testenv.NeedRoot(t, "with os/exec too")
				}
				var want string
				for i, way := range ways {
					t.Run(way.name, func(t *testing.T) {
						switch got := observe(t, scratch, s.make, way.start, closesItself); {
						case i == 0:
							want = got
						case got != want:
							t.Error(difference(want, got))
						}
					})
				}
			})
		}
	})
}

// How os/exec reads and writes streams is its own affair, and other releases of Go
// may do it otherwise: all works with each of these.
func TestOtherReleasesOfExec(t *testing.T) {
	if !testenv.LongTests() {
		t.Skip("builds os/exec anew: set LANDLOCK_LONG_TESTS")
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("needs the go command")
	}
	root, err := exec.Command(goTool, "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src/os/exec/exec.go")
	text, err := os.ReadFile(source)
	if err != nil {
		t.Skip("needs the sources of Go: ", err)
	}
	const (
		reads  = "_, err := io.Copy(pw, c.Stdin)\n"
		writes = "_, err := io.Copy(w, pr)\n"
	)
	for name, as := range map[string]struct{ read, write string }{
		"by Read and Write": {
			"_, err := io.Copy(struct{ io.Writer }{pw}, struct{ io.Reader }{c.Stdin})\n",
			"_, err := io.Copy(struct{ io.Writer }{w}, struct{ io.Reader }{pr})\n"},
		"by WriteTo and ReadFrom": {
			"var err error; if to, ok := c.Stdin.(io.WriterTo); ok { _, err = to.WriteTo(pw) } else { _, err = io.Copy(pw, c.Stdin) }\n",
			"var err error; if from, ok := w.(io.ReaderFrom); ok { _, err = from.ReadFrom(pr) } else { _, err = io.Copy(w, pr) }\n"},
		"by a buffer, and late": {
			"buffer := make([]byte, 3); in := c.Stdin; runtime.Gosched(); _, err := io.CopyBuffer(struct{ io.Writer }{pw}, struct{ io.Reader }{in}, buffer)\n",
			"buffer := make([]byte, 3); runtime.Gosched(); _, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{pr}, buffer)\n"},
		"not before Wait": {
			"for c.ProcessState == nil && !landlockWaits(c) { runtime.Gosched() }; _, err := io.Copy(pw, c.Stdin)\n",
			writes},
	} {
		t.Run(name, func(t *testing.T) {
			changed := strings.Replace(strings.Replace(string(text), reads, as.read, 1), writes, as.write, 1)
			if changed == string(text) || strings.Count(string(text), reads) != 1 || strings.Count(string(text), writes) != 1 {
				t.Skip("os/exec of this Go copies otherwise itself")
			}
			if strings.Contains(as.read, "landlockWaits") {
				changed = strings.Replace(changed, "func (c *Cmd) Wait() error {\n", "func (c *Cmd) Wait() error {\n\tlandlockWaiting.Store(c, nil)\n", 1) +
					"\nvar landlockWaiting sync.Map\n\nfunc landlockWaits(c *Cmd) bool { _, ok := landlockWaiting.Load(c); return ok }\n"
				changed = strings.Replace(changed, "import (\n", "import (\n\t\"sync\"\n", 1)
			}
			dir := t.TempDir()
			file, overlay, binary := filepath.Join(dir, "exec.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "landlock.test")
			testenv.Write(t, file, changed)
			testenv.Write(t, overlay, fmt.Sprintf(`{"Replace": {%q: %q}}`, source, file))
			build := exec.Command(goTool, "test", "-c", "-overlay", overlay, "-o", binary, ".")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			tests := "^(TestRunRestrictsTheChild|TestOutput|TestStartIsLikeExec|TestEveryPlaceOfTheSocket)$"
			if strings.Contains(as.read, "landlockWaits") {
				tests = "^TestOutput$" // a Stdin that os/exec has yet to look at stays another
			}
			run := exec.Command(binary, "-test.short", "-test.run", tests)
			if out, err := run.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}
