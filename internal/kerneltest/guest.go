package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// settings is what the host tells the guest, in a file of the initramfs.
type settings struct {
	Results string        // the serial port that leads to the host
	Tests   []test        // to run, in this order
	Args    []string      // for each of them
	Env     []string      // more than what every guest has
	Silence time.Duration // for how long one may print nothing
}

// test is a test binary.
type test struct {
	Build, Binary string
	Skip          string // a pattern of its tests
	source        string // where the host has it
}

// path is where the guest has it, without a leading slash.
func (t test) path() string {
	return testsFolder + "/" + strings.ReplaceAll(t.Build, " ", "-") + "-" + t.Binary
}

const (
	settingsFile = "settings.json"
	testsFolder  = "tests"
)

// host is whom the guest reports to.
type host struct {
	mu sync.Mutex
	to *json.Encoder
}

func (h *host) tell(m message) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.to.Encode(m)
}

// keepAlive tells the host now and then that the machine goes on, whatever a test
// does.
func (h *host) keepAlive() {
	for range time.Tick(10 * time.Second) {
		h.tell(message{Alive: true})
	}
}

// beGuest is the program as the first process of a virtual machine: it runs
// every test binary, reports to the host, and turns the machine off.
func beGuest() {
	if err := runGuest(); err != nil {
		fmt.Println("kerneltest:", err) // on the console, which the host shows where a guest dies
	}
	unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func runGuest() error {
	if err := mountAll(); err != nil {
		return err
	}
	text, err := os.ReadFile("/" + settingsFile)
	if err != nil {
		return err
	}
	var s settings
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	port, err := openPort(s.Results)
	if err != nil {
		return fmt.Errorf("open the port to the host: %w", err)
	}
	host := &host{to: json.NewEncoder(port)}
	if err := errors.Join(loopbackUp(), host.tell(message{Kernel: aboutKernel()})); err != nil {
		return err
	}
	go host.keepAlive()
	for _, t := range s.Tests {
		if err := t.run(host, s); err != nil {
			return err
		}
	}
	if err := host.tell(message{Done: true}); err != nil {
		return err
	}
	return unix.IoctlSetInt(int(port.Fd()), unix.TCSBRK, 1) // wait until all is sent
}

func mountAll() error {
	for _, m := range []struct{ kind, target, options string }{
		{"proc", "/proc", ""},
		{"sysfs", "/sys", ""},
		{"devtmpfs", "/dev", ""},
		{"devpts", "/dev/pts", ""},
		{"tmpfs", "/dev/shm", "mode=1777"},
		{"tmpfs", "/tmp", "mode=1777"},
	} {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.target, m.kind, 0, m.options); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	for name, target := range map[string]string{"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"} {
		if err := os.Symlink("/proc/self/fd"+target, "/dev/"+name); err != nil {
			return err
		}
	}
	return nil
}

// openPort opens a serial port for bytes as they are.
func openPort(path string) (*os.File, error) {
	port, err := os.OpenFile(path, os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	mode, err := unix.IoctlGetTermios(int(port.Fd()), unix.TCGETS)
	if err != nil {
		return nil, err
	}
	mode.Oflag &^= unix.OPOST
	mode.Lflag &^= unix.ECHO | unix.ICANON
	mode.Cflag = mode.Cflag&^unix.CBAUD | unix.B115200
	return port, unix.IoctlSetTermios(int(port.Fd()), unix.TCSETS, mode)
}

func loopbackUp() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("bring up the loopback interface: %w", err)
	}
	return nil
}

// aboutKernel asks the kernel what it is, without the library that is under test.
func aboutKernel() *kernelFacts {
	var name unix.Utsname
	unix.Uname(&name)
	ask := func(flag uintptr) (int, error) {
		answer, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, flag)
		if errno != 0 {
			return 0, errno
		}
		return int(answer), nil
	}
	facts := kernelFacts{Release: unix.ByteSliceToString(name.Release[:])}
	abi, err := ask(unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch {
	case errors.Is(err, unix.ENOSYS):
		facts.ABI = notBuilt
	case errors.Is(err, unix.EOPNOTSUPP):
		facts.ABI = switchedOff
	case err != nil:
		facts.ABI = err.Error()
	default:
		facts.ABI = fmt.Sprint(abi)
		facts.Errata, _ = ask(unix.LANDLOCK_CREATE_RULESET_ERRATA) // older kernels know no such question
	}
	return &facts
}

// run runs a test binary, and sends what it prints as it does.
func (t test) run(host *host, s settings) error {
	failure, err := t.send(host, s)
	if err != nil {
		return err
	}
	return host.tell(message{Build: t.Build, Binary: t.Binary, Ended: true, Failure: failure})
}

func (t test) send(host *host, s settings) (failure string, err error) {
	cmd := exec.Command("/"+t.path(), append(s.Args, "-test.skip="+t.Skip)...)
	cmd.Dir = "/tmp"
	cmd.Env = append([]string{"PATH=/bin", "HOME=/root", "TMPDIR=/tmp"}, s.Env...)
	output, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return err.Error(), nil
	}
	ended := make(chan string, 1)
	go func() {
		failure := reap(cmd.Process.Pid)
		unix.Kill(-1, unix.SIGKILL) // all but this process: what it has left running would hold the pipe
		ended <- failure
	}()
	var silent atomic.Bool
	var patience *time.Timer
	patience = time.AfterFunc(s.Silence, func() {
		if silent.Swap(true) {
			cmd.Process.Kill()
			return
		}
		cmd.Process.Signal(unix.SIGQUIT) // it shows where it hangs
		patience.Reset(time.Minute)
	})
	defer patience.Stop()
	buffer := make([]byte, 1<<16)
	for {
		n, err := output.Read(buffer)
		if n > 0 {
			if !silent.Load() {
				patience.Reset(s.Silence)
			}
			if err := host.tell(message{Build: t.Build, Binary: t.Binary, Output: buffer[:n]}); err != nil {
				return "", err
			}
		}
		if err != nil {
			failure := <-ended
			if silent.Load() {
				failure = fmt.Sprintf("printed nothing for %v: %s", s.Silence, failure)
			}
			return failure, nil
		}
	}
}

// reap waits for a child, and for the orphans that a first process inherits.
func reap(child int) (failure string) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err.Error()
		case pid != child || !status.Exited() && !status.Signaled():
		case status.Signaled():
			return "killed by " + unix.SignalName(status.Signal())
		case status.ExitStatus() != 0:
			return fmt.Sprint("exit status ", status.ExitStatus())
		default:
			return ""
		}
	}
}
