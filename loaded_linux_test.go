package landlock

import (
	"sync"
	"testing"

	"example.com/landlock/internal/testenv"
)

func TestCheckBesideApply(t *testing.T) {
	testenv.NeedABI(t, V1)
	testenv.InChild(t, nil, func(t *testing.T, dir string) {
		r := NewHandling(Rights{FS: FSReadFile}).Allow(FSReadFile, dir)
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() { testenv.MustApply(t, r) })
			group.Go(func() {
				if err := r.Check(FSReadFile, dir); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		for _, c := range r.applied.Load().layers {
			if c.ruleset != noRuleset {
				t.Error("a layer is left open")
			}
		}
		if n := len(r.applied.Load().layers); n != 4 {
			t.Errorf("%d layers are known of 4", n)
		}
	})
}
