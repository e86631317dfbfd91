package blackbox

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/internal/allthreads/cthreads"
	"example.com/landlock/internal/testchild"
	"example.com/landlock/internal/testenv"
)

// needFilter skips a test where no socket filter can be had.
func needFilter(t testing.TB) {
	t.Helper()
	if testchild.Inside() {
		return
	}
	if err := noFilter(); err != nil {
		t.Skip("needs a socket filter: ", err)
	}
}

// noFilter returns why no socket filter can be had, or nil.
func noFilter() error {
	_, err := landlock.NewHandling(landlock.Rights{Net: anyUDP}).FilterSockets().DryRun()
	return err
}

const anyUDP = landlock.NetBindUDP | landlock.NetConnectSendUDP

// filteredSocket is what is said of a socket that the filter refuses, and no right is for.
const filteredSocket = "landlock: FilterSockets refuses this kind of socket"

// filtering handles all network rights, runs on every kernel, and filters sockets.
func filtering() *landlock.Ruleset {
	return landlock.NewHandling(landlock.Rights{Net: landlock.V10.Net()}).BestEffort(0).FilterSockets()
}

// refusesUDP is what the verb sockets has to know of this kernel.
func refusesUDP() (verb string, refused bool) {
	if kernel, _ := landlock.Probe(); kernel.ABI < landlock.V10 {
		return "sockets=noudp", true
	}
	return "sockets=udp", false
}

// socketKind is what socket and socketpair are asked for.
type socketKind struct{ family, kind, protocol int }

// refusal returns what a filter for TCP and UDP has to answer, 0 where the kernel
// is to decide.
func (k socketKind) refusal(noUDP bool) unix.Errno {
	internet := k.family == unix.AF_INET || k.family == unix.AF_INET6
	switch {
	case k.family == unix.AF_UNIX, k.family == unix.AF_NETLINK && k.protocol == unix.NETLINK_ROUTE:
		return 0
	case internet && k.kind == unix.SOCK_STREAM && (k.protocol == 0 || k.protocol == unix.IPPROTO_TCP):
		return 0
	case internet && k.kind == unix.SOCK_STREAM && k.protocol == unix.IPPROTO_MPTCP:
		return unix.EPROTONOSUPPORT
	case internet && k.kind == unix.SOCK_DGRAM && (k.protocol == 0 || k.protocol == unix.IPPROTO_UDP) && !noUDP:
		return 0
	}
	return unix.EACCES
}

// everySocketKind returns all families that there are, and some more, with every
// type, and the protocols that any family has something for.
func everySocketKind() (all []socketKind) {
	protocols := []int{0, 1, 2, 3, 6, 9, 15, 16, 17, 33, 47, 58, 132, 136, 255, 256, 262, 263, 0x300, -1}
	for family := range 50 {
		for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_RAW, unix.SOCK_RDM, unix.SOCK_SEQPACKET, unix.SOCK_DCCP, unix.SOCK_PACKET, 0, 7} {
			for _, protocol := range protocols {
				all = append(all, socketKind{family, kind, protocol})
			}
		}
	}
	return all
}

