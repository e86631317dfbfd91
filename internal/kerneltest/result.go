package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// result is what came of a guest.
type result struct {
	guest
	facts    kernelFacts
	crashed  bool // the kernel did
	again    bool // and this is the second run
	binaries int
	passed   int
	failed   int
	skips    map[string][]string // tests by reason
	empty    []string            // binaries that ran no test
	problems []string            // each a failure, with all that is known about it
	took     time.Duration
}

func (r *result) problem(format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

// add counts the tests of a binary.
func (r *result) add(binary string, outcomes []outcome) {
	for _, o := range outcomes {
		switch o.action {
		case "pass":
			r.passed++
		case "skip":
			if r.skips == nil {
				r.skips = map[string][]string{}
			}
			r.skips[o.reason()] = append(r.skips[o.reason()], binary+" "+o.name)
		default:
			r.failed++
			r.problem("%s %s failed:\n%s", binary, o.name, o.output)
		}
	}
}

func (r *result) skipped() (n int) {
	for _, tests := range r.skips {
		n += len(tests)
	}
	return n
}

// What a test may be skipped for on any kernel: it needs a compiler to build its
// programs, or programs and sources that no guest has, the resolver of a C library
// that is linked dynamically, or would take minutes on an emulated processor.
var mayBeSkipped = regexp.MustCompile("^(needs the program (gcc|ldd|musl-gcc|git|perl|tar|gzip|/usr/bin/(git|perl|python3)):|" +
	"needs the (C library's resolver|source of the package)|needs cgroups|builds binaries|takes half a minute|asks for each of four million thread ids)")

var (
	neededABI = regexp.MustCompile(`^needs (?:Landlock )?ABI (\d+)`)
	belowABI  = regexp.MustCompile(`^needs a kernel below ABI (\d+)`)
)

// excused reports whether a test may be skipped for a reason, in a guest whose
// kernel has this ABI, or 0 without Landlock.
func (r *result) excused(reason string, abi int) bool {
	number := func(pattern *regexp.Regexp) (n int, ok bool) {
		if m := pattern.FindStringSubmatch(reason); m != nil {
			n, _ = strconv.Atoi(m[1])
		}
		return n, n > 0
	}
	if needed, ok := number(neededABI); ok {
		return abi < needed
	}
	if limit, ok := number(belowABI); ok {
		return abi >= limit
	}
	switch {
	case strings.HasPrefix(reason, "this kernel has Landlock"):
		return abi > 0
	case strings.HasPrefix(reason, "needs Landlock"):
		return abi == 0
	case strings.HasPrefix(reason, "needs cgo"):
		return !r.build.cgo
	case strings.HasPrefix(reason, "needs a socket filter"), strings.HasPrefix(reason, "needs an architecture that has a filter"):
		return r.build.arch == "386" // which has none
	case strings.HasPrefix(reason, "needs amd64"):
		return r.build.arch != "amd64"
	}
	return mayBeSkipped.MatchString(reason)
}

// printProblems prints all that is wrong.
func (r *result) printProblems() {
	for _, problem := range r.problems {
		fmt.Printf("\n--- %s: %s\n", r, problem)
	}
}

// judge adds what is wrong with a guest beyond tests that failed.
func (r *result) judge(filtered bool) {
	if r.kernel.err != nil && !errors.Is(r.kernel.err, errNoPackage) {
		r.problem("there is no kernel: %v", r.kernel.err)
	}
	if r.kernel.err != nil {
		return
	}
	if want := r.kernel.series; want != "" && seriesOf(r.facts.Release) != want {
		r.problem("booted Linux %s, want %s", r.facts.Release, want)
	}
	if want := r.wantABI(); r.facts.ABI != want {
		r.problem("Linux %s has Landlock ABI %s, want %s", r.facts.Release, r.facts.ABI, want)
	}
	if want := r.initramfs.binaries; r.binaries < want {
		r.problem("%d of %d test binaries came to an end", r.binaries, want)
	}
	if len(r.empty) > 0 && (!filtered || r.passed == 0) { // with -run a binary may have no such test
		r.problem("no test has run in %s", strings.Join(r.empty, ", "))
	}
	abi, _ := strconv.Atoi(r.facts.ABI) // 0 without Landlock
	for reason, tests := range r.skips {
		if !r.excused(reason, abi) {
			r.problem("skipped: %s: %s", strings.Join(tests, ", "), reason)
		}
	}
}

func (r *result) wantABI() string {
	if r.off {
		return switchedOff
	}
	series := seriesOf(r.facts.Release)
	want := expectedABI(series)
	if got, _ := strconv.Atoi(r.facts.ABI); got > len(firstSeries) && compareVersions(series, firstSeries[len(firstSeries)-1]) > 0 {
		want = r.facts.ABI // newer than this program
	}
	return want
}

// differentABIs counts the ABIs on which tests have run.
func differentABIs(results []result) int {
	abis := map[string]bool{}
	for _, r := range results {
		if r.facts.ABI != "" && r.facts.ABI != notBuilt && r.facts.ABI != switchedOff && r.passed > 0 {
			abis[r.facts.ABI] = true
		}
	}
	return len(abis)
}

// table returns a row a guest in Markdown, and then what was skipped and why.
func table(results []result) string {
	rows := [][]string{{"kernel", "ABI", "errata", "binary", "passed", "failed", "skipped", "seconds"}}
	for _, r := range results {
		rows = append(rows, r.row())
	}
	return markdown(rows) + "\nSkipped, and why:\n\n" + skipList(results)
}

func (r *result) row() []string {
	name := strings.TrimSuffix(cmp.Or(r.facts.Release, r.kernel.series, filepath.Base(r.kernel.image)), "-cloud-"+r.kernel.arch)
	if r.kernel.arch != "amd64" {
		name += ", " + r.kernel.arch
	}
	if r.off {
		name += ", `lsm=` without Landlock"
	}
	if r.again {
		name += ", booted twice"
	}
	if r.kernel.err != nil {
		reason, _, _ := strings.Cut(r.kernel.err.Error(), "\n")
		return []string{name + ": not had: " + reason, "", "", r.build.String(), "", "", "", ""}
	}
	failed := fmt.Sprint(r.failed)
	if more := len(r.problems) - r.failed; more > 0 {
		failed += fmt.Sprintf(" and %d problems", more)
	}
	return []string{name, r.facts.ABI, r.errata(), r.build.String(), fmt.Sprint(r.passed), failed,
		fmt.Sprint(r.skipped()), fmt.Sprintf("%.0f", r.took.Seconds())}
}

// errata lists the numbers of the errata that the kernel has fixed.
func (r *result) errata() string {
	var fixed []string
	for bit := range 32 {
		if r.facts.Errata>>bit&1 == 1 {
			fixed = append(fixed, fmt.Sprint(bit+1))
		}
	}
	return strings.Join(fixed, " ")
}

// What differs from kernel to kernel in a reason, and is in the table already.
var ofThisKernel = regexp.MustCompile(`, this (kernel|one) has .*|: (landlock: )?(not built into|disabled at boot|landlock_create_ruleset).*|: exec: .*|: <nil>`)

// skipList is a line a reason, with the tests and the guests.
func skipList(results []result) string {
	guests, tests := map[string][]string{}, map[string]map[string]bool{}
	for _, r := range results {
		for reason, names := range r.skips {
			reason = ofThisKernel.ReplaceAllString(reason, "")
			if tests[reason] == nil {
				tests[reason] = map[string]bool{}
			}
			if !slices.Contains(guests[reason], r.name()) {
				guests[reason] = append(guests[reason], r.name())
			}
			for _, name := range names {
				tests[reason][name] = true
			}
		}
	}
	var list strings.Builder
	for _, reason := range slices.Sorted(maps.Keys(guests)) {
		names := slices.Sorted(maps.Keys(tests[reason]))
		if len(names) > 4 {
			names = append(names[:3:3], fmt.Sprintf("%d more", len(names)-3))
		}
		fmt.Fprintf(&list, "* %s: %s (on %s)\n", reason, strings.Join(names, ", "), strings.Join(guests[reason], ", "))
	}
	return list.String()
}

// markdown lays out rows, the first of which is the head, as a table that reads
// well as it is.
func markdown(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len(cell))
		}
	}
	var text strings.Builder
	for n, row := range rows {
		for i, cell := range row {
			fmt.Fprintf(&text, "| %-*s ", widths[i], cell)
		}
		text.WriteString("|\n")
		if n == 0 {
			for _, width := range widths {
				text.WriteString("|" + strings.Repeat("-", width+2))
			}
			text.WriteString("|\n")
		}
	}
	return text.String()
}
