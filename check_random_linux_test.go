package landlock

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/program"
)

const (
	checkSeed = "LANDLOCK_CHECK_SEED" // begin with this seed
	checkHere = "LANDLOCK_CHECK_HERE" // in a mount namespace of its own
)

// What Check and Explain say is what the kernel does: random files, rulesets and
// operations. Each operation is done by a thread that the ruleset restricts.
func TestCheckIsTheKernels(t *testing.T) {
	if os.Getenv(checkHere) != "" {
		checkRandomly(t, os.Getenv(childDir))
		return
	}
	inBoth(t, func(t *testing.T, dir string) {
		if os.Geteuid() == 0 {
			checkInNamespace(t)
		} else {
			checkRandomly(t, dir)
		}
	})
}

// checkInNamespace runs this test again where it can mount without being seen.
func checkInNamespace(t *testing.T) {
	again := func(here string, flags uintptr) (string, error) {
		cmd := exec.Command(self(), append(os.Args[1:], "-test.v=true")...)
		cmd.Env = append(os.Environ(), checkHere+"="+here)
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: flags}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := again("1", unix.CLONE_NEWNS)
	if errors.Is(err, unix.EPERM) {
		out, err = again("without", 0)
	}
	if t.Log(out); err != nil || !strings.Contains(out, compared) {
		t.Fatal(err)
	}
}

const compared = "operations compared"

func checkRandomly(t *testing.T, dir string) {
	ops, limit := math.MaxInt, time.Now().Add(time.Second)
	if longTests() {
		limit = limit.Add(10 * time.Second)
	}
	seed := uint64(1) // the same for all, but for who looks for what is new
	if n, err := strconv.Atoi(os.Getenv(checkOps)); err == nil {
		ops, limit, seed = n, limit.Add(24*time.Hour), uint64(time.Now().UnixNano())
	}
	if n, err := strconv.ParseUint(os.Getenv(checkSeed), 0, 64); err == nil {
		seed = n
	}
	counts := &checkCounts{kinds: map[string]int{}}
	more := func() bool { // a slow machine takes the time that it needs to show anything
		return counts.done < ops && (time.Now().Before(limit) || counts.denied == 0 || counts.done < 200)
	}
	for more() && !t.Failed() {
		newCheckWorld(t, seed, dir, counts).run(more)
		seed++
	}
	t.Logf("%d %s, %d denied, %d of them let through by what Explain said to add; %v",
		counts.done, compared, counts.denied, counts.mended, counts.kinds)
	if counts.denied == 0 || counts.denied == counts.done {
		t.Error("all or none were denied: this shows nothing")
	}
}

type checkCounts struct {
	done, denied, mended int
	kinds                map[string]int
}

// checkWorld is a tree of files, and what is tried in it.
type checkWorld struct {
	*testing.T
	*rand.Rand
	*checkCounts
	seed   uint64
	top    string // nothing outside is touched
	root   string
	mounts []string
	near   []string // where rules and mounts are: what is there is the most telling
	fs     AccessFS // what this kernel can restrict
	rules  *Ruleset
}

var checkNames = []string{"a", "b", "c", "with space", "new\nline", "..x", "ü", strings.Repeat("long", 50)}

func newCheckWorld(t *testing.T, seed uint64, dir string, counts *checkCounts) *checkWorld {
	kernel, _ := Probe()
	w := &checkWorld{T: t, Rand: rand.New(rand.NewPCG(seed, 0)), checkCounts: counts, seed: seed,
		top: filepath.Join(dir, "own", fmt.Sprint("world", seed)), fs: kernel.ABI.FS()}
	w.root = filepath.Join(w.top, "1", "2", "3")
	w.must(os.MkdirAll(w.root, 0o777))
	w.plant(w.root, 0)
	if os.Getenv(checkHere) == "1" {
		for tries, want := 0, w.IntN(4); tries < 50 && len(w.mounts) < want; tries++ {
			w.mount(w.entry(), w.entry())
		}
	}
	return w
}

func (w *checkWorld) must(err error) {
	if err != nil {
		w.Helper()
		w.Fatalf("seed %d: %v", w.seed, err)
	}
}

