package blackbox

import (
	"cmp"
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

	"example.com/landlock"
	"example.com/landlock/internal/program"
	"example.com/landlock/internal/testenv"
)

const (
	checkOps  = "LANDLOCK_CHECK_OPS"  // how many operations to compare; without, as many as there are in a quarter of a second
	checkSeed = "LANDLOCK_CHECK_SEED" // begin with this seed
	checkHere = "LANDLOCK_CHECK_HERE" // in a mount namespace of its own
)

// What Check and Explain say is what the kernel does: random files, rulesets and
// operations. Each operation is done by a thread that the ruleset restricts.
func TestCheckIsTheKernels(t *testing.T) {
	if os.Getenv(checkHere) != "" {
		checkRandomly(t, os.Getenv(testenv.ChildDir))
		return
	}
	testenv.InBoth(t, func(t *testing.T, dir string) {
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
		cmd := exec.Command(testenv.Self(), append(os.Args[1:], "-test.v=true")...)
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
	ops, limit := math.MaxInt, time.Now().Add(time.Second/4)
	if testenv.LongTests() {
		limit = limit.Add(10 * time.Second)
	}
	seed := uint64(1) // the same for all, but for who looks for what is new
	if n, err := strconv.Atoi(os.Getenv(checkOps)); err == nil {
		ops, limit, seed = n, limit.Add(24*time.Hour), uint64(time.Now().UnixNano())
	}
	if n, err := strconv.ParseUint(os.Getenv(checkSeed), 0, 64); err == nil {
		seed = n
	}
	counts := &checkCounts{kinds: map[string]*checkCount{}}
	more := func() bool { // a slow machine takes the time that it needs to show anything
		return counts.all.tried < ops && (time.Now().Before(limit) || counts.all.denied == 0 || counts.all.tried < 200)
	}
	for more() && !t.Failed() {
		newCheckWorld(t, seed, dir, counts).run(more)
		seed++
	}
	t.Logf("%d %s, %d of the denied let through by what Explain said to add\n%v", counts.all.tried, compared, counts.mended, counts)
	counts.assert(t)
}

// checkCounts says what was tried, of each kind and in each view of the files.
type checkCounts struct {
	all    checkCount
	kinds  map[string]*checkCount
	mended int // let through by what Explain said to add
}

type checkCount struct {
	tried           int
	allowed, denied int // by the kernel, as Check says
	untold          int // the kernel has an answer, and Check none
}

func (c *checkCounts) of(op *checkOp) []*checkCount {
	counts := []*checkCount{&c.all}
	for _, name := range append(op.view, op.kind) {
		if c.kinds[name] == nil {
			c.kinds[name] = &checkCount{}
		}
		counts = append(counts, c.kinds[name])
	}
	return counts
}

func (c *checkCounts) String() (text string) {
	for _, name := range slices.Sorted(maps.Keys(c.kinds)) {
		text += fmt.Sprintf("%-18s %+v\n", name, *c.kinds[name])
	}
	return text
}

// mayNotTell is how many of a hundred answers Check may owe in views of the files in
// which a path does not tell what is above.
var mayNotTell = map[string]int{viewCovered: 80, viewChroot: 60}

// assert fails where the comparison shows nothing: it takes both answers, and an
// error is none.
func (c *checkCounts) assert(t *testing.T) {
	if c.all.denied == 0 || c.all.allowed == 0 {
		t.Error("all or none were denied: this shows nothing")
	}
	kernel, _ := landlock.Probe()
	for name, n := range c.kinds {
		percent := cmp.Or(mayNotTell[name], 10)
		answers := n.allowed + n.denied + n.untold
		switch {
		case answers < 200: // too few to tell
		case name == "truncate" && kernel.ABI < landlock.V3: // which cannot be denied
		case n.denied == 0 || n.allowed == 0:
			t.Errorf("%s: all or none were denied: %+v", name, *n)
		case n.untold*100 > answers*percent:
			t.Errorf("%s: more than %d in a hundred cannot be told: %+v", name, percent, *n)
		}
	}
}

// The views of files in which what is above one is not what its path says.
const (
	viewCovered  = "by descriptor" // of a directory that a mount may cover
	viewChroot   = "in a chroot"   // below the place of some rules
	viewOverRoot = "over the root" // where something is mounted on "/"
	viewProc     = "in /proc"
	viewRelative = "relative"
)

// checkWorld is a tree of files, and what is tried in it.
type checkWorld struct {
	*testing.T
	*rand.Rand
	*checkCounts
	seed     uint64
	top      string // nothing outside is touched
	root     string // as this thread sees it
	mounts   []string
	ids      []uint64 // of the mounts
	held     []int    // directories that were open before a mount covered them
	overRoot bool
	own      int               // of near, those that stay
	near     []string          // where rules and mounts are: what is there is the most telling
	special  []string          // what is not of this world: to be opened and no more
	fs       landlock.AccessFS // what this kernel can restrict
	handled  landlock.Rights
	adds     []func(*landlock.Ruleset) // the rules
	rules    *landlock.Ruleset
	files    map[string]identity // what the rules were loaded for
	chroot   string              // of the thread that is restricted; empty for none
	proc     string              // where it has /proc
	cwd      int                 // of the thread, too; -1 for none
	cwdHeld  bool                // and a mount may cover it
	closes   []func()
}

var checkNames = []string{"a", "b", "c", "with space", "new\nline", "..x", "ü", strings.Repeat("long", 63) + "255"}

func newCheckWorld(t *testing.T, seed uint64, dir string, counts *checkCounts) *checkWorld {
	kernel, _ := landlock.Probe()
	w := &checkWorld{T: t, Rand: rand.New(rand.NewPCG(seed, 0)), checkCounts: counts, seed: seed,
		top: filepath.Join(dir, "own", fmt.Sprint("world", seed)), fs: kernel.ABI.FS(), cwd: -1}
	w.root = filepath.Join(w.top, "1", "2", "3")
	w.must(os.MkdirAll(w.top, 0o777))
	if canMount() && w.IntN(2) == 0 {
		w.must(unix.Mount("tmpfs", w.top, "tmpfs", 0, ""))
		w.mounted(w.top)
	}
	w.must(os.MkdirAll(w.root, 0o777))
	w.plant(w.root, 0)
	w.special = w.specials()
	if canMount() {
		w.mountSome()
	}
	w.own = len(w.near)
	return w
}

// mountSome makes random mounts, some of which cover others, or all.
func (w *checkWorld) mountSome() {
	most := 3 + w.IntN(4)*w.IntN(2)
	for tries, want := 0, len(w.mounts)+w.IntN(most+1); tries < 50 && len(w.mounts) < want; tries++ {
		w.mount(w.entry(), w.entry())
	}
	if w.IntN(6) == 0 {
		w.must(unix.Mount(w.directory(), "/", "", unix.MS_BIND, ""))
		w.mounted("/..")
		w.overRoot = true
		w.near = append(w.near, "/..")
	}
}

// canMount reports whether this process may do as it likes with mounts.
func canMount() bool { return os.Getenv(checkHere) == "1" }

// mounted notes what is to be unmounted.
func (w *checkWorld) mounted(path string) {
	w.mounts = append(w.mounts, path)
	w.ids = append(w.ids, mountOf(path))
}

// specials returns files that have no place in a tree, or a device behind them.
func (w *checkWorld) specials() []string {
	paths := []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/proc/version", "/proc/self/status", "/proc/sys/kernel/ostype", "/usr/bin/env"}
	byDescriptor := func(fd int, err error) {
		if err == nil {
			paths = append(paths, fmt.Sprint("/proc/self/fd/", fd))
			w.closes = append(w.closes, func() { unix.Close(fd) })
		}
	}
	byDescriptor(unix.MemfdCreate("memfd", unix.MFD_CLOEXEC))
	byDescriptor(unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	var pipe [2]int
	w.must(unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK))
	byDescriptor(pipe[0], nil)
	byDescriptor(pipe[1], nil)
	if terminal, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0); err == nil {
		byDescriptor(terminal, nil)
		if number, err := unix.IoctlGetInt(terminal, unix.TIOCGPTN); err == nil && unix.IoctlSetPointerInt(terminal, unix.TIOCSPTLCK, 0) == nil {
			paths = append(paths, fmt.Sprint("/dev/pts/", number))
		}
	}
	return paths
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
		case n == 16 && os.Geteuid() == 0:
			device := checkDevices[w.IntN(len(checkDevices))]
			if err := unix.Mknod(path, device.kind|0o666, device.number); !errors.Is(err, unix.EPERM) {
				w.must(err)
			}
		}
	}
}

