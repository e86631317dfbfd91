package blackbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/internal/testchild"
	"example.com/landlock/internal/testenv"
)

// says reports whether an error says so.
func says(err error, text string) bool { return err != nil && strings.Contains(err.Error(), text) }

// What Check says where it cannot tell.
const (
	ruleMayBeLost  = "it depends on a rule that the kernel loses once memory gets short"
	mayBeAboveRoot = "it depends on a rule for a directory that may be above the root of this process"
)

// agree compares an answer of Check with what the kernel has just said.
func agree(t *testing.T, what string, said, kernel error) {
	t.Helper()
	_, denied := errors.AsType[*landlock.DeniedError](said)
	switch {
	case said != nil && !denied:
		t.Errorf("%s: Check cannot tell: %v", what, said)
	case denied != errors.Is(kernel, unix.EACCES):
		t.Errorf("%s: Check says %v, the kernel %v", what, said, kernel)
	}
}

// replace puts another file in the place of one, as editors do.
func replace(t *testing.T, path string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path+".new", nil, 0o600), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
}

// After Apply a ruleset answers by the files that its rules were loaded for.
func TestCheckIsOfWhatIsEnforced(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	testenv.InChild(t, nil, func(t *testing.T, dir string) {
		replaced, kept, other := testenv.Write(t, dir+"/replaced", ""), testenv.Write(t, dir+"/kept", ""), testenv.Write(t, dir+"/other", "")
		link := dir + "/current"
		if err := errors.Join(os.Mkdir(dir+"/v1", 0o700), os.Mkdir(dir+"/v2", 0o700), os.Symlink("v1", link)); err != nil {
			t.Fatal(err)
		}
		testenv.Write(t, dir+"/v2/file", "")
		r := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).Allow(landlock.FSReadFile, replaced, kept, link)
		before := r.Clone()
		testenv.MustApply(t, r)
		replace(t, replaced)
		if err := errors.Join(os.Remove(link), os.Symlink("v2", link)); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{replaced, kept, other, link + "/file"} {
			_, err := os.ReadFile(path)
			agree(t, path, r.Check(landlock.FSReadFile, path), err)
			if denied := r.Check(landlock.FSReadFile, path) != nil; denied == (path == kept) {
				t.Errorf("%s: denied %v", path, denied)
			}
		}
		if err := before.Check(landlock.FSReadFile, replaced); err != nil {
			t.Errorf("a clone that was not applied answers for what is enforced: %v", err)
		}
		if err := r.Clone().Check(landlock.FSReadFile, replaced); err != nil {
			t.Errorf("a clone of what was applied answers for what is enforced: %v", err)
		}
		if err := os.Remove(kept); err != nil {
			t.Fatal(err)
		}
		if err := r.Check(landlock.FSReadFile, other); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("with the path of a rule gone: %v", err)
		}
		r.Allow(landlock.FSReadFile, other)
		if err := r.Check(landlock.FSReadFile, other); err == nil {
			t.Error("a rule that was added later widens what is enforced")
		}
		if err := r.Check(landlock.FSReadFile, dir+"/v1"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what was changed is not loaded: %v", err)
		}
	})
}

// What was applied several times is all in force.
func TestCheckAfterTwoApplies(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	testenv.InChild(t, nil, func(t *testing.T, dir string) {
		first, both := testenv.Write(t, dir+"/first", ""), testenv.Write(t, dir+"/both", "")
		r := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).Allow(landlock.FSReadFile, first, both)
		testenv.MustApply(t, r)
		replace(t, first)
		testenv.MustApply(t, r)
		for _, path := range []string{first, both} {
			_, err := os.ReadFile(path)
			agree(t, path, r.Check(landlock.FSReadFile, path), err)
		}
		if err := r.Check(landlock.FSReadFile, first); err == nil {
			t.Error("the first Apply is forgotten")
		}
	})
}

