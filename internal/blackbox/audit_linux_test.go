package blackbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/internal/testchild"
	"example.com/landlock/internal/testenv"
)

const (
	auditGet            = 1000 // from linux/audit.h, as all of these
	auditLandlockAccess = 1423
	auditReadLog        = 1 << 0 // the multicast group AUDIT_NLGRP_READLOG
)

// auditLog reads what the kernel logs from the time on that it was opened.
type auditLog int

func openAuditLog(t *testing.T) auditLog {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, to read the audit log")
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_AUDIT)
	if err != nil {
		t.Skip("needs the kernel's audit log: ", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: auditReadLog}); err != nil {
		t.Skip("needs CAP_AUDIT_READ: ", err)
	}
	log := auditLog(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 300}); err != nil {
		t.Fatal(err)
	}
	request := binary.NativeEndian.AppendUint32(nil, unix.SizeofNlMsghdr)
	request = binary.NativeEndian.AppendUint16(request, auditGet)
	request = binary.NativeEndian.AppendUint16(request, unix.NLM_F_REQUEST)
	request = append(request, make([]byte, 8)...)
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		t.Skip("needs the kernel's audit log: ", err)
	}
	kind, status := log.read(t)
	for kind != auditGet && kind != unix.NLMSG_ERROR {
		kind, status = log.read(t)
	}
	// struct audit_status: a mask, and then whether it is on.
	if kind != auditGet || len(status) < 8 || binary.NativeEndian.Uint32(status[4:]) == 0 {
		t.Skip("needs the audit log to be on: boot with audit=1")
	}
	return log
}

// read returns the next message, its kind and what it says.
func (l auditLog) read(t *testing.T) (kind uint16, content []byte) {
	t.Helper()
	buffer := make([]byte, 1<<16)
	n, _, err := unix.Recvfrom(int(l), buffer, 0)
	if err != nil || n < unix.SizeofNlMsghdr {
		t.Fatalf("read the audit log: %d bytes, %v", n, err)
	}
	return binary.NativeEndian.Uint16(buffer[4:]), buffer[unix.SizeofNlMsghdr:n]
}

// denials returns the records of denials up to one that contains last.
func (l auditLog) denials(t *testing.T, last string) (all []string) {
	t.Helper()
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); {
		kind, content := l.read(t)
		if kind != auditLandlockAccess {
			continue
		}
		if strings.Contains(string(content), last) {
			return all
		}
		all = append(all, string(content))
	}
	t.Fatalf("the audit log has no record of %q", last)
	return nil
}

