package blackbox

import (
	"errors"
	"fmt"
	"io/fs"
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

// Every step that can fail, by the real refusal of the kernel: nothing may be
// restricted then, and nothing may be left open.
func TestFailureRestrictsNothing(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	type setup func(t *testing.T) (*landlock.Ruleset, func())
	everything := func() *landlock.Ruleset { return landlock.New(landlock.V1) }
	tests := map[string]struct {
		setup setup
		want  error
		root  bool         // installs a seccomp filter without no_new_privs
		below landlock.ABI // 0: on every kernel
	}{
		"probe": {func(t *testing.T) (*landlock.Ruleset, func()) {
			testenv.Refuse(t, unix.SYS_LANDLOCK_CREATE_RULESET, unix.EPERM)
			return everything(), nil
		}, landlock.ErrBlocked, true, 0},
		"probe, not built": {func(t *testing.T) (*landlock.Ruleset, func()) {
			testenv.Refuse(t, unix.SYS_LANDLOCK_CREATE_RULESET, unix.ENOSYS)
			return everything(), nil
		}, landlock.ErrNotBuilt, true, 0},
		"probe, disabled": {func(t *testing.T) (*landlock.Ruleset, func()) {
			testenv.Refuse(t, unix.SYS_LANDLOCK_CREATE_RULESET, unix.EOPNOTSUPP)
			return everything(), nil
		}, landlock.ErrDisabled, true, 0},
		"probe, an answer that nobody knows, whatever the floor": {func(t *testing.T) (*landlock.Ruleset, func()) {
			testenv.Refuse(t, unix.SYS_LANDLOCK_CREATE_RULESET, unix.ENOMEM)
			return everything().BestEffort(0), nil
		}, unix.ENOMEM, true, 0},
		"fit": {func(t *testing.T) (*landlock.Ruleset, func()) {
			return landlock.New(landlock.V11), nil
		}, errors.ErrUnsupported, false, landlock.V11},
		"create_ruleset": {func(t *testing.T) (*landlock.Ruleset, func()) {
			landlock.Probe()
			return everything(), limitFiles(t, 0)
		}, unix.EMFILE, false, 0},
		"open, no descriptor": {func(t *testing.T) (*landlock.Ruleset, func()) {
			landlock.Probe()
			return everything().AllowRead("/"), limitFiles(t, 1)
		}, unix.EMFILE, false, 0},
		"open": {func(t *testing.T) (*landlock.Ruleset, func()) {
			return everything().AllowRead("/", "/nonexistent"), nil
		}, fs.ErrNotExist, false, 0},
		"add_rule": {func(t *testing.T) (*landlock.Ruleset, func()) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			return everything().AllowFile(landlock.FSRead, r), func() { r.Close(); w.Close() }
		}, unix.EBADFD, false, 0},
		"no_new_privs": {func(t *testing.T) (*landlock.Ruleset, func()) {
			testenv.Refuse(t, unix.SYS_PRCTL, unix.EINVAL)
			return everything(), nil
		}, unix.EINVAL, true, landlock.V11},
		"restrict_self": {func(t *testing.T) (*landlock.Ruleset, func()) {
			testenv.Refuse(t, unix.SYS_LANDLOCK_RESTRICT_SELF, unix.EPERM)
			return everything(), nil
		}, landlock.ErrBlocked, true, 0},
		"restrict_self, with privileges": {func(t *testing.T) (*landlock.Ruleset, func()) {
			testenv.Refuse(t, unix.SYS_LANDLOCK_RESTRICT_SELF, unix.EPERM)
			return everything().AllowNewPrivs(), nil
		}, landlock.ErrBlocked, true, 0},
		"create_ruleset, refused after the probe": {func(t *testing.T) (*landlock.Ruleset, func()) {
			landlock.Probe()
			testenv.Refuse(t, unix.SYS_LANDLOCK_CREATE_RULESET, unix.EACCES)
			return everything(), nil
		}, landlock.ErrBlocked, true, 0},
		"restrict_self, not there": {func(t *testing.T) (*landlock.Ruleset, func()) {
			testenv.Refuse(t, unix.SYS_LANDLOCK_RESTRICT_SELF, unix.ENOSYS)
			return everything(), nil
		}, landlock.ErrBlocked, true, 0},
		"restrict_self, out of memory": {func(t *testing.T) (*landlock.Ruleset, func()) {
			testenv.Refuse(t, unix.SYS_LANDLOCK_RESTRICT_SELF, unix.ENOMEM)
			return everything(), nil
		}, unix.ENOMEM, true, 0},
		"restrict_self without privileges": {func(t *testing.T) (*landlock.Ruleset, func()) {
			if os.Getuid() == 0 {
				dropCapabilities(t)
			}
			return everything().AllowNewPrivs(), nil
		}, unix.EPERM, false, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.below > 0 {
				testenv.NeedBelow(t, test.below)
			}
			testenv.InChild(t, nil, func(t *testing.T, _ string) {
				if test.root {
					testenv.NeedRoot(t, "to install the filter")
				}
				r, undo := test.setup(t)
				before := testenv.OpenFiles()
				report, err := r.Apply()
				left := leftByApply(before)
				if undo != nil {
					undo()
				}
				if err == nil || !errors.Is(err, test.want) || report.Enforced != (landlock.Rights{}) {
					t.Errorf("Apply: %v, %v, want %v", report, err, test.want)
				}
				t.Log(err)
				for fd, link := range left {
					t.Errorf("descriptor %d is left open: %s", fd, link)
				}
				if _, err := os.ReadDir("/"); err != nil {
					t.Errorf("the process is restricted: %v", err)
				}
			})
		})
	}
}

