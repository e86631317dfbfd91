package testchild

import (
	"bufio"
	"bytes"
	"cmp"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// marker begins a line that package testing prints, or the child.
const marker = 0x16

// report makes subtests of what a child prints.
type report struct {
	test    *subtest            // whose function the child runs
	token   string              // what the child's word begins with
	running map[string]*subtest // by name
	current string              // the test that output belongs to
	started bool
	over    bool         // the function has ended
	before  bytes.Buffer // what came before the function was started
	logging bool         // the last line was logged
	further string       // a test further out than the one around the function, which has logged since
	word    string       // how the function has ended
}

// subtest is a test of the child, as one of this process.
type subtest struct {
	name string // in the child
	t    *testing.T
	end  chan string // how it ends: PASS, FAIL or SKIP
	done chan bool   // closed when it has ended
}

func newReport(t *testing.T, token string) *report {
	test := &subtest{name: t.Name(), t: t}
	return &report{test: test, token: token, running: map[string]*subtest{test.name: test}}
}

// read reads all that the child prints.
func (r *report) read(from io.Reader) {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		if line != "" && r.word == "" {
			r.line(strings.TrimSuffix(line, "\n"))
		}
		if err != nil {
			return
		}
	}
}

// line takes one line. The test may have printed the beginning of it, with markers
// too.
func (r *report) line(text string) {
	printed := text
	if i := strings.LastIndexByte(text, marker); i >= 0 && r.event(text[i+1:]) {
		printed = text[:i]
		if printed == "" {
			return
		}
	}
	r.print(strings.ReplaceAll(printed, string(rune(marker)), ""))
}

// event takes a line of package testing, and returns false where it is none.
func (r *report) event(text string) bool {
	if word, ok := strings.CutPrefix(text, r.token); ok {
		r.word = word
		return true
	}
	fields := strings.SplitN(text, " ", 3)
	if len(fields) < 3 {
		return text == "PASS" || text == "FAIL"
	}
	if text == "=== NAME  " {
		return true // of no test at all
	}
	name, rest, _ := strings.Cut(strings.TrimLeft(fields[2], " "), " ")
	if !beneath(name, r.test.name) && !beneath(r.test.name, name) {
		return false // the function prints the output of other tests
	}
	r.logging = false
	switch fields[0] + fields[1] {
	case "===RUN":
		r.current = name
		r.begin(name)
	case "===CONT", "===NAME":
		r.current = name
	case "===ATTR":
		key, value, _ := strings.Cut(rest, " ")
		r.nearest(name).t.Attr(key, value)
	case "===PAUSE", "===ARTIFACTS":
	case "---PASS:", "---FAIL:", "---SKIP:":
		r.end(name, strings.TrimSuffix(fields[1], ":"))
	default:
		return false
	}
	return true
}

// beneath reports whether a test is another one or part of it.
func beneath(name, other string) bool {
	return name == other || strings.HasPrefix(name, other+"/")
}

// nearest returns the running test that name is, or is part of.
func (r *report) nearest(name string) *subtest {
	for {
		if test := r.running[name]; test != nil {
			return test
		}
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return r.test
		}
		name = name[:i]
	}
}

// print prints a line for the test that it belongs to.
func (r *report) print(line string) {
	if !r.started {
		r.before.WriteString(line + "\n")
		return
	}
	if logLine.MatchString(line) || r.logging && strings.HasPrefix(line, indent+indent) {
		line, r.logging = strings.TrimPrefix(line, indent), true // Output puts it back
		if r.over && !beneath(r.current, r.test.name) {
			return // where the function panics the Cleanups of the tests around run there, and fail in its sandbox
		}
		if r.furtherOut(r.current) {
			r.further = r.current
		}
	} else {
		r.logging = false
	}
	io.WriteString(r.nearest(r.current).t.Output(), line+"\n")
}

// furtherOut reports whether a test is around the one that the function is a
// subtest of. The child cannot ask that one whether it has failed: it has only the
// t that Run got.
func (r *report) furtherOut(name string) bool {
	around := r.test.name[:strings.LastIndexByte(r.test.name, '/')]
	return name != around && beneath(around, name)
}

const indent = "    "

// logLine is the first line of what a test has logged.
var logLine = regexp.MustCompile(`^` + indent + `[^ ]+\.go:\d+: `)

// begin begins a subtest here as well.
func (r *report) begin(name string) {
	if name == r.test.name {
		r.started = true
	}
	if !r.started || !beneath(name, r.test.name) || r.running[name] != nil {
		return
	}
	around := r.nearest(name)
	test := &subtest{name: name, end: make(chan string), done: make(chan bool)}
	begun := make(chan *testing.T)
	go func() {
		defer close(test.done)
		around.t.Run(strings.TrimPrefix(name, around.name+"/"), func(t *testing.T) {
			begun <- t
			switch <-test.end {
			case "FAIL":
				t.Fail()
			case "SKIP":
				t.SkipNow()
			}
		})
	}()
	select {
	case test.t = <-begun:
		r.running[name] = test
	case <-test.done: // not here, as with -failfast
	}
}

// end ends a subtest here as well. How the one of Run ends, the child's word
// tells.
func (r *report) end(name, how string) {
	switch test := r.running[name]; {
	case test == r.test:
		r.over = true
	case test != nil:
		delete(r.running, name)
		test.end <- how
		<-test.done
	case how == "FAIL" && beneath(name, r.test.name):
		r.test.t.Fail()
	}
}

// close ends the subtests that the child has left open.
func (r *report) close() {
	open := slices.SortedFunc(maps.Keys(r.running), func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, name := range open {
		r.end(name, "FAIL")
	}
}

// judge fails the test unless the child has said that its function passed.
func (r *report) judge(state *os.ProcessState, err error) {
	t := r.test.t
	t.Helper()
	switch {
	case r.word == "" && !r.started:
		t.Errorf("the function did not run: its process ended before it came there: %v\n"+
			"What comes before Run, TestMain too, is executed in that process as well, and has to come to Run there. It printed:\n%s", state, r.before.Bytes())
	case r.word == "":
		t.Errorf("the function did not come to its end: its process ended: %v", state)
	case r.word == parallel:
		t.Error("the function calls Parallel of its own t: call it in the test around Run, before Run")
	case r.word == above:
		t.Errorf("the test around the function failed in its process. Before the function it printed:\n%s", r.before.Bytes())
	case r.word == failed:
		t.Fail()
	case r.further != "":
		t.Errorf("%s logged while the function ran in its process, and whether it failed cannot be told there: use the function's own t, or that of the test around Run", r.further)
	case r.word != passed && r.word != skipped || state.ExitCode() != status:
		t.Errorf("the process of the function said %q, and ended with %v", r.word, state)
	}
	if err != nil {
		t.Error(err)
	}
}
