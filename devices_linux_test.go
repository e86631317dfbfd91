package landlock

import "testing"

// Other rules cost no system call: their files are not looked at.
func TestNoIoctlLooksAtDevicesAlone(t *testing.T) {
	p := &plan{handled: V5.Rights()}
	for _, path := range []string{"/usr", "dev", "", "/proc/self/fd/0", "./dev"} {
		if _, err := p.opensDevices(&wantedRule{Rule: Rule{Path: path}}, -1, FSReadWrite); err != nil {
			t.Errorf("%q is looked at: %v", path, err)
		}
	}
	if _, err := p.opensDevices(&wantedRule{Rule: Rule{Path: "/dev/x"}}, -1, FSReadWrite); err == nil {
		t.Error("a file that cannot be looked at is passed over")
	}
}