// A Sandbox answers by the files that it was loaded with.
func TestCheckOfSandbox(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	dir := t.TempDir()
	replaced, kept, gone := testenv.Write(t, dir+"/replaced", ""), testenv.Write(t, dir+"/kept", ""), testenv.Write(t, dir+"/gone", "")
	s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).Allow(landlock.FSReadFile, replaced, kept, gone))
	replace(t, replaced)
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{replaced, kept} {
		err := s.Do(func() error {
			_, err := os.ReadFile(path)
			return err
		})
		agree(t, path, s.Check(landlock.FSReadFile, path), err)
		if explained := s.Explain(err); err != nil && explained == err {
			t.Errorf("%s is not explained", path)
		}
	}
	closed := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).Allow(landlock.FSReadFile, kept))
	closed.Close()
	for _, none := range []*landlock.Sandbox{nil, {}, closed} {
		if err := errors.Join(none.Check(landlock.FSReadFile, kept), none.CheckNet(landlock.NetBindTCP, 1)); !errors.Is(err, os.ErrClosed) {
			t.Errorf("a Sandbox that was never prepared: %v", err)
		}
		denied := &fs.PathError{Op: "open", Path: kept, Err: unix.EACCES}
		if err := none.Explain(denied); !errors.Is(err, os.ErrClosed) || !errors.Is(err, denied) {
			t.Errorf("a Sandbox that is none explains %v", err)
		}
		if err := none.Explain(fs.ErrExist); err != fs.ErrExist {
			t.Errorf("a Sandbox that was never prepared explains %v", err)
		}
	}
}

func TestCheckNetOfSandbox(t *testing.T) {
	testenv.NeedABI(t, landlock.V4)
	s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{Net: landlock.NetConnectTCP}).AllowConnectTCP(443))
	if err := s.CheckNet(landlock.NetConnectTCP, 443); err != nil {
		t.Error(err)
	}
	if err := s.CheckNet(landlock.NetConnectTCP, 80); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("port 80: %v", err)
	}
}

// AllowIf's judge is asked when the ruleset is loaded, and not for each answer.
func TestCheckJudgesOnce(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	path, asked := testenv.Write(t, t.TempDir()+"/file", ""), 0
	s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).AllowIf(landlock.FSReadFile, func(*os.File) error { asked++; return nil }, path))
	if err := s.Check(landlock.FSReadFile, path); err != nil || asked != 1 {
		t.Errorf("%v, judged %d times", err, asked)
	}
}

// What a newer kernel will deny is known on an older one.
func TestCheckTarget(t *testing.T) {
	dir := t.TempDir()
	socket, file := dir+"/socket", testenv.Write(t, dir+"/file", "")
	if err := unix.Mknod(socket, unix.S_IFSOCK|0o666, 0); err != nil {
		t.Fatal(err)
	}
	r := landlock.New(landlock.V11).AllowRead(dir).AllowConnectTCP(443)
	for _, test := range []struct {
		access  landlock.AccessFS
		path    string
		allowed bool
	}{
		{landlock.FSReadFile, file, true},
		{landlock.FSWriteFile, file, false},
		{landlock.FSResolveUnix, socket, false},
		{landlock.FSResolveUnix, file, true}, // no socket
		{landlock.FSReadDir, "/", false},
	} {
		if err := r.CheckTarget(test.access, test.path); (err == nil) != test.allowed || err != nil && !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%v on %s: %v", test.access, test.path, err)
		}
	}
	if denied, ok := errors.AsType[*landlock.DeniedError](r.CheckTarget(landlock.FSResolveUnix, socket)); !ok || denied.Uncertain == "" {
		t.Error("it does not say that a socket of the sandbox's own is free")
	}
	for access, denied := range map[landlock.AccessNet]bool{landlock.NetConnectTCP: false, landlock.NetConnectSendUDP: true} {
		if err := r.CheckNetTarget(access, 443); (err != nil) != denied {
			t.Errorf("%v: %v", access, err)
		}
	}
	if err := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).CheckTarget(landlock.FSResolveUnix, socket); err != nil {
		t.Errorf("what is not handled is denied: %v", err)
	}
	for _, wrong := range []*landlock.Ruleset{landlock.New(0), landlock.New(landlock.V1).AllowRead(""), landlock.New(landlock.V1).AllowRead(dir + "/none"), landlock.New(landlock.V1).Allow(landlock.FSReadDir, file), nil} {
		if err := wrong.CheckTarget(landlock.FSReadFile, file); err == nil || errors.Is(err, fs.ErrPermission) {
			t.Errorf("%v: %v", wrong, err)
		}
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	defer writer.Close()
	if _, ok := errors.AsType[*landlock.RuleError](landlock.New(landlock.V5).AllowFile(landlock.FSReadFile, reader).CheckTarget(landlock.FSReadFile, file)); !ok {
		t.Error("a rule that no kernel takes is none of CheckTarget's errors")
	}
	if kernel, _ := landlock.Probe(); kernel.ABI >= landlock.V9 {
		if err := r.Check(landlock.FSResolveUnix, socket); err == nil {
			t.Error("this kernel denies it, and Check does not say so")
		}
	}
}