// checkDevices are null, zero, a whiteout, which is no device to Landlock, and a
// disk that is not there.
var checkDevices = []struct {
	kind   uint32
	number int
}{{unix.S_IFCHR, int(unix.Mkdev(1, 3))}, {unix.S_IFCHR, int(unix.Mkdev(1, 5))}, {unix.S_IFCHR, 0}, {unix.S_IFCHR, 0}, {unix.S_IFBLK, int(unix.Mkdev(7, 250))}}

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
	if w.IntN(2) == 0 {
		w.hold(to)
	}
	if unix.Mount(from, to, "", unix.MS_BIND, "") == nil {
		w.mounted(to)
		w.near = append(w.near, from, to)
	}
}

// hold keeps a directory open that is about to be covered, or one in it.
func (w *checkWorld) hold(dir string) {
	for range w.IntN(3) {
		if below := dir + "/" + checkNames[w.IntN(len(checkNames))]; dirAt(below) {
			dir = below
		}
	}
	if fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err == nil {
		w.held = append(w.held, fd)
		w.closes = append(w.closes, func() { unix.Close(fd) })
	}
}

func dirAt(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

// directory returns a directory of this world.
func (w *checkWorld) directory() string {
	for range 50 {
		if path := w.entry(); dirAt(path) {
			return path
		}
	}
	return w.top // all the rest may have been moved away
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

func (w *checkWorld) anyPath() (path string) {
	switch w.IntN(12) {
	case 0, 1, 2:
		path = w.path()
	case 3:
		path = filepath.Dir(w.entry()) + "/" + checkNames[w.IntN(len(checkNames))]
	case 4:
		path = filepath.Dir(w.entry()) + "/./../" + checkNames[w.IntN(len(checkNames))]
	default:
		path = w.entry()
	}
	below := func(dir string) string {
		for range 1 + w.IntN(2) {
			dir += "/" + checkNames[w.IntN(len(checkNames))]
		}
		return dir
	}
	switch n := w.IntN(48); {
	case n == 0:
		return long(path, unix.PathMax-2+w.IntN(4))
	case n == 1:
		return long(path, unix.PathMax+w.IntN(200))
	case n == 2:
		return path + strings.Repeat("x", 254+w.IntN(3)) // too long a name, in each case
	case n == 3:
		return filepath.Dir(path) + "/" + strings.Repeat("x", 254+w.IntN(3))
	case n < 12 && len(w.held) > 0:
		return below(fmt.Sprint("/proc/self/fd/", w.held[w.IntN(len(w.held))]))
	case n < 20 && w.cwd >= 0:
		return strings.TrimPrefix(below([]string{"", "/..", "/."}[w.IntN(3)]), "/")
	case n < 14 && w.overRoot:
		return below("/..")
	}
	return path
}

// long makes a path longer, which leads to the same place.
func long(path string, length int) string {
	dir := directoryOf(path)
	return dir + strings.Repeat("/", max(0, length-len(path))) + path[len(dir):]
}

func (w *checkWorld) run(more func() bool) {
	for rulesets := 10; rulesets > 0 && more() && !w.Failed(); rulesets-- {
		w.newRules()
		rules, err := w.rules.Prepare()
		if err != nil {
			continue // such as a rule on a dangling link
		}
		w.files = ruleFiles(w.rules)
		w.changeView()
		for left := 200; left > 0 && more() && !w.Failed(); {
			var refused *checkOp
			var wrong string
			w.do(rules, func() {
				for ; left > 0 && more() && refused == nil && wrong == ""; left-- {
					refused, wrong = w.one(rules)
				}
			})
			if wrong == "" && refused != nil && w.named(refused) && w.sameRules() {
				wrong = w.mend(refused)
			}
			if wrong != "" {
				w.disagree(refused, wrong)
			}
		}
		rules.Close()
		w.resetView()
	}
	for _, mounted := range slices.Backward(w.mounts) {
		unix.Unmount(mounted, unix.MNT_DETACH)
	}
	for _, close := range w.closes {
		close()
	}
	os.RemoveAll(w.top)
}

// named reports whether the paths that Explain names lead there, also from here:
// what a mount covers has none, nor does another root.
func (w *checkWorld) named(op *checkOp) bool {
	return !slices.ContainsFunc(op.view, func(view string) bool {
		return view == viewChroot || view == viewCovered || view == viewOverRoot
	})
}

// changeView chooses how the thread sees the files, or leaves it as it is.
func (w *checkWorld) changeView() {
	switch n := w.IntN(12); {
	case n < 2 && canMount() && !w.overRoot:
		w.chroot = []string{w.root, filepath.Dir(w.root), w.directory()}[w.IntN(3)]
		if !dirAt(w.chroot) { // something else took its place
			w.chroot = w.top
		}
		if proc := w.chroot + "/proc"; w.IntN(3) > 0 && os.MkdirAll(proc, 0o777) == nil {
			if unix.Mount("/proc", proc, "", unix.MS_BIND, "") == nil {
				w.proc = proc
			}
		}
		if w.root = strings.TrimPrefix(w.root, w.chroot); w.root == "" {
			w.root = "/"
		}
	case n < 5:
		dir := w.directory()
		if len(w.held) > 0 && w.IntN(2) == 0 {
			dir = fmt.Sprint("/proc/self/fd/", w.held[w.IntN(len(w.held))])
			w.cwdHeld = true
		}
		w.cwd, _ = unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
}

func (w *checkWorld) resetView() {
	if unix.Close(w.cwd); w.proc != "" {
		w.must(unix.Unmount(w.proc, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW))
		os.Remove(w.proc)
	}
	w.chroot, w.proc, w.cwd, w.cwdHeld, w.root = "", "", -1, false, filepath.Join(w.top, "1", "2", "3")
}

// do calls f on a thread that is restricted, and sees the files as it is to.
func (w *checkWorld) do(rules *landlock.Sandbox, f func()) {
	w.must(rules.Do(func() error {
		err := error(nil)
		if w.chroot != "" || w.cwd >= 0 {
			err = unix.Unshare(unix.CLONE_FS)
		}
		if err == nil && w.chroot != "" {
			err = errors.Join(unix.Chroot(w.chroot), unix.Chdir("/"))
		}
		if err == nil && w.cwd >= 0 {
			err = unix.Fchdir(w.cwd)
		}
		if err == nil {
			f()
		}
		return err
	}))
}

// ruleFiles returns what the paths of the rules lead to now. What was loaded is for
// other files once one of them was moved or removed.
func ruleFiles(r *landlock.Ruleset) map[string]identity {
	files := map[string]identity{}
	for rule := range r.Rules() {
		files[rule.Path], _ = identify(unix.AT_FDCWD, rule.Path, 0)
	}
	return files
}

func (w *checkWorld) sameRules() bool { return maps.Equal(w.files, ruleFiles(w.rules)) }

func (w *checkWorld) someRights(among landlock.AccessFS) (some landlock.AccessFS) {
	switch w.IntN(4) {
	case 0:
		return among
	case 1:
		some = landlock.FSReadWrite & among
	}
	for bit := landlock.AccessFS(1); bit <= among; bit <<= 1 {
		if among&bit != 0 && w.IntN(3) == 0 {
			some |= bit
		}
	}
	return some
}

var checkPorts = []uint16{0, 47321, 47322}

// newRules makes a random ruleset.
func (w *checkWorld) newRules() {
	kernel, _ := landlock.Probe()
	handled := landlock.Rights{FS: w.someRights(w.fs)}
	if w.IntN(4) == 0 {
		handled.Net = kernel.ABI.Net() & (landlock.NetBindTCP | landlock.NetConnectTCP)
	}
	if handled == (landlock.Rights{}) {
		handled.FS = w.fs
	}
	w.handled, w.adds = handled, nil
	w.near = w.near[:w.own]
	for range w.IntN(7) {
		access := w.someRights(handled.FS)
		if handled.FS != 0 && w.IntN(2) == 0 {
			access |= landlock.FSRefer
		}
		path := w.entry()
		switch w.IntN(16) {
		case 0:
			path = "/usr"
		case 1:
			path = filepath.Dir(w.root)
		case 2:
			path = "/bin/sh"
		case 3:
			path = append(w.special, "/dev", "/dev/pts", "/proc", "/proc/self", w.top, "/")[w.IntN(len(w.special)+6)]
		case 4:
			path = "/"
		}
		info, err := os.Stat(path)
		if err != nil || access == 0 || !info.IsDir() && access&fileRights == 0 {
			continue
		}
		if strings.HasPrefix(path, w.root) {
			w.near = append(w.near, path)
		}
		if w.IntN(2) == 0 {
			if fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0); err == nil {
				file := os.NewFile(uintptr(fd), path)
				w.adds = append(w.adds, func(r *landlock.Ruleset) { r.AllowFile(access, file) })
				continue
			}
		}
		w.adds = append(w.adds, func(r *landlock.Ruleset) { r.Allow(access, path) })
	}
	if handled.Net != 0 {
		port := checkPorts[w.IntN(len(checkPorts))]
		w.adds = append(w.adds, func(r *landlock.Ruleset) { r.AllowNet(handled.Net, port) })
	}
	w.rules = w.ruleset(w.adds)
}

// ruleset returns a ruleset with some of the rules.
func (w *checkWorld) ruleset(adds []func(*landlock.Ruleset)) *landlock.Ruleset {
	r := landlock.NewHandling(w.handled)
	for _, add := range adds {
		add(r)
	}
	return r
}

// fileRights are those that a rule for another file than a directory may have.
const fileRights = landlock.FSExecute | landlock.FSWriteFile | landlock.FSReadFile | landlock.FSTruncate | landlock.FSIoctlDev | landlock.FSResolveUnix

// checkOp is something to try.
type checkOp struct {
	kind        string
	path, other string
	flags       int
	port        uint16
	special     bool // the path is not of this world, and this may be tried on it
	do          func() error
	asError     func(err error) error // as os or net has it
	view        []string              // what is unusual about the paths
	asked       landlock.AccessFS     // of Check, about its paths
	reasons     []error               // what Explain has said
}

// inside reports whether a path leads to nothing that belongs to somebody else.
func (w *checkWorld) inside(path string) bool {
	if path == "" || path == "/bin/sh" {
		return true
	}
	dir := directoryOf(path)
	if dir == "" {
		dir = "."
	}
	for _, p := range []string{path, dir} {
		fd, err := unix.Open(p, unix.O_PATH|unix.O_CLOEXEC, 0)
		switch {
		case err == unix.ENOENT && p == path:
			// Something may be made by way of a link to nothing.
			if link, err := os.Readlink(path); err == nil && (strings.Contains(link, "/") || link == "..") {
				return false
			}
		case err == nil:
			inside := w.owns(fd)
			unix.Close(fd)
			if !inside {
				return false
			}
		}
	}
	return true // or it leads nowhere
}

// owns reports whether an open file is one of this world's.
func (w *checkWorld) owns(fd int) bool {
	id, err := identify(fd, "", unix.AT_EMPTY_PATH)
	var system unix.Statfs_t
	if err != nil || unix.Fstatfs(fd, &system) != nil || system.Type == unix.PROC_SUPER_MAGIC {
		return false
	}
	if slices.Contains(w.ids, id.mount) {
		return true
	}
	path, err := os.Readlink(fmt.Sprint("/proc/self/fd/", fd))
	switch {
	case w.chroot == "":
		return path == "/dev/null" || strings.HasPrefix(path+"/", w.top+"/")
	case err != nil: // there is no /proc to lead out
		return true
	}
	there, err := identify(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW) // which is a path from another root where it is not below this one
	return err == nil && there.device == id.device && there.inode == id.inode
}

// identity is what makes a file another than all others.
type identity struct{ device, inode, mount uint64 }

func identify(at int, path string, flags int) (identity, error) {
	var stat unix.Statx_t
	err := unix.Statx(at, path, flags, unix.STATX_INO|unix.STATX_MNT_ID, &stat)
	return identity{unix.Mkdev(stat.Dev_major, stat.Dev_minor), stat.Ino, stat.Mnt_id}, err
}

// one tries something, and returns it where it was refused and it is time to see
// what Explain's advice is worth, or where the kernel does not agree.
func (w *checkWorld) one(rules *landlock.Sandbox) (refused *checkOp, wrong string) {
	op := w.newOp()
	if !op.special && !(w.inside(op.path) && w.inside(op.other)) {
		return nil, ""
	}
	op.view = w.viewOf(op)
	wrong, explanation := w.try(rules, op, w.of(op))
	if wrong == "" && w.chroot == "" && w.IntN(100) == 0 && w.sameRules() {
		wrong = loadAnew(w.rules, rules, op)
	}
	if wrong != "" {
		return op, wrong
	}
	if explanation == nil || w.IntN(8) > 0 {
		return nil, ""
	}
	op.reasons = reasonsOf(explanation)
	return op, ""
}

func (w *checkWorld) viewOf(op *checkOp) (view []string) {
	for name, is := range map[string]func(path string) bool{
		viewCovered: func(path string) bool {
			return !op.special && strings.HasPrefix(path, "/proc/self/fd/") || w.cwdHeld && path != "" && path[0] != '/'
		},
		viewProc:     func(path string) bool { return op.special && strings.HasPrefix(path, "/proc/") },
		viewRelative: func(path string) bool { return path != "" && path[0] != '/' },
		viewChroot:   func(path string) bool { return w.chroot != "" },
		viewOverRoot: func(path string) bool { return w.overRoot },
	} {
		if is(op.path) || is(op.other) {
			view = append(view, name)
		}
	}
	return view
}

// loadAnew compares what is loaded with the same that is not.
func loadAnew(r *landlock.Ruleset, loaded *landlock.Sandbox, op *checkOp) (wrong string) {
	const access = landlock.FSReadFile | landlock.FSWriteFile | landlock.FSMakeReg | landlock.FSRemoveDir | landlock.FSTruncate
	here, anew := loaded.Check(access, op.path), r.Check(access, op.path)
	one, oneDenied := errors.AsType[*landlock.DeniedError](here)
	two, twoDenied := errors.AsType[*landlock.DeniedError](anew)
	if (here == nil) != (anew == nil) || oneDenied != twoDenied || oneDenied && one.Missing != two.Missing {
		return fmt.Sprintf("Check(%v, %q) of what is loaded says %v, of the same ruleset loaded anew %v", access, op.path, here, anew)
	}
	return ""
}

// try compares what is said of something with what the kernel does, on a thread
// that these rules restrict. It returns what Explain says of a denial, and how
// they disagree.
func (w *checkWorld) try(rules *landlock.Sandbox, op *checkOp, counts []*checkCount) (wrong string, explanation error) {
	said := predict(rules, op)
	err := op.do()
	denied := errors.Is(err, unix.EACCES) || errors.Is(err, unix.EXDEV)
	_, foreseen := errors.AsType[*landlock.DeniedError](said)
	otherwise := denied && w.otherReason(op, err)
	for _, n := range counts {
		n.tried++
		switch {
		case said == nil && (err == nil || afterLandlock(op, err)):
			n.allowed++
		case foreseen && denied:
			n.denied++
		case said != nil && !foreseen && said != errNeverMoved && (err == nil || denied && !otherwise):
			n.untold++
		}
	}
	if foreseen && (err == nil || afterLandlock(op, err)) {
		return fmt.Sprintf("the kernel says %v, Check says %v", err, said), nil
	}
	if said == nil && errors.Is(err, unix.ENAMETOOLONG) && op.asked&rules.Report().Enforced.FS != 0 {
		return "the path is too long, Check allows it", nil
	}
	if !denied || said != nil && !foreseen {
		return "", nil // it cannot be told
	}
	failure := op.asError(err)
	explanation = rules.Explain(failure)
	_, blamed := errors.AsType[*landlock.DeniedError](explanation)
	switch {
	case !foreseen && otherwise:
		if blamed {
			return fmt.Sprintf("%v is no denial of Landlock's, Explain says %v", err, explanation), nil
		}
		return "", nil
	case !foreseen:
		return fmt.Sprintf("the kernel says %v, Check allows it", err), nil
	case !blamed && explanation != failure && strings.Contains(explanation.Error(), "cannot be told"):
		return "", nil // it is asked for less than Check was
	case !blamed && w.chroot != "" && op.other != "":
		return "", nil // which rights a move lacks may depend on rules above
	case !blamed && !otherwise && strings.HasPrefix(op.path, "/"): // what a relative path begins at is not in an error
		return fmt.Sprintf("Check says %v, Explain leaves %v as it is", said, failure), nil
	case !blamed:
		return "", nil
	case !errors.Is(explanation, err):
		return fmt.Sprintf("Explain loses the error: %v", explanation), nil
	}
	return "", explanation
}

// afterLandlock reports whether an error can come only of what Landlock has allowed.
func afterLandlock(op *checkOp, err error) bool {
	switch op.kind {
	case "open": // a FIFO that nobody reads, a device that is not there
		return errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV)
	case "truncate": // what is no regular file: Landlock is not asked
		return errors.Is(err, unix.EINVAL)
	case "ioctl":
		return errors.Is(err, unix.ENOTTY)
	case "connect":
		return errors.Is(err, unix.ECONNREFUSED)
	}
	return false
}

// otherReason reports whether an error may come of something else than Landlock.
func (w *checkWorld) otherReason(op *checkOp, err error) bool {
	if !errors.Is(err, unix.EXDEV) {
		return os.Geteuid() != 0 && op.kind == "open" && strings.HasPrefix(op.path, "/") && !mayWrite(op.path) ||
			op.kind == "exec" && !runs(op.path) ||
			os.Geteuid() != 0 && op.kind == "truncate" && !mayWrite(op.path) || w.otherOwner(op)
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
	files := filesToRun(path)
	if len(files) == 0 {
		return false
	}
	last, _ := program.Read(files[len(files)-1])
	return last.Interpreter == ""
}

// filesToRun returns what the kernel opens to run a program: itself, up to five
// interpreters of scripts, and the loader of what is linked dynamically.
func filesToRun(path string) (files []string) {
	for path != "" && len(files) < 6 {
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() || unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS) != nil {
			break
		}
		files = append(files, path)
		start, _ := program.Read(path)
		path = start.Interpreter
	}
	return files
}

// otherOwner reports whether the directory in which something is to be made or
// removed is one that this user may not write to.
func (w *checkWorld) otherOwner(op *checkOp) bool {
	for _, path := range []string{op.path, op.other} {
		if path != "" && !mayWrite(directoryOf(path)) {
			return true
		}
		if target, err := filepath.EvalSymlinks(path); path != "" && err == nil && !mayWrite(filepath.Dir(target)) {
			return true
		}
		if target, err := os.Readlink(path); path != "" && err == nil && !mayWrite(directoryOf(directoryOf(path)+target)) {
			return true
		}
	}
	return false
}

// mayWrite reports whether a file's mode, and what else is not Landlock's, lets this
// process write to it.
func mayWrite(path string) bool {
	return unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS) == nil
}

