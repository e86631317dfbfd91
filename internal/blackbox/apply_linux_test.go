package blackbox

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/internal/testenv"
)

func TestApplyReachesEveryThread(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	prepare := func(t *testing.T, dir string) { testenv.Write(t, filepath.Join(dir, "secret"), "secret") }
	testenv.InChild(t, prepare, func(t *testing.T, dir string) {
		secret := filepath.Join(dir, "secret")
		const n = 50
		results := make(chan error, n)
		applied := make(chan struct{})
		var locked sync.WaitGroup
		for range n {
			locked.Add(1)
			go func() {
				runtime.LockOSThread()
				_, err := os.ReadFile(secret)
				if err != nil {
					t.Errorf("before Apply: %v", err)
				}
				locked.Done()
				<-applied
				_, err = os.ReadFile(secret)
				results <- err
			}()
		}
		locked.Wait()
		testenv.MustApply(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}))
		close(applied)
		for range n {
			if err := <-results; !errors.Is(err, unix.EACCES) {
				t.Errorf("a thread reads a file that is denied: %v", err)
			}
		}
		if v, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); v != 1 || err != nil {
			t.Errorf("no_new_privs is %d, %v", v, err)
		}
	})
}

func TestLayersIntersect(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	prepare := func(t *testing.T, dir string) {
		for _, name := range []string{"first/a", "both/a", "second/a", "both/sub/a"} {
			testenv.Write(t, filepath.Join(dir, name), "")
		}
	}
	testenv.InChild(t, prepare, func(t *testing.T, dir string) {
		read := func(name string) error { _, err := os.ReadFile(filepath.Join(dir, name, "a")); return err }
		in := func(name string) string { return filepath.Join(dir, name) }
		testenv.MustApply(t, landlock.New(landlock.V1).AllowRead(in("first"), in("both")))
		testenv.MustApply(t, landlock.New(landlock.V1).AllowRead(in("second"), in("both/sub")))
		for _, name := range []string{"first", "second", "both"} {
			if err := read(name); !errors.Is(err, unix.EACCES) {
				t.Errorf("read %s, which one layer allows: %v, want EACCES", name, err)
			}
		}
		if err := read("both/sub"); err != nil {
			t.Errorf("read what both layers allow: %v", err)
		}
	})
}

func TestTooManyLayers(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	prepare := func(t *testing.T, dir string) { testenv.Write(t, filepath.Join(dir, "file"), "") }
	testenv.InChild(t, prepare, func(t *testing.T, dir string) {
		for range 16 {
			testenv.MustApply(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}))
		}
		report, err := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).Apply()
		if !errors.Is(err, landlock.ErrTooManyLayers) || !errors.Is(err, unix.E2BIG) || report.Enforced != (landlock.Rights{}) {
			t.Errorf("layer 17: %v, %v, want ErrTooManyLayers", report, err)
		}
		if _, err := os.ReadFile(filepath.Join(dir, "file")); err != nil {
			t.Errorf("the layer that failed denies reading: %v", err)
		}
	})
}

func TestConcurrentApply(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	testenv.InChild(t, nil, func(t *testing.T, dir string) {
		r := landlock.New(landlock.V1).AllowReadWrite(dir)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := r.Apply(); err != nil {
					t.Errorf("Apply: %v", err)
				}
			})
			wg.Go(func() {
				if s, err := r.Prepare(); err != nil {
					t.Errorf("Prepare: %v", err)
				} else {
					s.Close()
				}
			})
		}
		wg.Wait()
		if _, err := os.ReadDir("/"); !errors.Is(err, unix.EACCES) {
			t.Errorf("list /: %v, want EACCES", err)
		}
		if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o600); err != nil {
			t.Error(err)
		}
	})
}

// Children that were started after Apply are in the domain, for good.
func TestChildrenInherit(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	prepare := func(t *testing.T, dir string) { testenv.Write(t, filepath.Join(dir, "secret"), "secret") }
	testenv.InChild(t, prepare, func(t *testing.T, dir string) {
		cat, err := exec.LookPath("cat")
		if err != nil {
			t.Skip("needs cat")
		}
		secret := filepath.Join(dir, "secret")
		if out, err := exec.Command(cat, secret).CombinedOutput(); err != nil {
			t.Fatalf("before Apply: %v: %s", err, out)
		}
		testenv.MustApply(t, landlock.New(landlock.V1).AllowOptional(landlock.FSReadExecute, "/bin", "/usr", "/lib", "/lib64", "/etc/ld.so.cache").
			AllowReadWrite(os.DevNull))
		out, err := exec.Command(cat, secret).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "ermission denied") {
			t.Errorf("a child reads the secret: %v: %s", err, out)
		}
	})
}

