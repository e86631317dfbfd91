package blackbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/internal/testenv"
)

const (
	explainOps  = "LANDLOCK_EXPLAIN_OPS"  // how many operations TestExplainHelps tries; without, as many as there are in some seconds
	explainSeed = "LANDLOCK_EXPLAIN_SEED" // begin with this seed
)

// What Explain advises is what it takes, and no less would do: random rulesets, and
// random operations of os and net, with files replaced in between. Where the ruleset
// is not the reason, Explain does not say so.
func TestExplainHelps(t *testing.T) {
	testenv.InBoth(t, explainRandomly)
}

func explainRandomly(t *testing.T, dir string) {
	unix.Umask(0)
	ops, limit := math.MaxInt, time.Now().Add(time.Second/4)
	if testenv.LongTests() {
		limit = limit.Add(10 * time.Second)
	}
	seed := uint64(1)
	if n, err := strconv.Atoi(os.Getenv(explainOps)); err == nil {
		ops, limit, seed = n, limit.Add(24*time.Hour), uint64(time.Now().UnixNano())
	}
	if n, err := strconv.ParseUint(os.Getenv(explainSeed), 0, 64); err == nil {
		seed = n
	}
	counts := &explainCounts{kinds: map[string]*explainCount{}}
	few := func() bool { return counts.all.tried < 100 || counts.replaced == 0 && counts.all.tried < 2000 }
	for counts.all.tried < ops && (time.Now().Before(limit) || few()) && !t.Failed() {
		newExplainWorld(t, seed, dir, counts).run()
		seed++
	}
	t.Logf("%d operations tried\n%v", counts.all.tried, counts)
	for name, n := range counts.kinds {
		if n.tried > 300 && (n.worked == 0 || n.helped == 0) && eitherWay(name) {
			t.Errorf("%s: all or none were refused: %+v", name, *n)
		}
	}
	if counts.all.helped == 0 || counts.all.worked == 0 || counts.replaced == 0 || counts.enough == 0 {
		t.Errorf("this shows nothing: %+v, %d replaced, %d without a doubt", counts.all, counts.replaced, counts.enough)
	}
}

// eitherWay reports whether this kernel can allow and deny operations of a kind.
func eitherWay(kind string) bool {
	kernel, _ := landlock.Probe()
	since := map[string]landlock.ABI{"Truncate": landlock.V3, "Dial": landlock.V4, "Listen": landlock.V4, "Rename": landlock.V2, "Rename over": landlock.V2, "Link": landlock.V2}
	return kernel.ABI >= since[kind]
}

type explainCounts struct {
	all      explainCount
	kinds    map[string]*explainCount
	replaced int // of those that were helped: something was replaced, and was so once more
	enough   int // the rules of the first explanation were, with no doubt left
}

type explainCount struct {
	tried  int
	worked int
	helped int // by Explain's advice
	others int // refused, and not by Landlock
	less   int // advice that allows less was tried, and does not do
}

func (c *explainCounts) String() (text string) {
	for _, name := range slices.Sorted(maps.Keys(c.kinds)) {
		text += fmt.Sprintf("%-12s %+v\n", name, *c.kinds[name])
	}
	return text + fmt.Sprintf("%d helped after something was replaced, %d by rules without a doubt\n", c.replaced, c.enough)
}

// explainWorld is a directory in which things are replaced.
type explainWorld struct {
	*testing.T
	*rand.Rand
	*explainCounts
	seed    uint64
	dir     string
	version int // 2, or of what was replaced last
	handled landlock.Rights
	rules   []explainRule
	ports   []uint16
	sockets []net.Listener
	tcp     uint16         // the port on which something listens
	forbid  func(yes bool) // by the mode of something; nil: nothing is
}

// explainRule is a rule, and the file that it was loaded for.
type explainRule struct {
	path   string
	access landlock.AccessFS
	file   *os.File
}

var (
	explainDirs    = []string{"app", "app/v1", "app/v2", "conf", "conf/d", "data", "data/in", "data/in/deep"}
	explainFiles   = []string{"app/v1/x", "app/v2/x", "app/v1/run", "app/v2/run", "conf/a", "conf/b", "conf/d/x", "data/x", "data/in/x", "data/in/deep/x", "data/run"}
	explainCurrent = "app/current" // a link to one of the versions
)

