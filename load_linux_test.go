package landlock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/testenv"
)

// A path is open for a moment only, but another goroutine may start a child then.
func TestPathsAreCloseOnExec(t *testing.T) {
	fd, err := new(opener).path("/")
	if err != nil {
		t.Fatal(err)
	}
	defer closeFd(fd)
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x, %v, want close-on-exec", flags, err)
	}
}

// A rule that is wrong is wrong on every kernel, also on one that cannot
// restrict what it is for.
func TestWrongWhateverTheKernel(t *testing.T) {
	testenv.NeedABI(t, V1)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	defer writer.Close()
	pipe := fmt.Sprint("/proc/self/fd/", reader.Fd())
	dir := t.TempDir()
	file := testenv.Write(t, filepath.Join(dir, "file"), "")
	kernel, _ := Probe()
	for abi := V1; abi <= kernel.ABI; abi++ { // as if it were the kernel's
		for _, access := range []AccessFS{FSReadFile, FSTruncate, FSIoctlDev, FSResolveUnix} {
			for name, add := range map[string]func(*Ruleset){
				"a pipe":             func(r *Ruleset) { r.AllowFile(access, reader) },
				"the path of a pipe": func(r *Ruleset) { r.Allow(access, pipe) },
			} {
				err := loadAs(abi, add)
				rule, ok := err.(*RuleError)
				if !ok || rule.Access != access || rule.Port != -1 || rule.Path == "" || !errors.Is(err, unix.EBADFD) {
					t.Errorf("ABI %d, %v on %s: %v, want a RuleError with EBADFD", int(abi), access, name, err)
				}
			}
			if err := loadAs(abi, func(r *Ruleset) { r.Allow(access, file, dir).Quiet(access, file, dir) }); err != nil {
				t.Errorf("ABI %d, %v on a file and a directory: %v", int(abi), access, err)
			}
		}
		if err := loadAs(abi, func(r *Ruleset) { r.Allow(FSRefer, dir) }); err != nil {
			t.Errorf("ABI %d, refer on a directory: %v", int(abi), err)
		}
		if err := loadAs(abi, func(r *Ruleset) { r.Allow(FSRefer, file) }); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("ABI %d, refer on a file: %v, want ENOTDIR", int(abi), err)
		}
		if err := loadAs(abi, func(r *Ruleset) { r.Allow(FSTruncate, dir+"/missing") }); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("ABI %d, a path that is missing: %v", int(abi), err)
		}
	}
}

// A path may lead to something else in each run: what is no file of a filesystem is
// not restricted, and needs no rule. What the kernel takes a rule for it restricts.
func TestObjectsWithoutRules(t *testing.T) {
	testenv.NeedABI(t, V1)
	kernel, _ := Probe()
	testenv.InChild(t, nil, func(t *testing.T, dir string) {
		objects := openObjects(t, dir)
		var skipped []string
		r := New(V11).BestEffort(V1)
		for name, object := range objects {
			path := fmt.Sprint("/proc/self/fd/", object.fd)
			report, err := New(V1).AllowOptional(FSReadFile, path).DryRun()
			switch object.kind {
			case "no rule":
				skipped = append(skipped, path)
				if err != nil || fmt.Sprint(report.Skipped) != fmt.Sprint([]string{path}) {
					t.Errorf("optional %s: %v, %v, want it skipped", name, report, err)
				}
				for abi := V1; abi <= kernel.ABI; abi++ {
					for _, access := range []AccessFS{FSReadFile, FSTruncate, FSIoctlDev, FSResolveUnix, FSMakeReg} {
						if err := loadAs(abi, func(r *Ruleset) {
							r.AllowOptional(access, path).Quiet(access, path).AllowIf(access, func(*os.File) error { return nil }, path)
						}); err != nil {
							t.Errorf("ABI %d, %v on %s: %v", int(abi), access, name, err)
						}
					}
				}
				_, err := New(V1).AllowRead(path).DryRun()
				if rule, ok := err.(*RuleError); !ok || !errors.Is(rule, unix.EBADFD) || !errors.Is(err, errNoPlace) || strings.Contains(err.Error(), "bad state") || !strings.HasSuffix(err.Error(), errNoPlace.Error()+": leave it out, or have AllowOptional, which skips it") {
					t.Errorf("%s: %v, want a RuleError that says that none is needed", name, err)
				}
				wrong := errors.New("wrong")
				if _, err := New(V1).AllowIf(FSRead, func(*os.File) error { return wrong }, path).DryRun(); !errors.Is(err, wrong) {
					t.Errorf("%s, which a judge refuses: %v", name, err)
				}
			case "rule":
				if err != nil || len(report.Skipped) > 0 {
					t.Errorf("optional %s: %v, %v, want a rule", name, report, err)
				}
			case "denied":
				if err == nil || errors.Is(err, errNoPlace) || !errors.Is(err, unix.EBADFD) {
					t.Errorf("optional %s: %v, want a RuleError that does not say it is free", name, err)
				}
			}
			if object.kind != "denied" {
				r.AllowOptional(FSReadFile|FSWriteFile, path)
			}
		}
		closed := "/proc/self/fd/1000000"
		report := testenv.MustApply(t, r.AllowOptional(FSRead, closed).Quiet(FSRead, closed))
		skipped = append(skipped, closed)
		slices.Sort(skipped)
		if slices.Sort(report.Skipped); !slices.Equal(report.Skipped, skipped) {
			t.Errorf("skipped %q, want %q", report.Skipped, skipped)
		}
		for name, object := range objects {
			again, err := unix.Open(fmt.Sprint("/proc/self/fd/", object.fd), unix.O_RDONLY|unix.O_NONBLOCK, 0)
			if err == nil {
				unix.Close(again)
			}
			want := object.opens
			if object.kind == "denied" {
				want = unix.EACCES
			}
			if err != want {
				t.Errorf("open %s in the sandbox: %v, want %v", name, err, want)
			}
		}
		if _, err := os.ReadFile("/etc/passwd"); !errors.Is(err, unix.EACCES) {
			t.Errorf("a file without a rule: %v, want EACCES", err)
		}
	})
}