// directoryOf cuts off the last element, and cleans nothing: what is before ".."
// may be a link by now.
func directoryOf(path string) string { return path[:strings.LastIndexByte(path, '/')+1] }

func mountOf(path string) uint64 {
	id, _ := identify(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW)
	return id.mount
}

// mend tries once more what was refused, with what Explain said to add. What an error
// does not say, such as how a file was opened, takes a second step, or a third.
func (w *checkWorld) mend(op *checkOp) (wrong string) {
	more := w.rules.Clone()
	for range 4 {
		advised := false
		for _, reason := range op.reasons {
			denied, ok := reason.(*landlock.DeniedError)
			if !ok || !advises(denied) {
				continue // it is said elsewhere, or nothing helps
			}
			advised = true
			follow(more, denied)
		}
		if !advised {
			return ""
		}
		second, err := w.tryWith(more, op)
		if err != nil {
			return fmt.Sprintf("Explain's advice %v cannot be loaded: %v", op.reasons, err)
		}
		if second == nil {
			w.mended++
			return ""
		}
		wrong = fmt.Sprintf("with Explain's advice %v it is still refused: %v", op.reasons, second)
		if areSure(op.reasons) && op.kind != "ioctl" { // which takes an open first
			break
		}
		if op.reasons = reasonsOf(second); len(op.reasons) == 0 {
			break
		}
	}
	return wrong
}