// minus returns what a has and b has not.
func minus(a, b landlock.Rights) landlock.Rights {
	return landlock.Rights{FS: a.FS &^ b.FS, Net: a.Net &^ b.Net, Scope: a.Scope &^ b.Scope}
}

func TestReport(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	testenv.InChild(t, nil, func(t *testing.T, _ string) {
		kernel, _ := landlock.Probe()
		report := testenv.MustApply(t, landlock.New(landlock.V11).BestEffort(landlock.V1).AllowRead("/"))
		want := kernel.ABI.Rights()
		if kernel.ABI < landlock.V8 {
			want.Scope = 0
		}
		if kernel.ABI == landlock.V1 {
			want.FS |= landlock.FSRefer
		}
		if report.Kernel != kernel || report.Enforced != want || report.Missing != minus(landlock.V11.Rights(), want) {
			t.Errorf("report %+v on %v", report, kernel)
		}
		t.Log(report)
	})
}

// What DryRun answers is what Apply answers then, and it restricts nothing.
func TestDryRun(t *testing.T) {
	for name, make := range map[string]func(dir string) *landlock.Ruleset{
		"strict": func(string) *landlock.Ruleset { return landlock.New(landlock.V11).AllowRead("/") },
		"best effort": func(dir string) *landlock.Ruleset {
			return landlock.New(landlock.V11).BestEffort(landlock.V1).AllowRead(dir).AllowConnectTCP(443).Log(landlock.LogNewExecOn)
		},
		"no floor": func(dir string) *landlock.Ruleset {
			return landlock.New(landlock.V11).BestEffort(0).AllowReadWrite(dir)
		},
		"scopes alone": func(string) *landlock.Ruleset {
			return landlock.NewHandling(landlock.Rights{Scope: landlock.ScopeSignal})
		},
		"refer": func(dir string) *landlock.Ruleset {
			return landlock.New(landlock.V2).BestEffort(landlock.V1).Allow(landlock.FSRefer, dir)
		},
		"skipped": func(dir string) *landlock.Ruleset {
			return landlock.New(landlock.V1).AllowOptional(landlock.FSRead, filepath.Join(dir, "missing"), dir)
		},
		"a path is missing": func(dir string) *landlock.Ruleset {
			return landlock.New(landlock.V1).AllowRead(dir, filepath.Join(dir, "missing"))
		},
		"wrong rules": func(dir string) *landlock.Ruleset {
			return landlock.New(landlock.V3).BestEffort(0).AllowRead(dir, filepath.Join(dir, "missing")).Allow(landlock.FSMakeDir, filepath.Join(dir, "file"))
		},
		"a mistake": func(string) *landlock.Ruleset { return landlock.New(landlock.V1).AllowRead("") },
	} {
		t.Run(name, func(t *testing.T) {
			prepare := func(t *testing.T, dir string) { testenv.Write(t, filepath.Join(dir, "file"), "") }
			testenv.InChild(t, prepare, func(t *testing.T, dir string) {
				before := testenv.OpenFiles()
				dry, dryErr := make(dir).DryRun()
				for open, link := range testenv.LeftOpen(before) {
					t.Errorf("descriptor %d is left open: %s", open, link)
				}
				for path, try := range map[string]func(string) error{
					"/":                          func(path string) error { _, err := os.ReadDir(path); return err },
					filepath.Join(dir, "file"):   func(path string) error { return os.WriteFile(path, nil, 0o600) },
					filepath.Join(dir, "socket"): func(path string) error { _, err := net.Listen("unix", path); return err },
				} {
					if err := try(path); err != nil {
						t.Errorf("DryRun restricts this process: %v", err)
					}
				}
				report, err := make(dir).Apply()
				if !reflect.DeepEqual(dry, report) || fmt.Sprint(dryErr) != fmt.Sprint(err) {
					t.Errorf("DryRun: %v, %v\nApply:  %v, %v", dry, dryErr, report, err)
				}
			})
		})
	}
}
