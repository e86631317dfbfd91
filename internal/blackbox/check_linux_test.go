package blackbox

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/internal/testenv"
)

// checkTree makes the files that the tests of Check ask about.
func checkTree(t testing.TB) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "data", "deep", "er"), 0o755),
		os.Mkdir(filepath.Join(dir, "other"), 0o755),
		os.WriteFile(filepath.Join(dir, "data", "file"), nil, 0o644),
		os.WriteFile(filepath.Join(dir, "other", "file"), nil, 0o644),
		os.Link(filepath.Join(dir, "data", "file"), filepath.Join(dir, "other", "hard")),
		os.Symlink("../data/file", filepath.Join(dir, "other", "in")),
		os.Symlink("../other/file", filepath.Join(dir, "data", "out")),
		os.Symlink("nothing", filepath.Join(dir, "data", "dangling")),
		os.Symlink("../other/nothing", filepath.Join(dir, "data", "dangling out")),
		os.Symlink("loop", filepath.Join(dir, "data", "loop")),
		os.Symlink(".", filepath.Join(dir, "data", "here")),
		unix.Mkfifo(filepath.Join(dir, "data", "fifo"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCheck(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	dir := checkTree(t)
	t.Chdir(filepath.Join(dir, "other"))
	r := landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()}).AllowRead(dir+"/data").Allow(landlock.FSWriteFile, dir+"/other/file")
	file := landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()}).Allow(landlock.FSReadFile, dir+"/data/file")
	for _, test := range []struct {
		rules  *landlock.Ruleset
		access landlock.AccessFS
		path   string
		denied landlock.AccessFS
	}{
		{r, landlock.FSReadFile, dir + "/data/file", 0},
		{r, landlock.FSReadFile | landlock.FSWriteFile, dir + "/data/file", landlock.FSWriteFile},
		{r, landlock.FSReadFile, dir + "/data/deep/../deep/er/./nothing", 0},
		{r, landlock.FSReadFile, dir + "/data/../other/file", landlock.FSReadFile},
		{r, landlock.FSReadFile, dir + "/data/out", landlock.FSReadFile},
		{r, landlock.FSWriteFile, dir + "/data/out", 0},
		{r, landlock.FSReadFile, "in", 0},
		{r, landlock.FSReadFile, "file", landlock.FSReadFile},
		{r, landlock.FSReadFile, "../data/here/here/file", 0},
		{r, landlock.FSReadFile, "hard", landlock.FSReadFile}, // by this name it is not beneath data
		{file, landlock.FSReadFile, "hard", 0},                // but the same file
		{file, landlock.FSReadFile, "../data/file", 0},
		{file, landlock.FSReadDir, "../data", landlock.FSReadDir},
		{r, landlock.FSReadDir, dir + "/data/", 0},
		{r, landlock.FSReadDir, dir + "/data/.", 0},
		{r, landlock.FSReadDir, dir + "/data/deep/..", 0},
		{r, landlock.FSReadDir, dir, landlock.FSReadDir},
		{r, landlock.FSReadDir, "/", landlock.FSReadDir},
		{r, landlock.FSReadDir, "..", landlock.FSReadDir},
		{r, landlock.FSMakeReg, dir + "/data/new", landlock.FSMakeReg},
		{r, landlock.FSMakeDir, dir + "/data/new/", landlock.FSMakeDir},
		{r, landlock.FSReadFile, dir + "/data/dangling", 0},
		{r, landlock.FSReadFile, dir + "/data/dangling out", landlock.FSReadFile},
		{r, landlock.FSRefer, dir + "/data", landlock.FSRefer}, // though it is not handled
		{r, landlock.FSReadFile, "/proc/self/cwd/in", 0},
		{r, landlock.FSReadFile, "/proc/self/cwd", landlock.FSReadFile},
		{r, landlock.FSReadFile, dir + "/data/fifo", 0},
		{r, landlock.FSTruncate, "/", 0}, // not handled
		{landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}), landlock.FSWriteFile, "/", 0},
	} {
		err := test.rules.Check(test.access, test.path)
		denied, ok := errors.AsType[*landlock.DeniedError](err)
		switch {
		case test.denied == 0 && err != nil, test.denied != 0 && !ok:
			t.Errorf("Check(%v, %q) = %v, want denied %v", test.access, test.path, err, test.denied)
		case ok && (denied.Missing != landlock.Rights{FS: test.denied} || denied.Port != -1 || !errors.Is(err, fs.ErrPermission)):
			t.Errorf("Check(%v, %q) = %+v, want denied %v", test.access, test.path, denied, test.denied)
		}
	}
}

