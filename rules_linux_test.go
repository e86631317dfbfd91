package landlock

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

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

// Each call's rules stand alone: for one path some may be wrong.
func TestRulesStandAlone(t *testing.T) {
	needABI(t, V1)
	dir := t.TempDir()
	file, missing := write(t, filepath.Join(dir, "file"), ""), filepath.Join(dir, "missing")
	for _, test := range []struct {
		name    string
		ruleset *Ruleset
		want    string // the error, or else what is skipped
	}{
		{"optional and not there", New(V1).AllowOptional(FSRead, missing).AllowOptional(FSWrite, missing), missing},
		{"quiet and not there", New(V10).BestEffort(V1).Quiet(FSRead, missing), missing},
		{"needed as well", New(V1).AllowOptional(FSRead, missing).AllowRead(missing).AllowOptional(FSRead, missing),
			fmt.Sprintf("landlock: AllowRead(%q): open: no such file or directory: AllowOptional skips what is not there", missing)},
		{"rights of directories on a file", New(V1).AllowRead(file).Allow(FSMakeDir|FSReadDir, file),
			fmt.Sprintf("landlock: Allow(landlock.FSReadDir|landlock.FSMakeDir, %q): not a directory, and only directories can have these rights", file)},
		{"rights of directories on a file, quiet", New(V10).BestEffort(V1).Quiet(FSMakeDir|FSReadDir, file), ""},
		{"rights of files and directories on a file", New(V1).AllowRead(file).AllowReadWrite(file), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			report, err := test.ruleset.DryRun()
			got := strings.Join(report.Skipped, ", ")
			if err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("skipped or wrong: %s, want %s", got, test.want)
			}
		})
	}
}

