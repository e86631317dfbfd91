package landlock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestConstants(t *testing.T) {
	for name, pair := range map[string][2]uint64{
		"execute":      {uint64(FSExecute), unix.LANDLOCK_ACCESS_FS_EXECUTE},
		"write_file":   {uint64(FSWriteFile), unix.LANDLOCK_ACCESS_FS_WRITE_FILE},
		"read_file":    {uint64(FSReadFile), unix.LANDLOCK_ACCESS_FS_READ_FILE},
		"read_dir":     {uint64(FSReadDir), unix.LANDLOCK_ACCESS_FS_READ_DIR},
		"remove_dir":   {uint64(FSRemoveDir), unix.LANDLOCK_ACCESS_FS_REMOVE_DIR},
		"remove_file":  {uint64(FSRemoveFile), unix.LANDLOCK_ACCESS_FS_REMOVE_FILE},
		"make_char":    {uint64(FSMakeChar), unix.LANDLOCK_ACCESS_FS_MAKE_CHAR},
		"make_dir":     {uint64(FSMakeDir), unix.LANDLOCK_ACCESS_FS_MAKE_DIR},
		"make_reg":     {uint64(FSMakeReg), unix.LANDLOCK_ACCESS_FS_MAKE_REG},
		"make_sock":    {uint64(FSMakeSock), unix.LANDLOCK_ACCESS_FS_MAKE_SOCK},
		"make_fifo":    {uint64(FSMakeFifo), unix.LANDLOCK_ACCESS_FS_MAKE_FIFO},
		"make_block":   {uint64(FSMakeBlock), unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK},
		"make_sym":     {uint64(FSMakeSym), unix.LANDLOCK_ACCESS_FS_MAKE_SYM},
		"refer":        {uint64(FSRefer), unix.LANDLOCK_ACCESS_FS_REFER},
		"truncate":     {uint64(FSTruncate), unix.LANDLOCK_ACCESS_FS_TRUNCATE},
		"ioctl_dev":    {uint64(FSIoctlDev), unix.LANDLOCK_ACCESS_FS_IOCTL_DEV},
		"resolve_unix": {uint64(FSResolveUnix), unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX},

		"bind_tcp":         {uint64(NetBindTCP), unix.LANDLOCK_ACCESS_NET_BIND_TCP},
		"connect_tcp":      {uint64(NetConnectTCP), unix.LANDLOCK_ACCESS_NET_CONNECT_TCP},
		"bind_udp":         {uint64(NetBindUDP), unix.LANDLOCK_ACCESS_NET_BIND_UDP},
		"connect_send_udp": {uint64(NetConnectSendUDP), unix.LANDLOCK_ACCESS_NET_CONNECT_SEND_UDP},

		"abstract_unix_socket": {uint64(ScopeAbstractUnixSocket), unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET},
		"signal":               {uint64(ScopeSignal), unix.LANDLOCK_SCOPE_SIGNAL},

		"log_same_exec_off":  {uint64(LogSameExecOff), unix.LANDLOCK_RESTRICT_SELF_LOG_SAME_EXEC_OFF},
		"log_new_exec_on":    {uint64(LogNewExecOn), unix.LANDLOCK_RESTRICT_SELF_LOG_NEW_EXEC_ON},
		"log_subdomains_off": {uint64(LogSubdomainsOff), unix.LANDLOCK_RESTRICT_SELF_LOG_SUBDOMAINS_OFF},

		"tsync": {uint64(restrictTSYNC), unix.LANDLOCK_RESTRICT_SELF_TSYNC},
		"quiet": {uint64(addRuleQuiet), unix.LANDLOCK_ADD_RULE_QUIET},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %#x, x/sys/unix has %#x", name, pair[0], pair[1])
		}
	}
}

