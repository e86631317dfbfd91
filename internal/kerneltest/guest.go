package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// settings is what the host tells the guest, in a file of the initramfs.
type settings struct {
	Results string        // the serial port that leads to the host
	Args    []string      // for each test binary
	Limit   time.Duration // on each test binary
}

const (
	settingsFile = "settings.json"
	testsFolder  = "tests"
)

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
	host := json.NewEncoder(port)
	if err := errors.Join(loopbackUp(), host.Encode(message{Kernel: aboutKernel()}), runTests(host, s)); err != nil {
		return err
	}
	if err := host.Encode(message{Done: true}); err != nil {
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
		{"tmpfs", "/tmp", "mode=1777"},
	} {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.target, m.kind, 0, m.options); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
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

func runTests(host *json.Encoder, s settings) error {
	binaries, err := filepath.Glob("/" + testsFolder + "/*.test")
	if err != nil {
		return err
	}
	for _, binary := range binaries {
		name := strings.TrimSuffix(filepath.Base(binary), ".test")
		failure, err := runTest(host, name, binary, s)
		if err == nil {
			err = host.Encode(message{Binary: name, Ended: true, Failure: failure})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// runTest runs a test binary, and sends what it prints as it does.
func runTest(host *json.Encoder, name, binary string, s settings) (failure string, err error) {
	cmd := exec.Command(binary, s.Args...)
	cmd.Dir = "/tmp"
	cmd.Env = []string{"PATH=/bin", "HOME=/root", "TMPDIR=/tmp"}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return err.Error(), nil
	}
	late := time.AfterFunc(s.Limit, func() { cmd.Process.Kill() })
	defer late.Stop()
	ended := make(chan string, 1)
	go func() {
		ended <- reap(cmd.Process.Pid)
		// What it has left running may hold the pipe.
		output.(*os.File).SetReadDeadline(time.Now().Add(time.Second))
	}()
	buffer := make([]byte, 1<<16)
	for {
		n, err := output.Read(buffer)
		if n > 0 {
			if err := host.Encode(message{Binary: name, Output: buffer[:n]}); err != nil {
				return "", err
			}
		}
		if err != nil {
			return <-ended, nil
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