// What cannot be found out is an error, and never a yes.
func TestCheckErrors(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	dir := checkTree(t)
	r := landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()}).AllowRead(dir)
	for _, test := range []struct {
		rules  *landlock.Ruleset
		access landlock.AccessFS
		path   string
		want   error
	}{
		{r, 0, dir, fs.ErrInvalid},
		{r, 1 << 40, dir, fs.ErrInvalid},
		{r, landlock.FSReadFile, "", fs.ErrInvalid},
		{r, landlock.FSReadFile, dir + "\x00", fs.ErrInvalid},
		{r, landlock.FSReadFile, dir + "/" + strings.Repeat("x", 300), unix.ENAMETOOLONG},
		{r, landlock.FSReadFile, strings.Repeat("/x", 5000), unix.ENAMETOOLONG},
		{r, landlock.FSReadFile, dir + "/data/loop", unix.ELOOP},
		{r, landlock.FSReadFile, dir + "/nothing/at/all", fs.ErrNotExist},
		{r, landlock.FSReadFile, dir + "/data/file/x", unix.ENOTDIR},
		{r, landlock.FSReadFile, dir + "/data/file/", unix.ENOTDIR},
		{r, landlock.FSReadFile, "/proc/self/exe/", unix.ENOTDIR},
		{nil, landlock.FSReadFile, dir, fs.ErrInvalid},
		{new(landlock.Ruleset), landlock.FSReadFile, dir, fs.ErrInvalid},
		{landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).AllowRead("/nothing/at/all"), landlock.FSReadFile, dir, fs.ErrNotExist},
	} {
		err := test.rules.Check(test.access, test.path)
		if _, denied := errors.AsType[*landlock.DeniedError](err); denied || !errors.Is(err, test.want) {
			t.Errorf("Check(%v, %.80q) = %v, want %v", test.access, test.path, err, test.want)
		}
	}
	if _, ok := errors.AsType[*landlock.RuleError](landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).AllowRead("/nothing").Check(landlock.FSReadFile, dir)); !ok {
		t.Error("a rule whose path is gone is no RuleError")
	}
	if kernel, _ := landlock.Probe(); kernel.ABI < landlock.V11 {
		if _, ok := errors.AsType[*landlock.UnsupportedError](landlock.New(landlock.V11).Check(landlock.FSReadFile, dir)); !ok {
			t.Error("a kernel that is too old is no UnsupportedError")
		}
	}
}

// Rights that this kernel cannot restrict are allowed.
func TestCheckFits(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	kernel, _ := landlock.Probe()
	r := landlock.New(landlock.V11).BestEffort(landlock.V1)
	for right, path := range map[landlock.AccessFS]string{landlock.FSReadFile: "/dev/null", landlock.FSTruncate: "/etc/passwd", landlock.FSIoctlDev: "/dev/null"} {
		if err := r.Check(right, path); (err != nil) != (kernel.ABI.FS()&right != 0) {
			t.Errorf("%v on ABI %d: %v", right, int(kernel.ABI), err)
		}
	}
	for _, right := range []landlock.AccessNet{landlock.NetConnectTCP, landlock.NetBindUDP} {
		if err := r.CheckNet(right, 80); (err != nil) != (kernel.ABI.Net()&right != 0) {
			t.Errorf("%v on ABI %d: %v", right, int(kernel.ABI), err)
		}
	}
	if err := r.CheckNet(0, 80); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("CheckNet of nothing: %v", err)
	}
}

