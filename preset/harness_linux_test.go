package preset

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/internal/program"
	"example.com/landlock/landlocktest"
)

// A scenario is something that a program does, and that works with what its
// presets allow. It runs in a process of its own, once with all their lines, and
// once without each line that it is for: then it has to fail.
type scenario struct {
	name string
	use  []func(*landlock.Ruleset) error
	run  func(r *landlock.Ruleset) error // in the child: restrict and do it
	// misses are the lines without which it fails: a path, or "connect_tcp 53".
	misses []string
	// root are the files of a root directory of its own, by their path, if it does
	// not run in that of this system. A text of "-> path" is a link.
	root    map[string]string
	env     []string
	network bool          // it has a network of its own as well, with the servers of servers_linux_test.go
	tty     bool          // it has a terminal of its own
	lacks   func() string // what this machine does not have for it
	abi     landlock.ABI  // that it needs
}

// What the environment tells a child.
const (
	childScenario = "PRESET_SCENARIO" // which one to run
	childDrop     = "PRESET_DROP"     // the line to leave out
	childRoot     = "PRESET_ROOT"     // its root directory
	childServes   = "PRESET_SERVES"   // to start the servers first, and then itself again
)

const failed = 3 // the exit status of a scenario that failed as scenarios do

func TestMain(m *testing.M) {
	name := os.Getenv(childScenario)
	if name == "" {
		if kernel, _ := landlock.Probe(); kernel.ABI < landlock.V6 { // examples cannot be skipped
			flag.Parse()
			flag.Set("test.skip", "^Example")
		}
		os.Exit(m.Run())
	}
	if os.Getenv(childServes) != "" {
		os.Exit(serve())
	}
	err := scenarios[name].inChild()
	if err != nil {
		fmt.Println("failed:", err)
		syscall.Exit(failed)
	}
	syscall.Exit(0) // without the hooks that write a coverage profile
}

// scenarios are all of them, by their names.
var scenarios = map[string]scenario{}

// register adds scenarios, and returns them.
func register(all ...scenario) []scenario {
	for _, s := range all {
		if _, twice := scenarios[s.name]; twice {
			panic("two scenarios are called " + s.name)
		}
		scenarios[s.name] = s
	}
	return all
}

// everything returns a ruleset that denies all that this kernel can deny.
func everything() *landlock.Ruleset { return landlock.New(landlock.V11).BestEffort(landlock.V1) }

func (s scenario) inChild() error {
	if root := os.Getenv(childRoot); root != "" {
		if err := enter(root); err != nil {
			fmt.Println("change the root directory:", err)
			syscall.Exit(1)
		}
	}
	rules := everything().Use(s.use...)
	if drop := os.Getenv(childDrop); drop != "" {
		var err error
		if rules, err = without(rules, drop); err != nil {
			fmt.Println(err)
			syscall.Exit(1)
		}
	}
	return s.run(rules)
}

// enter makes a directory the root directory. It has /proc, without which Apply
// takes some seconds.
func enter(root string) error {
	proc := filepath.Join(root, "proc")
	if err := errors.Join(os.MkdirAll(proc, 0o755), unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")); err != nil {
		return err
	}
	return errors.Join(unix.Mount("/proc", proc, "", unix.MS_BIND|unix.MS_REC, ""), unix.Chroot(root), os.Chdir("/"))
}

// lines returns the lines of a ruleset, each once.
func lines(r *landlock.Ruleset) map[string]bool {
	all := map[string]bool{}
	for rule := range r.Rules() {
		all[lineOf(rule)] = true
	}
	return all
}

// lineOf returns what tells the rule of a line: its path, or its port with the access.
func lineOf(rule landlock.Rule) string {
	if rule.Path == "" {
		return fmt.Sprint(rule.Net, " ", rule.Port)
	}
	return rule.Path
}

// without returns the ruleset without one of its lines.
func without(r *landlock.Ruleset, drop string) (*landlock.Ruleset, error) {
	less, dropped := everything(), false
	for rule := range r.Rules() {
		switch {
		case lineOf(rule) == drop:
			dropped = true
		case rule.Path == "":
			less.Add(rule)
		case hasRules(rule.Path):
			less.AllowOptional(rule.FS, rule.Path)
		}
	}
	if !dropped {
		return nil, fmt.Errorf("there is no line %s to be taken away", drop)
	}
	return less, nil
}