type object struct {
	fd    int
	kind  string // "no rule": cannot have one, and is free; "rule": can; "denied": cannot, and is denied
	opens error  // what the kernel answers to opening it, unrestricted
}

// openObjects opens what /proc/self/fd can lead to.
func openObjects(t *testing.T, dir string) map[string]object {
	t.Helper()
	all := map[string]object{}
	add := func(name, kind string, fd int, err error) {
		if err == unix.ENOSYS || err == unix.EPERM { // an old kernel, or one that has it turned off
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, opens := unix.Open(fmt.Sprint("/proc/self/fd/", fd), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		all[name] = object{fd, kind, opens}
	}
	var pipe, sockets [2]int
	err := unix.Pipe(pipe[:])
	add("pipe", "no rule", pipe[0], err)
	sockets, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	add("Unix socket", "no rule", sockets[0], err)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	add("TCP socket", "no rule", fd, err)
	fd, err = unix.MemfdCreate("memfd", 0)
	add("memfd", "no rule", fd, err)
	fd, err = unix.Eventfd(0, 0)
	add("eventfd", "no rule", fd, err)
	fd, err = unix.PidfdOpen(os.Getpid(), 0)
	add("pidfd", "no rule", fd, err)
	fd, err = unix.EpollCreate1(0)
	add("epoll", "no rule", fd, err)
	fd, err = unix.Open("/proc/self/ns/net", unix.O_RDONLY, 0)
	add("namespace", "no rule", fd, err)

	deleted := filepath.Join(dir, "deleted")
	fd, err = unix.Open(deleted, unix.O_RDWR|unix.O_CREAT, 0o600)
	add("deleted file", "rule", fd, err)
	if err := os.Remove(deleted); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err = unix.Open(fifo, unix.O_RDWR, 0)
	add("FIFO", "rule", fd, err)
	fd, err = unix.Open(os.DevNull, unix.O_RDWR, 0)
	add("device", "rule", fd, err)
	fd, err = unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0)
	if err == nil {
		add("terminal", "rule", fd, err)
	}

	queue, err := unix.BytePtrFromString(fmt.Sprint("landlock-", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	number, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(queue)), unix.O_RDWR|unix.O_CREAT, 0o600, 0, 0, 0)
	if errno == 0 {
		unix.Syscall(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(queue)), 0, 0)
		add("message queue", "denied", int(number), nil)
	}
	return all
}

// loadAs loads a ruleset for everything as a kernel with this ABI would.
func loadAs(abi ABI, add func(*Ruleset)) error {
	r := New(V11).BestEffort(V1)
	add(r)
	if len(r.mistakes) > 0 {
		return r.mistakes[0]
	}
	p, err := r.fit(Kernel{ABI: abi}, nil, oneThread)
	if err != nil {
		return err
	}
	l := &loaded{plan: p, ruleset: noRuleset}
	errs := l.makeRuleset()
	closeFd(l.ruleset)
	if len(errs) > 0 {
		return errs[0]
	}
	return nil
}
