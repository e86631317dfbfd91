package landlock

import (
	"errors"
	"os"
	"os/exec"
	"testing"
)

// A Sandbox that restricts nothing asks for nothing, whatever it was prepared for.
func TestEnforcementOfNothing(t *testing.T) {
	s := &Sandbox{unrestricted: true, restriction: restriction{noNewPrivs: true}}
	if e := s.Enforcement(); e != (Enforcement{}) {
		t.Errorf("%+v", e)
	}
}

// On every system alike.
func TestSandboxNotToBeUsed(t *testing.T) {
	closed := &Sandbox{unrestricted: true}
	closed.Close()
	for name, s := range map[string]*Sandbox{"nil": nil, "never prepared": {}, "closed": closed} {
		for use, err := range map[string]error{
			"Do":       s.Do(func() error { t.Errorf("%s: Do runs", name); return nil }),
			"Exec":     s.Exec("/nothing", []string{"nothing"}, nil),
			"Start":    s.Start(exec.Command(os.Args[0])),
			"Wrap":     s.Wrap(exec.Command(os.Args[0])),
			"Check":    s.Check(FSReadFile, "/"),
			"CheckNet": s.CheckNet(NetConnectTCP, 443),
		} {
			if !errors.Is(err, os.ErrClosed) {
				t.Errorf("%s: %s: %v, want os.ErrClosed", name, use, err)
			}
		}
	}
}