// works are the kinds that must go on to work with the filter. IPv6 may be off.
var works = []socketKind{
	{unix.AF_UNIX, unix.SOCK_STREAM, 0}, {unix.AF_UNIX, unix.SOCK_DGRAM, 0}, {unix.AF_UNIX, unix.SOCK_SEQPACKET, 0},
	{unix.AF_INET, unix.SOCK_STREAM, 0}, {unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_TCP},
	{unix.AF_INET, unix.SOCK_DGRAM, 0}, {unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDP},
	{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, {unix.AF_NETLINK, unix.SOCK_DGRAM, unix.NETLINK_ROUTE},
}

func makeSocket(k socketKind, flags int) error {
	fd, err := unix.Socket(k.family, k.kind|flags, k.protocol)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func makePair(k socketKind, flags int) error {
	pair, err := unix.Socketpair(k.family, k.kind|flags, k.protocol)
	if err == nil {
		unix.Close(pair[0])
		unix.Close(pair[1])
	}
	return err
}

// tryFilter returns what is wrong with the filter of the calling thread, or nil.
func tryFilter(noUDP bool) error {
	var wrong []error
	check := func(what string, err error, ok bool) {
		if !ok {
			wrong = append(wrong, fmt.Errorf("%s: %v", what, err))
		}
	}
	for _, k := range everySocketKind() {
		want := k.refusal(noUDP)
		if want == 0 && !slices.Contains(works, k) {
			continue
		}
		err := makeSocket(k, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		check(fmt.Sprintf("socket %+v, want %v", k, want), err, want == 0 && err == nil || want != 0 && err == want)
		if want != 0 {
			err := makePair(k, unix.SOCK_CLOEXEC)
			check(fmt.Sprintf("socketpair %+v, want %v", k, want), err, err == want)
		}
	}
	err := makePair(socketKind{unix.AF_UNIX, unix.SOCK_STREAM, 0}, 0)
	check("a pair of Unix sockets", err, err == nil)
	for number := uintptr(unix.SYS_IO_URING_SETUP); number <= unix.SYS_IO_URING_REGISTER; number++ {
		_, _, errno := unix.Syscall6(number, 0, 0, 0, 0, 0, 0)
		check(fmt.Sprint("io_uring, call ", number), errno, errno == unix.EPERM)
	}
	return errors.Join(append(wrong, tryTCPFilter())...)
}

// tryTCPFilter is tryFilter for what is refused to TCP sockets.
func tryTCPFilter() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	to, text := &unix.SockaddrInet4{Port: 1, Addr: [4]byte{127, 0, 0, 1}}, []byte("x")
	vector := unix.Iovec{Base: &text[0], Len: 1}
	message := unix.Msghdr{Iov: &vector, Iovlen: 1}
	sendmmsg := func(flags uintptr) error {
		vector := struct {
			unix.Msghdr
			sent uint32
		}{Msghdr: message}
		if _, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&vector)), 1, flags, 0, 0); errno != 0 {
			return errno
		}
		return nil
	}
	const quiet = unix.MSG_NOSIGNAL
	for _, test := range []struct {
		what      string
		err, want error
	}{
		{"sendto with MSG_FASTOPEN", unix.Sendto(fd, text, quiet|unix.MSG_FASTOPEN, to), unix.EOPNOTSUPP},
		{"sendmsg with MSG_FASTOPEN", unix.Sendmsg(fd, text, nil, to, quiet|unix.MSG_FASTOPEN), unix.EOPNOTSUPP},
		{"sendmmsg with MSG_FASTOPEN", sendmmsg(quiet | unix.MSG_FASTOPEN), unix.EOPNOTSUPP},
		{"sendto", unix.Sendto(fd, text, quiet, to), unix.EPIPE},
		{"sendmsg", unix.Sendmsg(fd, text, nil, to, quiet), unix.EPIPE},
		{"sendmmsg", sendmmsg(quiet), unix.EPIPE},
		{"TCP_ULP", unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_ULP, "tls"), unix.ENOENT},
		{"TCP_NODELAY", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1), nil},
	} {
		if test.err != test.want {
			return fmt.Errorf("%s: %v, want %v", test.what, test.err, test.want)
		}
	}
	return nil
}

// unfiltered returns an error where this thread cannot make a socket that the
// filter would refuse, and that needs no privilege.
func unfiltered() error {
	return makeSocket(socketKind{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT}, unix.SOCK_CLOEXEC)
}

// Every thread, those of C too, and all that they start.
func TestSocketFilterReachesAll(t *testing.T) {
	needFilter(t)
	testenv.InChild(t, nil, func(t *testing.T, dir string) {
		verb, noUDP := refusesUDP()
		filters := countFilters() // a container's
		if cthreads.Available {
			cthreads.Setup(testenv.Write(t, filepath.Join(dir, "file"), ""), -1)
			cthreads.Start(cthreads.Sleep, 3, false)
			cthreads.Start(cthreads.Futex, 2, true)
		}
		if err := unfiltered(); err != nil {
			t.Fatalf("before Apply: %v", err)
		}
		var before, after sync.WaitGroup
		applied := make(chan struct{})
		for range 20 {
			before.Add(1)
			after.Go(func() {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				before.Done()
				<-applied
				if err := tryFilter(noUDP); err != nil {
					t.Errorf("a thread: %v", err)
				}
			})
		}
		before.Wait()
		dry, err := filtering().DryRun()
		if err != nil {
			t.Fatal(err)
		}
		if err := unfiltered(); err != nil {
			t.Errorf("after DryRun: %v", err)
		}
		report := testenv.MustApply(t, filtering())
		close(applied)
		after.Wait()
		kernel, _ := landlock.Probe()
		if !report.SocketFilter || report.MissingSocketFilter || report.Enforced.Net&anyUDP != anyUDP || fmt.Sprint(report) != fmt.Sprint(dry) ||
			noUDP != strings.Contains(report.String(), "sockets filtered (which enforces UDP)") {
			t.Errorf("ABI %d: %v, DryRun %v", kernel.ABI, report, dry)
		}
		checkThreadFilters(t, filters+1)
		child, out := try(verb)
		if err := child.Run(); err != nil || out.String() != lines(verb+": ok") {
			t.Errorf("a child: %v: %s", err, out)
		}
		grandchild, out := try("child=" + verb)
		if err := grandchild.Run(); err != nil || out.String() != lines("child="+verb+": ok") {
			t.Errorf("a grandchild: %v: %s", err, out)
		}
		testenv.MustApply(t, filtering()) // and once more
		checkThreadFilters(t, filters+2)
		if err := tryFilter(noUDP); err != nil {
			t.Errorf("after a second Apply: %v", err)
		}
	})
}