// hasRules reports whether what is at a path can have rules: a stream that is a pipe
// can not.
func hasRules(path string) bool {
	info, err := os.Stat(path)
	return err != nil || info.Mode().Type()&(fs.ModeNamedPipe|fs.ModeSocket) == 0
}

// check runs the scenarios of a preset, without each of the lines that they are
// for too. exceptions are the lines that none of them misses, and why: one that is
// missed, or does not exist, has no place there.
func check(t *testing.T, preset func(*landlock.Ruleset) error, all []scenario, exceptions map[string]string) {
	landlocktest.NeedABI(t, landlock.V1)
	missed := map[string]bool{}
	for _, s := range all {
		for _, line := range s.misses {
			missed[line] = true
		}
	}
	for line := range lines(everything().Use(preset)) {
		if exceptions[line] == "" && !missed[line] {
			t.Errorf("no scenario misses the line %s: write one, or say in the list of exceptions why there is none", line)
		}
	}
	for _, line := range slices.Sorted(maps.Keys(exceptions)) {
		if missed[line] {
			t.Errorf("%s is an exception (%s), and a scenario is for it", line, exceptions[line])
		}
	}
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.needs(t)
			if out, code := s.start(t, ""); code != 0 {
				t.Fatalf("status %d: %s", code, out)
			}
			for _, line := range s.misses {
				s.checkMisses(t, line)
			}
			if testing.Short() {
				return
			}
			for _, line := range slices.Sorted(maps.Keys(exceptions)) {
				if out, code := s.start(t, line); code == failed {
					t.Errorf("without %s: %s: it is no exception any more (%s)", line, out, exceptions[line])
				}
			}
		})
	}
}

// checkMisses checks that a scenario fails without a line. With -short it does so
// for what only newer kernels restrict.
func (s scenario) checkMisses(t *testing.T, line string) {
	if testing.Short() && s.abiOf(line) == landlock.V1 {
		return
	}
	t.Run("without "+line, func(t *testing.T) {
		landlocktest.NeedABI(t, s.abiOf(line))
		if out, code := s.start(t, line); code != failed {
			t.Errorf("without %s: status %d, want one of failure: %s", line, code, out)
		}
	})
}

// abiOf returns the first ABI that denies what a line allows: that of the scenario,
// for a path.
func (s scenario) abiOf(line string) landlock.ABI {
	word, _, isPort := strings.Cut(line, " ")
	var access landlock.AccessNet
	if isPort && access.UnmarshalText([]byte(word)) == nil {
		abi := landlock.V1
		for abi.Net()&access == 0 {
			abi++
		}
		return abi
	}
	return max(s.abi, landlock.V1)
}

// needs skips a scenario that cannot be had here.
func (s scenario) needs(t *testing.T) {
	t.Helper()
	if s.abi > 0 {
		landlocktest.NeedABI(t, s.abi)
	}
	if s.lacks != nil {
		if what := s.lacks(); what != "" {
			t.Skip("needs " + what)
		}
	}
	if s.root != nil {
		if out := privileges(); out != "" {
			t.Skip("needs root, or user namespaces: ", out)
		}
	}
}

// privileges returns why there is no root directory of one's own here.
var privileges = sync.OnceValue(func() string {
	root, err := os.MkdirTemp("", "preset-root-")
	if err != nil {
		return err.Error()
	}
	defer os.RemoveAll(root)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childScenario+"="+nothing.name, childRoot+"="+root, "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = scenario{root: map[string]string{}, network: true}.attributes()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Sprintf("%v: %s", err, out)
	}
	return ""
})

var nothing = register(scenario{name: "nothing", run: func(*landlock.Ruleset) error { return nil }})[0]

func (s scenario) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{}
	if s.network {
		attr.Cloneflags |= syscall.CLONE_NEWNET
	}
	if s.root != nil {
		attr.Cloneflags |= syscall.CLONE_NEWNS
	}
	if s.root != nil && os.Getuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	return attr
}

