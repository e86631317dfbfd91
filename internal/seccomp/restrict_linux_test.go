package seccomp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/allthreads/cthreads"
	"example.com/landlock/internal/osthread"
)

// What restricts a whole process runs in one of its own: this test binary again,
// with the name of a scenario in this variable. It ends with the line that
// follows; a process that ended without is no pass.
const (
	scenarioVariable = "SECCOMP_SCENARIO"
	passed           = "scenario passed: "
)

func TestMain(m *testing.M) {
	name := os.Getenv(scenarioVariable)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := scenarios[name](); err != nil {
		fmt.Println("scenario failed:", err)
		os.Exit(1)
	}
	fmt.Println(passed + name)
}

func runScenario(t *testing.T, name string) {
	t.Helper()
	native(t)
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // only a hang takes so long
	defer cancel()
	cmd := exec.CommandContext(ctx, binary)
	cmd.Env = append(os.Environ(), scenarioVariable+"="+name)
	output, err := cmd.CombinedOutput()
	if err != nil || !bytes.HasSuffix(output, []byte(passed+name+"\n")) {
		t.Fatalf("scenario %q: %v, want it to end with %q; output:\n%s", name, err, passed+name, output)
	}
}

// native returns the filter that refuses most, or skips the test.
func native(t testing.TB) Program {
	t.Helper()
	program, err := Sockets{RefuseUDP: true, RefuseFastOpen: true}.Program()
	if err == nil {
		err = Available()
	}
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("needs a socket filter: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// restricted runs f on a thread with the filter, or with none where program is
// nil, and waits for its end.
func restricted(t testing.TB, program Program, f func()) {
	t.Helper()
	thread, err := osthread.Spend(func() error {
		if program != nil {
			if err := restrict(Program.RestrictThread, program); err != nil {
				return err
			}
		}
		f()
		return nil
	})
	if err == nil {
		err = osthread.AwaitEnd(thread)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func restrict(install func(Program) error, program Program) error {
	runtime.LockOSThread() // which both calls are for
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	return install(program)
}

func TestNumbersAreTheKernels(t *testing.T) {
	e, ok := entries[runtime.GOARCH]
	if !ok {
		t.Skip("needs an architecture that has a filter")
	}
	for name, want := range map[string]uint32{
		"socket": unix.SYS_SOCKET, "socketpair": unix.SYS_SOCKETPAIR, "setsockopt": unix.SYS_SETSOCKOPT,
		"sendto": unix.SYS_SENDTO, "sendmsg": unix.SYS_SENDMSG, "sendmmsg": unix.SYS_SENDMMSG,
	} {
		if got := e[0].numbers[name]; got != want {
			t.Errorf("%s: number %d, want %d", name, got, want)
		}
	}
	if got := []uint32{everywhere[0].number, everywhere[1].number, everywhere[2].number}; !slices.Equal(got, []uint32{unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER}) {
		t.Errorf("io_uring: numbers %d, want those of x/sys/unix", got)
	}
	for _, number := range [][2]uint32{
		{amd64.arch, unix.AUDIT_ARCH_X86_64}, {i386.arch, unix.AUDIT_ARCH_I386}, {arm.arch, unix.AUDIT_ARCH_ARM}, {arm64.arch, unix.AUDIT_ARCH_AARCH64},
		{riscv64.arch, unix.AUDIT_ARCH_RISCV64}, {riscv32.arch, unix.AUDIT_ARCH_RISCV32}, {loong64.arch, unix.AUDIT_ARCH_LOONGARCH64},
		{ppc64le.arch, unix.AUDIT_ARCH_PPC64LE}, {ppcle.arch, unix.AUDIT_ARCH_PPC | 0x40000000}, {ppc64.arch, unix.AUDIT_ARCH_PPC64}, {ppc.arch, unix.AUDIT_ARCH_PPC},
		{afUnix, unix.AF_UNIX}, {afInet, unix.AF_INET}, {afInet6, unix.AF_INET6}, {afNetlink, unix.AF_NETLINK},
		{sockStream, unix.SOCK_STREAM}, {sockDgram, unix.SOCK_DGRAM}, {ipprotoTCP, unix.IPPROTO_TCP}, {ipprotoUDP, unix.IPPROTO_UDP}, {ipprotoMPTCP, unix.IPPROTO_MPTCP},
		{netlinkRoute, unix.NETLINK_ROUTE}, {msgFastOpen, unix.MSG_FASTOPEN}, {solTCP, unix.SOL_TCP}, {tcpULP, unix.TCP_ULP},
		{eperm, uint32(unix.EPERM)}, {enoent, uint32(unix.ENOENT)}, {eacces, uint32(unix.EACCES)}, {enosys, uint32(unix.ENOSYS)},
		{eprotonosupport, uint32(unix.EPROTONOSUPPORT)}, {eopnotsupp, uint32(unix.EOPNOTSUPP)},
		{returnAllow, unix.SECCOMP_RET_ALLOW}, {returnErrno, unix.SECCOMP_RET_ERRNO},
		{codeLoad, unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, {codeAnd, unix.BPF_ALU | unix.BPF_AND | unix.BPF_K}, {codeReturn, unix.BPF_RET | unix.BPF_K},
		{codeEqual, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K}, {codeAtLeast, unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K}, {codeHasBit, unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K},
	} {
		if number[0] != number[1] {
			t.Errorf("number %#x, want %#x", number[0], number[1])
		}
	}
	var ours Instruction
	var kernels unix.SockFilter
	if unsafe.Sizeof(ours) != unsafe.Sizeof(kernels) || unsafe.Offsetof(ours.JT) != unsafe.Offsetof(kernels.Jt) ||
		unsafe.Offsetof(ours.JF) != unsafe.Offsetof(kernels.Jf) || unsafe.Offsetof(ours.K) != unsafe.Offsetof(kernels.K) {
		t.Errorf("Instruction is laid out unlike struct sock_filter")
	}
}

// makeSocket makes a socket and closes it. The upper halves of the arguments hold
// what the kernel passes over.
func makeSocket(number uintptr, family, kind, protocol int32) syscall.Errno {
	const junk = 0xdead << 32 & (1<<(32<<(^uint(0)>>63)) - 1) // 0 where there is no upper half
	fds := [2]int32{-1, -1}
	fd, _, errno := unix.Syscall6(number, junk|uintptr(uint32(family)), junk|uintptr(uint32(kind)), junk|uintptr(uint32(protocol)), uintptr(unsafe.Pointer(&fds)), 0, 0)
	if errno != 0 {
		return errno
	}
	if fds[0] >= 0 {
		unix.Close(int(fds[0]))
		unix.Close(int(fds[1]))
	} else {
		unix.Close(int(fd))
	}
	return 0
}

func TestSocketsOfThisKernel(t *testing.T) {
	native(t)
	type socket struct {
		number                 uintptr
		family, kind, protocol int32
	}
	var all []socket
	for family := range int32(48) {
		for _, kind := range []int32{unix.SOCK_STREAM, unix.SOCK_DGRAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK, unix.SOCK_RAW, unix.SOCK_RDM, unix.SOCK_SEQPACKET, unix.SOCK_DCCP, unix.SOCK_PACKET} {
			for _, protocol := range []int32{0, unix.IPPROTO_ICMP, unix.IPPROTO_TCP, unix.NETLINK_GENERIC, unix.IPPROTO_UDP, unix.IPPROTO_ICMPV6, unix.IPPROTO_SCTP, unix.IPPROTO_UDPLITE, 256, unix.IPPROTO_MPTCP} {
				all = append(all, socket{unix.SYS_SOCKET, family, kind, protocol}, socket{unix.SYS_SOCKETPAIR, family, kind, protocol})
			}
		}
	}
	for _, variant := range variants {
		program, err := variant.Program()
		if err != nil {
			t.Fatal(err)
		}
		free, got := map[socket]syscall.Errno{}, map[socket]syscall.Errno{}
		restricted(t, nil, func() {
			for _, s := range all {
				if socketSpecification(variant, s.family, s.kind, s.protocol) == 0 {
					free[s] = makeSocket(s.number, s.family, s.kind, s.protocol)
				}
			}
		})
		restricted(t, program, func() {
			for _, s := range all {
				got[s] = makeSocket(s.number, s.family, s.kind, s.protocol)
			}
		})
		for _, s := range all {
			want := syscall.Errno(socketSpecification(variant, s.family, s.kind, s.protocol))
			if want == 0 {
				want = free[s]
			}
			if got[s] != want {
				t.Errorf("%+v: %+v: %v, want %v", variant, s, got[s], want)
			}
		}
		if made := slices.Collect(maps.Values(free)); !slices.Contains(made, 0) {
			t.Errorf("%+v: no socket could be made, want some", variant)
		}
	}
	// What the refusals are worth: without a filter this kernel makes more.
	restricted(t, nil, func() {
		for _, s := range []socket{{unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM, 0}, {unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT}} {
			if errno := makeSocket(s.number, s.family, s.kind, s.protocol); errno != 0 {
				t.Errorf("%+v without a filter: %v, want a socket", s, errno)
			}
		}
	})
}

// send has a new TCP socket send to an address that it is not connected to.
func send(t *testing.T, call string, number uintptr, to *net.TCPAddr, flags uintptr) syscall.Errno {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer unix.Close(fd)
	address := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: [4]byte(to.IP.To4())}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&address.Port))[:], uint16(to.Port))
	data := [1]byte{'x'}
	vector := unix.Iovec{Base: &data[0], Len: 1}
	message := struct {
		unix.Msghdr
		length uint32
	}{Msghdr: unix.Msghdr{Name: (*byte)(unsafe.Pointer(&address)), Namelen: unix.SizeofSockaddrInet4, Iov: &vector, Iovlen: 1}}
	var errno syscall.Errno
	flags |= unix.MSG_NOSIGNAL
	switch call {
	case "sendto":
		_, _, errno = unix.Syscall6(number, uintptr(fd), uintptr(unsafe.Pointer(&data)), 1, flags, uintptr(unsafe.Pointer(&address)), unix.SizeofSockaddrInet4)
	case "sendmsg":
		_, _, errno = unix.Syscall(number, uintptr(fd), uintptr(unsafe.Pointer(&message)), flags)
	case "sendmmsg":
		_, _, errno = unix.Syscall6(number, uintptr(fd), uintptr(unsafe.Pointer(&message)), 1, flags, 0, 0)
	}
	runtime.KeepAlive(&vector)
	return errno
}

func TestFastOpen(t *testing.T) {
	native(t)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	to := listener.Addr().(*net.TCPAddr)
	for _, refuse := range []bool{false, true} {
		program, err := Sockets{RefuseFastOpen: refuse}.Program()
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range []string{"sendto", "sendmsg", "sendmmsg"} {
			number := uintptr(entries[runtime.GOARCH][0].numbers[call])
			off := false
			restricted(t, program, func() {
				want := syscall.Errno(0)
				if refuse {
					want = unix.EOPNOTSUPP
				}
				errno := send(t, call, number, to, unix.MSG_FASTOPEN)
				if off = !refuse && errno == unix.EOPNOTSUPP; !off && errno != want {
					t.Errorf("refused=%t: %s with MSG_FASTOPEN: %v, want %v", refuse, call, errno, want)
				}
				if errno := send(t, call, number, to, unix.MSG_DONTWAIT); errno != unix.EPIPE {
					t.Errorf("refused=%t: %s without: %v, want EPIPE, as of any socket that is not connected", refuse, call, errno)
				}
			})
			if off {
				t.Skip("needs net.ipv4.tcp_fastopen to allow it to clients")
			}
			listener.(*net.TCPListener).SetDeadline(time.Now().Add(5 * time.Minute))
			if !refuse {
				connection, err := listener.Accept()
				if err != nil {
					t.Fatalf("%s with MSG_FASTOPEN, allowed: accept: %v, want its connection", call, err)
				}
				connection.Close()
			}
		}
	}
	raw, err := listener.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { // whatever had connected on loopback would be there by now
		if _, _, err := unix.Accept4(int(fd), unix.SOCK_NONBLOCK); err != unix.EAGAIN {
			t.Errorf("accept after the sends that were refused: %v, want EAGAIN", err)
		}
	})
}