// The rights that are about a name are asked of the directory that it is in.
func TestCheckOfNames(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	dir := t.TempDir()
	testenv.Write(t, dir+"/to/file", "")
	testenv.Write(t, dir+"/from/file", "")
	for name, target := range map[string]string{"link": "../to/file", "dir": "../to", "dangling": "../to/new", "loop": "loop", "through": "file/x"} {
		if err := os.Symlink(target, dir+"/from/"+name); err != nil {
			t.Fatal(err)
		}
	}
	r := landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()}).Allow(landlock.FSReadFile|landlock.FSRemoveFile|landlock.FSMakeReg|landlock.FSMakeSym|landlock.FSRefer, dir+"/to")
	for _, test := range []struct {
		access landlock.AccessFS
		path   string
		denied landlock.AccessFS
	}{
		{landlock.FSReadFile, "link", 0},
		{landlock.FSRemoveFile, "link", landlock.FSRemoveFile},
		{landlock.FSRemoveFile | landlock.FSReadFile, "link", landlock.FSRemoveFile},
		{landlock.FSRemoveFile | landlock.FSWriteFile, "link", landlock.FSRemoveFile | landlock.FSWriteFile},
		{landlock.FSRefer | landlock.FSMakeSym, "link", landlock.FSRefer | landlock.FSMakeSym},
		{landlock.FSRemoveFile, "dir", landlock.FSRemoveFile},
		{landlock.FSRemoveFile, "dir/", 0},
		{landlock.FSRemoveFile, "dir/file", 0},
		{landlock.FSMakeReg, "dangling", 0}, // as open makes it
		{landlock.FSMakeSym | landlock.FSMakeReg, "dangling", landlock.FSMakeSym},
		{landlock.FSRemoveFile, "dangling", landlock.FSRemoveFile},
		{landlock.FSRemoveFile, "loop", landlock.FSRemoveFile},
		{landlock.FSRemoveFile | landlock.FSMakeReg, "through", landlock.FSRemoveFile | landlock.FSMakeReg},
	} {
		var missing landlock.AccessFS
		err := r.Check(test.access, dir+"/from/"+test.path)
		if denied, ok := errors.AsType[*landlock.DeniedError](err); ok {
			missing = denied.Missing.FS
		}
		if missing != test.denied || (err == nil) != (test.denied == 0) {
			t.Errorf("%v on %s: %v, want %v", test.access, test.path, err, test.denied)
		}
	}
	s := testenv.MustPrepare(t, r)
	agree(t, "unlink", r.Check(landlock.FSRemoveFile, dir+"/from/link"), s.Do(func() error { return unix.Unlink(dir + "/from/link") }))
	agree(t, "create", r.Check(landlock.FSReadFile|landlock.FSMakeReg, dir+"/from/dangling"), s.Do(func() error {
		fd, err := unix.Open(dir+"/from/dangling", unix.O_CREAT|unix.O_RDONLY, 0o600)
		unix.Close(fd)
		return err
	}))
}

