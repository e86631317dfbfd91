package blackbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/internal/osthread"
	"example.com/landlock/internal/testenv"
)

// onLockedThread runs f on a thread that ends with it, and nothing of the process
// with it.
func onLockedThread(f func()) {
	osthread.Spend(func() error { f(); return nil })
}

// hideProc has the process read no file any more.
func hideProc(t *testing.T) {
	t.Helper()
	testenv.MustApply(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}))
	if _, err := os.ReadFile("/proc/thread-self/status"); !errors.Is(err, unix.EACCES) {
		t.Fatalf("read /proc: %v", err)
	}
}

// syscallNumber is that of a system call for user ids, which has another where the
// first of its name took 16 bits.
func syscallNumber(here, of32Bits int) int {
	if runtime.GOARCH == "386" || runtime.GOARCH == "arm" {
		return of32Bits
	}
	return here
}

// What cannot be compared is an error, and nothing runs.
func TestThreadsThatCannotBeCompared(t *testing.T) {
	statfs := unix.SYS_STATFS
	if runtime.GOARCH == "386" {
		statfs = 268 // SYS_STATFS64, which x/sys/unix uses there
	}
	const all = unix.SECCOMP_FILTER_FLAG_TSYNC
	// Before Linux 6.8 labels take /proc as well.
	labels := func(errno syscall.Errno) error {
		if _, _, answer := unix.Syscall6(unix.SYS_LSM_GET_SELF_ATTR, 0, 0, 0, 0, 0, 0); answer == unix.ENOSYS {
			return errno
		}
		return nil
	}
	refusing := func(errno syscall.Errno, numbers ...int) func(*testing.T) {
		return func(t *testing.T) { testenv.RefuseAll(t, errno, numbers...) }
	}
	tests := map[string]struct {
		prepare func(t *testing.T) // on the thread that calls Do and Exec
		want    error
	}{
		"descriptors used up": {func(t *testing.T) { limitFiles(t, 0) }, labels(unix.EMFILE)},
		"descriptors used up, a filter on all": {func(t *testing.T) {
			testenv.AllowAll(t, all)
			limitFiles(t, 0)
		}, unix.EMFILE},
		"descriptors used up, one filter more": {func(t *testing.T) {
			testenv.AllowAll(t, all)
			testenv.AllowAll(t, 0)
			limitFiles(t, 0)
		}, unix.EMFILE},
		"descriptors used up, no kcmp": {func(t *testing.T) {
			testenv.RefuseAll(t, unix.EPERM, unix.SYS_KCMP)
			limitFiles(t, 0)
		}, unix.EMFILE},
		"/proc hidden": {hideProc, labels(unix.EACCES)},
		"/proc hidden, a filter on all": {func(t *testing.T) {
			testenv.AllowAll(t, all)
			hideProc(t)
		}, unix.EACCES},
		"/proc hidden, one filter more": {func(t *testing.T) {
			hideProc(t)
			testenv.AllowAll(t, all)
			testenv.AllowAll(t, 0)
		}, unix.EACCES},
		"getresuid":  {refusing(unix.EPERM, syscallNumber(unix.SYS_GETRESUID, 209)), unix.EPERM},
		"getresgid":  {refusing(unix.ENOSYS, syscallNumber(unix.SYS_GETRESGID, 211)), unix.ENOSYS},
		"getgroups":  {refusing(unix.EPERM, syscallNumber(unix.SYS_GETGROUPS, 205)), unix.EPERM},
		"capget":     {refusing(unix.EPERM, unix.SYS_CAPGET), unix.EPERM},
		"prctl":      {refusing(unix.EINVAL, unix.SYS_PRCTL), unix.EINVAL},
		"readlinkat": {refusing(unix.EACCES, unix.SYS_READLINKAT), unix.EACCES},
		"statfs":     {refusing(unix.ENOSYS, statfs), unix.ENOSYS},
		"keyctl, which makes a keyring where there is none": {refusing(unix.EPERM, unix.SYS_KEYCTL), nil},
		"kcmp, as in a container":                           {refusing(unix.EPERM, unix.SYS_KCMP), nil},
		"lsm_get_self_attr":                                 {refusing(unix.EPERM, unix.SYS_LSM_GET_SELF_ATTR), nil},
		"kcmp and statx":                                    {refusing(unix.ENOSYS, unix.SYS_KCMP, unix.SYS_STATX), unix.ENOSYS},
		"personality, as under LockPersonality":             {refusing(unix.EPERM, unix.SYS_PERSONALITY), nil},
		"setfsuid":                                          {refusing(unix.EPERM, syscallNumber(unix.SYS_SETFSUID, 215)), nil},
		"setfsgid":                                          {refusing(unix.ENOSYS, syscallNumber(unix.SYS_SETFSGID, 216)), nil},
		"personality, /proc hidden": {func(t *testing.T) {
			hideProc(t)
			testenv.RefuseAll(t, unix.EPERM, unix.SYS_PERSONALITY)
		}, unix.EACCES},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			testenv.InBoth(t, func(t *testing.T, dir string) {
				s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}))
				before := testenv.OpenFiles()
				onLockedThread(func() {
					test.prepare(t)
					ran := false
					err := s.Do(func() error { ran = true; return nil })
					if !errors.Is(err, test.want) || ran != (test.want == nil) || err != nil && !strings.Contains(err.Error(), " than the calling one cannot be told: ") {
						t.Errorf("Do: %v, and f runs: %v; want %v", err, ran, test.want)
					}
					t.Log(err)
					want := test.want
					if want == nil {
						want = os.ErrNotExist
					}
					if err := s.Exec(filepath.Join(dir, "nothing"), []string{"x"}, nil); !errors.Is(err, want) {
						t.Errorf("Exec: %v, want %v", err, want)
					}
				})
				for fd, link := range leftByApply(before) {
					t.Errorf("descriptor %d is left open: %s", fd, link)
				}
			})
		})
	}
}