func TestOtherCalls(t *testing.T) {
	program := native(t)
	ring := [30]uint32{}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&ring)), 0)
	if errno != 0 { // not in this kernel, or off by sysctl
		t.Logf("io_uring_setup without a filter: %v", errno)
	} else {
		defer unix.Close(int(fd))
	}
	restricted(t, program, func() {
		var other [30]uint32
		for _, test := range []struct {
			name        string
			number      uintptr
			first, next uintptr
		}{
			{"io_uring_setup", unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&other))},
			{"io_uring_enter of a ring that was there", unix.SYS_IO_URING_ENTER, fd, 0},
			{"io_uring_register of it", unix.SYS_IO_URING_REGISTER, fd, 0},
		} {
			if _, _, errno := unix.Syscall6(test.number, test.first, test.next, 0, 0, 0, 0); errno != unix.EPERM {
				t.Errorf("%s: %v, want EPERM", test.name, errno)
			}
		}
		socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Errorf("a TCP socket: %v, want no error", err)
			return
		}
		defer unix.Close(socket)
		if err := unix.SetsockoptString(socket, unix.SOL_TCP, unix.TCP_ULP, "tls"); err != unix.ENOENT {
			t.Errorf("TCP_ULP: %v, want ENOENT", err)
		}
		if err := unix.SetsockoptInt(socket, unix.SOL_TCP, unix.TCP_NODELAY, 1); err != nil {
			t.Errorf("TCP_NODELAY: %v, want no error", err)
		}
		if err := unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1); err != nil {
			t.Errorf("SO_KEEPALIVE: %v, want no error", err)
		}
	})
}