// Whether a thread has ended that was tried something on, or has other filters,
// must be known before anything is restricted.
func TestThreadsThatCannotBeSeen(t *testing.T) {
	needFilter(t)
	testenv.NeedBelow(t, landlock.V10) // from there on there is a ruleset, which takes a descriptor as well
	for name, test := range map[string]struct {
		prepare func(t *testing.T) (undo func())
		want    error
	}{
		"no descriptors": {func(t *testing.T) func() {
			openPoller() // without which the Go runtime cannot do
			return limitFiles(t, 0)
		}, unix.EMFILE},
		"tgkill refused": {func(t *testing.T) func() {
			testenv.RefuseAll(t, unix.EPERM, unix.SYS_TGKILL)
			return func() {}
		}, unix.EPERM},
	} {
		t.Run(name, func(t *testing.T) {
			testenv.InChildAs(t, testenv.FewUsers(), nil, func(t *testing.T, dir string) {
				r := landlock.NewHandling(landlock.Rights{Net: anyUDP}).BestEffort(0).FilterSockets()
				undo := test.prepare(t)
				_, err := r.Apply()
				undo()
				if !errors.Is(err, test.want) || !strings.Contains(err.Error(), "cannot be told") {
					t.Errorf("Apply: %v, want %v", err, test.want)
				}
				if err := unfiltered(); err != nil {
					t.Errorf("the sockets of this process are filtered: %v", err)
				}
			})
		})
	}
}

// The same kernel, with Landlock taken away by a filter.
func TestLandlockTakenAway(t *testing.T) {
	for errno, want := range map[syscall.Errno]error{unix.ENOSYS: landlock.ErrNotBuilt, unix.EOPNOTSUPP: landlock.ErrDisabled, unix.EPERM: landlock.ErrBlocked} {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			testenv.InChild(t, nil, func(t *testing.T, _ string) {
				testenv.NeedRoot(t, "to install the filter")
				testenv.Refuse(t, unix.SYS_LANDLOCK_CREATE_RULESET, errno)
				if _, err := landlock.Probe(); err != want {
					t.Errorf("Probe: %v, want %v", err, want)
				}
				checkWithoutLandlock(t)
			})
		})
	}
}