// What a thread does not share with the others is seen, also where the kernel
// does not say what it shares.
func TestThreadsThatDiffer(t *testing.T) {
	unshared := func(what int, then func(t *testing.T) error) func(*testing.T) error {
		return func(t *testing.T) error {
			if err := unix.Unshare(what); err != nil {
				return err
			}
			return then(t)
		}
	}
	nothing := func(*testing.T) error { return nil }
	tests := map[string]struct {
		do   func(t *testing.T) error
		part string
		root bool // as another user there is nothing to see
	}{
		"descriptors":       {unshared(unix.CLONE_FILES, nothing), "descriptors, umask, root or working directory", false},
		"working directory": {unshared(unix.CLONE_FS, func(*testing.T) error { return unix.Chdir("/usr") }), "descriptors, umask, root or working directory", false},
		"umask":             {unshared(unix.CLONE_FS, func(*testing.T) error { unix.Umask(0o757); return nil }), "descriptors, umask, root or working directory", false},
		"personality": {func(t *testing.T) error {
			const noRandomAddresses = 0x40000
			return onThread(unix.SYS_PERSONALITY, noRandomAddresses, 0, 0)
		}, "personality", false},
		"descriptors, kcmp answered by a filter": {func(t *testing.T) error {
			testenv.RefuseAll(t, 0, unix.SYS_KCMP)
			return unix.Unshare(unix.CLONE_FILES)
		}, "descriptors, umask, root or working directory", false},
		"a filter more": {func(t *testing.T) error { testenv.AllowAll(t, 0); return nil }, "seccomp filters", false},
	}
	for name, test := range tests {
		for _, container := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, in a container %v", name, container), func(t *testing.T) {
				testenv.InBoth(t, func(t *testing.T, dir string) {
					if test.root && os.Geteuid() != 0 {
						return
					}
					if container {
						testenv.RefuseAll(t, unix.EPERM, unix.SYS_KCMP)
					}
					s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}))
					onLockedThread(func() {
						if err := s.Do(func() error { return nil }); err != nil {
							t.Errorf("Do before: %v", err)
						}
						if err := test.do(t); err != nil {
							t.Error(err)
							return
						}
						for name, err := range map[string]error{
							"Do":   s.Do(func() error { t.Error("f runs"); return nil }),
							"Exec": s.Exec(filepath.Join(dir, "nothing"), []string{"x"}, nil),
						} {
							if err == nil || !strings.Contains(err.Error(), "the calling thread has other "+test.part) {
								t.Errorf("%s: %v", name, err)
							}
						}
					})
					if err := s.Do(func() error { return nil }); err != nil {
						t.Errorf("Do on a thread like the others: %v", err)
					}
				})
			})
		}
	}
}

// answerPrctl has a filter answer one option of prctl with an errno, 0 for success,
// on the calling thread.
func answerPrctl(t *testing.T, option uint32, errno syscall.Errno) {
	t.Helper()
	runtime.LockOSThread() // which both calls are for
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	const args = 16 // in seccomp_data; the option's lower half, on little-endian machines
	failed := testenv.InstallFilter([]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_PRCTL, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: args},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: option, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}, 0)
	if failed != 0 {
		t.Fatalf("seccomp: %v", failed)
	}
}

// A filter of the calling thread alone is seen, whatever it has prctl say of it.
func TestFilterThatHidesItself(t *testing.T) {
	lies := map[string]struct {
		tell func(t *testing.T)
		want string
	}{
		"no filters":   {func(t *testing.T) { answerPrctl(t, unix.PR_GET_SECCOMP, 0) }, "the seccomp mode is 0 by prctl and 2 by "},
		"not built in": {func(t *testing.T) { answerPrctl(t, unix.PR_GET_SECCOMP, unix.EINVAL) }, "the seccomp mode is 0 by prctl and 2 by "},
		"refused":      {func(t *testing.T) { answerPrctl(t, unix.PR_GET_SECCOMP, unix.EPERM) }, "the calling thread has other seccomp filters "},
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			testenv.InBoth(t, func(t *testing.T, dir string) {
				s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}))
				onLockedThread(func() {
					lie.tell(t)
					for call, err := range map[string]error{
						"Do":   s.Do(func() error { t.Error("f runs"); return nil }),
						"Exec": s.Exec(filepath.Join(dir, "nothing"), []string{"x"}, nil),
					} {
						if err == nil || !strings.Contains(err.Error(), lie.want) {
							t.Errorf("%s: %v, want %q", call, err, lie.want)
						}
					}
				})
			})
		})
	}
}