// TestX32 makes calls of x32, which a kernel without it refuses as well.
func TestX32(t *testing.T) {
	program := native(t)
	if runtime.GOARCH != "amd64" {
		t.Skip("needs amd64")
	}
	type call struct {
		number  uintptr
		a, b, c uintptr
	}
	calls := map[call]syscall.Errno{
		{x32Bit | 41, unix.AF_UNIX, unix.SOCK_STREAM, 0}:        unix.EACCES,
		{x32Bit | 53, unix.AF_UNIX, unix.SOCK_STREAM, 0}:        unix.EACCES,
		{x32Bit | 46, 1 << 31, 0, unix.MSG_FASTOPEN}:            unix.EOPNOTSUPP,
		{x32Bit | 518, 1 << 31, 0, unix.MSG_FASTOPEN}:           unix.EOPNOTSUPP,
		{x32Bit | 541, 1 << 31, unix.SOL_TCP, unix.TCP_ULP}:     unix.ENOENT,
		{x32Bit | 425, 1, 0, 0}:                                 unix.EPERM,
		{541, 1 << 31, unix.SOL_TCP, unix.TCP_ULP}:              unix.ENOENT,
		{x32Bit | 541, 1 << 31, unix.SOL_TCP, unix.TCP_NODELAY}: 0, // whatever it is without a filter
		{x32Bit | 39, 0, 0, 0}:                                  0,
	}
	free := map[call]syscall.Errno{}
	restricted(t, nil, func() {
		for c := range calls {
			_, _, free[c] = unix.Syscall(c.number, c.a, c.b, c.c)
		}
	})
	restricted(t, program, func() {
		for c, want := range calls {
			if want == 0 {
				want = free[c]
			}
			if _, _, errno := unix.Syscall(c.number, c.a, c.b, c.c); errno != want {
				t.Errorf("%+v: %v, want %v", c, errno, want)
			}
		}
	})
}