// A file is told by what it is: it may be moved, and another take its place.
func TestCheckFollowsFiles(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	dir := checkTree(t)
	path := dir + "/data/file"
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).AllowFile(landlock.FSReadFile, file)
	if err := errors.Join(os.Rename(path, dir+"/moved"), os.WriteFile(path, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := r.Check(landlock.FSReadFile, dir+"/moved"); err != nil {
		t.Errorf("the file that was moved: %v", err)
	}
	if _, denied := errors.AsType[*landlock.DeniedError](r.Check(landlock.FSReadFile, path)); !denied {
		t.Error("the file that took its place is allowed")
	}
}

func TestDeniedErrorText(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	dir := checkTree(t)
	os.WriteFile(dir+"/data/new\nline", nil, 0o644)
	r := landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()}).AllowRead(dir + "/data")
	for _, test := range []struct {
		err  error
		want string
	}{
		{r.Check(landlock.FSWriteFile, dir+"/data/file"),
			fmt.Sprintf("landlock: no rule for write_file on %s/data/file, only for read_file,read_dir on %s/data: AllowReadWrite(%q) would allow it", dir, dir, dir+"/data/file")},
		{r.Check(landlock.FSReadFile, dir+"/other/file"),
			fmt.Sprintf("landlock: no rule for read_file on %s/other/file: AllowRead(%q) would allow it", dir, dir+"/other/file")},
		{r.Check(landlock.FSMakeDir, dir+"/data/new"),
			fmt.Sprintf("landlock: no rule for make_dir on %s/data/new, only for read_file,read_dir on %s/data: AllowReadWrite(%q) would allow it", dir, dir, dir+"/data")},
		{r.Check(landlock.FSExecute, dir+"/data"),
			fmt.Sprintf("landlock: no rule for execute on %s/data, only for read_file,read_dir: AllowExecute(%q) would allow it", dir, dir+"/data")},
		{r.Check(landlock.FSMakeChar|landlock.FSExecute, dir+"/data"),
			fmt.Sprintf("landlock: no rule for execute,make_char on %s/data, only for read_file,read_dir: Allow(landlock.FSExecute|landlock.FSMakeChar, %q) would allow it", dir, dir+"/data")},
		{r.Check(landlock.FSWriteFile, dir+"/data/new\nline"),
			fmt.Sprintf("landlock: no rule for write_file on %q, only for read_file,read_dir on %s/data: AllowReadWrite(%q) would allow it", dir+"/data/new\nline", dir, dir+"/data/new\nline")},
		{r.Check(landlock.FSMakeDir, "/etc/new"), "landlock: no rule for make_dir on /etc/new: only a rule to write beneath /etc would allow it"},
		{r.Check(landlock.FSWriteFile, "/etc/passwd"), `landlock: no rule for write_file on /etc/passwd: AllowReadWrite("/etc/passwd") would allow it`},
		{r.Check(landlock.FSReadFile, "/proc/self/status"), fmt.Sprintf("landlock: no rule for read_file on /proc/%d/status: AllowRead(\"/proc\") would allow it", os.Getpid())},
		{&landlock.DeniedError{}, "landlock: access denied"},
		{&landlock.DeniedError{Path: "/x"}, "landlock: access denied on /x"},
		{&landlock.DeniedError{Path: "/x", Missing: landlock.Rights{FS: landlock.FSReadFile}, Guess: true, Uncertain: "or not"}, "landlock: a guess: no rule for read_file on /x (or not)"},
		{&landlock.DeniedError{Port: 80, Missing: landlock.Rights{Net: landlock.NetBindTCP}}, "landlock: no rule for bind_tcp on port 80"},
	} {
		if test.err == nil || test.err.Error() != test.want {
			t.Errorf("%v\nwant %s", test.err, test.want)
		}
	}
}