// tryWith tries once more what was refused, under other rules. It returns what Explain
// says of another refusal.
func (w *checkWorld) tryWith(more *landlock.Ruleset, op *checkOp) (second, err error) {
	rules, err := more.Prepare()
	if err != nil {
		return nil, err
	}
	defer rules.Close()
	w.do(rules, func() {
		if err := op.do(); errors.Is(err, unix.EACCES) || errors.Is(err, unix.EXDEV) {
			second = rules.Explain(op.asError(err))
			if said := predict(rules, op); said == nil && w.otherReason(op, err) {
				second = nil
			}
		}
	})
	return second, nil
}

// disagree reports a disagreement, with no more rules than it takes to see it.
func (w *checkWorld) disagree(op *checkOp, wrong string) {
	w.Helper()
	adds := w.adds
	for i := 0; i < len(adds); {
		fewer := slices.Delete(slices.Clone(adds), i, i+1)
		if text := w.tryAlone(w.ruleset(fewer), op); text != "" {
			adds, wrong = fewer, text
		} else {
			i++
		}
	}
	w.Errorf("%s=%d: %s\n%s %.300q %.300q flags %#x port %d\n%v\nmounts %q chroot %q view %q", checkSeed, w.seed, wrong,
		op.kind, op.path, op.other, op.flags, op.port, w.ruleset(adds), w.mounts, w.chroot, op.view)
}