// checkThreadFilters checks that every thread has as many filters, and
// no_new_privs.
func checkThreadFilters(t *testing.T, want int) {
	t.Helper()
	threads, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(threads) < 2 {
		t.Fatalf("threads %v, %v", threads, err)
	}
	for _, thread := range threads {
		status, err := os.ReadFile(thread) // which may have ended meanwhile
		if err != nil || strings.Contains(string(status), "State:\tZ") || strings.Contains(string(status), "State:\tX") {
			continue
		}
		if !strings.Contains(string(status), "Seccomp:\t2") || !strings.Contains(string(status), "NoNewPrivs:\t1") {
			t.Errorf("%s: no filter, or no_new_privs unset:\n%s", thread, status)
		}
		if _, counted, known := strings.Cut(string(status), "Seccomp_filters:\t"); known { // since Linux 5.9
			var n int
			if fmt.Sscan(counted, &n); n != want {
				t.Errorf("%s: %d filters, want %d", thread, n, want)
			}
		}
	}
}

// countFilters returns how many filters this process has, where that can be
// told: from Linux 5.9.
func countFilters() (n int) {
	status, _ := os.ReadFile("/proc/self/status")
	_, counted, _ := strings.Cut(string(status), "Seccomp_filters:\t")
	fmt.Sscan(counted, &n)
	return n
}

// A Sandbox's children, what replaces a process, and the function of a Do.
func TestSocketFilterOfSandbox(t *testing.T) {
	needFilter(t)
	testenv.InChild(t, nil, func(t *testing.T, dir string) {
		verb, noUDP := refusesUDP()
		s := testenv.MustPrepare(t, filtering())
		if report := s.Report(); !report.SocketFilter || report.Enforced.Net&anyUDP != anyUDP {
			t.Errorf("the Sandbox's report: %v", report)
		}
		for name, start := range map[string]func(*exec.Cmd) error{"Sandbox": s.Run, "Ruleset": filtering().Run} {
			child, out := try(verb)
			if err := start(child); err != nil || out.String() != lines(verb+": ok") {
				t.Errorf("a child of the %s: %v: %s", name, err, out)
			}
		}
		child, out := try("filteredexec")
		if err := child.Run(); err != nil || out.String() != lines(verb+": ok") {
			t.Errorf("Exec: %v: %s", err, out)
		}
		inside := func() error {
			err := tryFilter(noUDP)
			child, out := try(verb)
			if runErr := s.Run(child); runErr != nil || out.String() != lines(verb+": ok") {
				err = errors.Join(err, runErr, errors.New(out.String()))
			}
			return err
		}
		if err := s.Do(inside); err != nil {
			t.Errorf("Do: %v", err)
		}
		if err := unfiltered(); err != nil {
			t.Errorf("this process, after all that: %v", err)
		}
		// Threads that had a filter of their own are in nobody's way.
		for range 5 {
			if err := s.Exec(filepath.Join(dir, "nothing"), []string{"x"}, nil); !errors.Is(err, os.ErrNotExist) {
				t.Fatalf("Exec of what is not there: %v", err)
			}
			if err := s.Do(func() error { return nil }); err != nil {
				t.Fatal(err)
			}
			testenv.MustApply(t, filtering())
		}
		s.Close()
		child, _ = try("exit=0")
		for name, err := range map[string]error{
			"Do":    s.Do(func() error { return nil }),
			"Exec":  s.Exec("/", nil, nil),
			"Start": s.Start(child),
		} {
			if !errors.Is(err, os.ErrClosed) {
				t.Errorf("%s after Close: %v", name, err)
			}
		}
	})
}

// An Apply may come at any time: to an Exec and a Do, the threads of this process
// are alike before it and after it.
func TestSocketFilterBesideApply(t *testing.T) {
	needFilter(t)
	testenv.InChild(t, nil, func(t *testing.T, dir string) {
		s := testenv.MustPrepare(t, filtering())
		done := make(chan struct{})
		var others sync.WaitGroup
		for name, run := range map[string]func() error{
			"Exec": func() error {
				err := s.Exec(filepath.Join(dir, "nothing"), []string{"x"}, nil)
				if errors.Is(err, os.ErrNotExist) {
					return nil
				}
				return fmt.Errorf("of what is not there: %v", err)
			},
			"Do": func() error { return s.Do(func() error { return nil }) },
		} {
			others.Go(func() {
				for {
					if err := run(); err != nil {
						t.Errorf("%s beside an Apply: %v", name, err)
						return
					}
					select {
					case <-done:
						return
					default:
					}
				}
			})
		}
		for range 10 {
			if _, err := filtering().Apply(); err != nil && !isDoRunning(err) {
				t.Errorf("Apply: %v", err)
			}
		}
		close(done)
		others.Wait()
	})
}