// program386 is a program for i386 of a few instructions. It makes a system call
// and exits with the errno, or 0. Its data is at data386.
func program386(arguments [6]uint32, data ...uint32) []byte {
	const base, headers = 0x10000, 52 + 32
	var code []byte
	for i, register := range []byte{0xb8, 0xbb, 0xb9, 0xba, 0xbe, 0xbf} { // mov eax, ebx, ecx, edx, esi, edi
		code = binary.LittleEndian.AppendUint32(append(code, register), arguments[i])
	}
	code = append(code, 0xcd, 0x80, // int 0x80
		0x31, 0xdb, // xor ebx, ebx
		0x85, 0xc0, // test eax, eax
		0x79, 0x04, // jns, over
		0xf7, 0xd8, // neg eax
		0x89, 0xc3, // mov ebx, eax
		0xb8, 1, 0, 0, 0, // mov eax, 1
		0xcd, 0x80) // int 0x80: exit
	for len(code) < data386-base-headers {
		code = append(code, 0)
	}
	for _, word := range data {
		code = binary.LittleEndian.AppendUint32(code, word)
	}
	size := uint32(headers + len(code))
	var b bytes.Buffer
	b.WriteString("\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	binary.Write(&b, binary.LittleEndian, []uint16{2, 3})                                    // an executable, for i386
	binary.Write(&b, binary.LittleEndian, []uint32{1, base + headers, 52, 0, 0})             // entry, program header
	binary.Write(&b, binary.LittleEndian, []uint16{52, 32, 1, 0, 0, 0})                      // sizes
	binary.Write(&b, binary.LittleEndian, []uint32{1, 0, base, base, size, size, 7, 0x1000}) // all of it, in one segment
	b.Write(code)
	return b.Bytes()
}

const data386 = 0x10000 + 52 + 32 + 64

func TestPrograms386(t *testing.T) {
	program := native(t)
	if runtime.GOARCH != "amd64" {
		t.Skip("needs amd64")
	}
	run := func(content []byte) (syscall.Errno, error) {
		path := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(path, content, 0o700); err != nil {
			return 0, err
		}
		err := exec.Command(path).Run()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
			return syscall.Errno(exit.ExitCode()), nil
		}
		return 0, err
	}
	const getpid = 20
	if _, err := run(program386([6]uint32{getpid})); err != nil {
		t.Skip("needs a kernel that runs programs for i386: ", err)
	}
	for _, test := range []struct {
		name       string
		content    []byte
		free, want syscall.Errno
	}{
		{"getpid", program386([6]uint32{getpid}), 0, 0},
		{"socket", program386([6]uint32{359, unix.AF_INET, unix.SOCK_STREAM}), 0, unix.EACCES},
		{"socket, Unix", program386([6]uint32{359, unix.AF_UNIX, unix.SOCK_STREAM}), 0, unix.EACCES},
		{"socketpair", program386([6]uint32{360, unix.AF_UNIX, unix.SOCK_STREAM, 0, data386}, 0, 0), 0, unix.EACCES},
		{"socketcall", program386([6]uint32{102, 1, data386}, unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_TCP), 0, unix.EACCES},
		{"sendto", program386([6]uint32{369, 99, data386, 1, unix.MSG_FASTOPEN}, 0), unix.EBADF, unix.EOPNOTSUPP},
		{"sendto, plain", program386([6]uint32{369, 99, data386, 1, 0}, 0), unix.EBADF, unix.EBADF},
		{"sendmsg", program386([6]uint32{370, 99, data386, unix.MSG_FASTOPEN}, 0), unix.EBADF, unix.EOPNOTSUPP},
		{"sendmmsg", program386([6]uint32{345, 99, data386, 1, unix.MSG_FASTOPEN}, 0), unix.EBADF, unix.EOPNOTSUPP},
		{"setsockopt", program386([6]uint32{366, 99, unix.SOL_TCP, unix.TCP_ULP, data386}, 0), unix.EBADF, unix.ENOENT},
		{"io_uring_setup", program386([6]uint32{425, 0, data386}, 0), 0, unix.EPERM},
	} {
		t.Run(test.name, func(t *testing.T) {
			restricted(t, nil, func() {
				errno, err := run(test.content)
				if test.name == "io_uring_setup" {
					test.free = errno // depends on the kernel, but must not be what the filter answers
				}
				if err != nil || errno != test.free || test.want == unix.EPERM && errno == unix.EPERM {
					t.Errorf("without a filter: %v, %v, want %v", errno, err, test.free)
				}
			})
			restricted(t, program, func() {
				if errno, err := run(test.content); err != nil || errno != test.want {
					t.Errorf("with the filter: %v, %v, want %v", errno, err, test.want)
				}
			})
		})
	}
}

