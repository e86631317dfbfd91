package landlock

import (
	"strings"
	"testing"

	"example.com/landlock/internal/testenv"
)

// On ABI 1 a rule for moves is denied in spite of itself, and a strict ruleset that has
// one is not loaded: the rule that is advised has none.
func TestDeniedRuleOnABI1(t *testing.T) {
	testenv.NeedABI(t, V1)
	dir := t.TempDir()
	for _, strict := range []bool{false, true} {
		c := &checker{kernel: Kernel{ABI: V1}, denied: V1.Rights(), strict: strict}
		e := &DeniedError{}
		c.adviseOn(e, FSMakeDir, dir, true)
		if want := e.Rule.FS | FSRefer; e.Rule.FS&FSMakeDir == 0 || (e.Rule.FS == want) == strict || want != FSReadWrite {
			t.Errorf("strict %v: %v", strict, e.Rule)
		}
		r := NewHandling(V1.Rights()).Add(e.Rule)
		if !strict {
			r.BestEffort(V1)
		}
		if _, err := r.fit(Kernel{ABI: V1}, nil, oneThread); err != nil {
			t.Errorf("strict %v: with %v: %v", strict, e.Rule, err)
		}
	}
}

// Where a file's directory is one of the system's, no rule would do for both.
func TestDeniedRuleBesideWords(t *testing.T) {
	e := &DeniedError{Path: "/x", Missing: Rights{FS: FSReadFile}, Rule: Rule{Path: "/x", Port: -1, FS: FSRead}}
	e.also(&DeniedError{Path: "/etc/x", Missing: Rights{FS: FSRemoveFile}, instead: "only a rule to write beneath /etc"})
	if e.Rule != (Rule{}) || e.Missing.FS != FSReadFile|FSRemoveFile || !strings.HasSuffix(e.Error(), "only a rule to write beneath /etc would allow it") {
		t.Errorf("%v", e)
	}
}