// Each filesystem right, alone: what it is for works where a rule allows it and
// is refused where none does.
func TestEachRightFS(t *testing.T) {
	errno := func(want error) func(error) bool {
		return func(err error) bool { return errors.Is(err, want) }
	}
	worked := func(err error) bool { return err == nil }
	mknod := func(mode uint32, dev int) func(dir string) error {
		return func(dir string) error { return unix.Mknod(filepath.Join(dir, "new"), mode|0o600, dev) }
	}
	open := func(flags int) func(dir string) error {
		return func(dir string) error {
			file, err := os.OpenFile(filepath.Join(dir, "file"), flags, 0o600)
			if err == nil {
				file.Close()
			}
			return err
		}
	}
	tests := []struct {
		right   AccessFS
		try     func(dir string) error
		denied  error
		allowed func(error) bool
		root    bool
	}{
		{right: FSExecute, try: func(dir string) error {
			cmd := exec.Command(filepath.Join(dir, "program"))
			cmd.Env = []string{childTry + "=1"}
			return cmd.Run()
		}},
		{right: FSWriteFile, try: open(os.O_WRONLY)},
		{right: FSReadFile, try: open(os.O_RDONLY)},
		{right: FSReadDir, try: func(dir string) error { _, err := os.ReadDir(dir); return err }},
		{right: FSRemoveDir, try: func(dir string) error { return unix.Rmdir(filepath.Join(dir, "empty")) }},
		{right: FSRemoveFile, try: func(dir string) error { return unix.Unlink(filepath.Join(dir, "file")) }},
		{right: FSMakeChar, try: mknod(unix.S_IFCHR, 1<<8|3), root: true},
		{right: FSMakeDir, try: func(dir string) error { return os.Mkdir(filepath.Join(dir, "new"), 0o700) }},
		{right: FSMakeReg, try: mknod(unix.S_IFREG, 0)},
		{right: FSMakeSock, try: mknod(unix.S_IFSOCK, 0)},
		{right: FSMakeFifo, try: mknod(unix.S_IFIFO, 0)},
		{right: FSMakeBlock, try: mknod(unix.S_IFBLK, 7<<8), root: true},
		{right: FSMakeSym, try: func(dir string) error { return os.Symlink("to", filepath.Join(dir, "new")) }},
		{right: FSRefer, denied: unix.EXDEV, try: func(dir string) error {
			return os.Link(filepath.Join(dir, "file"), filepath.Join(dir, "empty", "link"))
		}},
		{right: FSTruncate, try: func(dir string) error { return os.Truncate(filepath.Join(dir, "file"), 0) }},
		{right: FSIoctlDev, allowed: errno(unix.ENOTTY), try: func(dir string) error {
			file, err := os.Open(filepath.Join(dir, "device"))
			if err != nil {
				return err
			}
			defer file.Close()
			_, err = unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
			return err
		}},
		{right: FSResolveUnix, try: func(dir string) error {
			conn, err := net.Dial("unix", filepath.Join(dir, "socket"))
			if err == nil {
				conn.Close()
			}
			return err
		}},
	}
	if len(tests) != len(fsWords) {
		t.Errorf("%d rights are tested, there are %d", len(tests), len(fsWords))
	}
	for _, test := range tests {
		t.Run(test.right.String(), func(t *testing.T) {
			needABI(t, lowestABI(Rights{FS: test.right}))
			denied, allowed := errno(fs.ErrPermission), worked
			if test.denied != nil {
				denied = errno(test.denied)
			}
			if test.allowed != nil {
				allowed = test.allowed
			}
			prepare := func(t *testing.T, dir string) {
				for _, d := range []string{"yes", "no"} {
					d = filepath.Join(dir, d)
					populate(t, d, test.right)
					if os.Getuid() == 0 || !test.root {
						again := filepath.Join(t.TempDir(), "unrestricted")
						populate(t, again, test.right)
						if err := test.try(again); !allowed(err) {
							t.Errorf("without a sandbox: %v", err)
						}
					}
				}
			}
			inChild(t, prepare, func(t *testing.T, dir string) {
				if test.root && os.Getuid() != 0 {
					return
				}
				yes, no := filepath.Join(dir, "yes"), filepath.Join(dir, "no")
				r := NewHandling(Rights{FS: test.right}).Allow(test.right, yes)
				if test.right == FSIoctlDev {
					r.Allow(test.right, "/dev/zero") // what yes/device leads to
				}
				if test.right == FSExecute { // the loader is executed too
					r.AllowOptional(test.right, "/lib", "/lib64", "/usr/lib", "/usr/lib64")
				}
				mustApply(t, r)
				if err := test.try(no); !denied(err) {
					t.Errorf("where no rule allows it: %v", err)
				}
				if err := test.try(yes); !allowed(err) {
					t.Errorf("where a rule allows it: %v", err)
				}
			})
		})
	}
}

