package blackbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/internal/osthread"
	"example.com/landlock/internal/testenv"
)

// What an Exec or Do has restricted has a layer more than the others until it has
// ended, and Apply must not find out half way that such a thread takes no more.
func TestLayersAfterDo(t *testing.T) {
	for name, use := range map[string]func(s *landlock.Sandbox, dir string) error{
		"Do": func(s *landlock.Sandbox, dir string) error { return s.Do(func() error { return nil }) },
		"Exec that fails": func(s *landlock.Sandbox, dir string) error {
			if err := s.Exec(filepath.Join(dir, "nothing"), []string{"x"}, nil); !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("Exec: %w", err)
			}
			return nil
		},
		"a child": func(s *landlock.Sandbox, dir string) error {
			return s.Run(exec.Command("/proc/self/exe", "-test.run=^$"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			testenv.InBoth(t, func(t *testing.T, dir string) {
				apply := func() error {
					_, err := landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}).Apply()
					return err
				}
				for layer := range 15 {
					if err := apply(); err != nil {
						t.Fatalf("layer %d: %v", layer+1, err)
					}
				}
				s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}))
				// Apply at the very moment that the last is done.
				var all sync.WaitGroup
				var applied atomic.Int32
				for i := range 40 {
					all.Go(func() {
						if i%2 == 0 {
							if err := use(s, dir); err != nil && !errors.Is(err, landlock.ErrTooManyLayers) {
								t.Error(err)
							}
							return
						}
						err := apply()
						for isDoRunning(err) {
							err = apply()
						}
						if err == nil {
							applied.Add(1)
						} else if !errors.Is(err, landlock.ErrTooManyLayers) {
							t.Error(err)
						}
					})
				}
				all.Wait()
				if n := applied.Load(); n != 1 {
					t.Errorf("%d times room for the last layer", n)
				}
			})
		})
	}
}

func TestDo(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		secret := filepath.Join(dir, "secret")
		s := testenv.MustPrepare(t, runnable(bestForChildren()))
		read := func() error { _, err := os.ReadFile(secret); return err }
		if err := s.Do(read); !errors.Is(err, unix.EACCES) {
			t.Errorf("reading what is denied: %v", err)
		}
		if err := read(); err != nil {
			t.Errorf("reading after Do: %v", err)
		}
		if err := s.Do(func() error { return nil }); err != nil {
			t.Error(err)
		}
		if err := s.Do(nil); err == nil || !strings.Contains(err.Error(), "nil function") {
			t.Errorf("Do of nil: %v", err)
		}
		func() {
			defer func() {
				if value := recover(); value != "a panic" {
					t.Errorf("recovered %v", value)
				}
			}()
			s.Do(func() error { panic("a panic") })
			t.Error("a panic in f is lost")
		}()
		ended := make(chan bool)
		go func() {
			defer close(ended)
			s.Do(func() error { runtime.Goexit(); return nil })
			t.Error("a Goexit in f is lost")
		}()
		<-ended

		// From inside: Start alone.
		err := s.Do(func() error {
			cmd, out := try("read=" + secret)
			cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr // f may not open /dev/null
			if err := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar})).Run(cmd); err != nil || out.String() != lines("read="+secret+": EACCES") {
				t.Errorf("a child of f, in a sandbox that allows reading: %v: %s", err, out)
			}
			_, applyErr := landlock.New(landlock.V1).Apply()
			for name, err := range map[string]error{"Do": s.Do(read), "Exec": s.Exec(testenv.Self(), nil, nil), "Apply": applyErr} {
				if err == nil || !strings.Contains(err.Error(), "inside") {
					t.Errorf("%s inside Do: %v", name, err)
				}
			}
			return read()
		})
		if !errors.Is(err, unix.EACCES) {
			t.Errorf("after all that, f reads: %v", err)
		}
	})
}

// A panic that nobody recovers prints the stack of the function, not just that
// of its caller.
func TestDoPrintsTheStackOfAPanic(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		cmd, _ := try("panic")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		err := cmd.Run()
		for _, want := range []string{"panic: in the function of a Do", "blackbox.panicInDo(", "panic: the value"} {
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 2 || !strings.Contains(stderr.String(), want) {
				t.Errorf("%v, not %q in:\n%s", err, want, &stderr)
			}
		}
	})
}

// Nobody else ever runs on a thread that is restricted, and the main thread is
// not one.
func TestThreadsAreNotShared(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		secret := filepath.Join(dir, "secret")
		s := testenv.MustPrepare(t, runnable(bestForChildren()))
		var busy, idle sync.WaitGroup
		var stop atomic.Bool
		for range 16 {
			idle.Go(func() {
				for !stop.Load() {
					if _, err := os.ReadFile(secret); err != nil {
						t.Errorf("a goroutine that has no sandbox: %v", err)
						return
					}
				}
			})
		}
		rounds := 4
		if testenv.LongTests() {
			rounds = 100
		}
		for range 8 {
			busy.Go(func() {
				for range rounds {
					err := s.Do(func() error {
						if osthread.IsMain() {
							t.Error("the main thread is restricted")
						}
						_, err := os.ReadFile(secret)
						return err
					})
					if !errors.Is(err, unix.EACCES) {
						t.Errorf("Do: %v", err)
					}
				}
			})
		}
		busy.Wait()
		stop.Store(true)
		idle.Wait()
	})
}

