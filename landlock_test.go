package landlock

// What holds of more than one file, on every system.

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

// A cmd that is being started is not given to os/exec a second time, not even to be
// refused: that goes by cmd.Err, which the other may take back meanwhile.
func TestStartTwiceAtOnce(t *testing.T) {
	var closed Sandbox
	for name, start := range map[string]func(*exec.Cmd) error{
		"Sandbox": closed.Start,
		"Ruleset": New(0).Start,
	} {
		cmd := exec.Command("nothing-of-this-name")
		before := cmd.Err
		beingStarted.Store(cmd, nil)
		if err := start(cmd); err != errStarted || cmd.Err != before {
			t.Errorf("%s.Start beside another: %v, and cmd.Err is %v", name, err, cmd.Err)
		}
		beingStarted.Delete(cmd)
		if err := start(cmd); err == nil || err == errStarted {
			t.Errorf("%s.Start: %v", name, err)
		}
	}
}