// populate fills dir with one of each thing that a right is about.
func populate(t *testing.T, dir string, right AccessFS) {
	t.Helper()
	write(t, filepath.Join(dir, "file"), "text")
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o777); err != nil {
		t.Fatal(err)
	}
	os.Chmod(empty, 0o777)
	switch right {
	case FSExecute:
		program, err := os.ReadFile(self())
		if err != nil {
			t.Fatal(err)
		}
		os.Chmod(write(t, filepath.Join(dir, "program"), string(program)), 0o755)
	case FSIoctlDev:
		device := "/dev/null"
		if filepath.Base(dir) == "yes" {
			device = "/dev/zero"
		}
		if err := os.Symlink(device, filepath.Join(dir, "device")); err != nil {
			t.Fatal(err)
		}
	case FSResolveUnix:
		listener, err := net.Listen("unix", filepath.Join(dir, "socket"))
		if err != nil {
			t.Fatal(err)
		}
		os.Chmod(filepath.Join(dir, "socket"), 0o777)
		t.Cleanup(func() { listener.Close() })
	case FSRefer:
		// Linking another user's file is refused by fs.protected_hardlinks.
		os.Chown(filepath.Join(dir, "file"), 65534, 65534)
	}
}

// tcp makes plain TCP sockets: Multipath TCP, Go's default for listeners, passes
// the kernel's TCP rules.
func listenTCP(address string) (net.Listener, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	return config.Listen(context.Background(), "tcp", address)
}

func TestEachRightNet(t *testing.T) {
	listen := func(t *testing.T) (net.Listener, uint16) {
		listener, err := listenTCP("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return listener, uint16(listener.Addr().(*net.TCPAddr).Port)
	}
	address := func(port uint16) string { return fmt.Sprint("127.0.0.1:", port) }
	t.Run("connect_tcp", func(t *testing.T) {
		needABI(t, V4)
		inChild(t, nil, func(t *testing.T, _ string) {
			open, openPort := listen(t)
			defer open.Close()
			shut, shutPort := listen(t)
			defer shut.Close()
			mustApply(t, NewHandling(Rights{Net: NetConnectTCP}).AllowConnectTCP(openPort))
			if conn, err := net.Dial("tcp", address(openPort)); err != nil {
				t.Errorf("connect to the allowed port: %v", err)
			} else {
				conn.Close()
			}
			if _, err := net.Dial("tcp", address(shutPort)); !errors.Is(err, unix.EACCES) {
				t.Errorf("connect to another port: %v, want EACCES", err)
			}
			if l, err := listenTCP(address(0)); err != nil {
				t.Errorf("listen, which is not handled: %v", err)
			} else {
				l.Close()
			}
		})
	})
	t.Run("bind_tcp", func(t *testing.T) {
		needABI(t, V4)
		inChild(t, nil, func(t *testing.T, _ string) {
			first, allowed := listen(t)
			first.Close()
			second, denied := listen(t)
			second.Close()
			mustApply(t, NewHandling(Rights{Net: NetBindTCP}).AllowBindTCP(allowed, 0))
			if l, err := listenTCP(address(allowed)); err != nil {
				t.Errorf("listen on the allowed port: %v", err)
			} else {
				l.Close()
			}
			if l, err := listenTCP(address(0)); err != nil {
				t.Errorf("listen on any port: %v", err)
			} else {
				l.Close()
			}
			if _, err := listenTCP(address(denied)); !errors.Is(err, unix.EACCES) {
				t.Errorf("listen on another port: %v, want EACCES", err)
			}
		})
	})
	t.Run("udp", func(t *testing.T) {
		needABI(t, V10)
		inChild(t, nil, func(t *testing.T, _ string) {
			server, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			port := uint16(server.LocalAddr().(*net.UDPAddr).Port)
			mustApply(t, NewHandling(Rights{Net: NetBindUDP | NetConnectSendUDP}).
				AllowNet(NetConnectSendUDP, port).AllowNet(NetBindUDP, 0))
			conn, err := net.Dial("udp", address(port))
			if err != nil {
				t.Fatalf("connect to the allowed port: %v", err)
			}
			defer conn.Close()
			if _, err := conn.Write([]byte("x")); err != nil {
				t.Errorf("send to the allowed port: %v", err)
			}
			unconnected, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatalf("bind to any port: %v", err)
			}
			defer unconnected.Close()
			for to, want := range map[uint16]error{port: nil, port ^ 1: unix.EACCES} {
				if _, err := unconnected.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(to)}); !errors.Is(err, want) {
					t.Errorf("send to port %d, without connecting: %v, want %v", to, err, want)
				}
			}
			if _, err := net.Dial("udp", address(port^1)); !errors.Is(err, unix.EACCES) {
				t.Errorf("connect to another port: %v, want EACCES", err)
			}
			if _, err := net.ListenPacket("udp", address(port^1)); !errors.Is(err, unix.EACCES) {
				t.Errorf("bind to a port: %v, want EACCES", err)
			}
		})
	})
}

