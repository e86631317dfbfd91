package main

import (
	"bufio"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"example.com/landlock"
	"example.com/landlock/landlocktest"
	"golang.org/x/sys/unix"
)

func init() {
	helpers["type"] = typeLine
	helpers["without-seccomp"] = withoutSeccomp
}

// typeLine types a line into the terminal that is its standard input, and
// prints the kernel's answers. What it could type it reads, and prints too.
func typeLine([]string) error {
	requests := []uintptr{unix.TIOCSTI}
	if strconv.IntSize == 64 {
		high := uint64(unix.TIOCSTI) | 1<<32 // the kernel does not look at that half
		requests = append(requests, uintptr(high))
	}
	for _, request := range requests {
		var errno syscall.Errno
		for _, char := range []byte("x\n") {
			_, _, errno = unix.Syscall(unix.SYS_IOCTL, 0, request, uintptr(unsafe.Pointer(&char)))
		}
		fmt.Printf("TIOCSTI: %v\n", errno)
		if errno == 0 {
			line, err := bufio.NewReaderSize(os.Stdin, 16).ReadString('\n')
			fmt.Printf("typed %q, %v\n", line, err)
		}
	}
	var pasteSelection byte = 3 // TIOCL_PASTESEL
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, 0, unix.TIOCLINUX, uintptr(unsafe.Pointer(&pasteSelection)))
	fmt.Printf("TIOCLINUX: %v\n", errno)
	group, err := unix.IoctlGetInt(0, unix.TIOCGPGRP)
	fmt.Printf("in the foreground: %v, %v\n", group == unix.Getpgrp(), err)
	return nil
}

// onTerminal runs cmd with a new terminal as its standard input, in a session of
// which it is the terminal.
func onTerminal(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(filepath.Join("/dev/pts", strconv.Itoa(number)), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	cmd.Stdin = terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	return finish(t, cmd)
}

// A command that shares its terminal types nothing into it, whatever it may do
// otherwise, and keeps the terminal.
func TestTyping(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	free := onTerminal(t, exec.Command(self(t), "type"))
	// Root may always, others where dev.tty.legacy_tiocsti is 1 or unknown.
	const typed = "TIOCSTI: errno 0\ntyped \"x\\n\", <nil>\n"
	if !strings.HasPrefix(free.stdout, typed) {
		legacy, err := os.ReadFile("/proc/sys/dev/tty/legacy_tiocsti")
		if os.Getuid() == 0 || string(legacy) == "1\n" || errors.Is(err, os.ErrNotExist) {
			t.Errorf("without sandbox: %v\nwant %q", free, typed)
		}
	}
	if r := onTerminal(t, command(t, "", helper(t, []string{"--rw", "/dev"}, "type")...)); !r.state.Success() ||
		strings.Count(r.stdout, "TIOCSTI: operation not permitted\n") != strconv.IntSize/32 ||
		!strings.HasSuffix(r.stdout, "TIOCLINUX: operation not permitted\nin the foreground: true, <nil>\n") || strings.Contains(r.stdout, "typed") {
		t.Errorf("sandboxed: %v\nwithout sandbox: %v", r, free)
	}
}

// withoutSeccomp becomes sandboxer, as some containers have it: seccomp(2) is
// refused there.
func withoutSeccomp(args []string) error {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_SECCOMP},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(self, append([]string{name}, args...), append(os.Environ(), "LANDLOCK_EXAMPLE_MAIN=1"))
}

// Where the calls cannot be refused the command does not run, but for best
// effort, which says so.
func TestTypingNotRefused(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V6)
	needProgram(t, "sh")
	const message = ": the command could type into a terminal that it shares: seccomp: operation not permitted"
	options := []string{"without-seccomp", "--unrestricted-filesystem", "--unrestricted-network"}
	run := func(args ...string) result {
		return finish(t, exec.Command(self(t), append(options, args...)...))
	}
	checkMistake(t, run("sh", "-c", "exit 7"), message+"\n")
	if r := run("--best-effort", "sh", "-c", "exit 7"); r.state.ExitCode() != 7 || !strings.Contains(r.log, message) {
		t.Errorf("--best-effort: %v", r)
	}
}

// A process of amd64 may also make the system calls of i386 and x32, which have
// other numbers.
func TestTypingInOtherWords(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	if runtime.GOARCH != "amd64" {
		t.Skip("builds binaries for amd64 alone")
	}
	word := func(opcode byte, value uint32) []byte {
		return binary.LittleEndian.AppendUint32([]byte{opcode}, value)
	}
	const letter = loadAddress + 1 // of "\x7fELF"
	dir := t.TempDir()
	for name, code := range map[string][][]byte{
		"i386": {
			word(0xb8, 54),           // mov eax, ioctl
			{0x31, 0xdb},             // xor ebx, ebx
			word(0xb9, unix.TIOCSTI), // mov ecx, TIOCSTI
			word(0xba, letter),       // mov edx, letter
			{0xcd, 0x80},             // int 0x80
		},
		"x32": {
			word(0xb8, 0x40000000+514), // mov eax, ioctl
			{0x31, 0xff},               // xor edi, edi
			word(0xbe, unix.TIOCSTI),   // mov esi, TIOCSTI
			word(0xba, letter),         // mov edx, letter
			{0x0f, 0x05},               // syscall
		},
	} {
		t.Run(name, func(t *testing.T) {
			exit := [][]byte{
				{0xf7, 0xd8},                    // neg eax
				{0x89, 0xc7},                    // mov edi, eax
				word(0xb8, unix.SYS_EXIT_GROUP), // mov eax, exit_group
				{0x0f, 0x05},                    // syscall
			}
			path := write(t, filepath.Join(dir, name), staticProgram(t, bytes.Join(append(code, exit...), nil)))
			free := onTerminal(t, exec.Command(path))
			switch status := free.state.Sys().(syscall.WaitStatus); {
			case status.Signaled():
				t.Skipf("this machine makes no system calls of %s: %v", name, free.state)
			case !slices.Contains([]int{0, int(unix.EIO), int(unix.ENOSYS)}, status.ExitStatus()):
				t.Errorf("without sandbox: errno %d", status.ExitStatus())
			}
			// Without a number for it the kernel would say ENOSYS, if it came to that.
			if r := onTerminal(t, command(t, dir, "--best-effort", "--rox", ".", "./"+name)); r.state.ExitCode() != int(unix.EPERM) {
				t.Errorf("sandboxed: %v\nwant errno %d\nwithout sandbox: %v", r, unix.EPERM, free.state)
			}
		})
	}
}

const loadAddress = 0x400000

// staticProgram returns an ELF file for amd64 that consists of the code.
func staticProgram(t *testing.T, code []byte) string {
	t.Helper()
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
	}
	segment := elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: loadAddress, Align: 0x1000}
	header.Ehsize, header.Phentsize, header.Phnum = uint16(binary.Size(header)), uint16(binary.Size(segment)), 1
	header.Phoff = uint64(header.Ehsize)
	start := header.Phoff + uint64(header.Phentsize)
	header.Entry = loadAddress + start
	segment.Filesz = start + uint64(len(code))
	segment.Memsz = segment.Filesz
	var file bytes.Buffer
	for _, part := range []any{header, segment, code} {
		if err := binary.Write(&file, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return file.String()
}
