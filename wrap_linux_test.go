package landlock

import (
	"os/exec"
	"runtime"
	"testing"

	"example.com/landlock/internal/testenv"
)

// Without anything to enforce a cmd stays as it is.
func TestWrapWithoutSandbox(t *testing.T) {
	cmd := exec.Command(testenv.Self())
	if err := (&Sandbox{unrestricted: true}).Wrap(cmd); err != nil {
		t.Fatal(err)
	}
	if cmd.Path != testenv.Self() || len(cmd.ExtraFiles) > 0 || cmd.Err != nil {
		t.Errorf("%v has changed", cmd)
	}
}

// What is known of a wrapped cmd is forgotten once the cmd is garbage.
func TestWrappedNamesAreForgotten(t *testing.T) {
	testenv.NeedABI(t, V1)
	names := func() (n int) {
		wrapped.Range(func(key, value any) bool { n++; return true })
		return n
	}
	s := testenv.MustPrepare(t, NewHandling(Rights{FS: FSMakeChar}))
	kept := exec.Command(testenv.Self())
	if err := s.Wrap(kept); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if err := s.Wrap(exec.Command(testenv.Self())); err != nil {
			t.Fatal(err)
		}
	}
	if n := names(); n < 2 {
		t.Errorf("%d names are known: this shows nothing", n)
	}
	for range 1000 {
		if runtime.GC(); names() == 1 {
			break
		}
	}
	if n := names(); n != 1 {
		t.Errorf("%d are still wrapped, want 1", n)
	}
	runtime.KeepAlive(kept)
}