// start runs the scenario in a child, and returns what it printed and its status.
func (s scenario) start(t *testing.T, drop string) (output string, code int) {
	t.Helper()
	limit, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // only a hang takes so long
	defer cancel()
	cmd := exec.CommandContext(limit, "/proc/self/exe")
	cmd.WaitDelay = time.Minute
	cmd.SysProcAttr = s.attributes()
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if !slices.Contains([]string{"TZ", "ZONEINFO", "SSL_CERT_FILE", "SSL_CERT_DIR", "GODEBUG", "LD_LIBRARY_PATH"}, name) {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	dir := t.TempDir()
	cmd.Env = append(cmd.Env, "TMPDIR="+dir, "HOME="+dir, "GORACE=atexit_sleep_ms=0", childScenario+"="+s.name, childDrop+"="+drop)
	if s.root != nil {
		root := filepath.Join(dir, "root")
		makeRoot(t, root, s.root)
		cmd.Env = append(cmd.Env, childRoot+"="+root, "TMPDIR=/tmp")
	}
	if s.network {
		cmd.Env = append(cmd.Env, childServes+"=1")
	}
	cmd.Env = append(cmd.Env, s.env...)
	if s.tty {
		terminal := newTerminal(t)
		cmd.Stdin, cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = terminal, true, true
	}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func makeRoot(t *testing.T, root string, files map[string]string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(root, "tmp"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, text := range files {
		inside := filepath.Join(root, path)
		err := os.MkdirAll(filepath.Dir(inside), 0o755)
		if target, link := strings.CutPrefix(text, "-> "); err == nil && link {
			err = os.Symlink(target, inside)
		} else if err == nil && strings.HasSuffix(path, "/") {
			err = os.MkdirAll(inside, 0o755)
		} else if err == nil {
			err = os.WriteFile(inside, []byte(text), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// newTerminal returns a new terminal on which somebody has typed a line.
func newTerminal(t *testing.T) *os.File {
	t.Helper()
	master, terminal, err := makeTerminal()
	if err != nil {
		t.Skip("needs terminals: ", err)
	}
	t.Cleanup(func() { errors.Join(master.Close(), terminal.Close()) })
	if _, err := master.WriteString("secret\n"); err != nil {
		t.Fatal(err)
	}
	return terminal
}

// inside returns a scenario's function that restricts this process, and then does f.
func inside(f func() error) func(*landlock.Ruleset) error {
	return func(r *landlock.Ruleset) error {
		if _, err := r.Apply(); err != nil {
			return fmt.Errorf("apply: %w", err)
		}
		return f()
	}
}

// runs returns a scenario's function that runs a program in a sandbox.
func runs(want string, name string, args ...string) func(*landlock.Ruleset) error {
	return func(r *landlock.Ruleset) error {
		cmd := exec.Command(name, args...)
		cmd.Dir = "/"
		out, err := outputOf(r, cmd)
		if err == nil && !strings.Contains(out, want) {
			err = fmt.Errorf("%q, want %q", out, want)
		}
		return err
	}
}

func outputOf(r *landlock.Ruleset, cmd *exec.Cmd) (string, error) {
	sandbox, err := r.Prepare()
	if err != nil {
		return "", err
	}
	defer sandbox.Close()
	out, err := sandbox.CombinedOutput(cmd)
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return string(out), err
}

// readable returns a function that reads files, as programs in other languages do.
func readable(paths ...string) func() error {
	return func() error {
		for _, path := range paths {
			if _, err := os.ReadFile(path); err != nil {
				return err
			}
		}
		return nil
	}
}

// programsLacking returns which of the programs are not here.
func programsLacking(names ...string) func() string {
	return func() string {
		for _, name := range names {
			if _, err := exec.LookPath(name); err != nil {
				return fmt.Sprintf("the program %s: %v", name, err)
			}
		}
		return ""
	}
}

// libraryLacking says that this binary cannot ask glibc. (musl has no nsswitch.conf,
// host.conf and gai.conf.)
func libraryLacking() string {
	if start, err := program.Read("/proc/self/exe"); !cLibrary || err != nil || strings.Contains(start.Interpreter, "musl") {
		return "the C library's resolver"
	}
	return ""
}

func ipv6Lacking() string {
	listener, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return "IPv6: " + err.Error()
	}
	listener.Close()
	return libraryLacking()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