// Where the kernel never asks for a right, it is allowed.
func TestCheckOfWhatIsNeverAsked(t *testing.T) {
	testenv.NeedABI(t, landlock.V3)
	dir := t.TempDir()
	fifo, file := dir+"/fifo", testenv.Write(t, dir+"/file", "")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	r := landlock.NewHandling(landlock.Rights{FS: landlock.FSTruncate})
	s := testenv.MustPrepare(t, r)
	for path, denied := range map[string]bool{fifo: false, "/dev/null": false, file: true} {
		said := r.Check(landlock.FSTruncate, path)
		agree(t, path, said, s.Do(func() error {
			fd, err := unix.Open(path, unix.O_RDWR|unix.O_TRUNC|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			unix.Close(fd)
			return err
		}))
		if (said != nil) != denied {
			t.Errorf("truncate %s: %v", path, said)
		}
	}
}

// A path is as long as the kernel takes it.
func TestCheckOfLongPaths(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	dir := t.TempDir()
	file := testenv.Write(t, dir+"/file", "")
	r := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).Allow(landlock.FSReadFile, dir)
	for _, length := range []int{unix.PathMax - 2, unix.PathMax - 1, unix.PathMax, unix.PathMax + 55} {
		path := filepath.Dir(file)
		path += strings.Repeat("/", length-len(path)-len("file")) + "file"
		_, kernel := os.ReadFile(path)
		if said := r.Check(landlock.FSReadFile, path); (said == nil) != (kernel == nil) || errors.Is(said, unix.ENAMETOOLONG) != errors.Is(kernel, unix.ENAMETOOLONG) {
			t.Errorf("%d bytes: Check says %v, the kernel %v", len(path), said, kernel)
		}
	}
}

// A file of memory has no place, and no rule is about it; a file of that name has.
func TestCheckOfMemory(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	fd, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC)
	if err != nil {
		t.Skip("needs memfd_create: ", err)
	}
	defer unix.Close(fd)
	removed, err := os.Create(t.TempDir() + "/memfd:x (deleted)")
	if err != nil {
		t.Fatal(err)
	}
	defer removed.Close()
	os.Remove(removed.Name())
	r := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile})
	s := testenv.MustPrepare(t, r)
	path := fmt.Sprintf("/proc/self/fd/%d", fd)
	agree(t, "memfd", r.Check(landlock.FSReadFile, path), s.Do(func() error {
		_, err := os.ReadFile(path)
		return err
	}))
	if err := r.Check(landlock.FSReadFile, fmt.Sprintf("/proc/self/fd/%d", removed.Fd())); err == nil {
		t.Error("a file that was removed is taken for one of memory")
	}
}

// The kernel loses rules for what is beneath /proc, so nothing is sure.
func TestCheckOfProc(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	uncertain := func(r *landlock.Ruleset, access landlock.AccessFS, path string) {
		t.Helper()
		if err := r.Check(access, path); !says(err, ruleMayBeLost) {
			t.Errorf("%v on %s under %v: %v", access, path, r, err)
		}
	}
	none := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile | landlock.FSReadDir | landlock.FSWriteFile})
	uncertain(none.Clone().Allow(landlock.FSReadFile, "/proc/meminfo"), landlock.FSReadFile, "/proc/meminfo")
	uncertain(none.Clone().Allow(landlock.FSReadFile, "/proc/sys"), landlock.FSReadFile, "/proc/sys/kernel/ostype")
	uncertain(none.Clone().Allow(landlock.FSReadFile, "/proc/self"), landlock.FSReadFile, "/proc/self/status")
	for _, certain := range []struct {
		rules   *landlock.Ruleset
		access  landlock.AccessFS
		allowed bool
	}{
		{none.Clone().AllowRead("/proc"), landlock.FSReadFile, true},
		{none.Clone().AllowRead("/"), landlock.FSReadFile, true},
		{none.Clone().AllowRead("/proc", "/proc/meminfo"), landlock.FSReadFile, true},
		{none.Clone().Allow(landlock.FSReadFile, "/proc/meminfo"), landlock.FSWriteFile, false},
		{none.Clone().Allow(landlock.FSReadFile, "/proc/meminfo"), landlock.FSReadFile | landlock.FSWriteFile, false},
		{none.Clone(), landlock.FSReadFile, false},
	} {
		err := certain.rules.Check(certain.access, "/proc/meminfo")
		if (err == nil) != certain.allowed || err != nil && !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%v under %v: %v", certain.access, certain.rules, err)
		}
	}
}