// Where the filter stands in for all that is handled there is no domain, and
// nothing else that would set no_new_privs.
func TestSocketFilterAlone(t *testing.T) {
	needFilter(t)
	testenv.NeedBelow(t, landlock.V10)
	testenv.InChild(t, nil, func(t *testing.T, dir string) {
		alone := func() *landlock.Ruleset { return landlock.NewHandling(landlock.Rights{Net: anyUDP}).FilterSockets() } // strict
		filters := countFilters()
		udp := socketKind{unix.AF_INET, unix.SOCK_DGRAM, 0}
		s := testenv.MustPrepare(t, alone())
		for range 5 {
			if err := s.Do(func() error { return makeSocket(udp, 0) }); err != unix.EACCES {
				t.Fatalf("Do: %v", err)
			}
			if err := s.Exec(filepath.Join(dir, "nothing"), []string{"x"}, nil); !errors.Is(err, os.ErrNotExist) {
				t.Fatalf("Exec of what is not there: %v", err)
			}
		}
		child, out := try("status")
		child.Args = []string{"cat", "/proc/self/status"}
		child.Path, _ = exec.LookPath("cat")
		if err := s.Run(child); err != nil || !strings.Contains(out.String(), "NoNewPrivs:\t1") || !strings.Contains(out.String(), "Seccomp:\t2") {
			t.Errorf("a child: %v: %s", err, out)
		}
		if err := makeSocket(udp, 0); err != nil {
			t.Errorf("this process, so far: %v", err)
		}
		testenv.MustApply(t, alone())
		checkThreadFilters(t, filters+1)
		if err := makeSocket(udp, 0); err != unix.EACCES {
			t.Errorf("after Apply: %v", err)
		}
		s.Close()
		if err := s.Do(func() error { return nil }); !errors.Is(err, os.ErrClosed) {
			t.Errorf("Do after Close: %v", err)
		}
		child, _ = try("exit=0")
		if err := s.Run(child); !errors.Is(err, os.ErrClosed) {
			t.Errorf("Run after Close: %v", err)
		}
	})
}

// A thread of a Sandbox takes a moment to end, which nothing tells where /proc is
// hidden.
func TestSocketFilterAfterDoWithoutProc(t *testing.T) {
	needFilter(t)
	testenv.NeedABI(t, landlock.V1)
	testenv.InChild(t, nil, func(t *testing.T, dir string) {
		s := testenv.MustPrepare(t, filtering())
		testenv.MustApply(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSReadDir}).AllowRead(dir)) // not /proc
		for range 10 {
			var all sync.WaitGroup
			for range 5 {
				all.Go(func() {
					if err := s.Do(func() error { return nil }); err != nil {
						t.Errorf("Do: %v", err)
					}
				})
			}
			all.Wait()
			testenv.MustApply(t, filtering())
		}
	})
}

// Only what the filter may have refused is explained by it.
func TestSocketFilterExplainsNoOther(t *testing.T) {
	needFilter(t)
	failed := func(network string, errno unix.Errno) error {
		return &net.OpError{Op: "dial", Net: network, Addr: &net.UDPAddr{Port: 53}, Err: os.NewSyscallError("socket", errno)}
	}
	r := landlock.NewHandling(landlock.Rights{Net: anyUDP}).AllowNet(anyUDP, 53).BestEffort(0).FilterSockets() // which refuses no UDP
	for _, err := range []error{
		failed("tcp", unix.EACCES), failed("udp", unix.EACCES), failed("unix", unix.EACCES), // by another filter
		failed("ip4:icmp", unix.EMFILE), os.NewSyscallError("socket", unix.EMFILE),
	} {
		if explained := r.Explain(err); explained != err {
			t.Errorf("%v", explained)
		}
	}
	if explained := r.Explain(failed("ip4:icmp", unix.EACCES)); !strings.Contains(explained.Error(), filteredSocket) {
		t.Errorf("ping: %v", explained)
	}
}