// What stops every rule is said once, and blamed on none; what is wrong with one rule
// is still said of that one.
func TestOneCauseOnce(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	many := func(relative bool) (paths []string) {
		for i := range 1000 {
			path := fmt.Sprint("/nothing/", i)
			if relative {
				path = path[1:]
			}
			paths = append(paths, path)
		}
		return paths
	}
	refused := func(number int, errno syscall.Errno) func(t *testing.T, dir string) func() {
		return func(t *testing.T, _ string) func() {
			testenv.NeedRoot(t, "to install the filter")
			testenv.Refuse(t, number, errno)
			return nil
		}
	}
	everywhere := func(paths ...string) *landlock.Ruleset {
		return landlock.New(landlock.V11).BestEffort(landlock.V1).AllowRead("/", "/dev").AllowReadWrite(paths...).AllowOptional(landlock.FSRead, "/etc", "/usr").
			Quiet(landlock.FSResolveUnix, "/").AllowFile(landlock.FSReadFile, os.Stdin).AllowConnectTCP(1, 2).AllowNet(landlock.NetBindTCP, 3, 4)
	}
	const blocked = "landlock: system calls refused"
	type cause struct {
		rules func() *landlock.Ruleset
		setup func(t *testing.T, dir string) func()
		want  error
		words string
		from  landlock.ABI // 0: on every kernel
		below landlock.ABI
	}
	tests := map[string]cause{
		"no descriptors": {func() *landlock.Ruleset {
			return landlock.New(landlock.V1).AllowRead(many(false)...).AllowRead(many(true)...)
		},
			func(t *testing.T, _ string) func() { return limitFiles(t, 1) },
			unix.EMFILE, "landlock: open the paths of the rules: open: too many open files: raise RLIMIT_NOFILE", 0, 0},
		"no descriptors, for rights that the kernel does not know": {func() *landlock.Ruleset {
			return landlock.New(landlock.V11).BestEffort(landlock.V1).Allow(landlock.FSResolveUnix, "/", "/dev", "/etc")
		},
			func(t *testing.T, _ string) func() { return limitFiles(t, 2) },
			unix.EMFILE, "landlock: make a ruleset to try rules with: landlock_create_ruleset: too many open files: raise RLIMIT_NOFILE", 0, landlock.V9},
		"openat refused": {func() *landlock.Ruleset {
			return landlock.New(landlock.V1).AllowRead(many(false)...).AllowExecute(many(true)...)
		},
			refused(unix.SYS_OPENAT, unix.ENOSYS), unix.ENOSYS, "landlock: open the paths of the rules: open: function not implemented", 0, 0},
		"a working directory that is gone": {func() *landlock.Ruleset {
			return landlock.New(landlock.V1).AllowRead(many(true)...).AllowOptional(landlock.FSRead, "x")
		},
			func(t *testing.T, dir string) func() {
				gone := filepath.Join(dir, "gone")
				if err := errors.Join(os.Mkdir(gone, 0o700), os.Chdir(gone), os.Remove(gone)); err != nil {
					t.Fatal(err)
				}
				return nil
			}, fs.ErrNotExist, "landlock: open relative paths of the rules: the working directory was removed: open: no such file or directory", 0, 0},
		"a working directory that cannot be searched": {func() *landlock.Ruleset { return landlock.New(landlock.V1).AllowRead(many(true)...) },
			func(t *testing.T, dir string) func() {
				closed := filepath.Join(dir, "closed")
				if err := errors.Join(os.Mkdir(closed, 0o700), os.Chdir(closed), os.Chmod(closed, 0)); err != nil {
					t.Fatal(err)
				}
				if os.Getuid() == 0 {
					dropCapabilities(t)
				}
				return nil
			}, fs.ErrPermission, "landlock: open relative paths of the rules in the working directory: open: permission denied", 0, 0},
	}
	for _, errno := range []syscall.Errno{unix.EPERM, unix.EACCES, unix.ENOSYS, unix.EOPNOTSUPP, unix.ENETDOWN, unix.EINVAL} {
		refusal := refused(unix.SYS_LANDLOCK_ADD_RULE, errno)
		ports := func() *landlock.Ruleset {
			return landlock.New(landlock.V4).BestEffort(landlock.V1).AllowConnectTCP(1, 2).AllowBindTCP(3)
		}
		tests["add_rule refused, "+unix.ErrnoName(errno)] = cause{func() *landlock.Ruleset { return everywhere("/dev", "/tmp") }, refusal, landlock.ErrBlocked, blocked, 0, 0}
		tests["add_rule refused, ports alone, "+unix.ErrnoName(errno)] = cause{ports, refusal, landlock.ErrBlocked, blocked, landlock.V4, 0}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			testenv.NeedABI(t, test.from)
			if test.below > 0 {
				testenv.NeedBelow(t, test.below)
			}
			testenv.InChild(t, nil, func(t *testing.T, dir string) {
				landlock.Probe()
				r := test.rules()
				undo := test.setup(t, dir)
				_, err := r.Apply()
				_, again := r.Prepare()
				if undo != nil {
					undo()
				}
				if !errors.Is(err, test.want) || !strings.HasPrefix(err.Error(), test.words) || strings.Contains(err.Error(), "\n") {
					t.Fatalf("Apply: %v, want %q alone", err, test.words)
				}
				if rule, ok := errors.AsType[*landlock.RuleError](err); ok {
					t.Errorf("Apply: %v, which blames %v", err, rule)
				}
				if again == nil || again.Error() != err.Error() {
					t.Errorf("Prepare: %v, want what Apply says", again)
				}
			})
		})
	}
	t.Run("beside a rule that is wrong", func(t *testing.T) {
		testenv.InChild(t, nil, func(t *testing.T, dir string) {
			testenv.NeedRoot(t, "to install the filter")
			testenv.Refuse(t, unix.SYS_LANDLOCK_ADD_RULE, unix.EPERM)
			_, err := everywhere("/nonexistent", "/dev", "/tmp/nonexistent").Apply()
			if !errors.Is(err, landlock.ErrBlocked) || !errors.Is(err, fs.ErrNotExist) || strings.Count(err.Error(), "\n") != 2 ||
				!strings.Contains(err.Error(), `AllowReadWrite("/nonexistent"): open: no such file or directory: make it first`) {
				t.Errorf("Apply: %v, want three errors", err)
			}
		})
	})
	t.Run("a relative path that is missing", func(t *testing.T) {
		dir := t.TempDir()
		t.Chdir(dir)
		_, err := landlock.New(landlock.V1).AllowRead("nothing").DryRun()
		if want := fmt.Sprintf(`landlock: AllowRead("nothing"): open in %s: no such file or directory: AllowOptional skips what is not there`, dir); err == nil || err.Error() != want || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v, want %s", err, want)
		}
	})
}