func (w *checkWorld) tryAlone(r *landlock.Ruleset, op *checkOp) (wrong string) {
	rules, err := r.Prepare()
	if err != nil {
		return ""
	}
	defer rules.Close()
	files := ruleFiles(r)
	w.do(rules, func() {
		if wrong, _ = w.try(rules, op, nil); wrong == "" && w.chroot == "" && maps.Equal(files, ruleFiles(r)) {
			wrong = loadAnew(r, rules, op)
		}
	})
	return wrong
}

// inDirectoryNeeds is what takes a right on the directory that something is in.
var inDirectoryNeeds = map[string]landlock.AccessFS{"unlink": landlock.FSRemoveFile, "rmdir": landlock.FSRemoveDir,
	"mkdir": landlock.FSMakeDir, "symlink": landlock.FSMakeSym, "mkfifo": landlock.FSMakeFifo, "mksock": landlock.FSMakeSock, "mkchar": landlock.FSMakeChar, "mkblock": landlock.FSMakeBlock}

// predict returns what Check says: nil, a DeniedError or what keeps it from
// finding out.
func predict(rules *landlock.Sandbox, op *checkOp) error {
	if access, ok := inDirectoryNeeds[op.kind]; ok {
		if op.kind == "mkchar" && op.flags == 0 && rules.Report().Kernel.Errata&landlock.ErratumWhiteouts != 0 {
			access = landlock.FSMakeReg
		}
		return op.ask(rules, access, byName(op.path))
	}
	switch op.kind {
	case "open":
		return predictOpen(rules, op, 0)
	case "ioctl":
		return predictOpen(rules, op, landlock.FSIoctlDev)
	case "truncate":
		return op.ask(rules, landlock.FSTruncate, op.path)
	case "bind":
		return rules.CheckNet(landlock.NetBindTCP, op.port)
	case "connect":
		return rules.CheckNet(landlock.NetConnectTCP, op.port)
	case "exec":
		return predictExec(rules, op.path)
	}
	return predictMove(rules, op)
}