// UDP on kernels that Landlock does not know it on: a strict ruleset needs no
// more than its other rights do.
func TestSocketFilterStandsIn(t *testing.T) {
	needFilter(t)
	testenv.NeedBelow(t, landlock.V10)
	testenv.InChild(t, nil, func(t *testing.T, _ string) {
		kernel, _ := landlock.Probe()
		r := landlock.NewHandling(landlock.Rights{Net: anyUDP}).FilterSockets()
		if kernel.ABI > 0 {
			r = landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar, Net: anyUDP}).FilterSockets()
		}
		for port := range uint16(2) {
			var denied *landlock.DeniedError
			if err := r.CheckNet(landlock.NetConnectSendUDP, port); !errors.As(err, &denied) || denied.Missing.Net != landlock.NetConnectSendUDP {
				t.Errorf("CheckNet: %v", err)
			}
		}
		if report := testenv.MustApply(t, r); !report.Complete() || report.Enforced.Net != anyUDP || !report.SocketFilter {
			t.Errorf("strict Apply: %v", report)
		}
		_, dial := net.Dial("udp", "127.0.0.1:53")
		_, listen := net.ListenPacket("udp", "127.0.0.1:53")
		for _, test := range []struct {
			err    error
			want   landlock.AccessNet
			advice string
		}{{dial, landlock.NetConnectSendUDP, "AllowSendUDP(53)"}, {listen, landlock.NetBindUDP, "AllowBindUDP(53)"}} {
			explained := r.Explain(test.err)
			var denied *landlock.DeniedError
			if !errors.Is(test.err, unix.EACCES) || !errors.As(explained, &denied) || denied.Missing.Net != test.want || denied.Port != 53 ||
				!strings.Contains(denied.Error(), ": "+test.advice) || !strings.Contains(denied.Error(), " would allow it, and all other UDP with it") {
				t.Errorf("UDP: %v, want %s", explained, test.advice)
			}
		}
		_, ping := net.Dial("ip4:icmp", "127.0.0.1")
		plain := os.NewSyscallError("socketpair", unix.EACCES)
		for _, err := range []error{ping, plain} {
			if explained := r.Explain(err); !errors.Is(err, unix.EACCES) || !strings.Contains(explained.Error(), filteredSocket) {
				t.Errorf("another socket: %v", explained)
			}
			if explained := landlock.NewHandling(landlock.Rights{Net: anyUDP}).BestEffort(0).Explain(err); explained != err {
				t.Errorf("without a filter: %v", explained)
			}
		}
		if _, err := net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Errorf("TCP, which is not handled: %v", err)
		}
		// A rule for UDP is for one port, and the filter knows none.
		some := landlock.NewHandling(landlock.Rights{Net: anyUDP}).AllowSendUDP(53)
		if report, err := some.Clone().BestEffort(0).FilterSockets().DryRun(); err != nil || report.Missing.Net != anyUDP {
			t.Errorf("with a rule: %v, %v", report, err)
		}
		if _, err := some.FilterSockets().DryRun(); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("with a rule, strict: %v", err)
		}
	})
}

// Everything that a Go program does with the network by package net goes on, and
// net.Listen meets the rules.
func TestSocketFilterServer(t *testing.T) {
	needFilter(t)
	testenv.InChild(t, nil, func(t *testing.T, dir string) {
		kernel, _ := landlock.Probe()
		other, err := listenTCP("127.0.0.1:0") // a port that no rule allows
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		first, err := listenTCP("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := uint16(first.Addr().(*net.TCPAddr).Port)
		first.Close()
		r := landlock.NewHandling(landlock.Rights{Net: landlock.V4.Net()}).BestEffort(0).AllowBindTCP(port).AllowConnectTCP(port).FilterSockets()
		testenv.MustApply(t, r)
		listener, err := net.Listen("tcp", first.Addr().String())
		if err != nil {
			t.Fatalf("listen on the port that is allowed: %v", err)
		}
		go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
		url := fmt.Sprintf("http://localhost:%d/", port)
		response, err := http.Get(url)
		if err != nil {
			t.Fatalf("a client of the server: %v", err)
		}
		text, err := io.ReadAll(response.Body)
		if response.Body.Close(); err != nil || string(text) != "hello" {
			t.Errorf("the server says %q, %v", text, err)
		}
		if _, err := net.Interfaces(); err != nil {
			t.Errorf("interfaces: %v", err)
		}
		if packets, err := net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Errorf("UDP, which is not handled: %v", err)
		} else {
			packets.Close()
		}
		var want error
		if kernel.ABI >= landlock.V4 {
			want = unix.EACCES
		}
		if _, err := net.Listen("tcp", "127.0.0.1:0"); !errors.Is(err, want) {
			t.Errorf("listen on another port: %v, want %v", err, want)
		}
		if _, err := net.Dial("tcp", other.Addr().String()); !errors.Is(err, want) {
			t.Errorf("connect to another port: %v, want %v", err, want)
		}
		for _, program := range []struct {
			args   []string
			output string // of success
			fails  string // what it says of the refusal
		}{
			{[]string{"curl", "-sS", "--max-time", "300", url}, "hello", ""},
			{[]string{"getent", "ahosts", "localhost"}, "STREAM", ""},
			{[]string{"ping", "-c1", "-W5", "127.0.0.1"}, "", "ermi"}, // Permission denied, or not permitted
			{[]string{"python3", "-c", "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 0)); print('bound')"}, "bound", ""},
			{[]string{"python3", "-c", "import socket; socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)"}, "", "Protocol not supported"},
			{[]string{"python3", "-c", "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)"}, "", "Permission denied"},
			{[]string{"python3", "-c", "import asyncio; asyncio.run(asyncio.sleep(0)); print('slept')"}, "slept", ""},
		} {
			t.Run(program.args[0], func(t *testing.T) {
				path, err := exec.LookPath(program.args[0])
				if err != nil {
					t.Skipf("needs the program %s: %v", program.args[0], err)
				}
				if exec.Command(path, "--version").Run() != nil && exec.Command(path, "-V").Run() != nil {
					testenv.NeedRoot(t, "who alone may run "+path)
				}
				cmd := exec.Command(path, program.args[1:]...)
				cmd.Env = append(os.Environ(), "LC_ALL=C", "no_proxy=localhost")
				out, err := cmd.CombinedOutput()
				if (err != nil) != (program.fails != "") || !strings.Contains(string(out), program.output) || !strings.Contains(string(out), program.fails) {
					t.Errorf("%q: %v: %s", program.args, err, out)
				}
			})
		}
	})
}