func newExplainWorld(t *testing.T, seed uint64, dir string, counts *explainCounts) *explainWorld {
	w := &explainWorld{T: t, Rand: rand.New(rand.NewPCG(seed, 1)), explainCounts: counts, seed: seed,
		dir: filepath.Join(dir, "own", fmt.Sprint("explain", seed)), version: 2}
	w.must(os.MkdirAll(w.dir, 0o777))
	for _, name := range explainDirs {
		w.must(os.Mkdir(w.at(name), 0o777))
	}
	for _, name := range explainFiles {
		w.make(w.at(name))
	}
	w.must(os.Symlink("v1", w.at(explainCurrent)))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	w.tcp = uint16(listener.Addr().(*net.TCPAddr).Port)
	socket, err := net.Listen("unix", w.at("data/socket"))
	if errors.Is(err, unix.EINVAL) { // too long a path for one
		socket, err = net.Listen("unix", "@"+w.dir[len(w.dir)-30:])
	}
	w.must(err)
	w.sockets = []net.Listener{listener, socket}
	return w
}

func (w *explainWorld) at(name string) string { return w.dir + "/" + name }

func (w *explainWorld) must(err error) {
	if err != nil {
		w.Helper()
		w.Fatalf("seed %d: %v", w.seed, err)
	}
}

// make makes a file, which is a script where its name says so.
func (w *explainWorld) make(path string) {
	text := "text"
	if filepath.Base(path) == "run" {
		text = "#!/bin/sh\n"
	}
	w.must(os.WriteFile(path, []byte(text), 0o777))
}

func (w *explainWorld) run() {
	defer os.RemoveAll(w.dir)
	defer func() {
		for _, socket := range w.sockets {
			socket.Close()
		}
	}()
	for range 5 {
		w.newRules()
		w.tryRules()
		for _, rule := range w.rules {
			rule.file.Close()
		}
	}
}

func (w *explainWorld) newRules() {
	kernel, _ := landlock.Probe()
	w.rules, w.ports = nil, nil
	w.handled = kernel.ABI.Rights()
	w.handled.Scope = 0
	if w.IntN(3) == 0 {
		w.handled.FS &= landlock.AccessFS(w.Uint64()) | landlock.FSReadFile
	}
	for range w.IntN(6) {
		path := w.anything()
		access := []landlock.AccessFS{landlock.FSRead, landlock.FSRead, landlock.FSReadWrite, landlock.FSReadExecute, landlock.AccessFS(w.Uint64())}[w.IntN(5)] & w.handled.FS
		if w.IntN(8) == 0 {
			path, access = []string{"/usr", "/dev/null", "/bin/sh"}[w.IntN(3)], (landlock.FSReadExecute|landlock.FSWriteFile)&w.handled.FS
		}
		file, err := openPath(path)
		if err != nil {
			continue // a small machine may not have it
		}
		info, err := file.Stat()
		w.must(err)
		if !info.IsDir() {
			access &= fileRights
		}
		if access == 0 {
			file.Close()
			continue
		}
		w.rules = append(w.rules, explainRule{path, access, file})
	}
	if w.IntN(2) == 0 && w.handled.Net != 0 {
		w.ports = append(w.ports, w.tcp)
	}
}