// A filter that kills in place of refusing leaves nobody to return an error, whatever
// the floor.
func TestFilterThatKills(t *testing.T) {
	const child = "LANDLOCK_KILLED"
	if os.Getenv(child) != "" {
		runtime.LockOSThread()
		limit := unix.Rlimit{} // no core dump
		if err := errors.Join(unix.Setrlimit(unix.RLIMIT_CORE, &limit), unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)); err != nil {
			t.Fatal(err)
		}
		testenv.FilterAnswers(t, 0, unix.SYS_LANDLOCK_CREATE_RULESET, unix.SECCOMP_RET_KILL_PROCESS)
		report, err := landlock.New(landlock.V1).BestEffort(0).DryRun()
		t.Fatalf("alive: %v, %v", report, err)
	}
	cmd := exec.Command(testenv.Self(), "-test.run=^TestFilterThatKills$")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		t.Fatalf("%v: %s", err, out)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); !ok || status.Signal() != unix.SIGSYS {
		t.Errorf("%v: %s, want SIGSYS", err, out)
	}
}

// A failure leaves no_new_privs as it was. Where the kernel refuses the ruleset below
// landlock.ABI 8, it is set, and on all threads: which of them Apply was called on is chance.
func TestFailureLeavesNoNewPrivs(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	testenv.InChild(t, nil, func(t *testing.T, _ string) {
		testenv.NeedRoot(t, "to install the filter")
		check := func(when, want string) {
			t.Helper()
			threads, err := filepath.Glob("/proc/self/task/*/status")
			if err != nil || len(threads) == 0 {
				t.Fatalf("threads %v, %v", threads, err)
			}
			for _, thread := range threads {
				status, err := os.ReadFile(thread) // which may have ended meanwhile
				if err == nil && !strings.Contains(string(status), "NoNewPrivs:\t"+want) && !ends(thread) {
					t.Errorf("after %s: no_new_privs of %s is not %s", when, thread, want)
				}
			}
		}
		if _, err := landlock.New(landlock.V1).AllowRead("/nonexistent").Apply(); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("Apply: %v, want ErrNotExist", err)
		}
		check("a rule that is wrong", "0")
		testenv.Refuse(t, unix.SYS_LANDLOCK_RESTRICT_SELF, unix.ENOMEM)
		want := "0"
		if kernel, _ := landlock.Probe(); kernel.ABI < landlock.V8 {
			want = "1"
		}
		for range 20 { // which threads it gets is up to the scheduler
			if _, err := landlock.New(landlock.V1).Apply(); !errors.Is(err, unix.ENOMEM) {
				t.Fatalf("Apply: %v, want ENOMEM", err)
			}
			check("a refusal", want)
		}
	})
}

// From ABI 11 on the kernel sets no_new_privs together with the restriction, on
// every thread: no prctl is needed, and a failure leaves it unset.
func TestAtomicNoNewPrivs(t *testing.T) {
	testenv.NeedABI(t, landlock.V11)
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
		testenv.InChild(t, nil, func(t *testing.T, _ string) {
			testenv.NeedRoot(t, "to be restricted without no_new_privs")
			for err := error(nil); err == nil; { // until no layer is left
				_, err = landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}).AllowNewPrivs().Apply()
			}
			if _, err := landlock.New(landlock.V11).Apply(); !errors.Is(err, landlock.ErrTooManyLayers) {
				t.Errorf("Apply: %v, want too many layers", err)
			}
			check(t, "0")
		})
	})
	t.Run("without prctl", func(t *testing.T) {
		testenv.InChild(t, nil, func(t *testing.T, _ string) {
			testenv.NeedRoot(t, "to install the filter")
			testenv.Refuse(t, unix.SYS_PRCTL, unix.EINVAL)
			testenv.MustApply(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}))
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