// Which denials get into the audit log, by the records that the kernel writes.
func TestDenialsAreLogged(t *testing.T) {
	testenv.NeedABI(t, landlock.V7)
	const loggedPort, mutedPort = 4711, 4712
	denied := func(t *testing.T, err error) {
		t.Helper()
		if !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) {
			t.Errorf("%v, want it to be denied", err)
		}
	}
	read := func(t *testing.T, path ...string) {
		t.Helper()
		_, err := os.ReadFile(filepath.Join(path...))
		denied(t, err)
	}
	connect := func(t *testing.T, network, address string) {
		t.Helper()
		_, err := net.Dial(network, address)
		denied(t, err)
	}
	port := func(number int) string { return fmt.Sprint("127.0.0.1:", number) }
	files := func() *landlock.Ruleset {
		return landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile | landlock.FSReadDir}).AllowRead("/proc", os.DevNull)
	}
	// What these tests deny, and what stands in the record of it.
	const (
		logged, muted = "a-logged-file", "a-muted-file"
		readLogged    = `blockers=fs.read_file path="%s/` + logged
	)
	for _, test := range []struct {
		name   string
		needed landlock.ABI
		run    func(t *testing.T, dir string)
		want   string // in a record of each user, in this order; nothing that is muted may be in any
	}{
		{"the restricted program", landlock.V7, func(t *testing.T, dir string) {
			testenv.MustApply(t, files())
			read(t, dir, logged)
		}, readLogged},
		{"LogSameExecOff", landlock.V7, func(t *testing.T, dir string) {
			testenv.MustApply(t, files().Log(landlock.LogSameExecOff))
			read(t, dir, muted)
		}, ""},
		{"a program that it executes", landlock.V7, func(t *testing.T, dir string) {
			testenv.MustApply(t, runnable(files()))
			tryRead(t, (*exec.Cmd).Run, filepath.Join(dir, muted))
		}, ""},
		{"a program that it executes, LogNewExecOn", landlock.V7, func(t *testing.T, dir string) {
			testenv.MustApply(t, runnable(files()).Log(landlock.LogSameExecOff|landlock.LogNewExecOn))
			read(t, dir, muted)
			tryRead(t, (*exec.Cmd).Run, filepath.Join(dir, logged))
		}, readLogged},
		{"a sandboxed child", landlock.V7, func(t *testing.T, dir string) {
			tryRead(t, testenv.MustPrepare(t, runnable(files())).Run, filepath.Join(dir, muted))
		}, ""},
		{"a sandboxed child, LogNewExecOn", landlock.V7, func(t *testing.T, dir string) {
			tryRead(t, testenv.MustPrepare(t, runnable(files()).Log(landlock.LogNewExecOn)).Run, filepath.Join(dir, logged))
		}, readLogged},
		{"a layer above", landlock.V7, func(t *testing.T, dir string) {
			testenv.MustApply(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeSym}))
			testenv.MustApply(t, files())
			read(t, dir, logged)
		}, readLogged},
		{"a layer above, LogSubdomainsOff", landlock.V7, func(t *testing.T, dir string) {
			testenv.MustApply(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeDir}).Log(landlock.LogSubdomainsOff))
			testenv.MustApply(t, files())
			read(t, dir, muted)
			denied(t, os.Mkdir(filepath.Join(dir, "new"), 0o700))
		}, `blockers=fs.make_dir path="%s`},
		{"a Do", landlock.V7, func(t *testing.T, dir string) {
			denied(t, testenv.MustPrepare(t, files()).Do(func() error {
				_, err := os.ReadFile(filepath.Join(dir, logged))
				return err
			}))
		}, readLogged},
		{"TCP", landlock.V7, func(t *testing.T, _ string) {
			testenv.MustApply(t, landlock.NewHandling(landlock.Rights{Net: landlock.NetConnectTCP}))
			connect(t, "tcp", port(loggedPort))
		}, fmt.Sprint("blockers=net.connect_tcp daddr=127.0.0.1 dest=", loggedPort)},
		{"Quiet", landlock.V10, func(t *testing.T, dir string) {
			testenv.MustApply(t, files().Quiet(landlock.FSReadFile, filepath.Join(dir, muted)))
			read(t, dir, muted)
			read(t, dir, logged)
		}, readLogged},
		{"Quiet, of another right", landlock.V10, func(t *testing.T, dir string) {
			testenv.MustApply(t, files().Quiet(landlock.FSReadDir, dir))
			_, err := os.ReadDir(filepath.Join(dir, muted+"-dir"))
			denied(t, err)
			read(t, dir, logged)
		}, readLogged},
		{"Quiet, on a path with a rule that allows", landlock.V10, func(t *testing.T, dir string) {
			mutedDir := filepath.Join(dir, muted+"-dir")
			testenv.MustApply(t, files().Allow(landlock.FSReadDir, mutedDir).Quiet(landlock.FSReadFile, mutedDir))
			if _, err := os.ReadDir(mutedDir); err != nil {
				t.Error(err)
			}
			read(t, mutedDir, "file")
			read(t, dir, logged)
		}, readLogged},
		{"Quiet, of one right of two", landlock.V10, func(t *testing.T, dir string) {
			testenv.MustApply(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile | landlock.FSWriteFile}).Quiet(landlock.FSReadFile, dir))
			read(t, dir, muted)
			_, err := os.OpenFile(filepath.Join(dir, logged), os.O_RDWR, 0)
			denied(t, err)
		}, "blockers=fs.write_file,fs.read_file path=\"%s"},
		{"Quiet, below a layer that denies it too", landlock.V10, func(t *testing.T, dir string) {
			testenv.MustApply(t, files().Quiet(landlock.FSReadFile, dir))
			testenv.MustApply(t, files().Quiet(landlock.FSReadFile, filepath.Join(dir, muted)))
			read(t, dir, muted)
			read(t, dir, logged)
		}, readLogged},
		{"Quiet, above a layer that denies it too", landlock.V10, func(t *testing.T, dir string) {
			testenv.MustApply(t, files())
			testenv.MustApply(t, files().Quiet(landlock.FSReadFile, dir))
			read(t, dir, muted)
		}, ""},
		{"Quiet, of everything, and tracing", landlock.V10, func(t *testing.T, dir string) {
			outside := waiting(t, (*exec.Cmd).Start)
			testenv.MustApply(t, landlock.New(landlock.V10).Quiet(landlock.V10.FS(), "/").QuietScope(landlock.V10.Scopes()))
			read(t, dir, muted)
			if err := apart(func() error { return unix.PtraceAttach(outside) }); err != unix.EPERM {
				t.Errorf("trace: %v, want EPERM", err)
			}
		}, "blockers=ptrace"},
		{"QuietNet", landlock.V10, func(t *testing.T, _ string) {
			testenv.MustApply(t, landlock.NewHandling(landlock.Rights{Net: landlock.NetConnectTCP}).QuietNet(landlock.NetConnectTCP, mutedPort))
			connect(t, "tcp", port(mutedPort))
			connect(t, "tcp", port(loggedPort))
		}, fmt.Sprint("blockers=net.connect_tcp daddr=127.0.0.1 dest=", loggedPort)},
		{"a scope", landlock.V8, func(t *testing.T, dir string) {
			testenv.MustApply(t, landlock.NewHandling(landlock.Rights{Scope: landlock.ScopeAbstractUnixSocket}))
			connect(t, "unix", "@"+dir)
		}, "blockers=scope.abstract_unix_socket"},
		{"QuietScope", landlock.V10, func(t *testing.T, dir string) {
			testenv.MustApply(t, landlock.NewHandling(landlock.Rights{Scope: landlock.ScopeAbstractUnixSocket}).QuietScope(landlock.ScopeAbstractUnixSocket))
			connect(t, "unix", "@"+dir)
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			testenv.NeedABI(t, test.needed)
			var log auditLog
			var folders []string // one for each user
			if !testchild.Inside() {
				log = openAuditLog(t)
			}
			testenv.InChild(t, func(t *testing.T, dir string) {
				folders = append(folders, dir)
				for _, name := range []string{logged, muted, muted + "-dir/file"} {
					testenv.Write(t, filepath.Join(dir, name), "text")
				}
				listener, err := net.Listen("unix", "@"+dir)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { listener.Close() })
			}, test.run)
			// A denial that is logged for sure, after all others.
			last := filepath.Join(testenv.Scratch(t), "last")
			testenv.Write(t, last, "")
			tryRead(t, testenv.MustPrepare(t, runnable(files()).Log(landlock.LogNewExecOn)).Run, last)
			records := strings.Join(log.denials(t, last), "\n")
			for _, bad := range []string{muted, fmt.Sprint("dest=", mutedPort), "blockers=scope."} {
				if strings.Contains(records, bad) && !strings.Contains(test.want, bad) {
					t.Errorf("%q in the audit log:\n%s", bad, records)
				}
			}
			for _, folder := range folders {
				want, found := strings.ReplaceAll(test.want, "%s", folder), false
				if _, records, found = strings.Cut(records, want); !found {
					t.Errorf("not in the audit log: %s, once for each user; there is:\n%s", want, records)
				}
			}
		})
	}
}

// tryRead has a program try to read a file, in a sandbox or as it is, and fail.
func tryRead(t *testing.T, run func(*exec.Cmd) error, path string) {
	t.Helper()
	cmd, out := try("read=" + path)
	if err := run(cmd); err != nil || out.String() != lines("read="+path+": EACCES") {
		t.Errorf("a program that reads %s: %v: %s", path, err, out)
	}
}