// whyDenied returns what an explained error says is missing.
func whyDenied(err error) string {
	var all []string
	for _, denied := range landlock.All[*landlock.DeniedError](err) {
		object := filepath.Base(denied.Path)
		if denied.Port >= 0 {
			object = fmt.Sprint(denied.Port)
		}
		all = append(all, fmt.Sprint(denied.Missing, " on ", object))
	}
	return strings.Join(all, "; ")
}

// What the standard library returns for what a sandbox refuses is explained, in
// the sandbox and outside.
func TestExplain(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	testenv.InChild(t, func(t *testing.T, dir string) {
		testenv.Write(t, dir+"/secret", "secret")
		testenv.Write(t, dir+"/own/file", "file")
		testenv.Write(t, dir+"/own/sub/file", "file")
		os.Symlink("../secret", dir+"/own/link")
	}, func(t *testing.T, dir string) {
		kernel, _ := landlock.Probe()
		own := dir + "/own/"
		r := landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS() &^ landlock.FSMakeChar, Net: kernel.ABI.Net() & landlock.NetConnectTCP, Scope: kernel.ABI.Scopes()}).
			AllowRead(own).Allow(landlock.FSRead|landlock.FSRemoveFile|landlock.FSMakeReg, own+"sub")
		s := testenv.MustPrepare(t, r)
		tests := []struct {
			name    string
			needs   landlock.ABI
			do      func() error
			missing string
		}{
			{"open", landlock.V1, func() error { _, err := os.Open(dir + "/secret"); return err }, "fs.read_file on secret"},
			{"open for writing", landlock.V1, func() error { return os.WriteFile(own+"file", nil, 0o600) }, "fs.write_file on file"},
			{"open through a link", landlock.V1, func() error { _, err := os.ReadFile(own + "link"); return err }, "fs.read_file on secret"},
			{"create", landlock.V1, func() error { return os.WriteFile(own+"new", nil, 0o600) }, "fs.make_reg on new"},
			{"create temp", landlock.V1, func() error { _, err := os.CreateTemp(own+"sub", "x*"); return err }, "fs.write_file"},
			{"list", landlock.V1, func() error { _, err := os.ReadDir(dir); return err }, "fs.read_dir on " + filepath.Base(dir)},
			{"mkdir", landlock.V1, func() error { return os.Mkdir(own+"new", 0o700) }, "fs.make_dir on own"},
			{"symlink", landlock.V1, func() error { return os.Symlink("x", own+"new") }, "fs.make_sym on own"},
			{"remove", landlock.V1, func() error { return os.Remove(own + "file") }, "fs.remove_file on own"},
			{"rename", landlock.V1, func() error { return os.Rename(own+"sub/file", own+"sub/new") }, ""},
			{"rename elsewhere", landlock.V2, func() error { return os.Rename(own+"sub/new", own+"new") }, "fs.refer on sub; fs.make_reg,fs.refer on own"},
			{"link", landlock.V2, func() error { return os.Link(own+"file", own+"sub/linked") }, "fs.refer on own; fs.refer on sub"},
			{"remove a directory", landlock.V1, func() error { return os.RemoveAll(own + "sub") }, "fs.remove_dir on own"},
			{"exec", landlock.V1, func() error { _, err := os.StartProcess("/bin/sh", nil, new(os.ProcAttr)); return err }, "fs.execute,fs.read_file on "},
			{"connect", landlock.V4, func() error { _, err := net.Dial("tcp", "127.0.0.1:1"); return err }, "net.connect_tcp on 1"},
			{"unix bind", landlock.V1, func() error { _, err := net.Listen("unix", own+"socket"); return err }, "fs.make_sock on own"},
			{"abstract", landlock.V6, func() error {
				_, err := net.Dial("unix", "@"+filepath.Base(dir)+fmt.Sprint(os.Getpid()))
				return err
			}, "scope.abstract_unix_socket on ."},
			{"signal", landlock.V6, func() error { return os.NewSyscallError("kill", unix.Kill(os.Getppid(), 0)) }, "scope.signal on ."},
		}
		listener, err := net.Listen("unix", "@"+filepath.Base(dir)+fmt.Sprint(os.Getpid()))
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		for _, test := range tests {
			if kernel.ABI < test.needs {
				t.Run(test.name, func(t *testing.T) {
					t.Skipf("needs ABI %d, this kernel has %d", int(test.needs), int(kernel.ABI))
				})
				continue
			}
			var failed, inside error
			if err := s.Do(func() error {
				failed = test.do()
				inside = r.Explain(failed)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			outside := r.Explain(fmt.Errorf("wrapped: %w", failed))
			for _, explained := range []error{inside, outside} {
				why := whyDenied(explained)
				if test.missing == "" {
					if failed != nil {
						t.Errorf("%s: %v", test.name, explained)
					}
				} else if !strings.Contains(why, test.missing) {
					t.Errorf("%s: %v: denied %q, want %q", test.name, explained, why, test.missing)
				}
				if failed != nil && !errors.Is(explained, errors.Unwrap(failed)) {
					t.Errorf("%s: %v is not %v any more", test.name, explained, failed)
				}
			}
		}
	})
}