// inMountNamespace runs f as root in a process with mounts of its own.
func inMountNamespace(t *testing.T, f func(t *testing.T, dir string)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	testchild.Run(t, "apart", func(t *testing.T, cmd *exec.Cmd, own string) {
		cmd.Path = testenv.Self()
		cmd.Env = append(cmd.Env, testenv.ChildDir+"="+testenv.Scratch(t))
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	}, func(t *testing.T, _ string) { f(t, os.Getenv(testenv.ChildDir)) })
}

func bindMount(t *testing.T, from, to string) {
	t.Helper()
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("needs root that may mount: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(to, unix.MNT_DETACH) })
}

// A mount that covers a directory on the way up is not on the kernel's way.
func TestCheckBeneathCoveredMounts(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	inMountNamespace(t, func(t *testing.T, dir string) {
		for _, file := range []string{"/a/b/c/file", "/cover/b/c/file", "/mount/file", "/other/file"} {
			testenv.Write(t, dir+file, "")
		}
		bindMount(t, dir+"/mount", dir+"/a/b")
		t.Chdir(dir + "/a/b") // the root of a mount, whose parent is covered now
		bindMount(t, dir+"/cover", dir+"/a")
		for _, test := range []struct {
			rule string
			sure bool
		}{{dir + "/a", false}, {dir + "/cover", false}, {dir + "/mount", true}, {dir, false}} {
			r := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).Allow(landlock.FSReadFile, test.rule)
			s := testenv.MustPrepare(t, r)
			read := s.Do(func() error {
				fd, err := unix.Open("file", unix.O_RDONLY|unix.O_CLOEXEC, 0)
				unix.Close(fd)
				return err
			})
			said := s.Check(landlock.FSReadFile, "file")
			if said == nil && read != nil {
				t.Errorf("rule for %s: Check says yes, the kernel %v", test.rule, read)
			}
			if test.sure && said == nil || !test.sure && said != nil && !errors.Is(said, fs.ErrPermission) {
				continue
			}
			if !test.sure || !says(said, "a directory above is covered by a mount") {
				t.Errorf("rule for %s: Check says %v, the kernel %v", test.rule, said, read)
			}
		}
	})
}

// A mount on a mount's root is looked through.
func TestCheckBeneathStackedMounts(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	inMountNamespace(t, func(t *testing.T, dir string) {
		for _, file := range []string{"/a/file", "/lower/file", "/upper/file"} {
			testenv.Write(t, dir+file, "")
		}
		bindMount(t, dir+"/lower", dir+"/a")
		bindMount(t, dir+"/upper", dir+"/a")
		for _, rule := range []string{dir + "/lower", dir + "/upper", dir + "/a", dir} {
			r := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).Allow(landlock.FSReadFile, rule)
			s := testenv.MustPrepare(t, r)
			agree(t, rule, s.Check(landlock.FSReadFile, dir+"/a/file"), s.Do(func() error {
				fd, err := unix.Open(dir+"/a/file", unix.O_RDONLY|unix.O_CLOEXEC, 0)
				unix.Close(fd)
				return err
			}))
		}
	})
}

// What is mounted over "/" is on nobody's way but its own files'.
func TestCheckBeneathMountOverRoot(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	inMountNamespace(t, func(t *testing.T, dir string) {
		testenv.Write(t, dir+"/over/file", "")
		testenv.Write(t, dir+"/file", "")
		bindMount(t, dir+"/over", "/")
		over, err := unix.Open("/..", unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(over)
		root, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(root)
		for name, fd := range map[string]int{"the mount": over, "the root": root} {
			r := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).AllowFile(landlock.FSReadFile, os.NewFile(uintptr(fd), name))
			s := testenv.MustPrepare(t, r)
			for _, path := range []string{dir + "/file", "/../file", "/etc/passwd", "/proc/meminfo"} {
				said, kernel := s.Check(landlock.FSReadFile, path), s.Do(func() error {
					fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
					unix.Close(fd)
					return err
				})
				if name == "the mount" && says(said, mayBeAboveRoot) {
					continue // no path leads to that directory that says it is not above
				}
				agree(t, "rule for "+name+": "+path, said, kernel)
			}
		}
	})
}

