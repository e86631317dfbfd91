package landlock

import (
	"os/exec"
	"testing"
)

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