// plant makes random files in a directory.
func (w *checkWorld) plant(dir string, depth int) {
	for _, name := range checkNames {
		path := filepath.Join(dir, name)
		switch n := w.IntN(20); {
		case n < 6 && depth < 3:
			w.must(os.Mkdir(path, 0o777))
			w.plant(path, depth+1)
		case n < 10:
			text := "text"
			if w.IntN(3) == 0 {
				text = "#!/bin/sh\n"
			}
			w.must(os.WriteFile(path, []byte(text), 0o777))
		case n < 13:
			w.must(os.Symlink(w.linkTarget(), path))
		case n == 13:
			w.must(unix.Mkfifo(path, 0o666))
		case n == 14:
			if old := w.entry(); w.isRegular(old) {
				w.must(os.Link(old, path))
			}
		case n == 15:
			w.must(unix.Mknod(path, unix.S_IFSOCK|0o666, 0))
		}
	}
}

func (w *checkWorld) isRegular(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular()
}

func (w *checkWorld) linkTarget() string {
	return []string{"a", "../b", "./c/../a", "/dev/null", "/proc/self/exe", "/proc/self/root" + w.path(), "..", "nowhere", "a/", "../../b/c", w.path()}[w.IntN(11)]
}

func (w *checkWorld) mount(from, to string) {
	source, err1 := os.Lstat(from)
	target, err2 := os.Lstat(to)
	if err1 != nil || err2 != nil || source.IsDir() != target.IsDir() || !source.IsDir() && !(source.Mode().IsRegular() && target.Mode().IsRegular()) ||
		strings.HasPrefix(to+"/", from+"/") || to == w.root {
		return
	}
	if unix.Mount(from, to, "", unix.MS_BIND, "") == nil {
		w.mounts = append(w.mounts, to)
		w.near = append(w.near, from, to)
	}
}

// path returns a path of which there may be something, or not.
func (w *checkWorld) path() string {
	path := w.root
	for range 1 + w.IntN(4) {
		path += "/" + checkNames[w.IntN(len(checkNames))]
	}
	return path
}

// entry returns a path of which there is something, mostly.
func (w *checkWorld) entry() string {
	dir := w.root
	if n := len(w.near); n > 0 && w.IntN(3) == 0 {
		if dir = w.near[w.IntN(n)]; w.IntN(2) == 0 {
			return dir
		}
	}
	for {
		info, err := os.Lstat(dir) // links are not followed here: they may lead out
		if err != nil || !info.IsDir() {
			return dir
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) == 0 || w.IntN(4) == 0 {
			return dir
		}
		dir = filepath.Join(dir, entries[w.IntN(len(entries))].Name())
	}
}

func (w *checkWorld) anyPath() string {
	switch w.IntN(12) {
	case 0, 1, 2:
		return w.path()
	case 3:
		return filepath.Dir(w.entry()) + "/" + checkNames[w.IntN(len(checkNames))]
	case 4:
		return filepath.Dir(w.entry()) + "/./../" + checkNames[w.IntN(len(checkNames))]
	}
	return w.entry()
}

func (w *checkWorld) run(more func() bool) {
	for rulesets := 5; rulesets > 0 && more() && !w.Failed(); rulesets-- {
		w.newRules()
		s, err := w.rules.Prepare()
		if err != nil {
			continue // such as a rule on a dangling link
		}
		loaded := s.checker
		for left := 200; left > 0 && more() && !w.Failed() && w.sameRules(loaded); {
			var refused *checkOp
			var wrong string
			w.must(s.Do(func() error {
				for ; left > 0 && more() && refused == nil && w.sameRules(loaded); left-- {
					if refused, wrong = w.one(); wrong != "" {
						return nil
					}
				}
				return nil
			}))
			if refused != nil && wrong == "" {
				wrong = w.mend(refused)
			}
			if wrong != "" {
				w.disagree(refused, wrong)
			}
		}
		s.Close()
	}
	for _, mounted := range slices.Backward(w.mounts) {
		unix.Unmount(mounted, unix.MNT_DETACH)
	}
	os.RemoveAll(w.top)
}

// sameRules reports whether the rules are still for the files that the kernel
// has loaded: one may have been moved or removed.
func (w *checkWorld) sameRules(loaded *checker) bool {
	all, err := w.rules.layers()
	if err != nil {
		return false
	}
	defer all.close()
	return maps.Equal(all[0].allRules(), loaded.allRules())
}