// In a chroot the kernel goes on above its root.
func TestCheckInChroot(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	inMountNamespace(t, func(t *testing.T, dir string) {
		testenv.Write(t, dir+"/jail/file", "")
		if err := os.Mkdir(dir+"/jail/proc", 0o700); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("/proc", dir+"/jail/proc", "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			t.Skipf("needs root that may mount: %v", err)
		}
		testenv.Write(t, dir+"/jail/in/file", "")
		testenv.Write(t, dir+"/beside/file", "")
		open := func(path string) *os.File {
			file, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { file.Close() })
			return file
		}
		above, beside := open(dir), open(dir+"/beside")
		only := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile | landlock.FSReadDir})
		before := testenv.MustPrepare(t, only.Clone().AllowRead(dir))
		inside := testenv.MustPrepare(t, only.Clone().AllowRead(dir+"/jail/in"))
		if err := unix.Chroot(dir + "/jail"); err != nil {
			t.Skipf("needs root that may chroot: %v", err)
		}
		t.Chdir("/")
		read := func(s *landlock.Sandbox, path string) error {
			return s.Do(func() error {
				fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
				unix.Close(fd)
				return err
			})
		}
		for _, test := range []struct {
			name   string
			s      *landlock.Sandbox
			path   string
			unsure bool
		}{
			{"loaded before", before, "/file", true},
			{"loaded before, beneath", inside, "/in/file", false},
			{"loaded before, elsewhere", inside, "/file", true},
			{"open above", testenv.MustPrepare(t, only.Clone().AllowFile(landlock.FSRead, above)), "/file", true},
			{"open beside", testenv.MustPrepare(t, only.Clone().AllowFile(landlock.FSRead, beside)), "/file", true},
			{"open beneath", testenv.MustPrepare(t, only.Clone().AllowFile(landlock.FSRead, open("/in"))), "/file", false},
			{"loaded now", testenv.MustPrepare(t, only.Clone().AllowRead("/in")), "/file", false},
			{"loaded now, beneath", testenv.MustPrepare(t, only.Clone().AllowRead("/in")), "/in/file", false},
		} {
			said, kernel := test.s.Check(landlock.FSReadFile, test.path), read(test.s, test.path)
			if test.unsure {
				if !says(said, mayBeAboveRoot) {
					t.Errorf("%s: Check says %v, the kernel %v", test.name, said, kernel)
				}
			} else {
				agree(t, test.name, said, kernel)
			}
		}
	})
}

// A file system that was unmounted everywhere has taken its rules with it, and another
// one may have its numbers.
func TestCheckAfterUnmount(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	inMountNamespace(t, func(t *testing.T, dir string) {
		mount := func(on string) {
			if err := unix.Mount("tmpfs", on, "tmpfs", 0, ""); err != nil {
				t.Skipf("needs root that may mount: %v", err)
			}
			testenv.Write(t, on+"/file", "")
		}
		read := func(s *landlock.Sandbox, path string) error {
			return s.Do(func() error {
				fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
				unix.Close(fd)
				return err
			})
		}
		one, two := dir+"/one", dir+"/two"
		if err := errors.Join(os.Mkdir(one, 0o700), os.Mkdir(two, 0o700)); err != nil {
			t.Fatal(err)
		}
		mount(one)
		s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).Allow(landlock.FSReadFile, one))
		bindMount(t, one, two)
		agree(t, "by another mount", s.Check(landlock.FSReadFile, two+"/file"), read(s, two+"/file"))
		if err := errors.Join(unix.Unmount(two, 0), unix.Unmount(one, 0)); err != nil {
			t.Fatal(err)
		}
		mount(one)
		said, kernel := s.Check(landlock.FSReadFile, one+"/file"), read(s, one+"/file")
		var stat unix.Statx_t
		if err := unix.Statx(unix.AT_FDCWD, one, 0, unix.STATX_MNT_ID_UNIQUE, &stat); err == nil && stat.Mask&unix.STATX_MNT_ID_UNIQUE == 0 {
			return // before Linux 6.8 it cannot be told
		}
		if kernel == nil || said == nil {
			t.Errorf("Check says %v, the kernel %v", said, kernel)
		}
	})
}