// With AllowNewPrivs no_new_privs stays unset, and it takes CAP_SYS_ADMIN.
func TestSocketFilterNewPrivs(t *testing.T) {
	needFilter(t)
	testenv.InChild(t, nil, func(t *testing.T, _ string) {
		_, noUDP := refusesUDP()
		r := filtering().AllowNewPrivs()
		report, err := r.Apply()
		set, _ := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
		if os.Getuid() != 0 {
			if !(errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)) || report.SocketFilter || unfiltered() != nil {
				t.Errorf("without CAP_SYS_ADMIN: %v, %v", report, err)
			}
			return
		}
		if err != nil || set != 0 {
			t.Fatalf("Apply: %v; no_new_privs is %d", err, set)
		}
		if err := tryFilter(noUDP); err != nil {
			t.Error(err)
		}
	})
}

// fillFilters leaves no room for a socket filter on any thread.
func fillFilters(t *testing.T) {
	t.Helper()
	for _, length := range []int{unix.BPF_MAXINSNS, 32, 4} {
		filter := slices.Repeat([]unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}}, length)
		for {
			errno := testenv.InstallFilter(filter, unix.SECCOMP_FILTER_FLAG_TSYNC)
			if errno == unix.ENOMEM {
				break
			} else if errno != 0 {
				t.Fatalf("seccomp: %v", errno)
			}
		}
	}
}

// ownFilter gives a thread that stays a filter that no other has.
func ownFilter(t *testing.T) {
	t.Helper()
	ready := make(chan unix.Errno)
	go func() {
		runtime.LockOSThread()
		unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		ready <- testenv.InstallFilter([]unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}}, 0)
		select {}
	}()
	if errno := <-ready; errno != 0 {
		t.Fatalf("seccomp: %v", errno)
	}
}

// Whatever fails, nothing is restricted then.
func TestSocketFilterFailures(t *testing.T) {
	needFilter(t)
	for name, test := range map[string]struct {
		root  bool // to install filters without no_new_privs
		needs landlock.ABI
		setup func(t *testing.T)
		want  error
		words string
	}{
		"a thread with a filter of its own": {false, 0, ownFilter, nil, "landlock: filter sockets: "},
		"no room":                           {true, 0, fillFilters, unix.ENOMEM, "landlock: filter sockets: "},
		"Landlock refused": {true, landlock.V1, func(t *testing.T) {
			testenv.Refuse(t, unix.SYS_LANDLOCK_RESTRICT_SELF, unix.ENOMEM)
		}, unix.ENOMEM, "enforce the ruleset"},
		"seccomp refused": {true, 0, func(t *testing.T) { testenv.Refuse(t, unix.SYS_SECCOMP, unix.EPERM) },
			errors.ErrUnsupported, "FilterSockets needs a seccomp filter, which cannot be had here"},
		"seccomp not built": {true, 0, func(t *testing.T) { testenv.Refuse(t, unix.SYS_SECCOMP, unix.ENOSYS) },
			errors.ErrUnsupported, "FilterSockets needs a seccomp filter, which cannot be had here"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.needs > 0 {
				testenv.NeedABI(t, test.needs)
			}
			testenv.InChildAs(t, testenv.FewUsers(), nil, func(t *testing.T, dir string) {
				if test.root {
					testenv.NeedRoot(t, "to install the filter")
				}
				r := landlock.NewHandling(landlock.Rights{Net: anyUDP}).FilterSockets() // strict
				kernel, _ := landlock.Probe()
				if kernel.ABI > 0 {
					r = landlock.NewHandling(landlock.Rights{FS: landlock.FSReadDir, Net: anyUDP}).FilterSockets()
				}
				file := testenv.Write(t, filepath.Join(dir, "file"), "")
				test.setup(t)
				before := testenv.OpenFiles()
				for range 3 {
					report, err := r.Apply()
					if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.words) || report.SocketFilter || report.Enforced != (landlock.Rights{}) {
						t.Fatalf("Apply: %v, %v, want %v", report, err, test.want)
					}
					if _, partial := errors.AsType[*landlock.PartialError](err); partial {
						t.Fatalf("Apply: %v", err)
					}
					if test.words == "landlock: filter sockets: " && test.want == nil {
						break // it takes a second to see that the thread does not end
					}
				}
				for fd, link := range leftByApply(before) {
					t.Errorf("descriptor %d is left open: %s", fd, link)
				}
				if err := unfiltered(); err != nil {
					t.Errorf("the sockets of this process are filtered: %v", err)
				}
				if _, err := os.ReadDir(filepath.Dir(file)); err != nil {
					t.Errorf("this process is restricted: %v", err)
				}
				if test.want != errors.ErrUnsupported {
					return
				}
				child, _ := try("exit=0")
				runErr := r.Run(child)
				if unsupported, ok := errors.AsType[*landlock.UnsupportedError](runErr); !ok || !unsupported.MissingSocketFilter {
					t.Errorf("Run: %v", runErr)
				}
				report := testenv.MustApply(t, r.Clone().BestEffort(0))
				if !report.MissingSocketFilter || report.SocketFilter || report.Complete() || !strings.Contains(report.String(), "no seccomp here to filter sockets") {
					t.Errorf("best effort: %v", report)
				}
				if err := unfiltered(); err != nil {
					t.Errorf("a filter that is missing: %v", err)
				}
			})
		})
	}
}