func (w *checkWorld) someRights(among AccessFS) (some AccessFS) {
	switch w.IntN(4) {
	case 0:
		return among
	case 1:
		some = FSReadWrite & among
	}
	for bit := AccessFS(1); bit <= among; bit <<= 1 {
		if among&bit != 0 && w.IntN(3) == 0 {
			some |= bit
		}
	}
	return some
}

var checkPorts = []uint16{0, 47321, 47322}

// newRules makes a random ruleset.
func (w *checkWorld) newRules() {
	kernel, _ := Probe()
	handled := Rights{FS: w.someRights(w.fs)}
	if w.IntN(4) == 0 {
		handled.Net = kernel.ABI.Net() & (NetBindTCP | NetConnectTCP)
	}
	if handled.isZero() {
		handled.FS = w.fs
	}
	w.rules = NewHandling(handled)
	w.near = w.near[:2*len(w.mounts)]
	for range w.IntN(7) {
		access := w.someRights(handled.FS)
		if handled.FS != 0 && w.IntN(2) == 0 {
			access |= FSRefer
		}
		path := w.entry()
		switch w.IntN(10) {
		case 0:
			path = "/usr"
		case 1:
			path = filepath.Dir(w.root)
		case 2:
			path = "/bin/sh"
		}
		info, err := os.Stat(path)
		if err != nil || access == 0 || !info.IsDir() && access&fsFile == 0 {
			continue
		}
		if strings.HasPrefix(path, w.root) {
			w.near = append(w.near, path)
		}
		if w.IntN(2) == 0 {
			if fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0); err == nil {
				w.rules.AllowFile(access, os.NewFile(uintptr(fd), path))
				continue
			}
		}
		w.rules.Allow(access, path)
	}
	if handled.Net != 0 {
		w.rules.AllowNet(handled.Net, checkPorts[w.IntN(len(checkPorts))])
	}
}

// checkOp is something to try.
type checkOp struct {
	kind        string
	path, other string
	flags       int
	port        uint16
	do          func() error
	asError     func(err error) error // as os or net has it
	reasons     []error               // what Explain has said
}

// inside reports whether a path leads to nothing that belongs to somebody else.
func (w *checkWorld) inside(path string) bool {
	if path == "" || path == "/bin/sh" {
		return true
	}
	for _, p := range []string{path, directoryOf(path)} {
		target, err := filepath.EvalSymlinks(p)
		switch {
		case errors.Is(err, fs.ErrNotExist) && p == path:
			// Something may be made by way of a link to nothing.
			if link, err := os.Readlink(path); err == nil && (strings.Contains(link, "/") || link == "..") {
				return false
			}
		case err != nil:
			return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
		case target != "/dev/null" && !strings.HasPrefix(target+"/", w.top+"/"):
			return false
		}
	}
	return true
}

// one tries something, and returns it where it was refused and it is time to see
// what Explain's advice is worth, or where the kernel does not agree.
func (w *checkWorld) one() (refused *checkOp, wrong string) {
	op := w.newOp()
	if !w.inside(op.path) || !w.inside(op.other) {
		return nil, ""
	}
	wrong, explanation := w.try(w.rules, op)
	w.done++
	w.kinds[op.kind]++
	if wrong != "" {
		return op, wrong
	}
	if explanation == nil {
		return nil, ""
	}
	w.denied++
	if w.IntN(8) > 0 {
		return nil, ""
	}
	op.reasons = explanation.(*explained).reasons
	return op, ""
}

// try compares what is said of something with what the kernel does, on a thread
// that r restricts. It returns what Explain says of a denial, and how they
// disagree.
func (w *checkWorld) try(r *Ruleset, op *checkOp) (wrong string, explanation error) {
	said := predict(r, op)
	err := op.do()
	if err == nil && said != nil && said != errMountPoint { // which may be renamed to itself
		return fmt.Sprintf("the kernel allows it, Check says %v", said), nil
	}
	_, foreseen := errors.AsType[*DeniedError](said)
	if !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EXDEV) || said != nil && !foreseen {
		return "", nil // it cannot be told
	}
	failure := op.asError(err)
	explanation = r.Explain(failure)
	_, denied := errors.AsType[*DeniedError](explanation)
	switch {
	case !foreseen && w.otherReason(op, err):
		if denied {
			return fmt.Sprintf("%v is no denial of Landlock's, Explain says %v", err, explanation), nil
		}
		return "", nil
	case !foreseen:
		return fmt.Sprintf("the kernel says %v, Check allows it", err), nil
	case !denied:
		return fmt.Sprintf("Check says %v, Explain leaves %v as it is", said, failure), nil
	case !errors.Is(explanation, err):
		return fmt.Sprintf("Explain loses the error: %v", explanation), nil
	}
	return "", explanation
}