// What the kernel counts, and forbids, of links is so here.
func TestCheckOfLinks(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	dir := t.TempDir()
	testenv.Write(t, dir+"/real/file", "")
	testenv.Write(t, dir+"/gone/file", "")
	at, in := "real", "file"
	for i := range 30 {
		if err := errors.Join(os.Symlink(at, fmt.Sprintf("%s/d%d", dir, i)), os.Symlink(in, fmt.Sprintf("%s/real/f%d", dir, i))); err != nil {
			t.Fatal(err)
		}
		at, in = fmt.Sprint("d", i), fmt.Sprint("f", i)
	}
	r := landlock.NewHandling(landlock.V1.Rights()).Allow(landlock.V1.FS(), dir)
	for _, path := range []string{"/d29/f29", "/d9/f9", "/d29/file", "/real/f29"} {
		_, kernel := os.ReadFile(dir + path)
		if said := r.Check(landlock.FSReadFile, dir+path); (said == nil) != (kernel == nil) {
			t.Errorf("%s: Check says %v, the kernel %v", path, said, kernel)
		}
	}
	t.Chdir(dir + "/gone")
	if err := os.RemoveAll(dir + "/gone"); err != nil {
		t.Fatal(err)
	}
	if err := r.Check(landlock.FSMakeReg, "new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file in a directory that was removed: %v", err)
	}
}

func TestCheckOfLinksOnMounts(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	inMountNamespace(t, func(t *testing.T, dir string) {
		testenv.Write(t, dir+"/file", "")
		if err := os.Symlink("file", dir+"/link"); err != nil {
			t.Fatal(err)
		}
		r := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).Allow(landlock.FSReadFile, dir)
		bindMount(t, dir, dir)
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOSYMFOLLOW, ""); err != nil {
			t.Skipf("needs root that may mount: %v", err)
		}
		if err := r.Check(landlock.FSReadFile, dir+"/link"); !errors.Is(err, unix.ELOOP) {
			t.Errorf("a link that the kernel does not follow: %v", err)
		}
	})
}