// What Landlock did not deny stays as it is.
func TestExplainLeavesOthersAlone(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		r := landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS(), Net: landlock.V4.Net()}).BestEffort(landlock.V1).AllowRead(dir+"/own").Allow(landlock.FSReadFile|landlock.FSExecute, dir+"/secret")
		closed := testenv.Write(t, filepath.Join(dir, "closed"), "x")
		if err := os.Chmod(closed, 0); err != nil {
			t.Fatal(err)
		}
		deny := func(op, path string, err error) error { return &fs.PathError{Op: op, Path: path, Err: err} }
		errs := []error{
			nil,
			errors.New("some error"),
			fs.ErrPermission,
			&fs.PathError{Op: "stat", Path: "x", Err: fmt.Errorf("more: %w", unix.EACCES)},
			errors.Join(unix.EACCES, errors.New("more")),
			unix.EPERM,
			deny("open", dir+"/own/none", unix.ENOENT),
			deny("open", dir+"/secret", unix.EROFS),
			deny("open", dir+"/own/file\x00", unix.EACCES),
			deny("open", dir+"/nothing/at/all", unix.EACCES),
			deny("stat", dir+"/other", unix.EACCES),
			deny("chmod", dir+"/other", unix.EPERM),
			deny("chdir", dir+"/other", unix.EACCES),
			deny("open", "", unix.EACCES),
			deny("", "", nil),
			(*fs.PathError)(nil),
			&os.LinkError{Op: "rename", Old: dir + "/none", New: dir + "/x", Err: unix.EXDEV},
			&os.LinkError{Op: "rename", Old: dir + "/own/file", New: "/proc/x", Err: unix.EXDEV}, // another file system
			(*os.LinkError)(nil),
			&fs.PathError{Op: "open", Path: dir, Err: (*fs.PathError)(nil)},
			&os.LinkError{Op: "rename", Old: dir, New: dir, Err: (*os.SyscallError)(nil)},
			&net.OpError{Op: "dial", Net: "tcp", Err: (*os.SyscallError)(nil)},
			&os.SyscallError{Syscall: "kill", Err: (*fs.PathError)(nil)},
			&net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", unix.ECONNREFUSED), Addr: &net.TCPAddr{Port: 1}},
			&net.OpError{Op: "dial", Net: "tcp"},
			&net.OpError{Op: "dial", Net: "tcp", Addr: (*net.TCPAddr)(nil), Err: os.NewSyscallError("connect", unix.EACCES)},
			&exec.Error{Name: "x", Err: exec.ErrNotFound},
			&exec.Error{Name: "x", Err: fs.ErrPermission},
			os.NewSyscallError("kill", unix.EPERM), // without a scope
			os.NewSyscallError("mount", unix.EPERM),
		}
		if os.Geteuid() != 0 {
			errs = append(errs, deny("open", closed, unix.EACCES), deny("truncate", closed, unix.EACCES), deny("fork/exec", closed, unix.EACCES))
		}
		for _, err := range errs {
			if got := r.Explain(err); got != err {
				t.Errorf("%#v: %v", err, got)
			}
		}
		if got := r.Explain(r.Explain(deny("open", dir, unix.EACCES))); strings.Count(got.Error(), "would allow") != 1 {
			t.Errorf("explained twice: %v", got)
		}
	})
}