func openPath(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

func canOpen(path string) bool {
	file, err := openPath(path)
	if err == nil {
		file.Close()
	}
	return err == nil
}

// anything returns the path of something that is there, as often as not by way of
// the link.
func (w *explainWorld) anything() string {
	switch w.IntN(5) {
	case 0:
		return w.directory()
	case 1:
		return w.at(explainCurrent)
	}
	return w.regular()
}

func (w *explainWorld) directory() string { return w.at(explainDirs[w.IntN(len(explainDirs))]) }

func (w *explainWorld) regular() string {
	if w.IntN(4) == 0 {
		return w.at(explainCurrent + "/x")
	}
	return w.at(explainFiles[w.IntN(len(explainFiles))])
}

// asLoaded returns the rules for the files that they were loaded for, and anew
// those for the files that are there now.
func (w *explainWorld) asLoaded() *landlock.Ruleset {
	r := landlock.NewHandling(w.handled)
	for _, rule := range w.rules {
		r.AllowFile(rule.access, rule.file)
	}
	return w.allowPorts(r)
}

func (w *explainWorld) anew() *landlock.Ruleset {
	r := landlock.NewHandling(w.handled)
	for _, rule := range w.rules {
		if canOpen(rule.path) { // its mode may have changed
			r.Allow(rule.access, rule.path)
		}
	}
	return w.allowPorts(r)
}

func (w *explainWorld) allowPorts(r *landlock.Ruleset) *landlock.Ruleset {
	for _, port := range w.ports {
		r.AllowNet(w.handled.Net, port)
	}
	return r
}

func (w *explainWorld) tryRules() {
	s, err := w.anew().Prepare()
	w.must(err)
	defer s.Close()
	for range 20 {
		if w.Failed() {
			return
		}
		if w.IntN(2) == 0 {
			w.replace(w.anything())
		}
		reset := w.changeMode()
		w.try(s, w.newOp())
		reset()
	}
}

// replace puts another file in the place of one, with the same in it.
func (w *explainWorld) replace(path string) {
	w.version++
	other := fmt.Sprint(path, ".", w.version)
	info, err := os.Lstat(path)
	w.must(err)
	switch {
	case info.Mode()&os.ModeSymlink != 0:
		next := fmt.Sprint(w.at("app/v"), w.version)
		w.must(os.Mkdir(next, 0o777))
		w.make(next + "/x")
		w.make(next + "/run")
		w.must(os.Symlink(filepath.Base(next), other))
		w.must(os.Rename(other, path))
	case info.IsDir():
		w.must(os.Mkdir(other, 0o777))
		entries, err := os.ReadDir(path)
		w.must(err)
		for _, entry := range entries {
			w.must(os.Rename(path+"/"+entry.Name(), other+"/"+entry.Name()))
		}
		w.must(os.Remove(path))
		w.must(os.Rename(other, path))
	default:
		if filepath.Base(path) == "run" { // which may be about to run
			w.must(os.Remove(path))
			other = path
		}
		w.make(other)
		if other != path {
			w.must(os.Rename(other, path))
		}
	}
}

// changeMode takes something away from a mode, now and then.
func (w *explainWorld) changeMode() (reset func()) {
	if w.IntN(4) > 0 {
		return func() {}
	}
	file, err := openPath(w.anything())
	w.must(err)
	path := fmt.Sprintf("/proc/self/fd/%d", file.Fd()) // it may be moved meanwhile
	mode := os.FileMode(0o111 * []int{4, 2, 1, 0, 5, 3, 6}[w.IntN(7)])
	w.forbid = func(yes bool) {
		if yes {
			w.must(os.Chmod(path, mode))
		} else {
			w.must(os.Chmod(path, 0o777))
		}
	}
	w.forbid(true)
	return func() {
		w.forbid(false)
		w.forbid = nil
		file.Close()
	}
}

// explainOp is something to try.
type explainOp struct {
	kind  string
	text  string
	do    func() error
	undo  func() // what it has done, once it works
	clear func() // what it has made
	path  string // that it is about
	other string // where it moves that to
}

func (op *explainOp) isMove() bool { return strings.HasPrefix(op.kind, "Rename") || op.kind == "Link" }

func (op *explainOp) String() string { return op.kind + " " + op.text }

func (w *explainWorld) newOp() *explainOp {
	file, other, dir := w.regular(), w.regular(), w.directory()
	new := dir + "/new"
	op := &explainOp{path: file, text: file, undo: func() {}, clear: func() {}}
	removed := func(path string) func() { return func() { os.Remove(path) } }
	remade := func() {
		if _, err := os.Lstat(file); err != nil { // it was not moved to itself
			w.make(file)
		}
	}
	switch w.IntN(22) {
	case 0, 1, 2, 3, 4:
		op.kind, op.do = "ReadFile", func() error { _, err := os.ReadFile(file); return err }
	case 5:
		op.kind, op.do = "WriteFile", func() error { return os.WriteFile(file, nil, 0o777) }
	case 6:
		op.kind, op.path, op.undo = "WriteFile new", new, removed(new)
		op.do = func() error { return os.WriteFile(new, nil, 0o777) }
	case 7:
		op.kind, op.do = "Create", func() error { return closing(os.Create(file)) }
	case 8:
		op.kind, op.path, op.undo = "Create new", new, removed(new)
		op.do = func() error { return closing(os.Create(new)) }
	case 9:
		flags := []int{os.O_RDONLY, os.O_WRONLY, os.O_RDWR}[w.IntN(3)] | []int{0, os.O_APPEND, os.O_CREATE}[w.IntN(3)]
		if w.IntN(4) == 0 {
			flags = []int{os.O_WRONLY, os.O_RDWR}[w.IntN(2)] | os.O_TRUNC
		}
		op.kind, op.text = "OpenFile", fmt.Sprintf("%s %#x", file, flags)
		op.do = func() error { return closing(os.OpenFile(file, flags, 0o777)) }
	case 10:
		op.kind, op.path, op.undo = "Mkdir", new, removed(new)
		op.do = func() error { return os.Mkdir(new, 0o777) }
	case 11:
		op.kind, op.undo, op.do = "Remove", remade, func() error { return os.Remove(file) }
	case 12:
		op.kind, op.other, op.text = "Rename", new, file+" "+new
		op.do, op.undo = func() error { return os.Rename(file, new) }, func() { os.Rename(new, file) }
	case 13:
		op.kind, op.other, op.text, op.undo = "Rename over", other, file+" "+other, remade
		op.do = func() error { return os.Rename(file, other) }
	case 14:
		op.kind, op.other, op.text, op.undo = "Link", new, file+" "+new, removed(new)
		op.do = func() error { return os.Link(file, new) }
	case 15:
		op.kind, op.path, op.undo = "Symlink", new, removed(new)
		op.do = func() error { return os.Symlink("x", new) }
	case 16:
		op.kind, op.do = "Truncate", func() error { return os.Truncate(file, 3) }
	case 17:
		op.kind, op.path, op.do = "ReadDir", dir, func() error { _, err := os.ReadDir(dir); return err }
	case 18:
		if filepath.Base(file) != "run" || w.IntN(3) > 0 { // it takes long
			return w.newOp()
		}
		op.kind, op.do = "exec", func() error { return exec.Command(file).Run() }
	case 19:
		op.kind, op.text = "Dial", fmt.Sprint("127.0.0.1:", w.tcp)
		op.do = func() error { return closing(net.Dial("tcp", op.text)) }
	case 20:
		op.kind, op.text = "Listen", fmt.Sprint("127.0.0.2:", w.tcp)
		var config net.ListenConfig
		config.SetMultipathTCP(false)
		op.do = func() error { return closing(config.Listen(context.Background(), "tcp", op.text)) }
	case 21:
		new = w.dir + "/data/s" // short enough
		op.kind, op.path, op.text, op.undo = "Listen unix", new, new, removed(new)
		op.do = func() error { return closing(net.Listen("unix", new)) }
	}
	if op.path == new {
		op.text = new
	}
	return op
}

func closing(c interface{ Close() error }, err error) error {
	if err == nil {
		c.Close()
	}
	return err
}

// isRefusal reports whether an error may be Landlock's.
func isRefusal(err error) bool {
	for _, errno := range []error{unix.EACCES, unix.EPERM, unix.EXDEV} {
		if errors.Is(err, errno) {
			return true
		}
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	return ok && (exit.ExitCode() == 126 || exit.ExitCode() == 127)
}

// in does something on a thread that a Sandbox restricts, and has it explained
// there.
func (w *explainWorld) in(s *landlock.Sandbox, op *explainOp) (err, explanation error) {
	w.must(s.Do(func() error {
		if err = op.do(); err != nil {
			explanation = s.Explain(err)
		}
		return nil
	}))
	if err == nil {
		op.undo()
	}
	return err, explanation
}

// try tries something in a Sandbox, and sees what Explain's advice is worth where
// it was refused.
func (w *explainWorld) try(s *landlock.Sandbox, op *explainOp) {
	if w.kinds[op.kind] == nil {
		w.kinds[op.kind] = &explainCount{}
	}
	counts := []*explainCount{&w.all, w.kinds[op.kind]}
	count := func(which func(*explainCount) *int) {
		for _, n := range counts {
			*which(n)++
		}
	}
	count(func(n *explainCount) *int { return &n.tried })
	if strings.HasSuffix(op.kind, " new") { // what was refused may have left an empty file, which is what Explain sees
		op.clear, op.undo = op.undo, func() {}
		defer op.clear()
	}
	replaced := w.replacedRules(op, ^landlock.AccessFS(0))
	err, explanation := w.in(s, op)
	switch {
	case err == nil:
		count(func(n *explainCount) *int { return &n.worked })
		return
	case !isRefusal(err):
		return
	}
	blamed, certain := denials(explanation)
	if !certain {
		if alone := op.do(); alone == nil {
			op.undo()
			if len(blamed) == 0 {
				w.wrong(op, "the kernel says %v, Explain blames nothing: %v", err, explanation)
			}
		} else if isRefusal(alone) {
			count(func(n *explainCount) *int { return &n.others })
			return
		}
	}
	if len(blamed) == 0 {
		return
	}
	if w.isEnough(op, explanation, blamed); w.help(op, explanation, count) {
		count(func(n *explainCount) *int { return &n.helped })
		if len(replaced) > 0 {
			w.replaced++
		}
	}
}

// isEnough tries what an explanation says without a doubt: that the rules that it has, as
// they are and all at once, let through what was refused.
func (w *explainWorld) isEnough(op *explainOp, explanation error, blamed []*landlock.DeniedError) {
	if !areSure(reasonsOf(explanation)) {
		return
	}
	if err, second := w.with(w.asLoaded(), blamed, op, nil); isRefusal(err) {
		if op.kind == "exec" && err.Error() != treeOf(explanation)[0].Error() {
			return // os/exec opens the null device first
		}
		if alone := op.do(); alone == nil {
			op.undo()
			w.wrong(op, "Explain is sure of %v, and it is still refused: %v", explanation, second)
		}
		return
	}
	w.enough++
}

// areSure reports whether the rules of all these reasons are to be enough.
func areSure(reasons []error) bool {
	return !slices.ContainsFunc(reasons, func(reason error) bool {
		denied, ok := reason.(*landlock.DeniedError)
		return !ok || denied.Rule == (landlock.Rule{}) || denied.Guess || denied.Uncertain != "" && !strings.HasPrefix(denied.Uncertain, "a file may not gain")
	})
}

// denials returns whom Explain blames, and whether one of them is no guess.
func denials(explanation error) (all []*landlock.DeniedError, certain bool) {
	for _, reason := range reasonsOf(explanation) {
		if denied, ok := reason.(*landlock.DeniedError); ok {
			all = append(all, denied)
			certain = certain || !denied.Guess
		}
	}
	return all, certain
}

// help follows Explain's advice until what was refused works: beside the rules as they
// were loaded, where no less may do, and beside the same that are loaded anew.
func (w *explainWorld) help(op *explainOp, explanation error, count func(func(*explainCount) *int)) bool {
	var advice []*landlock.DeniedError
	for range 6 {
		before := len(advice)
		if advice = w.heed(explanation, advice); len(advice) == before {
			return w.hopeless(op, advice, explanation)
		}
		for _, denied := range advice[before:] {
			if !w.needed(op, advice, denied, explanation, count) {
				return false
			}
		}
		var err error
		if err, explanation = w.with(w.asLoaded(), advice, op, func(s *landlock.Sandbox) {
			if op.kind == "ReadFile" && len(w.replacedRules(op, landlock.FSReadFile)) == 1 && !w.lasts(s, op, landlock.FSReadFile) {
				w.wrong(op, "Explain's advice %v is lost once its file is replaced again", advice)
			}
		}); err == nil {
			return w.helpAnew(op, advice)
		}
		if !isRefusal(err) {
			return false
		}
	}
	w.wrong(op, "with Explain's advice %v it is still refused: %v", advice, explanation)
	return false
}

// helpAnew is help beside rules that are for the files of now: since those may be
// others, it may take more advice.
func (w *explainWorld) helpAnew(op *explainOp, advice []*landlock.DeniedError) bool {
	for range 6 {
		err, explanation := w.with(w.anew(), advice, op, nil)
		if !isRefusal(err) {
			return err == nil
		}
		before := len(advice)
		if advice = w.heed(explanation, advice); len(advice) == before {
			return w.hopeless(op, advice, explanation)
		}
	}
	w.wrong(op, "with Explain's advice %v beside the rules it is still refused", advice)
	return false
}

// heed adds what is new in an explanation to the advice.
func (w *explainWorld) heed(explanation error, advice []*landlock.DeniedError) []*landlock.DeniedError {
	blamed, _ := denials(explanation)
	for _, denied := range blamed {
		if advises(denied) && !slices.ContainsFunc(advice, func(e *landlock.DeniedError) bool {
			return e.Rule == denied.Rule && e.Missing == denied.Missing && (e.Rule != (landlock.Rule{}) || e.Path == denied.Path)
		}) {
			advice = append(advice, denied)
		}
	}
	return advice
}

// with tries something with advice beside rules, and calls then where it works.
func (w *explainWorld) with(r *landlock.Ruleset, advice []*landlock.DeniedError, op *explainOp, then func(s *landlock.Sandbox)) (err, explanation error) {
	for _, denied := range advice {
		follow(r, denied)
	}
	s, err := r.Prepare()
	if err != nil {
		w.wrong(op, "Explain's advice %v cannot be loaded: %v", advice, err)
		return err, nil
	}
	defer s.Close()
	if err, explanation = w.in(s, op); err == nil && then != nil {
		then(s)
	}
	return err, explanation
}

// needed reports whether it takes all that is said to be missing, and a rule no
// further down.
func (w *explainWorld) needed(op *explainOp, advice []*landlock.DeniedError, denied *landlock.DeniedError, explanation error, count func(func(*explainCount) *int)) bool {
	others := slices.DeleteFunc(slices.Clone(advice), func(e *landlock.DeniedError) bool { return e == denied })
	if slices.ContainsFunc(others, func(e *landlock.DeniedError) bool {
		return beneath(denied.Rule.Path, e.Rule.Path) || beneath(denied.Path, e.Rule.Path)
	}) {
		return true // what is left out of one is in the other
	}
	if gains := denied.Missing.FS != 0 && denied.Missing.FS&^fileRights == 0; gains && op.isMove() {
		return true // which the other advice may have given to the file already
	}
	for _, without := range lessThan(denied) {
		count(func(n *explainCount) *int { return &n.less })
		r := w.asLoaded().Allow(denied.Missing.FS&^without, denied.Rule.Path)
		if err, _ := w.with(r, others, op, nil); err == nil {
			w.wrong(op, "Explain says %v, and it works without %v", explanation, without)
			return false
		}
	}
	path := narrower(denied)
	if path == "" || isEmpty(path) {
		return true // it may have been made just now, and the next one is another file
	}
	enough := false
	w.with(w.asLoaded().Allow(denied.Missing.FS, path), others, op, func(s *landlock.Sandbox) { enough = w.lasts(s, op, denied.Missing.FS) })
	if enough {
		w.wrong(op, "Explain says %v, and a rule for %s is enough", explanation, path)
	}
	return !enough
}

// beneath reports whether a path is a directory, or leads to what is in it.
func beneath(path, dir string) bool {
	return path != "" && strings.HasPrefix(path+"/", strings.TrimSuffix(dir, "/")+"/")
}

func isEmpty(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Size() == 0
}

// hopeless is for a refusal that no advice helps: a mode has to be the reason. Where it
// is, Explain has to say so, or to call it a guess, but for reading what the mode lets
// be read.
func (w *explainWorld) hopeless(op *explainOp, advice []*landlock.DeniedError, explanation error) bool {
	alone := op.do()
	if kernel, _ := landlock.Probe(); alone == nil && kernel.ABI == landlock.V1 && op.isMove() {
		op.undo() // which it denies always
		return false
	}
	if alone == nil && explanation != nil && strings.Contains(explanation.Error(), "may be above the root") {
		op.undo() // a mode keeps this user from finding out where a directory is that it has open
		return false
	}
	if alone == nil {
		op.undo()
		w.wrong(op, "unrestricted it works, and Explain has no advice: %v", explanation)
		return false
	}
	if slices.ContainsFunc(advice, func(e *landlock.DeniedError) bool { return strings.Contains(e.Uncertain, "the mode") }) {
		return false // both forbid it, and Explain says so
	}
	for _, denied := range advice {
		if isRefusal(alone) && !denied.Guess && denied.Missing.FS != landlock.FSReadFile && op.kind != "exec" { // of a script cut short, whose interpreter comes after it
			w.wrong(op, "unrestricted it is refused too (%v), and Explain blames the ruleset: %v", alone, denied)
		}
	}
	return false
}

// lasts reports whether something still works in a Sandbox once what has lost its rule
// is replaced again. Where several have, one of them may be nothing that it is about.
func (w *explainWorld) lasts(s *landlock.Sandbox, op *explainOp, access landlock.AccessFS) bool {
	paths := w.replacedRules(op, access)
	if len(paths) == 1 {
		op.clear()
		if w.forbid != nil { // the world, but for what is tried
			w.forbid(false)
		}
		w.replace(paths[0])
		if current := w.at(explainCurrent); strings.HasPrefix(paths[0], current+"/") {
			w.replace(current) // which of the two it was is not known
		}
		if w.forbid != nil {
			w.forbid(true)
		}
	}
	err, _ := w.in(s, op)
	return len(paths) < 2 && !isRefusal(err)
}

// replacedRules returns the paths of rules that would allow some of these rights on what
// an operation is about, were they not for files that are there no more.
func (w *explainWorld) replacedRules(op *explainOp, access landlock.AccessFS) (paths []string) {
	var about []string
	for _, path := range []string{op.path, op.other} {
		resolved, _ := filepath.EvalSymlinks(path)
		about = append(about, path, resolved)
	}
	for _, rule := range w.rules {
		leads := func(path string) bool { return strings.HasPrefix(path+"/", rule.path+"/") }
		if rule.access&access == 0 || !slices.ContainsFunc(about, leads) || slices.Contains(paths, rule.path) {
			continue
		}
		loaded, err := rule.file.Stat()
		w.must(err)
		if now, err := os.Stat(rule.path); err == nil && !os.SameFile(now, loaded) {
			paths = append(paths, rule.path)
		}
	}
	return paths
}

// narrower returns the path one step from where a rule is advised to what is denied,
// empty where none could do.
func narrower(denied *landlock.DeniedError) string {
	on := denied.Rule.Path
	rest, below := strings.CutPrefix(denied.Path, on+"/")
	if on == "" || !below {
		return ""
	}
	next, _, _ := strings.Cut(rest, "/")
	path := on + "/" + next
	if info, err := os.Stat(path); err != nil || !info.IsDir() && denied.Missing.FS&^fileRights != 0 {
		return ""
	}
	return path
}

// lessThan returns what to leave out of the rights that are missing, each alone.
func lessThan(denied *landlock.DeniedError) (without []landlock.AccessFS) {
	if denied.Rule.Path == "" || bits.OnesCount64(uint64(denied.Missing.FS)) < 2 {
		return nil
	}
	for bit := landlock.AccessFS(1); bit <= denied.Missing.FS; bit <<= 1 {
		if denied.Missing.FS&bit != 0 && !(denied.Guess && bit == landlock.FSTruncate) { // an open does not say whether it truncates
			without = append(without, bit)
		}
	}
	return without
}

// advises reports whether a reason says what would help. Where it says of a rule that it
// would be too much, nobody is to add it.
func advises(denied *landlock.DeniedError) bool {
	return denied.Rule != (landlock.Rule{}) || strings.Contains(denied.Error(), ": Use(")
}

// follow adds the rule that a reason advises, or what the preset that it names has.
func follow(r *landlock.Ruleset, denied *landlock.DeniedError) {
	if denied.Rule != (landlock.Rule{}) {
		r.Add(denied.Rule)
		return
	}
	// Package preset has tests of its own.
	r.AllowExecute(filesToRun(denied.Path)...).AllowOptional(landlock.FSReadExecute, "/bin", "/usr/bin", "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")
}

func (w *explainWorld) wrong(op *explainOp, format string, args ...any) {
	w.Helper()
	text := ""
	for _, rule := range w.rules {
		now := ""
		if loaded, err := rule.file.Stat(); err == nil {
			if info, err := os.Stat(rule.path); err != nil || !os.SameFile(info, loaded) {
				now = " (replaced)"
			}
		}
		text += fmt.Sprintf("\n\t%v on %s%s", rule.access, rule.path, now)
	}
	w.Errorf("%s=%d: %v: %s\nhandled %v, ports %v%s", explainSeed, w.seed, op, fmt.Sprintf(format, args...), w.handled, w.ports, text)
}