// refusing returns a program by which one system call fails.
func refusing(number uintptr, errno syscall.Errno) Program {
	a := &assembler{}
	a.load(offsetNumber)
	a.equal(uint32(number), "refuse")
	a.ret(returnAllow)
	a.at("refuse")
	a.ret(returnErrno | uint32(errno))
	program, _ := a.assemble()
	return program
}

func TestAvailable(t *testing.T) {
	native(t)
	for errno, want := range map[syscall.Errno]string{
		unix.ENOSYS: "without seccomp",
		unix.EPERM:  "container",
		unix.EINVAL: "without seccomp filters",
	} {
		restricted(t, refusing(unix.SYS_SECCOMP, errno), func() {
			err := Available()
			if !errors.Is(err, errors.ErrUnsupported) || !errors.Is(err, errno) || !strings.Contains(err.Error(), want) {
				t.Errorf("Available where seccomp fails with %v: %v, want an error that is it and errors.ErrUnsupported, and says %q", errno, err, want)
			}
		})
	}
	before := states(t.Fatal)
	for range 10 {
		if err := Available(); err != nil {
			t.Errorf("Available: %v, want no error", err)
		}
	}
	if after := states(t.Fatal); !slices.Equal(before, after) {
		t.Errorf("Available changed the threads from %q to %q", before, after)
	}
}