// Where there is no descriptor to look with, Explain says so, and does not say
// that Landlock has nothing to do with it.
func TestExplainWithoutDescriptors(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		r := landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()})
		for _, failed := range []error{
			&fs.PathError{Op: "open", Path: dir + "/secret", Err: unix.EACCES},
			&fs.PathError{Op: "open", Path: dir + "/new", Err: unix.EACCES},
			&fs.PathError{Op: "mkdir", Path: dir + "/new", Err: unix.EACCES},
			&fs.PathError{Op: "remove", Path: dir + "/secret", Err: unix.EACCES},
			&os.LinkError{Op: "rename", Old: dir + "/secret", New: dir + "/new", Err: unix.EACCES},
		} {
			told := false
			for room := range 16 {
				undo := limitFiles(t, room)
				err := r.Explain(failed)
				undo()
				if denied, ok := errors.AsType[*landlock.DeniedError](err); ok && denied != nil {
					told = true
				} else if !errors.Is(err, unix.EMFILE) || !errors.Is(err, failed) || !strings.Contains(err.Error(), "too many open files: raise RLIMIT_NOFILE") {
					t.Errorf("%v, with room for %d: %v, want EMFILE", failed, room, err)
				}
			}
			if !told {
				t.Errorf("%v: never explained", failed)
			}
		}
		before := testenv.OpenFiles()
		r.Explain(&fs.PathError{Op: "remove", Path: dir + "/nothing", Err: unix.EACCES})
		for fd, link := range testenv.LeftOpen(before) {
			t.Errorf("descriptor %d is left open: %s", fd, link)
		}
	})
}

// All of it works in a process that is restricted already.
func TestCheckAfterApply(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		r := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile | landlock.FSReadDir}).AllowRead(dir + "/own")
		testenv.MustApply(t, r)
		if err := r.Check(landlock.FSReadFile, dir+"/own/file"); err != nil {
			t.Errorf("what is allowed: %v", err)
		}
		_, err := os.ReadFile(dir + "/secret")
		if why := whyDenied(r.Explain(err)); why != "fs.read_file on secret" {
			t.Errorf("%v: %q", r.Explain(err), why)
		}
	})
}

func FuzzCheck(f *testing.F) {
	dir := checkTree(f)
	r := landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()}).BestEffort(0).AllowRead(dir + "/data")
	for _, path := range []string{"data/file", "other/in", "data/here/../out", "data/loop/x", "/", "//", "\x00", "data/file/", ".", "...", "data//fifo"} {
		f.Add(path, uint64(landlock.FSReadFile))
	}
	_, noLandlock := landlock.Probe()
	f.Fuzz(func(t *testing.T, path string, access uint64) {
		err := r.Check(landlock.AccessFS(access), dir+"/"+path)
		if err != nil || noLandlock != nil || landlock.AccessFS(access)&landlock.V1.FS() == 0 {
			return
		}
		// A yes: so it is one of those that may be read, and no more was asked for.
		real, err := filepath.EvalSymlinks(filepath.Dir(dir + "/" + strings.TrimRight(path, "/")))
		if landlock.AccessFS(access)&landlock.V1.FS()&^landlock.FSRead != 0 || err == nil && !strings.HasPrefix(real+"/", dir) {
			t.Errorf("Check(%v, %q) = nil", landlock.AccessFS(access), path)
		}
	})
}