// A rule that is wrong is wrong on every kernel, also on one that cannot
// restrict what it is for.
func TestWrongWhateverTheKernel(t *testing.T) {
	needABI(t, V1)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	defer writer.Close()
	pipe := fmt.Sprint("/proc/self/fd/", reader.Fd())
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "file"), "")
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
		if err := loadAs(abi, func(r *Ruleset) { r.Allow(FSRefer, file) }); !errors.Is(err, errNotDirectory) {
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
	needABI(t, V1)
	kernel, _ := Probe()
	inChild(t, nil, func(t *testing.T, dir string) {
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
		report := mustApply(t, r.AllowOptional(FSRead, closed).Quiet(FSRead, closed))
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

// "/proc/self" is a link, and followed when the ruleset is loaded: it is of no
// use to a child.
func TestProcSelfIsTheParents(t *testing.T) {
	needABI(t, V1)
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Skip("needs cat")
	}
	inBoth(t, func(t *testing.T, dir string) {
		file, err := os.Open(filepath.Join(dir, "secret"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		opened := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), file.Fd())
		if text, err := os.ReadFile(opened); err != nil || len(text) == 0 {
			t.Fatalf("this process, by its descriptor: %q, %v", text, err)
		}
		own, parents, environ := "/proc/self/status", fmt.Sprintf("/proc/%d/status", os.Getpid()), fmt.Sprintf("/proc/%d/environ", os.Getpid())
		for _, test := range []struct {
			allowed, path string
			want          bool
		}{
			{"/proc/self", own, false}, {"/proc/self", parents, true},
			{"/proc", own, true}, {"/proc", parents, true}, {"/proc", environ, false},
			{"/proc", opened, false},
		} {
			s := mustPrepare(t, NewHandling(Rights{FS: FSReadFile}).AllowOptional(FSReadFile, "/bin", "/usr", "/lib", "/lib64", "/etc").AllowRead(test.allowed, dir))
			if test.path == environ && os.Getuid() == 0 {
				continue // Linux 6.12 refuses it, 6.18 does not
			}
			if out, err := s.Output(exec.Command(cat, test.path)); (err == nil && len(out) > 0) != test.want {
				t.Errorf("read %s beneath %s: %q, %v, want it to work: %t", test.path, test.allowed, out, err, test.want)
			}
		}
	})
}

// A judge sees what is found at a path each time that the ruleset is loaded, and the
// rule is for what it has seen.
func TestAllowIf(t *testing.T) {
	needABI(t, V1)
	prepare := func(t *testing.T, dir string) {
		for _, name := range []string{"good", "bad", "other/file"} {
			write(t, filepath.Join(dir, name), name)
		}
		if err := os.Symlink("other", filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
	}
	inChild(t, prepare, func(t *testing.T, dir string) {
		good, link := filepath.Join(dir, "good"), filepath.Join(dir, "link")
		wrong := errors.New("not a regular file")
		calls := 0
		regular := func(file *os.File) error {
			calls++
			info, err := file.Stat()
			if err == nil && !info.Mode().IsRegular() {
				err = wrong
			}
			return err
		}
		r := New(V1).AllowIf(FSRead, regular, good, filepath.Join(dir, "missing"))
		report, err := r.DryRun()
		if err != nil || calls != 1 || fmt.Sprint(report.Skipped) != fmt.Sprint([]string{filepath.Join(dir, "missing")}) {
			t.Errorf("%+v, %v after %d calls", report, err, calls)
		}
		if err := r.Clone().Check(FSReadFile, good); err != nil || calls != 2 {
			t.Errorf("Check: %v after %d calls", err, calls)
		}
		var rule *RuleError
		if _, err := r.Clone().AllowIf(FSRead, regular, link).Prepare(); !errors.As(err, &rule) || rule.Path != link || !errors.Is(err, wrong) {
			t.Errorf("a link to a directory: %v", err)
		}
		if err := r.Clone().AllowIf(FSRead, regular, link).Check(FSReadFile, good); !errors.Is(err, wrong) {
			t.Errorf("Check of a ruleset that cannot be loaded: %v", err)
		}
		// On a kernel that knows none of the rights it is judged all the same.
		if _, err := New(V9).BestEffort(V1).AllowIf(FSResolveUnix, regular, link).DryRun(); !errors.Is(err, wrong) {
			t.Errorf("a right of a newer kernel: %v", err)
		}
		absent := func(*os.File) error { return fmt.Errorf("as good as %w", fs.ErrNotExist) }
		if report, err := New(V1).AllowIf(FSRead, absent, good).DryRun(); err != nil || fmt.Sprint(report.Skipped) != fmt.Sprint([]string{good}) {
			t.Errorf("a judge that says it is not there: %+v, %v", report, err)
		}
		var kept *os.File
		if _, err := New(V1).AllowIf(FSRead, func(file *os.File) error { kept = file; return nil }, good).DryRun(); err != nil {
			t.Error(err)
		}
		if _, err := kept.Stat(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("a file that a judge keeps: %v, want it closed", err)
		}
		if _, err := New(V1).AllowIf(FSRead, (*os.File).Close, good).DryRun(); !errors.As(err, &rule) || !errors.Is(err, os.ErrClosed) {
			t.Errorf("a judge that closes the file: %v", err)
		}
		if _, err := New(V1).AllowIf(FSRead, func(file *os.File) error { *file = os.File{}; return nil }, good).DryRun(); err != nil {
			t.Errorf("a judge that overwrites the file: %v", err)
		}
		file, err := os.Open(good)
		if err != nil {
			t.Fatal(err)
		}
		r = New(V1).AllowFile(FSReadFile, file)
		file.Close()
		*file = os.File{}
		if _, err := r.DryRun(); !errors.As(err, &rule) || rule.Path != good || !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("a file that is overwritten: %v", err)
		}
		checkJudgeLeaves(t, good)
		// Whatever the path leads to once the judge has seen it.
		exchange := func(file *os.File) error {
			if err := regular(file); err != nil {
				return err
			}
			return errors.Join(os.Rename(good, good+" moved"), os.Symlink("other", good))
		}
		mustApply(t, New(V1).AllowIf(FSRead, exchange, good))
		if _, err := os.ReadFile(good + " moved"); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"good/file", "other/file", "bad"} {
			if _, err := os.ReadFile(filepath.Join(dir, name)); !errors.Is(err, unix.EACCES) {
				t.Errorf("read %s: %v, want EACCES", name, err)
			}
		}
	})
}

// checkJudgeLeaves checks that a judge that never returns leaves nothing open.
func checkJudgeLeaves(t *testing.T, path string) {
	t.Helper()
	open := func() []string {
		runtime.GC()
		var links []string
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("needs /proc: ", err)
		}
		for _, entry := range entries {
			if link, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil && strings.Contains(link, "landlock-ruleset") {
				links = append(links, link)
			}
		}
		return links
	}
	before := open()
	for name, leave := range map[string]func(){"panic": func() { panic("judge") }, "Goexit": runtime.Goexit} {
		done := make(chan bool)
		go func() {
			defer close(done)
			defer func() { recover() }()
			New(V1).AllowIf(FSRead, func(*os.File) error { leave(); return nil }, path).DryRun()
		}()
		<-done
		if after := open(); len(after) > len(before) {
			t.Errorf("%s: %q are open, before %q", name, after, before)
		}
	}
}
