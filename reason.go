package landlock

import (
	"fmt"
	"strings"

	"example.com/landlock/internal/place"
)

// operation finds out why what was tried is denied: no reason where a ruleset
// does not deny it.
type operation func(c *checker) []error

// certain reports whether one of the reasons is more than a guess.
func certain(reasons []error) bool {
	for _, reason := range reasons {
		if denied, ok := reason.(*DeniedError); ok && !denied.Guess {
			return true
		}
	}
	return false
}

// guess makes reasons guesses, and says why they are.
func guess(reasons []error, why string) []error {
	for _, reason := range reasons {
		if denied, ok := reason.(*DeniedError); ok {
			denied.Guess = true
		}
	}
	return uncertain(reasons, why)
}

// uncertain adds what is not known to each reason.
func uncertain(reasons []error, why string) []error {
	for _, reason := range reasons {
		if denied, ok := reason.(*DeniedError); ok {
			denied.Uncertain = strings.TrimPrefix(denied.Uncertain+"; "+why, "; ")
		}
	}
	return reasons
}

// cannotTell is the reason where a reason could not be looked for.
func cannotTell(err error) []error {
	return []error{fmt.Errorf("landlock: whether the ruleset denies it cannot be told: %w", err)}
}

// notFound is cannotTell for a path that could not be looked up. One that leads
// nowhere is reason enough, and none of Landlock's.
func notFound(err error) []error {
	if place.LeadsNowhere(err) {
		return nil
	}
	return cannotTell(err)
}

// The presets that reasons name.
const (
	usersPreset     = "Users"
	dnsPreset       = "DNS"
	timeZonesPreset = "TimeZones"
	nullPreset      = "NullDevices"
)

// suggestCall has reasons name a call in place of a rule.
func suggestCall(reasons []error, call string) []error {
	for _, reason := range reasons {
		if denied, ok := reason.(*DeniedError); ok {
			denied.suggestText(call)
		}
	}
	return reasons
}

// scope returns why something outside the sandbox was not reached.
func (c *checker) scope(scope Scope, unless string) []error {
	if c.denied.Scope&scope == 0 {
		return nil
	}
	return []error{&DeniedError{Port: -1, Missing: Rights{Scope: scope}, Uncertain: unless}}
}
