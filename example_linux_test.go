package landlock_test

import (
	"fmt"

	"example.com/landlock"
)

// What is denied says which rule is missing. A move may take two.
func ExampleRuleset_Add() {
	rules := landlock.New(landlock.V3).BestEffort(landlock.V1).AllowRead("/proc")
	err := rules.CheckTarget(landlock.FSReadDir, "/sys")
	for _, denied := range landlock.All[*landlock.DeniedError](err) {
		if denied.Rule == (landlock.Rule{}) {
			fmt.Println(denied) // no rule alone would do: it says what would
			continue
		}
		rules.Add(denied.Rule)
	}
	fmt.Println(rules)
	// Output: ABI 3, best effort from ABI 1: read beneath "/proc", "/sys"
}