func procField(status []byte, name string) string {
	value, _ := osthread.Field(status, name)
	return value
}

// states returns what seccomp and no_new_privs are for the threads of this
// process, each answer once.
func states(fatal func(...any)) []string {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		fatal(err)
	}
	found := map[string]bool{}
	for _, task := range tasks {
		status, err := os.ReadFile("/proc/self/task/" + task.Name() + "/status")
		if state := procField(status, "State"); err == nil && !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X") {
			found[fmt.Sprint(procField(status, "Seccomp"), " ", procField(status, "Seccomp_filters"), " ", procField(status, "NoNewPrivs"))] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

var scenarios = map[string]func() error{
	"process": func() error {
		before, err := start()
		if err != nil {
			return err
		}
		for range 20 { // on any thread, the main one among them
			if err := filter().CanRestrictProcess(true); err != nil {
				return err
			}
		}
		if after := states(fatal); !slices.Equal(before, after) {
			return fmt.Errorf("CanRestrictProcess changed the threads from %q to %q", before, after)
		}
		for layer := 1; layer <= 3; layer++ {
			if err := restrictProcess(); err != nil {
				return err
			}
			want := fmt.Sprintf("2 %d 1", filtersIn(before)+layer)
			// The kernel passes over threads that are about to end, and there are some
			// all the time. From then on, what they have started is under it.
			for tries := 1000; tries > 0 && !slices.Equal(states(fatal), []string{want}); tries-- {
			}
			for range 10 {
				if after := states(fatal); !slices.Equal(after, []string{want}) {
					return fmt.Errorf("threads are %q after layer %d, want %q for all", after, layer, want)
				}
			}
		}
		if _, err := net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return fmt.Errorf("net.Listen, by TCP where there is no Multipath TCP: %w", err)
		}
		if _, err := net.Interfaces(); err != nil {
			return fmt.Errorf("net.Interfaces, by netlink: %w", err)
		}
		if _, err := net.ListenPacket("udp", "127.0.0.1:0"); !errors.Is(err, unix.EACCES) {
			return fmt.Errorf("net.ListenPacket: %v, want EACCES", err)
		}
		return nil
	},
	"thread that differs": func() error {
		before, err := start()
		if err != nil {
			return err
		}
		ready, end := make(chan int), make(chan bool)
		go osthread.Spend(func() error {
			err := restrict(Program.RestrictThread, refusing(unix.SYS_SYNC, unix.EPERM))
			if err != nil {
				fatal(err)
			}
			ready <- unix.Gettid()
			<-end
			return nil
		})
		thread := <-ready
		with := states(fatal)
		name := fmt.Sprint("thread ", thread, " ")
		if err := filter().CanRestrictProcess(true); err == nil || !strings.Contains(err.Error()+" ", name) {
			return fmt.Errorf("CanRestrictProcess: %v, want an error that names %s", err, name)
		}
		if after := states(fatal); !slices.Equal(with, after) {
			return fmt.Errorf("CanRestrictProcess changed the threads from %q to %q", with, after)
		}
		if err := restrictProcess(); err == nil || !strings.Contains(err.Error(), name) {
			return fmt.Errorf("RestrictProcess: %v, want an error that names %s", err, name)
		}
		if after := states(fatal); !slices.Equal(with, after) {
			return fmt.Errorf("RestrictProcess failed, and changed the threads from %q to %q", with, after)
		}
		close(end) // and at once, since CanRestrictProcess waits for those that end
		if err := filter().CanRestrictProcess(true); err != nil {
			return fmt.Errorf("CanRestrictProcess, when the thread has ended: %w", err)
		}
		if after := states(fatal); !slices.Equal(before, after) {
			return fmt.Errorf("threads are %q, want %q as in the beginning", after, before)
		}
		return restrictProcess()
	},
	"no room": func() error {
		big := &assembler{}
		for range unix.BPF_MAXINSNS - 1 {
			big.and(1)
		}
		big.ret(returnAllow)
		for _, program := range []Program{big.program, filter()} { // until not even the small one fits
			err := error(nil)
			for layer := 0; err == nil && layer < 32768; layer++ {
				err = onOwn(func() error { return restrict(Program.RestrictProcess, program) })
			}
			if !errors.Is(err, unix.ENOMEM) {
				return fmt.Errorf("one filter upon another: %v, want ENOMEM in the end", err)
			}
		}
		full := states(fatal)
		for name, f := range map[string]func() error{
			"CanRestrictProcess": func() error { return filter().CanRestrictProcess(true) },
			"RestrictProcess":    restrictProcess,
		} {
			if err := f(); !errors.Is(err, unix.ENOMEM) {
				return fmt.Errorf("%s: %v, want ENOMEM", name, err)
			}
			if after := states(fatal); !slices.Equal(full, after) {
				return fmt.Errorf("%s changed the threads from %q to %q", name, full, after)
			}
		}
		if err := make(Program, 4097).CanRestrictProcess(true); !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("a program of 4097 instructions: %v, want EINVAL", err)
		}
		return nil
	},
	"privileges": func() error {
		if unix.Geteuid() == 0 {
			if err := filter().CanRestrictProcess(false); err != nil {
				return fmt.Errorf("as root, without no_new_privs: %w", err)
			}
			if err := syscall.Setuid(65534); err != nil {
				return err
			}
		}
		if err := filter().CanRestrictProcess(false); !errors.Is(err, unix.EACCES) && !noNewPrivs() {
			return fmt.Errorf("as an ordinary user, without no_new_privs: %v, want EACCES", err)
		}
		if err := filter().CanRestrictProcess(true); err != nil {
			return fmt.Errorf("as an ordinary user: %w", err)
		}
		return restrictProcess()
	},
	"no seccomp": func() error {
		if err := onOwn(func() error { return restrict(Program.RestrictProcess, refusing(unix.SYS_SECCOMP, unix.EPERM)) }); err != nil {
			return err
		}
		if err := filter().CanRestrictProcess(true); !errors.Is(err, errors.ErrUnsupported) {
			return fmt.Errorf("CanRestrictProcess: %v, want errors.ErrUnsupported", err)
		}
		return nil
	},
}