// otherReason reports whether an error may come of something else than Landlock.
func (w *checkWorld) otherReason(op *checkOp, err error) bool {
	if !errors.Is(err, unix.EXDEV) {
		return os.Geteuid() != 0 && op.kind == "open" && strings.HasPrefix(op.path, "/") && !modesAllow(op.path, modeWrite) ||
			op.kind == "exec" && !runs(op.path) ||
			os.Geteuid() != 0 && op.kind == "truncate" && !modesAllow(op.path, modeWrite) || w.otherOwner(op)
	}
	from := directoryOf(op.path) + "."
	if op.kind == "link" {
		from = op.path
	}
	return mountOf(from) != mountOf(directoryOf(op.other)+".")
}

// runs reports whether a program has all that it takes: a script that was cut off
// may name a directory as its interpreter.
func runs(path string) bool {
	files := programFiles(path)
	if len(files) == 0 {
		return false
	}
	last, _ := program.Read(files[len(files)-1])
	return last.Interpreter == ""
}

// otherOwner reports whether the directory in which something is to be made or
// removed is one that this user may not write to.
func (w *checkWorld) otherOwner(op *checkOp) bool {
	for _, path := range []string{op.path, op.other} {
		if path != "" && !modesAllow(directoryOf(path), modeWrite) {
			return true
		}
		if target, err := filepath.EvalSymlinks(path); path != "" && err == nil && !modesAllow(filepath.Dir(target), modeWrite) {
			return true
		}
		if target, err := os.Readlink(path); path != "" && err == nil && !modesAllow(directoryOf(directoryOf(path)+target), modeWrite) {
			return true
		}
	}
	return false
}

// directoryOf cuts off the last element, and cleans nothing: what is before ".."
// may be a link by now.
func directoryOf(path string) string { return path[:strings.LastIndexByte(path, '/')+1] }

func mountOf(path string) uint64 {
	var stat unix.Statx_t
	unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID, &stat)
	return stat.Mnt_id
}

// mend tries once more what was refused, with what Explain said to add. An open that
// asks for more than reading is explained in two steps.
func (w *checkWorld) mend(op *checkOp) (wrong string) {
	if op.kind == "exec" { // of which the sandbox may have hidden half
		op.reasons = w.rules.Explain(op.asError(unix.EACCES)).(*explained).reasons
	}
	more := w.rules.Clone()
	for range 2 {
		if !follow(more, op.reasons) {
			return ""
		}
		var second error
		if wrong, second = w.again(more, op); wrong != "" {
			return wrong
		}
		if second == nil {
			w.mended++
			return ""
		}
		wrong = fmt.Sprintf("with Explain's advice %v it is still refused: %v", op.reasons, second)
		next, ok := second.(*explained)
		if !ok || op.kind != "open" {
			break
		}
		op.reasons = next.reasons
	}
	return wrong
}

// follow adds what Explain said to add, or reports that nothing helps.
func follow(more *Ruleset, reasons []error) bool {
	for _, reason := range reasons {
		denied, ok := reason.(*DeniedError)
		switch {
		case !ok:
		case denied.Port >= 0:
			more.AllowNet(denied.Missing.Net, uint16(denied.Port))
		case denied.on == "":
			return false // on ABI 1
		case strings.Contains(denied.remedy, "AllowReadWrite"):
			more.AllowReadWrite(denied.on)
		case strings.Contains(denied.remedy, "AllowExecute"):
			more.AllowExecute(denied.on)
		default:
			more.Allow(denied.Missing.FS, denied.on)
		}
	}
	return true
}

