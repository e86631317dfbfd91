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
	facts     kernelFacts
	died      bool // the machine did
	again     bool // and this is the second run
	parts     []part
	problems  []string // each a failure, with all that is known about it
	took      time.Duration
	processor time.Duration // which others use too
}

// part is what came of the binaries of one build.
type part struct {
	batch
	binaries int
	passed   int
	failed   int
	skips    map[string][]string // tests by reason
	empty    []string            // binaries that ran no test
}

func (r *result) problem(format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

func (r *result) part(build string) *part {
	for i := range r.parts {
		if r.parts[i].build.String() == build {
			return &r.parts[i]
		}
	}
	return nil
}

// add counts the tests of a binary.
func (r *result) add(p *part, binary string, outcomes []outcome) {
	for _, o := range outcomes {
		switch o.action {
		case "pass":
			p.passed++
		case "skip":
			if p.skips == nil {
				p.skips = map[string][]string{}
			}
			p.skips[o.reason()] = append(p.skips[o.reason()], binary+" "+o.name)
		default:
			p.failed++
			r.problem("%s, %v: %s failed:\n%s", binary, p.build, o.name, o.output)
		}
	}
}

func (r *result) passed() (n int) {
	for _, p := range r.parts {
		n += p.passed
	}
	return n
}

func (p *part) skipped() (n int) {
	for _, tests := range p.skips {
		n += len(tests)
	}
	return n
}

// What a test may be skipped for on any kernel: it needs a compiler to build its
// programs, or programs and sources that no guest has, the resolver of a C library
// that is linked dynamically, a directory that is not there, not to be root, as the
// guests' user is, or would take minutes on an emulated processor.
var mayBeSkipped = regexp.MustCompile("^(needs the program (go|gcc|ldd|musl-gcc|git|perl|tar|gzip|curl|getent|ping|python3|stty|script|/usr/bin/(git|perl|python3)):|" +
	"needs the (C library's resolver|source of the package|go command)|needs (cgroups|/var/run to be a link|a directory /var|an ordinary user: )|builds |takes half a minute|.*, which takes long|is started by TestRun$)")

var (
	neededABI = regexp.MustCompile(`^needs (?:Landlock )?ABI (\d+)`)
	belowABI  = regexp.MustCompile(`^needs a kernel below ABI (\d+)`)
)

// byAnOrdinaryUser is in the name of each test that runs as one: the guests' own
// user is root.
const byAnOrdinaryUser = "/an_ordinary_user"

// excused reports whether a test of this build may be skipped for a reason, in a
// guest whose kernel has this ABI, or 0 without Landlock.
func (b build) excused(test, reason string, abi int) bool {
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
	case strings.HasPrefix(reason, "has a ruleset, "): // for UDP, from its ABI on
		return abi >= 10
	case strings.HasPrefix(reason, "needs root, "):
		return strings.Contains(test+"/", byAnOrdinaryUser+"/")
	case strings.HasPrefix(reason, "needs cgo"):
		return !b.cgo
	case strings.HasPrefix(reason, "needs a binary without C:"):
		return b.cgo
	case strings.HasPrefix(reason, "needs a socket filter"), strings.HasPrefix(reason, "needs an architecture that has a filter"):
		return b.arch == "386" // which has none
	case strings.HasPrefix(reason, "needs amd64 or arm64"):
		return b.arch == "386"
	case strings.HasPrefix(reason, "needs amd64"):
		return b.arch != "amd64"
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
	for i := range r.parts {
		r.judgePart(&r.parts[i], filtered)
	}
}

func (r *result) judgePart(p *part, filtered bool) {
	if want := len(p.packages); p.binaries != want {
		r.problem("%d of %d test binaries came to an end, %v", p.binaries, want, p.build)
	}
	if len(p.empty) > 0 && (!filtered || r.passed() == 0) { // with -run a binary may have no such test
		r.problem("no test has run in %s, %v", strings.Join(p.empty, ", "), p.build)
	}
	abi, _ := strconv.Atoi(r.facts.ABI) // 0 without Landlock
	for reason, tests := range p.skips {
		tests = slices.DeleteFunc(slices.Clone(tests), func(test string) bool { return p.build.excused(test, reason, abi) })
		if len(tests) > 0 {
			r.problem("skipped, %v: %s: %s", p.build, strings.Join(tests, ", "), reason)
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
		if r.facts.ABI != "" && r.facts.ABI != notBuilt && r.facts.ABI != switchedOff && r.passed() > 0 {
			abis[r.facts.ABI] = true
		}
	}
	return len(abis)
}

// table returns a row a guest in Markdown.
func table(results []result) string {
	var builds []string // a column for each
	for _, r := range results {
		for _, p := range r.parts {
			if b := p.build.String(); !slices.Contains(builds, b) {
				builds = append(builds, b)
			}
		}
	}
	rows := [][]string{slices.Concat([]string{"kernel", "ABI", "errata"}, builds, []string{"failed", "seconds"})}
	for _, r := range results {
		rows = append(rows, r.row(builds))
	}
	return markdown(rows)
}

func (r *result) row(builds []string) []string {
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
		return append([]string{name + ": not had: " + reason}, make([]string, len(builds)+4)...)
	}
	row, failures := []string{name, r.facts.ABI, r.errata()}, 0
	for _, b := range builds {
		cell := ""
		if p := r.part(b); p != nil {
			cell = fmt.Sprintf("%d passed, %d skipped", p.passed, p.skipped())
			failures += p.failed
		}
		row = append(row, cell)
	}
	failed := fmt.Sprint(failures)
	if more := len(r.problems) - failures; more > 0 {
		failed += fmt.Sprintf(" and %d problems", more)
	}
	return append(row, failed, fmt.Sprintf("%.0f", r.took.Seconds()))
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
		for _, p := range r.parts {
			for reason, names := range p.skips {
				reason = ofThisKernel.ReplaceAllString(reason, "")
				if tests[reason] == nil {
					tests[reason] = map[string]bool{}
				}
				if !slices.Contains(guests[reason], r.String()) {
					guests[reason] = append(guests[reason], r.String())
				}
				for _, name := range names {
					tests[reason][name] = true
				}
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