// enforceOnThread restricts the calling thread as a child's would be.
func enforceOnThread(t *testing.T, s *Sandbox) {
	t.Helper()
	runtime.LockOSThread() // for good
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, s.Fd(), 0, 0); errno != 0 {
		t.Fatalf("landlock_restrict_self: %v", errno)
	}
}

func TestEachScope(t *testing.T) {
	needABI(t, V6)
	prepare := func(t *testing.T, dir string) {
		listener, err := net.Listen("unix", "@"+dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
	}
	connect := func(dir string) error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Connect(fd, &unix.SockaddrUnix{Name: "@" + dir})
	}
	// Signal 0 reaches nobody, and is checked like the others. To itself, since
	// the ordinary user may not signal a parent that is root.
	signal := func(thread int) error { return unix.Tgkill(unix.Getpid(), thread, 0) }
	for _, apply := range []bool{false, true} {
		for _, scope := range []Scope{0, ScopeAbstractUnixSocket, ScopeSignal} {
			t.Run(fmt.Sprintf("%v, apply %v", scope, apply), func(t *testing.T) {
				if apply {
					needABI(t, V8)
				}
				inChild(t, prepare, func(t *testing.T, dir string) {
					r := NewHandling(Rights{FS: FSMakeChar, Scope: scope})
					parent := os.Getppid()
					reachable := unix.Kill(parent, 0) == nil
					if apply {
						mustApply(t, r)
					} else {
						s, err := r.Prepare()
						if err != nil {
							t.Fatal(err)
						}
						defer s.Close()
						enforceOnThread(t, s)
					}
					if err := connect(dir); (err == nil) != (scope != ScopeAbstractUnixSocket) || err != nil && err != unix.EPERM {
						t.Errorf("connect to the parent's abstract socket: %v", err)
					}
					if err := unix.Kill(parent, 0); reachable && ((err == nil) != (scope != ScopeSignal) || err != nil && err != unix.EPERM) {
						t.Errorf("signal the parent: %v", err)
					}
					if err := signal(unix.Gettid()); err != nil {
						t.Errorf("signal this thread: %v", err)
					}
				})
			})
		}
	}
}

// Below ABI 8 a scope would cut the threads of a process off from each other.
func TestScopesNeedThreadSync(t *testing.T) {
	needABI(t, V6)
	needBelow(t, V8)
	_, err := New(V6).Apply()
	if unsupported, ok := errors.AsType[*UnsupportedError](err); !ok || unsupported.Needed != V8 || unsupported.Missing != (Rights{Scope: V6.Scopes()}) {
		t.Errorf("strict Apply: %v", err)
	}
	inBoth(t, func(t *testing.T, dir string) {
		listener, err := net.Listen("unix", "@"+dir)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		before := waiting(t, (*exec.Cmd).Start)
		free, out := try("wait", fmt.Sprint("signal=", before), "unix=@"+dir)
		report := mustApply(t, New(V6).BestEffort(V6).AllowExecute("/").AllowReadWrite(os.DevNull))
		if report.Missing != (Rights{Scope: V6.Scopes()}) || report.Enforced.Scope != 0 {
			t.Errorf("report %v", report)
		}
		if err := unix.Kill(before, 0); err != nil {
			t.Errorf("signal a process outside: %v", err)
		}
		if err := free.Run(); err != nil || strings.Count(out.String(), ": ok") != 3 {
			t.Errorf("a child that reaches outside: %v: %s", err, out)
		}
	})
}

func TestApplyReachesEveryThread(t *testing.T) {
	needABI(t, V1)
	prepare := func(t *testing.T, dir string) { write(t, filepath.Join(dir, "secret"), "secret") }
	inChild(t, prepare, func(t *testing.T, dir string) {
		secret := filepath.Join(dir, "secret")
		const n = 50
		results := make(chan error, n)
		applied := make(chan struct{})
		var locked sync.WaitGroup
		for range n {
			locked.Add(1)
			go func() {
				runtime.LockOSThread()
				_, err := os.ReadFile(secret)
				if err != nil {
					t.Errorf("before Apply: %v", err)
				}
				locked.Done()
				<-applied
				_, err = os.ReadFile(secret)
				results <- err
			}()
		}
		locked.Wait()
		mustApply(t, NewHandling(Rights{FS: FSReadFile}))
		close(applied)
		for range n {
			if err := <-results; !errors.Is(err, unix.EACCES) {
				t.Errorf("a thread reads a file that is denied: %v", err)
			}
		}
		if v, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); v != 1 || err != nil {
			t.Errorf("no_new_privs is %d, %v", v, err)
		}
	})
}