// Where an earlier sandbox hides /proc, a thread with a filter of its own is found
// out when the ruleset is enforced already: the error says to exit.
func TestSocketFilterPartialError(t *testing.T) {
	needFilter(t)
	testenv.NeedABI(t, landlock.V1)
	testenv.InChild(t, nil, func(t *testing.T, dir string) {
		file := testenv.Write(t, filepath.Join(dir, "file"), "")
		ownFilter(t)
		testenv.MustApply(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSReadDir}).AllowRead(dir)) // not /proc
		if _, err := os.ReadDir("/proc/self/task"); err == nil {
			t.Fatal("/proc is not hidden")
		}
		report, err := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile, Net: anyUDP}).BestEffort(landlock.V1).FilterSockets().Apply()
		partial, ok := errors.AsType[*landlock.PartialError](err)
		if !ok || !partial.MissingSocketFilter || !strings.Contains(err.Error(), "exit now") || !strings.Contains(err.Error(), "has a filter that this one has not") {
			t.Errorf("Apply: %v", err)
		}
		if report.SocketFilter || report.Enforced != (landlock.Rights{}) {
			t.Errorf("the report: %v", report)
		}
		if _, err := os.ReadFile(file); !errors.Is(err, unix.EACCES) {
			t.Errorf("the ruleset, which is enforced: %v", err)
		}
		if err := unfiltered(); err != nil {
			t.Errorf("the socket filter, which is not: %v", err)
		}
	})
}

// Of children, no room is told before the program runs.
func TestSocketFilterFailsInChild(t *testing.T) {
	needFilter(t)
	testenv.InChild(t, nil, func(t *testing.T, dir string) {
		testenv.NeedRoot(t, "to install the filters that leave no room")
		s := testenv.MustPrepare(t, filtering())
		fillFilters(t)
		ran := func(err error) {
			t.Helper()
			if !errors.Is(err, unix.ENOMEM) || !strings.Contains(err.Error(), "filter sockets") {
				t.Errorf("without room: %v", err)
			}
		}
		cmd, out := try("exit=0")
		ran(s.Run(cmd))
		ran(s.Do(func() error { t.Error("the function of a Do runs"); return nil }))
		ran(s.Exec("/", []string{"/"}, nil))
		if out.Len() > 0 {
			t.Errorf("the program runs: %s", out)
		}
	})
}