func (op *checkOp) ask(rules *landlock.Sandbox, access landlock.AccessFS, path string) error {
	op.asked = access
	return rules.Check(access, path)
}

// byName is what to ask of a name that is made or removed: itself, or where that
// is a directory the one above.
func byName(path string) string {
	if !dirAt(path) {
		return path
	}
	return directoryOf(path) + "."
}

func predictOpen(rules *landlock.Sandbox, op *checkOp, more landlock.AccessFS) error {
	path, flags := op.path, op.flags
	var access landlock.AccessFS
	info, err := os.Stat(path)
	if flags&unix.O_ACCMODE != unix.O_WRONLY {
		access |= landlock.FSReadFile
	}
	if flags&unix.O_ACCMODE != unix.O_RDONLY {
		access |= landlock.FSWriteFile
	}
	switch {
	case err == nil && info.IsDir():
		return op.ask(rules, landlock.FSReadDir, path)
	case err == nil && flags&unix.O_TRUNC != 0:
		access |= landlock.FSTruncate
	case errors.Is(err, fs.ErrNotExist) && flags&unix.O_CREAT != 0:
		access |= landlock.FSMakeReg
	}
	return op.ask(rules, access|more, path)
}

func predictExec(rules *landlock.Sandbox, path string) error {
	for _, file := range filesToRun(path) {
		if err := rules.Check(landlock.FSExecute|landlock.FSReadFile, file); err != nil {
			return err
		}
	}
	return nil
}