func TestLayersIntersect(t *testing.T) {
	needABI(t, V1)
	prepare := func(t *testing.T, dir string) {
		for _, name := range []string{"first/a", "both/a", "second/a", "both/sub/a"} {
			write(t, filepath.Join(dir, name), "")
		}
	}
	inChild(t, prepare, func(t *testing.T, dir string) {
		read := func(name string) error { _, err := os.ReadFile(filepath.Join(dir, name, "a")); return err }
		in := func(name string) string { return filepath.Join(dir, name) }
		mustApply(t, New(V1).AllowRead(in("first"), in("both")))
		mustApply(t, New(V1).AllowRead(in("second"), in("both/sub")))
		for _, name := range []string{"first", "second", "both"} {
			if err := read(name); !errors.Is(err, unix.EACCES) {
				t.Errorf("read %s, which one layer allows: %v, want EACCES", name, err)
			}
		}
		if err := read("both/sub"); err != nil {
			t.Errorf("read what both layers allow: %v", err)
		}
	})
}

func TestTooManyLayers(t *testing.T) {
	needABI(t, V1)
	prepare := func(t *testing.T, dir string) { write(t, filepath.Join(dir, "file"), "") }
	inChild(t, prepare, func(t *testing.T, dir string) {
		for range 16 {
			mustApply(t, NewHandling(Rights{FS: FSMakeChar}))
		}
		report, err := NewHandling(Rights{FS: FSReadFile}).Apply()
		if !errors.Is(err, ErrTooManyLayers) || !errors.Is(err, unix.E2BIG) || !report.Enforced.isZero() {
			t.Errorf("layer 17: %v, %v, want ErrTooManyLayers", report, err)
		}
		if _, err := os.ReadFile(filepath.Join(dir, "file")); err != nil {
			t.Errorf("the layer that failed denies reading: %v", err)
		}
	})
}

func TestConcurrentApply(t *testing.T) {
	needABI(t, V1)
	inChild(t, nil, func(t *testing.T, dir string) {
		r := New(V1).AllowReadWrite(dir)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := r.Apply(); err != nil {
					t.Errorf("Apply: %v", err)
				}
			})
			wg.Go(func() {
				if s, err := r.Prepare(); err != nil {
					t.Errorf("Prepare: %v", err)
				} else {
					s.Close()
				}
			})
		}
		wg.Wait()
		if _, err := os.ReadDir("/"); !errors.Is(err, unix.EACCES) {
			t.Errorf("list /: %v, want EACCES", err)
		}
		if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o600); err != nil {
			t.Error(err)
		}
	})
}

// Files, directories, links and open files, in one call each.
func TestRules(t *testing.T) {
	needABI(t, V1)
	prepare := func(t *testing.T, dir string) {
		for _, name := range []string{"file", "dir/file", "opened/file", "other", "target"} {
			write(t, filepath.Join(dir, name), name)
		}
		if err := os.Symlink("target", filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
	}
	inChild(t, prepare, func(t *testing.T, dir string) {
		if err := os.Chdir(dir); err != nil {
			t.Fatal(err)
		}
		opened, err := os.Open("opened")
		if err != nil {
			t.Fatal(err)
		}
		already, err := os.Open("other")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Rename("opened", "renamed"); err != nil {
			t.Fatal(err)
		}
		report := mustApply(t, New(V1).
			AllowReadWrite("file", "dir", "link"). // what only directories can have is dropped for the file
			AllowOptional(FSRead, "missing", "dir").
			AllowFile(FSRead, opened))
		opened.Close()
		if fmt.Sprint(report.Skipped) != "[missing]" {
			t.Errorf("skipped %q, want missing", report.Skipped)
		}
		for _, name := range []string{"file", "dir/file", "renamed/file", "target", "link"} {
			if _, err := os.ReadFile(name); err != nil {
				t.Errorf("read: %v", err)
			}
		}
		if err := os.WriteFile("dir/new", nil, 0o600); err != nil {
			t.Errorf("write: %v", err)
		}
		for _, name := range []string{"other", "/etc/passwd"} {
			if _, err := os.ReadFile(name); !errors.Is(err, unix.EACCES) {
				t.Errorf("read %s: %v, want EACCES", name, err)
			}
		}
		if err := os.WriteFile("renamed/new", nil, 0o600); !errors.Is(err, unix.EACCES) {
			t.Errorf("write beneath a directory that may only be read: %v, want EACCES", err)
		}
		if text, err := io.ReadAll(already); err != nil || string(text) != "other" {
			t.Errorf("read a file that was open before: %q, %v", text, err)
		}
		if err := exec.Command("/bin/true").Run(); !errors.Is(err, unix.EACCES) {
			t.Errorf("run a program: %v, want EACCES", err)
		}
	})
}

// Children that were started after Apply are in the domain, for good.
func TestChildrenInherit(t *testing.T) {
	needABI(t, V1)
	prepare := func(t *testing.T, dir string) { write(t, filepath.Join(dir, "secret"), "secret") }
	inChild(t, prepare, func(t *testing.T, dir string) {
		cat, err := exec.LookPath("cat")
		if err != nil {
			t.Skip("needs cat")
		}
		secret := filepath.Join(dir, "secret")
		if out, err := exec.Command(cat, secret).CombinedOutput(); err != nil {
			t.Fatalf("before Apply: %v: %s", err, out)
		}
		mustApply(t, New(V1).AllowOptional(FSReadExecute, "/bin", "/usr", "/lib", "/lib64", "/etc/ld.so.cache").
			AllowReadWrite(os.DevNull))
		out, err := exec.Command(cat, secret).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "ermission denied") {
			t.Errorf("a child reads the secret: %v: %s", err, out)
		}
	})
}