// From ABI 8 on Apply gives all threads one domain, and so it would set free a thread
// that is restricted for a child, or for a Do.
func TestApplyBesideSandboxes(t *testing.T) {
	beside := func(name string, work func(s *landlock.Sandbox, secret string) error) {
		t.Run(name, func(t *testing.T) {
			testenv.InBoth(t, func(t *testing.T, dir string) { applyBeside(t, filepath.Join(dir, "secret"), work) })
		})
	}
	beside("children", func(s *landlock.Sandbox, secret string) error {
		cmd, out := try("read=" + secret)
		err := s.Run(cmd)
		if err == nil && out.String() != lines("read="+secret+": EACCES") {
			err = fmt.Errorf("a child: %s", out)
		}
		return err
	})
	beside("Do", func(s *landlock.Sandbox, secret string) error {
		return s.Do(func() error {
			for range 100 {
				if _, err := os.ReadFile(secret); !errors.Is(err, unix.EACCES) {
					return fmt.Errorf("f reads the secret: %v", err)
				}
			}
			return nil
		})
	})
}

// Below ABI 8 Apply signals every thread, and a signal may reach what a thread is becoming:
// no program begins with it.
func TestApplyBesideExec(t *testing.T) {
	for range 10 {
		cmd, out := try("become beside Apply")
		if err := cmd.Run(); err != nil || out.String() != lines(fmt.Sprintf("pid=%d: ok", cmd.Process.Pid)) {
			t.Errorf("the program: %v: %s", err, out)
		}
	}
}

// applyBeside starts an Apply and some work at the same moment, since the one to
// get between is short, until no layer is left.
func applyBeside(t *testing.T, secret string, work func(s *landlock.Sandbox, secret string) error) {
	s := testenv.MustPrepare(t, runnable(bestForChildren()))
	loose := landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar})
	applied, refused, enough := 0, 0, 5
	if testenv.LongTests() {
		enough = 15 // which is when the layers run out
	}
	for applied < enough && refused < 100 {
		start := make(chan bool)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				<-start
				if err := work(s, secret); err != nil && !errors.Is(err, landlock.ErrTooManyLayers) {
					t.Error(err)
				}
			})
		}
		wg.Go(func() {
			<-start
			switch _, err := loose.Apply(); {
			case err == nil:
				applied++
			case isDoRunning(err), errors.Is(err, landlock.ErrTooManyLayers):
				refused++
			default:
				t.Errorf("Apply: %v", err)
			}
		})
		close(start)
		wg.Wait()
	}
	if t.Logf("%d Applies, %d refused", applied, refused); applied == 0 {
		t.Error("no Apply has worked: this shows nothing")
	}
}

// From Linux 7.1 a thread that follows such a link while the kernel restricts
// all threads holds everything up: see interruptWaits.
func TestApplyBesideLinksInProc(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	testenv.InBoth(t, func(t *testing.T, dir string) {
		followed := make(chan bool)
		go func() {
			unix.Readlink("/proc/self/exe", make([]byte, 1))
			close(followed)
			for {
				unix.Readlink("/proc/self/exe", make([]byte, 1))
			}
		}()
		<-followed
		for range 10 {
			testenv.MustApply(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}))
		}
	})
}

// The danger that TestApplyBesideSandboxes is about, without the library's care:
// the kernel sets a stricter thread free.
func TestThreadSyncReplacesDomains(t *testing.T) {
	testenv.NeedABI(t, landlock.V8)
	testenv.InBoth(t, func(t *testing.T, dir string) {
		secret := filepath.Join(dir, "secret")
		s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}))
		restricted, synced, result := make(chan bool), make(chan bool), make(chan [2]error)
		go func() {
			enforceOnThread(t, s)
			_, before := os.ReadFile(secret)
			close(restricted)
			<-synced
			_, after := os.ReadFile(secret)
			result <- [2]error{before, after}
		}()
		<-restricted
		testenv.MustApply(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}))
		close(synced)
		if errs := <-result; !errors.Is(errs[0], unix.EACCES) || errs[1] != nil {
			t.Errorf("before TSYNC %v, after it %v", errs[0], errs[1])
		}
	})
}

// isDoRunning reports whether an Apply was refused because of a Do.
func isDoRunning(err error) bool {
	return err != nil && strings.Contains(err.Error(), "landlock: Apply while a Do is running")
}

func TestDoRefusesApply(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		s := testenv.MustPrepare(t, landlock.New(landlock.V1))
		inside, leave, done := make(chan bool), make(chan bool), make(chan error)
		go func() {
			done <- s.Do(func() error {
				close(inside)
				<-leave
				return nil
			})
		}()
		<-inside
		if _, err := landlock.New(landlock.V1).Apply(); !isDoRunning(err) {
			t.Errorf("Apply while a Do is running: %v", err)
		}
		if _, err := os.ReadDir("/"); err != nil {
			t.Errorf("the Apply that failed: %v", err)
		}
		close(leave)
		if err := <-done; err != nil {
			t.Error(err)
		}
		testenv.MustApply(t, landlock.New(landlock.V1))
	})
}