// Where there is no Landlock the filter alone is in force, with BestEffort(0) or
// where the ruleset asks for nothing else.
func TestSocketFilterWithoutLandlock(t *testing.T) {
	needFilter(t)
	testenv.InChild(t, nil, func(t *testing.T, dir string) {
		if os.Getuid() == 0 {
			testenv.Refuse(t, unix.SYS_LANDLOCK_CREATE_RULESET, unix.ENOSYS)
		} else if kernel, _ := landlock.Probe(); kernel.ABI > 0 {
			testenv.NeedRoot(t, "to take Landlock away")
		}
		file := testenv.Write(t, filepath.Join(dir, "file"), "")
		all := landlock.New(landlock.V11).BestEffort(0).AllowRead(filepath.Join(dir, "nothing")).FilterSockets()
		alone := landlock.NewHandling(landlock.Rights{Net: anyUDP}).FilterSockets()
		for _, r := range []*landlock.Ruleset{landlock.New(landlock.V10).FilterSockets(), landlock.New(landlock.V10).BestEffort(landlock.V1).FilterSockets()} {
			_, want := landlock.Probe() // not built, or off
			if _, err := r.Apply(); err == nil || err != want {
				t.Errorf("%v: %v, want %v", r, err, want)
			}
		}
		const verb = "sockets=noudp"
		for _, r := range []*landlock.Ruleset{all, filtering()} {
			s := testenv.MustPrepare(t, r)
			child, out := try(verb)
			if err := s.Run(child); err != nil || out.String() != lines(verb+": ok") {
				t.Errorf("a child of %v: %v: %s", r, err, out)
			}
			if err := s.Do(func() error { return tryFilter(true) }); err != nil {
				t.Errorf("Do with %v: %v", r, err)
			}
			if s.Fd() != ^uintptr(0) {
				t.Errorf("Fd is %d", s.Fd())
			}
		}
		child, out := try("filteredexec")
		if err := child.Run(); err != nil || out.String() != lines(verb+": ok") {
			t.Errorf("Exec: %v: %s", err, out)
		}
		if report := testenv.MustApply(t, landlock.New(landlock.V11).BestEffort(0)); report.SocketFilter || report.Enforced != (landlock.Rights{}) {
			t.Errorf("neither Landlock nor a filter: %v", report)
		}
		if err := unfiltered(); err != nil {
			t.Errorf("this process, so far: %v", err)
		}
		if report := testenv.MustApply(t, alone); !report.Complete() || report.String() != "enforced without Landlock: UDP, sockets filtered (which enforces UDP)" {
			t.Errorf("UDP alone, strict: %v", report)
		}
		report := testenv.MustApply(t, all)
		if want := minus(landlock.V11.Rights(), landlock.Rights{Net: anyUDP}); report.Enforced != (landlock.Rights{Net: anyUDP}) || report.Missing != want || report.Complete() || !report.SocketFilter {
			t.Errorf("all, with best effort: %v", report)
		}
		if err := tryFilter(true); err != nil {
			t.Error(err)
		}
		if _, err := os.ReadFile(file); err != nil {
			t.Errorf("files: %v", err)
		}
	})
}

// Apply, Exec, Do and Start at the same time: none sees another's threads half
// way. (Apply fails while a Do is running, so its turn comes after.)
func TestSocketFilterConcurrently(t *testing.T) {
	needFilter(t)
	testenv.InChild(t, nil, func(t *testing.T, dir string) {
		verb, noUDP := refusesUDP()
		s := testenv.MustPrepare(t, filtering())
		for range 2 {
			var together sync.WaitGroup
			for range 4 {
				together.Go(func() {
					if _, err := filtering().Apply(); err != nil {
						t.Errorf("Apply: %v", err)
					}
				})
				together.Go(func() {
					for range 5 {
						if err := s.Exec(filepath.Join(dir, "nothing"), []string{"x"}, nil); !errors.Is(err, os.ErrNotExist) {
							t.Errorf("Exec of what is not there: %v", err)
						}
					}
				})
			}
			child, out := try(verb)
			if err := s.Run(child); err != nil || out.String() != lines(verb+": ok") {
				t.Errorf("a child: %v: %s", err, out)
			}
			together.Wait()
			for range 8 {
				together.Go(func() {
					if err := s.Do(func() error { return tryTCPFilter() }); err != nil {
						t.Errorf("Do: %v", err)
					}
				})
			}
			together.Wait()
		}
		if err := tryFilter(noUDP); err != nil {
			t.Error(err)
		}
	})
}

// What cannot be found out before: the ruleset is enforced then, and the error
// says to exit. Where there is no Landlock nothing is restricted.
func TestSocketFilterFailsLast(t *testing.T) {
	needFilter(t)
	testenv.InChild(t, nil, func(t *testing.T, dir string) {
		testenv.NeedRoot(t, "to install the filter")
		// Refuse filters for all threads, once there is a program to install.
		const load, equal, answer = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
		errno := testenv.InstallFilter([]unix.SockFilter{
			{Code: load, K: 0},
			{Code: equal, K: unix.SYS_SECCOMP, Jf: 5},
			{Code: load, K: 24}, // the flags
			{Code: equal, K: unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, Jf: 3},
			{Code: load, K: 32}, // the program
			{Code: equal, K: 0, Jt: 1},
			{Code: answer, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOMEM)},
			{Code: answer, K: unix.SECCOMP_RET_ALLOW},
		}, unix.SECCOMP_FILTER_FLAG_TSYNC)
		if errno != 0 {
			t.Fatalf("seccomp: %v", errno)
		}
		kernel, _ := landlock.Probe()
		report, err := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadDir, Net: anyUDP}).BestEffort(0).FilterSockets().Apply()
		partial, ok := errors.AsType[*landlock.PartialError](err)
		if !errors.Is(err, unix.ENOMEM) || ok != (kernel.ABI > 0) || ok && !partial.MissingSocketFilter || report.SocketFilter || report.Enforced != (landlock.Rights{}) {
			t.Errorf("Apply: %v, %v", report, err)
		}
		if _, err := os.ReadDir(dir); (err != nil) != ok {
			t.Errorf("list a directory: %v, after %v", err, partial)
		}
		if err := unfiltered(); err != nil {
			t.Errorf("sockets: %v", err)
		}
	})
}
