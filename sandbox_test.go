package landlock

import "testing"

// A Sandbox that restricts nothing asks for nothing, whatever it was prepared for.
func TestEnforcementOfNothing(t *testing.T) {
	s := &Sandbox{unrestricted: true, restriction: restriction{noNewPrivs: true}}
	if e := s.Enforcement(); e != (Enforcement{}) {
		t.Errorf("%+v", e)
	}
}