// again tries once more what was refused, under other rules. It returns what Explain
// says of another refusal.
func (w *checkWorld) again(more *Ruleset, op *checkOp) (wrong string, second error) {
	s, err := more.Prepare()
	if err != nil {
		return fmt.Sprintf("Explain's advice %v cannot be loaded: %v", op.reasons, err), nil
	}
	defer s.Close()
	w.must(s.Do(func() error {
		if err := op.do(); errors.Is(err, unix.EACCES) || errors.Is(err, unix.EXDEV) {
			second = s.Explain(op.asError(err))
			if said := predict(more, op); said == nil && w.otherReason(op, err) {
				second = nil
			}
		}
		return nil
	}))
	// A rule may give more rights where a file goes to than where it is.
	if second != nil && (op.kind == "rename" || op.kind == "link" || op.kind == "exchange") && strings.Contains(second.Error(), "may not gain") {
		second = nil
	}
	return "", second
}

// disagree reports a disagreement, with no more rules than it takes to see it.
func (w *checkWorld) disagree(op *checkOp, wrong string) {
	w.Helper()
	rules := w.rules
	for i := 0; i < len(rules.paths); {
		fewer := rules.Clone()
		fewer.paths = slices.Delete(slices.Clone(rules.paths), i, i+1)
		if text := w.tryAlone(fewer, op); text != "" {
			rules, wrong = fewer, text
		} else {
			i++
		}
	}
	w.Errorf("%s=%d: %s\n%s %q %q flags %#x port %d\n%v\nmounts %q", checkSeed, w.seed, wrong,
		op.kind, op.path, op.other, op.flags, op.port, rules, w.mounts)
}

func (w *checkWorld) tryAlone(r *Ruleset, op *checkOp) (wrong string) {
	s, err := r.Prepare()
	if err != nil {
		return ""
	}
	defer s.Close()
	s.Do(func() error {
		wrong, _ = w.try(r, op)
		return nil
	})
	return wrong
}

// inDirectoryNeeds is what takes a right on the directory that something is in.
var inDirectoryNeeds = map[string]AccessFS{"unlink": FSRemoveFile, "rmdir": FSRemoveDir,
	"mkdir": FSMakeDir, "symlink": FSMakeSym, "mkfifo": FSMakeFifo, "mksock": FSMakeSock}

// predict returns what Check says: nil, a DeniedError or what keeps it from
// finding out.
func predict(r *Ruleset, op *checkOp) error {
	if access, ok := inDirectoryNeeds[op.kind]; ok {
		return r.Check(access, directoryOf(op.path))
	}
	switch op.kind {
	case "open":
		return predictOpen(r, op.path, op.flags)
	case "truncate":
		return r.Check(FSTruncate, op.path)
	case "bind":
		return r.CheckNet(NetBindTCP, op.port)
	case "connect":
		return r.CheckNet(NetConnectTCP, op.port)
	case "exec":
		return predictExec(r, op.path)
	}
	return predictMove(r, op)
}

func predictOpen(r *Ruleset, path string, flags int) error {
	var access AccessFS
	info, err := os.Stat(path)
	if flags&unix.O_ACCMODE != unix.O_WRONLY {
		access |= FSReadFile
	}
	if flags&unix.O_ACCMODE != unix.O_RDONLY {
		access |= FSWriteFile
	}
	switch {
	case err == nil && info.IsDir():
		access = FSReadDir
	case err == nil && info.Mode().IsRegular() && flags&unix.O_TRUNC != 0:
		access |= FSTruncate
	case errors.Is(err, fs.ErrNotExist) && flags&unix.O_CREAT != 0:
		access |= FSMakeReg
	}
	return r.Check(access, path)
}

func predictExec(r *Ruleset, path string) error {
	for _, file := range programFiles(path) {
		if err := r.Check(FSExecute|FSReadFile, file); err != nil {
			return err
		}
	}
	return nil
}

func predictMove(r *Ruleset, op *checkOp) error {
	all, err := r.layers()
	if err != nil {
		return err
	}
	defer all.close()
	old, err := findPlace(op.path, false)
	if err != nil {
		return err
	}
	defer old.close()
	to, err := findPlace(op.other, false)
	if err != nil {
		return err
	}
	defer to.close()
	denied, _, err := all[0].move(move{from: old, to: to, link: op.kind == "link", exchange: op.kind == "exchange"})
	if err == nil && len(denied) > 0 {
		return denied[0]
	}
	if err == errNotMoved {
		return nil
	}
	return err
}