// A file with several names may have been opened by any of them, and another one's link
// of /proc looks like it.
func TestCheckOfOpenFiles(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	dir := t.TempDir()
	file, err := os.Open(testenv.Write(t, dir+"/e/f", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	path := fmt.Sprintf("/proc/self/fd/%d", file.Fd())
	if err := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).Allow(landlock.FSReadFile, dir+"/e").Check(landlock.FSReadFile, path); err != nil {
		t.Errorf("a file that is open: %v", err)
	}
	for _, err := range []error{
		os.Link(dir+"/e/f", dir+"/keep"), os.RemoveAll(dir + "/e"), os.Mkdir(dir+"/e", 0o700), os.Link(dir+"/keep", dir+"/e/f (deleted)"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).Allow(landlock.FSReadFile, dir+"/e").Check(landlock.FSReadFile, path); !says(err, "has no name by which its directory could be found") {
		t.Errorf("a file that looks like another one: %v", err)
	}
}

// What AllowRead is for is allowed after it.
func TestCheckOfHelpers(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	file := testenv.Write(t, t.TempDir()+"/file", "")
	if err := landlock.NewHandling(landlock.V1.Rights()).AllowRead(file).Check(landlock.FSRead, file); err != nil {
		t.Error(err)
	}
	if err := landlock.NewHandling(landlock.V1.Rights()).AllowExecute(file).Check(landlock.FSReadExecute, file); err != nil {
		t.Error(err)
	}
}

// Files with several names, and terminals, lose their rules or their numbers.
func TestCheckOfWhatIsGivenOthersNumbers(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	inMountNamespace(t, func(t *testing.T, dir string) {
		master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
		if err != nil {
			t.Skip("needs /dev/ptmx: ", err)
		}
		defer master.Close()
		number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
		if err != nil {
			t.Skip("needs /dev/pts: ", err)
		}
		terminal := fmt.Sprint("/dev/pts/", number)
		if err := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).Allow(landlock.FSReadFile, terminal).Check(landlock.FSReadFile, terminal); !says(err, "it depends on a rule for a terminal, whose number another one gets") {
			t.Errorf("a terminal: %v", err)
		}
		if err := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).Allow(landlock.FSReadFile, "/dev/pts").Check(landlock.FSReadFile, terminal); err != nil {
			t.Errorf("a terminal beneath its directory: %v", err)
		}
		testenv.Write(t, dir+"/lower/linked", "")
		testenv.Write(t, dir+"/lower/file", "")
		if err := errors.Join(os.Link(dir+"/lower/linked", dir+"/lower/other"), os.Mkdir(dir+"/upper", 0o700), os.Mkdir(dir+"/work", 0o700), os.Mkdir(dir+"/merged", 0o700)); err != nil {
			t.Fatal(err)
		}
		options := fmt.Sprintf("lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", dir, dir, dir)
		if err := unix.Mount("overlay", dir+"/merged", "overlay", 0, options); err != nil {
			if errors.Is(err, unix.ENODEV) {
				return // no overlayfs in this kernel
			}
			t.Skipf("needs root that may mount: %v", err)
		}
		r := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).Allow(landlock.FSReadFile, dir+"/merged/linked", dir+"/merged/file")
		if err := r.Check(landlock.FSReadFile, dir+"/merged/linked"); !says(err, "it depends on a rule for a file with several names") {
			t.Errorf("a file with several names: %v", err)
		}
		if err := r.Check(landlock.FSReadFile, dir+"/merged/file"); err != nil {
			t.Errorf("a file with one: %v", err)
		}
	})
}

// What /proc shows of another process is not for rules to say.
func TestCheckOfOtherProcesses(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	r := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).Allow(landlock.FSReadFile, "/proc")
	for _, test := range []struct {
		path string
		sure bool
	}{{fmt.Sprintf("/proc/%d/environ", os.Getppid()), false}, {"/proc/self/environ", true}, {fmt.Sprintf("/proc/%d/stat", os.Getppid()), true}} {
		if err := r.Check(landlock.FSReadFile, test.path); (err == nil) != test.sure || !test.sure && !says(err, "it depends on whether the process is in the sandbox") {
			t.Errorf("%s: %v", test.path, err)
		}
	}
}

// Descriptors that are kept for later are not missing to what comes in between.
func TestLoadWithFewDescriptors(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	testenv.InChild(t, nil, func(t *testing.T, dir string) {
		if kernel, _ := landlock.Probe(); kernel.ABI >= landlock.V9 {
			return // which knows all rights
		}
		file := testenv.Write(t, dir+"/file", "")
		judge := func(*os.File) error {
			other, err := os.Open(file)
			if err == nil {
				other.Close()
			}
			return err
		}
		first, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(first)
		const free = 8
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(first + free), Max: 1024}); err != nil {
			t.Fatal(err)
		}
		for rules := range 2 * free {
			r := landlock.New(landlock.V9).BestEffort(landlock.V1)
			for range rules {
				r.Allow(landlock.FSReadFile, file)
			}
			for _, r := range []*landlock.Ruleset{r.Clone().Allow(landlock.FSResolveUnix, dir), r.AllowIf(landlock.FSReadFile, judge, file)} {
				if s, err := r.Prepare(); err != nil {
					t.Errorf("with %d rules: %v", rules, err)
				} else {
					s.Close()
				}
			}
		}
	})
}