// predictMove asks Explain, as Check has no move, for both of the kernel's answers.
func predictMove(rules *landlock.Sandbox, op *checkOp) error {
	if isNoEntry(op.path) || isNoEntry(op.other) || op.kind != "link" && isMountPoint(op.path) || isMountPoint(op.other) {
		return errNeverMoved
	}
	var untold error
	for _, errno := range []error{unix.EACCES, unix.EXDEV} {
		refused := op.asError(errno)
		explained := rules.Explain(refused)
		if _, denied := errors.AsType[*landlock.DeniedError](explained); denied {
			return explained
		}
		if explained != refused && strings.Contains(explained.Error(), "cannot be told") {
			untold = explained
		}
	}
	return untold
}

// isNoEntry reports whether a path names nothing in a directory.
func isNoEntry(path string) bool {
	return slices.Contains([]string{"/", ".", ".."}, filepath.Base(path))
}

func isMountPoint(path string) bool {
	id, err := identify(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && id.mount != mountOf(directoryOf(path)+".")
}

// errNeverMoved is for what the kernel does not move in any case: nor does it say what
// it looks at before, which beneath a mount point no path leads to.
var errNeverMoved = errors.New("it cannot be moved in any case")

func (w *checkWorld) newOp() *checkOp {
	if w.IntN(12) == 0 {
		return w.specialOp()
	}
	op := &checkOp{path: w.anyPath()}
	op.asError = func(err error) error { return &fs.PathError{Op: op.kind, Path: op.path, Err: err} }
	moving := func(call func() error) {
		op.other = w.anyPath()
		op.do = call
		op.asError = func(err error) error { return &os.LinkError{Op: op.kind, Old: op.path, New: op.other, Err: err} }
	}
	switch n := w.IntN(41); {
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
	case n == 12:
		w.ioctl(op)
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
	case n < 39 && w.handled.Net != 0:
		w.socket(op)
	case n == 39 && os.Geteuid() == 0:
		device := checkDevices[w.IntN(len(checkDevices))]
		op.kind, op.flags = map[uint32]string{unix.S_IFCHR: "mkchar", unix.S_IFBLK: "mkblock"}[device.kind], device.number
		op.do = func() error { return unix.Mknod(op.path, device.kind|0o666, device.number) }
		op.asError = func(err error) error { return &fs.PathError{Op: "mknod", Path: op.path, Err: err} }
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

// specialOp tries what does no harm on what is not of this world.
func (w *checkWorld) specialOp() *checkOp {
	op := &checkOp{path: w.special[w.IntN(len(w.special))], special: true}
	harmless := strings.HasPrefix(op.path, "/dev/") || strings.HasPrefix(op.path, "/proc/self/fd/")
	if w.IntN(2) == 0 {
		w.ioctl(op)
		return op
	}
	op.kind = "open"
	op.flags = []int{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR, unix.O_RDWR | unix.O_TRUNC, unix.O_RDWR | unix.O_CREAT}[w.IntN(5)]
	if !harmless {
		op.flags = unix.O_RDONLY
	}
	op.do = func() error {
		fd, err := unix.Open(op.path, op.flags|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
		unix.Close(fd)
		return err
	}
	op.asError = func(err error) error { return &fs.PathError{Op: "open", Path: op.path, Err: err} }
	return op
}

// ioctl asks for the settings of a terminal, which what is none denies with ENOTTY.
func (w *checkWorld) ioctl(op *checkOp) {
	op.kind = "ioctl"
	call := "open"
	op.do = func() error {
		call = "open"
		fd, err := unix.Open(op.path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		call = "ioctl"
		_, err = unix.IoctlGetTermios(fd, unix.TCGETS)
		return err
	}
	op.asError = func(err error) error { return &fs.PathError{Op: call, Path: op.path, Err: err} }
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