func (w *checkWorld) newOp() *checkOp {
	op := &checkOp{path: w.anyPath()}
	op.asError = func(err error) error { return &fs.PathError{Op: op.kind, Path: op.path, Err: err} }
	moving := func(call func() error) {
		op.other = w.anyPath()
		op.do = call
		op.asError = func(err error) error { return &os.LinkError{Op: op.kind, Old: op.path, New: op.other, Err: err} }
	}
	switch n := w.IntN(40); {
	case n < 12:
		op.kind = "open"
		op.flags = []int{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR}[w.IntN(3)] | []int{0, 0, unix.O_CREAT, unix.O_CREAT | unix.O_TRUNC, unix.O_TRUNC,
			unix.O_CREAT | unix.O_EXCL, unix.O_DIRECTORY, unix.O_NOFOLLOW, unix.O_APPEND}[w.IntN(9)]
		if op.flags&(unix.O_TRUNC|unix.O_ACCMODE) == unix.O_TRUNC {
			op.flags |= unix.O_RDWR
		}
		op.do = func() error {
			fd, err := unix.Open(op.path, op.flags|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0o777)
			unix.Close(fd)
			return err
		}
	case n < 15:
		op.kind, op.do = "truncate", func() error { return unix.Truncate(op.path, 3) }
	case n < 17:
		op.kind, op.do = "unlink", func() error { return unix.Unlink(op.path) }
	case n == 17:
		op.kind, op.do = "rmdir", func() error { return unix.Rmdir(op.path) }
	case n < 20:
		op.kind, op.do = "mkdir", func() error { return unix.Mkdir(op.path, 0o777) }
	case n == 20:
		target := w.linkTarget()
		moving(func() error { return unix.Symlink(target, op.path) })
		op.kind, op.other = "symlink", ""
		op.asError = func(err error) error { return &os.LinkError{Op: "symlink", Old: target, New: op.path, Err: err} }
	case n == 21:
		op.kind, op.do = "mkfifo", func() error { return unix.Mkfifo(op.path, 0o666) }
	case n == 22:
		op.kind, op.do = "mksock", func() error { return unix.Mknod(op.path, unix.S_IFSOCK|0o666, 0) }
		op.asError = func(err error) error { return &fs.PathError{Op: "mknod", Path: op.path, Err: err} }
	case n < 30:
		op.kind = "rename"
		moving(func() error { return unix.Rename(op.path, op.other) })
	case n < 34:
		op.kind = "link"
		moving(func() error { return unix.Link(op.path, op.other) })
	case n < 37:
		op.kind = "exchange"
		moving(func() error {
			return unix.Renameat2(unix.AT_FDCWD, op.path, unix.AT_FDCWD, op.other, unix.RENAME_EXCHANGE)
		})
	case n < 39 && w.rules.handled.Net != 0:
		w.socket(op)
	default:
		if w.IntN(20) > 0 { // it takes long
			return w.newOp()
		}
		switch w.IntN(3) {
		case 0:
			op.path = "/bin/sh"
		case 1:
			if !w.isRegular(op.path) {
				return w.newOp()
			}
		}
		op.kind = "exec"
		op.do = func() error { return execute(op.path) }
	}
	return op
}

// execute executes a program, and does not let it run.
func execute(path string) error {
	pid, err := syscall.ForkExec(path, []string{path, "-c", ""}, &syscall.ProcAttr{})
	if err != nil {
		return err
	}
	syscall.Wait4(pid, nil, 0, nil)
	return nil
}

func (w *checkWorld) socket(op *checkOp) {
	op.kind, op.path, op.port = []string{"bind", "connect"}[w.IntN(2)], "", checkPorts[w.IntN(len(checkPorts))]
	address := &unix.SockaddrInet4{Port: int(op.port), Addr: [4]byte{127, 0, 0, 1}}
	call := map[string]func(int, unix.Sockaddr) error{"bind": unix.Bind, "connect": unix.Connect}[op.kind]
	op.do = func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return call(fd, address)
	}
	op.asError = func(err error) error { return netError(op.kind, int(op.port), err) }
}

// netError is what package net would return.
func netError(call string, port int, err error) error {
	address := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
	return &net.OpError{Op: map[string]string{"bind": "listen", "connect": "dial"}[call], Net: "tcp", Addr: address, Err: os.NewSyscallError(call, err)}
}