func TestReport(t *testing.T) {
	needABI(t, V1)
	inChild(t, nil, func(t *testing.T, _ string) {
		kernel, _ := Probe()
		report := mustApply(t, New(V11).BestEffort(V1).AllowRead("/"))
		want := kernel.ABI.Rights()
		if kernel.ABI < V8 {
			want.Scope = 0
		}
		if kernel.ABI == V1 {
			want.FS |= FSRefer
		}
		if report.Kernel != kernel || report.Enforced != want || report.Missing != V11.Rights().minus(want) {
			t.Errorf("report %+v on %v", report, kernel)
		}
		t.Log(report)
	})
}

// Every step that can fail, by the real refusal of the kernel: nothing may be
// restricted then, and nothing may be left open.
func TestFailureRestrictsNothing(t *testing.T) {
	needABI(t, V1)
	type setup func(t *testing.T) (*Ruleset, func())
	everything := func() *Ruleset { return New(V1) }
	tests := map[string]struct {
		setup setup
		want  error
		root  bool // installs a seccomp filter without no_new_privs
		below ABI  // 0: on every kernel
	}{
		"probe": {func(t *testing.T) (*Ruleset, func()) {
			refuse(t, unix.SYS_LANDLOCK_CREATE_RULESET, unix.EPERM)
			return everything(), nil
		}, ErrBlocked, true, 0},
		"probe, not built": {func(t *testing.T) (*Ruleset, func()) {
			refuse(t, unix.SYS_LANDLOCK_CREATE_RULESET, unix.ENOSYS)
			return everything(), nil
		}, ErrNotBuilt, true, 0},
		"probe, disabled": {func(t *testing.T) (*Ruleset, func()) {
			refuse(t, unix.SYS_LANDLOCK_CREATE_RULESET, unix.EOPNOTSUPP)
			return everything(), nil
		}, ErrDisabled, true, 0},
		"probe, an answer that nobody knows, whatever the floor": {func(t *testing.T) (*Ruleset, func()) {
			refuse(t, unix.SYS_LANDLOCK_CREATE_RULESET, unix.ENOMEM)
			return everything().BestEffort(0), nil
		}, unix.ENOMEM, true, 0},
		"fit": {func(t *testing.T) (*Ruleset, func()) {
			return New(V11), nil
		}, errors.ErrUnsupported, false, V11},
		"create_ruleset": {func(t *testing.T) (*Ruleset, func()) {
			Probe()
			return everything(), limitFiles(t, 0)
		}, unix.EMFILE, false, 0},
		"open, no descriptor": {func(t *testing.T) (*Ruleset, func()) {
			Probe()
			return everything().AllowRead("/"), limitFiles(t, 1)
		}, unix.EMFILE, false, 0},
		"open": {func(t *testing.T) (*Ruleset, func()) {
			return everything().AllowRead("/", "/nonexistent"), nil
		}, fs.ErrNotExist, false, 0},
		"add_rule": {func(t *testing.T) (*Ruleset, func()) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			return everything().AllowFile(FSRead, r), func() { r.Close(); w.Close() }
		}, unix.EBADFD, false, 0},
		"no_new_privs": {func(t *testing.T) (*Ruleset, func()) {
			refuse(t, unix.SYS_PRCTL, unix.EINVAL)
			return everything(), nil
		}, unix.EINVAL, true, V11},
		"restrict_self": {func(t *testing.T) (*Ruleset, func()) {
			refuse(t, unix.SYS_LANDLOCK_RESTRICT_SELF, unix.EPERM)
			return everything(), nil
		}, unix.EPERM, true, 0},
		"restrict_self, out of memory": {func(t *testing.T) (*Ruleset, func()) {
			refuse(t, unix.SYS_LANDLOCK_RESTRICT_SELF, unix.ENOMEM)
			return everything(), nil
		}, unix.ENOMEM, true, 0},
		"restrict_self without privileges": {func(t *testing.T) (*Ruleset, func()) {
			if os.Getuid() == 0 {
				dropCapabilities(t)
			}
			return everything().AllowNewPrivs(), nil
		}, unix.EPERM, false, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.below > 0 {
				needBelow(t, test.below)
			}
			inChild(t, nil, func(t *testing.T, _ string) {
				if test.root && os.Getuid() != 0 {
					return
				}
				r, undo := test.setup(t)
				before := openFiles()
				report, err := r.Apply()
				after := openFiles()
				if undo != nil {
					undo()
				}
				if err == nil || !errors.Is(err, test.want) || !report.Enforced.isZero() {
					t.Errorf("Apply: %v, %v, want %v", report, err, test.want)
				}
				t.Log(err)
				// A binary with cgo keeps one descriptor of /proc for the next time.
				for fd := range after {
					if !before[fd] && readLink(fd) != fmt.Sprintf("/proc/%d/task", os.Getpid()) {
						t.Errorf("descriptor %d is left open", fd)
					}
				}
				if _, err := os.ReadDir("/"); err != nil {
					t.Errorf("the process is restricted: %v", err)
				}
			})
		})
	}
}