func FuzzExplain(f *testing.F) {
	dir := checkTree(f)
	r := landlock.New(landlock.V6).BestEffort(0).AllowRead(dir + "/data")
	for _, op := range []string{"open", "rename", "dial", "fork/exec", "unlinkat", "mkdir", "kill", "truncate", "symlink", "at", ""} {
		f.Add(op, "data/file", "other/new", "tcp", "connect", 13, uint8(1))
		f.Add(op, "other/file", "data/loop", "unix", "bind", 18, uint8(2))
	}
	f.Fuzz(func(t *testing.T, op, path, other, network, call string, errno int, shape uint8) {
		path, other = dir+"/"+path, dir+"/"+other
		var err error = syscall.Errno(errno)
		if shape&16 != 0 {
			err = os.NewSyscallError(call, err)
		}
		switch shape % 5 {
		case 1:
			err = &fs.PathError{Op: op, Path: path, Err: err}
		case 2:
			err = &os.LinkError{Op: op, Old: path, New: other, Err: err}
		case 3:
			err = &net.OpError{Op: op, Net: network, Addr: &net.UnixAddr{Name: path}, Err: os.NewSyscallError(call, err)}
		case 4:
			err = &exec.Error{Name: path, Err: err}
		}
		if shape&32 != 0 {
			err = errors.Join(nil, err, fmt.Errorf("also: %w", err))
		}
		explained := r.Explain(err)
		if text := explained.Error(); text == "" && err.Error() != "" || !errors.Is(explained, err) {
			t.Errorf("Explain(%v) = %v", err, explained)
		}
	})
}

// What a file would gain by a move counts only where no rule of its own has it.
func TestMoveOfFileWithRule(t *testing.T) {
	testenv.NeedABI(t, landlock.V2)
	testenv.InBoth(t, func(t *testing.T, dir string) {
		const moves = landlock.FSRefer | landlock.FSMakeReg | landlock.FSRemoveFile
		file, to := filepath.Join(dir, "own", "file"), filepath.Join(dir, "secret dir")
		if err := os.Mkdir(to, 0o777); err != nil {
			t.Fatal(err)
		}
		bare := landlock.NewHandling(landlock.Rights{FS: landlock.V2.FS()}).Allow(moves, filepath.Dir(file)).Allow(moves|landlock.FSReadFile, to)
		for _, test := range []struct {
			rules *landlock.Ruleset
			want  error
			why   string
		}{{bare, unix.EXDEV, "fs.read_file on own"}, {bare.Clone().Allow(landlock.FSReadFile, file), nil, ""}} {
			var failed error
			if err := testenv.MustPrepare(t, test.rules).Do(func() error { failed = os.Rename(file, to+"/file"); return nil }); err != nil {
				t.Fatal(err)
			}
			if why := whyDenied(test.rules.Explain(failed)); !errors.Is(failed, test.want) || why != test.why {
				t.Errorf("%v: %q, want %v, %q", failed, why, test.want, test.why)
			}
		}
	})
}

// Beneath a directory that a mount covers the kernel finds other rules than a
// path leads to.
func TestCheckBelowCoveredDirectory(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		own := filepath.Join(dir, "own")
		result := make(chan error)
		go func() { // on a thread with mounts of its own, which ends
			runtime.LockOSThread()
			result <- func() error {
				if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
					return nil // it takes privileges
				}
				if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
					return err
				}
				fd, err := unix.Open(own, unix.O_PATH|unix.O_CLOEXEC, 0)
				if err != nil {
					return err
				}
				if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
					return nil // nor may root do this everywhere
				}
				r := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadDir}).Allow(landlock.FSReadDir, dir)
				below := fmt.Sprint("/proc/self/fd/", fd)
				said := r.Check(landlock.FSReadDir, below)
				s, err := r.Prepare()
				if err != nil {
					return err
				}
				defer s.Close()
				enforceOnThread(t, s)
				if _, err := os.ReadDir(below); !errors.Is(err, unix.EACCES) {
					return fmt.Errorf("the kernel allows it: %v", err)
				}
				if said == nil {
					return errors.New("the kernel denies it, and Check allows it")
				}
				return nil
			}()
		}()
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}