func TestProcess(t *testing.T) {
	for name := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runScenario(t, name)
		})
	}
}

func filter() Program {
	program, err := Sockets{RefuseUDP: true, RefuseFastOpen: true}.Program()
	if err != nil {
		fatal(err)
	}
	return program
}

func fatal(what ...any) {
	fmt.Println(what...)
	os.Exit(1)
}

func restrictProcess() error {
	return onOwn(func() error { return restrict(Program.RestrictProcess, filter()) })
}

// onOwn runs f on a thread that ends after it, and waits for that.
func onOwn(f func() error) error {
	thread, err := osthread.Spend(f)
	return errors.Join(err, osthread.AwaitEnd(thread))
}

func noNewPrivs() bool {
	set, _ := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	return set == 1
}

// start starts threads of Go and, where there is a libc, of C: some that wait and
// some that start others all the time. It returns their states, which are equal.
func start() ([]string, error) {
	for range 4 {
		go func() {
			runtime.LockOSThread()
			select {}
		}()
	}
	go func() {
		for {
			osthread.Spend(func() error { return nil })
		}
	}()
	cthreads.Setup("/", -1)
	for _, kind := range []cthreads.Kind{cthreads.Sleep, cthreads.Cond, cthreads.Churn, cthreads.Chain} {
		cthreads.Start(kind, 1, false)
	}
	found := states(fatal)
	if len(found) != 1 {
		return nil, fmt.Errorf("threads start out as %q, want all equal", found)
	}
	return found, nil
}

func filtersIn(states []string) (filters int) {
	mode := 0
	fmt.Sscan(states[0], &mode, &filters)
	return filters
}

func BenchmarkCall(b *testing.B) {
	program := native(b)
	for _, with := range []struct {
		name    string
		program Program
	}{{"without", nil}, {"with", program}} {
		b.Run("getppid/"+with.name, func(b *testing.B) {
			restricted(b, with.program, func() {
				for b.Loop() {
					unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
				}
			})
		})
		b.Run("socket/"+with.name, func(b *testing.B) {
			restricted(b, with.program, func() {
				for b.Loop() {
					makeSocket(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0)
				}
			})
		})
	}
}

func BenchmarkInstall(b *testing.B) {
	program := native(b)
	b.Run("CanRestrictProcess", func(b *testing.B) {
		for b.Loop() {
			if err := program.CanRestrictProcess(true); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("RestrictThread", func(b *testing.B) {
		for b.Loop() {
			restricted(b, program, func() {})
		}
	})
	b.Run("thread alone", func(b *testing.B) {
		for b.Loop() {
			restricted(b, nil, func() {})
		}
	})
}