// The same kernel, with Landlock taken away by a filter.
func TestLandlockTakenAway(t *testing.T) {
	if os.Getuid() != 0 && os.Getenv(childTest) == "" {
		t.Skip("needs root, to install the filter")
	}
	for errno, want := range map[syscall.Errno]error{unix.ENOSYS: ErrNotBuilt, unix.EOPNOTSUPP: ErrDisabled, unix.EPERM: ErrBlocked} {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			inChild(t, nil, func(t *testing.T, _ string) {
				if os.Getuid() != 0 {
					return
				}
				refuse(t, unix.SYS_LANDLOCK_CREATE_RULESET, errno)
				if _, err := Probe(); err != want {
					t.Errorf("Probe: %v, want %v", err, want)
				}
				checkWithoutLandlock(t)
			})
		})
	}
}

// What the ruleset opens is closed, and close-on-exec as long as it is open.
func TestNoDescriptorLeaks(t *testing.T) {
	needABI(t, V1)
	inChild(t, nil, func(t *testing.T, dir string) {
		before := openFiles()
		sandbox, err := New(V1).AllowRead("/", dir).AllowOptional(FSRead, "/nonexistent").Prepare()
		if err != nil {
			t.Fatal(err)
		}
		fd := sandbox.Fd()
		for open := range openFiles() {
			if !before[open] && open != int(fd) {
				t.Errorf("descriptor %d is left open", open)
			}
		}
		if flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("ruleset descriptor has flags %#x, %v, want close-on-exec", flags, err)
		}
		if err := errors.Join(sandbox.Close(), sandbox.Close()); err != nil || sandbox.Fd() != ^uintptr(0) {
			t.Errorf("Close: %v, then Fd %d", err, int(sandbox.Fd()))
		}
		mustApply(t, New(V1).AllowRead("/"))
		for open := range openFiles() {
			if !before[open] && readLink(open) != fmt.Sprintf("/proc/%d/task", os.Getpid()) {
				t.Errorf("descriptor %d is left open by Apply", open)
			}
		}
	})
}

// A path is open for a moment only, but another goroutine may start a child then.
func TestPathsAreCloseOnExec(t *testing.T) {
	fd, err := openPath("/", new([]byte))
	if err != nil {
		t.Fatal(err)
	}
	defer closeFd(fd)
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x, %v, want close-on-exec", flags, err)
	}
}

