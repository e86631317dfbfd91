package testchild

import (
	"regexp"
	"strings"
	"unicode"
)

// childPattern returns the -test.run of a child for one test. Of a pattern that
// this process was started with, what it says of the subtests remains.
func childPattern(test, pattern string) string {
	names := strings.Split(test, "/")
	exact := make([]string, len(names))
	for i, name := range names {
		exact[i] = "^" + regexp.QuoteMeta(name) + "$"
	}
	var all []string
	for _, alternative := range splitPattern(pattern) {
		if matches(alternative, names) {
			rest := alternative[min(len(names), len(alternative)):]
			all = append(all, strings.Join(append(exact[:len(exact):len(exact)], rest...), "/"))
		}
	}
	if len(all) == 0 {
		return strings.Join(exact, "/")
	}
	return strings.Join(all, "|")
}

// matches reports whether a pattern is for a test, or for a part of it.
func matches(pattern, names []string) bool {
	for i := range min(len(pattern), len(names)) {
		text := strings.Map(func(r rune) rune {
			if unicode.IsSpace(r) {
				return '_' // as in the names of tests
			}
			return r
		}, pattern[i])
		if ok, err := regexp.MatchString(text, names[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

// splitPattern splits a pattern of package testing into its alternatives, and
// each into an expression for each level. Within brackets nothing is split.
func splitPattern(pattern string) [][]string {
	all := [][]string{{""}}
	classes, groups := 0, 0
	for i := 0; i < len(pattern); i++ {
		text := pattern[i : i+1]
		last := len(all) - 1
		switch split := classes == 0 && groups == 0; {
		case text == `\` && i+1 < len(pattern):
			i++
			text += pattern[i : i+1]
		case text == "[":
			classes++
		case text == "]":
			classes = max(0, classes-1)
		case text == "(" && classes == 0:
			groups++
		case text == ")" && classes == 0:
			groups--
		case text == "|" && split:
			all = append(all, []string{""})
			continue
		case text == "/" && split:
			all[last] = append(all[last], "")
			continue
		}
		all[last][len(all[last])-1] += text
	}
	return all
}