// A failure leaves no_new_privs as it was, but for the one case that Apply's
// documentation names.
func TestFailureLeavesNoNewPrivs(t *testing.T) {
	needABI(t, V1)
	inChild(t, nil, func(t *testing.T, _ string) {
		_, _, errno := syscall.AllThreadsSyscall(unix.SYS_GETPID, 0, 0, 0)
		if kernel, _ := Probe(); kernel.ABI < V8 && errno != unix.ENOTSUP || os.Getuid() != 0 {
			return // a binary without cgo, or one that cannot install the filter
		}
		refuse(t, unix.SYS_LANDLOCK_RESTRICT_SELF, unix.ENOMEM)
		for range 20 { // which threads it gets is up to the scheduler
			if _, err := New(V1).Apply(); !errors.Is(err, unix.ENOMEM) {
				t.Fatalf("Apply: %v, want ENOMEM", err)
			}
			threads, err := filepath.Glob("/proc/self/task/*/status")
			if err != nil || len(threads) == 0 {
				t.Fatalf("threads %v, %v", threads, err)
			}
			for _, thread := range threads {
				// One that has ended meanwhile cannot be read.
				if status, err := os.ReadFile(thread); err == nil && strings.Contains(string(status), "NoNewPrivs:\t1") {
					if !ends(thread) { // the thread that has failed is on its way out
						t.Errorf("%s has no_new_privs set", thread)
					}
				}
			}
		}
	})
}

// From ABI 11 on the kernel sets no_new_privs together with the restriction, on
// every thread: no prctl is needed, and a failure leaves it unset.
func TestAtomicNoNewPrivs(t *testing.T) {
	needABI(t, V11)
	check := func(t *testing.T, want string) {
		t.Helper()
		threads, err := filepath.Glob("/proc/self/task/*/status")
		if err != nil || len(threads) < 2 {
			t.Fatalf("threads %v, %v", threads, err)
		}
		for _, thread := range threads {
			status, err := os.ReadFile(thread) // which may have ended meanwhile
			if err == nil && !strings.Contains(string(status), "NoNewPrivs:\t"+want) {
				t.Errorf("%s: no_new_privs is not %s", thread, want)
			}
		}
	}
	t.Run("a failure", func(t *testing.T) {
		inChild(t, nil, func(t *testing.T, _ string) {
			if os.Getuid() != 0 {
				return // could not restrict itself without no_new_privs
			}
			for err := error(nil); err == nil; { // until no layer is left
				_, err = NewHandling(Rights{FS: FSMakeChar}).AllowNewPrivs().Apply()
			}
			if _, err := New(V11).Apply(); !errors.Is(err, ErrTooManyLayers) {
				t.Errorf("Apply: %v, want too many layers", err)
			}
			check(t, "0")
		})
	})
	t.Run("without prctl", func(t *testing.T) {
		inChild(t, nil, func(t *testing.T, _ string) {
			if os.Getuid() != 0 {
				return // cannot install the filter
			}
			refuse(t, unix.SYS_PRCTL, unix.EINVAL)
			mustApply(t, NewHandling(Rights{FS: FSMakeChar}))
			check(t, "1")
		})
	})
}

// ends waits a good while for a thread to be gone.
func ends(thread string) bool {
	for range 100_000 {
		if _, err := os.Stat(thread); err != nil {
			return true
		}
		runtime.Gosched()
	}
	return false
}

func TestForgottenSandbox(t *testing.T) {
	needABI(t, V1)
	sandbox, err := New(V1).Prepare()
	if err != nil {
		t.Fatal(err)
	}
	fd := int(sandbox.Fd())
	sandbox = nil
	for range 1000 {
		runtime.GC()
		if readLink(fd) != "anon_inode:[landlock-ruleset]" {
			return
		}
		runtime.Gosched()
	}
	t.Error("the garbage collector does not close it")
}

// openFiles returns the open descriptors, asking for each so that it works in
// any sandbox.
func openFiles() map[int]bool {
	open := map[int]bool{}
	for fd := range 1000 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			open[fd] = true
		}
	}
	return open
}

func readLink(fd int) string {
	link, _ := os.Readlink(fmt.Sprint("/proc/self/fd/", fd))
	return link
}

// limitFiles leaves room for just so many more descriptors.
func limitFiles(t *testing.T, more int) (undo func()) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	free := 0
	for open := openFiles(); open[free] || more > 0; free++ {
		if !open[free] {
			more--
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(free), Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	return func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &old) }
}

// dropCapabilities takes root's powers from every thread.
func dropCapabilities(t *testing.T) {
	t.Helper()
	if err := syscall.Setgid(65534); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setuid(65534); err != nil {
		t.Fatal(err)
	}
}

// refuse makes one system call fail with errno from now on, on every thread, as
// the seccomp filter of a container does. It leaves no_new_privs unset.
func refuse(t *testing.T, number int, errno syscall.Errno) {
	t.Helper()
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(number), Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, failed := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if failed != 0 {
		t.Fatalf("seccomp: %v", failed)
	}
}
