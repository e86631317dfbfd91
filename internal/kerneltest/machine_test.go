package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// What a virtual machine may do, by a script in QEMU's place: it has to end with
// a result that says what was wrong.
func TestRun(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /dev/fd")
	}
	tool, err := exec.Command("go", "tool", "-n", "test2json").Output()
	if err != nil {
		t.Skip("needs the go command: ", err)
	}
	send := func(m message) string {
		line, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(line) + "\n"
	}
	const mark = "\x16" // what -test.v=test2json puts before the lines that count
	var (
		build  = build{arch: "amd64"}
		booted = send(message{Kernel: &kernelFacts{Release: "7.3.4", ABI: "11"}})
		begun  = send(message{Build: build.String(), Binary: "x", Output: []byte(mark + "=== RUN   TestA\n")})
		passed = begun + send(message{Build: build.String(), Binary: "x", Output: []byte(mark + "--- PASS: TestA (0.00s)\n" + mark + "PASS\n")})
		ended  = send(message{Build: build.String(), Binary: "x", Ended: true})
		failed = send(message{Build: build.String(), Binary: "x", Ended: true, Failure: "exit status 2"})
		killed = send(message{Build: build.String(), Binary: "x", Ended: true, Failure: "killed by SIGKILL"})
		done   = send(message{Done: true})
	)
	tests := map[string]struct {
		messages, then string
		passed, failed int
		problem        string
	}{
		"good":                    {booted + passed + ended + done, "", 1, 0, ""},
		"wrong ABI":               {strings.Replace(booted, "11", "10", 1) + passed + ended + done, "", 1, 0, "has Landlock ABI 10, want 11"},
		"no test":                 {booted + ended + done, "", 0, 0, "no test has run in x"},
		"a binary fails":          {booted + passed + failed + done, "", 1, 0, "x, pure Go: exit status 2"},
		"a binary is killed":      {booted + begun + killed + done, "", 0, 1, "x, pure Go: killed by SIGKILL"},
		"says nothing":            {done, "", 0, 0, "0 of 1 test binaries"},
		"a binary is missing":     {booted + done, "", 0, 0, "0 of 1 test binaries"},
		"dies before it boots":    {"", "echo Kernel panic", 0, 0, "Kernel panic"},
		"dies in a test":          {booted + begun, "echo Kernel panic", 0, 1, "running x, pure Go: TestA"},
		"dies between":            {booted + passed + ended, "", 1, 0, "ended without saying so"},
		"hangs before it boots":   {"", "exec sleep 1000", 0, 0, "no word from it for"},
		"hangs in a test":         {booted + begun, "exec sleep 1000", 0, 1, "running x, pure Go: TestA"},
		"hangs at the end":        {booted + passed + ended + done, "exec sleep 1000", 1, 0, "not off 1s after its last word"},
		"says only that it lives": {booted + begun + strings.Repeat(send(message{Alive: true}), 3) + ended + done, "", 0, 1, "TestA failed"},
		"another build":           {booted + strings.ReplaceAll(passed+ended, build.String(), "other") + done, "", 0, 0, "of no build that it has"},
		"the kernel's output":     {booted + "[ 1.0] BUG: scheduling while atomic\n" + done, "", 0, 0, "not a message"},
		"QEMU fails":              {booted + passed + ended + done, "echo cannot; exit 3", 1, 0, "exit status 3"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			bin := t.TempDir()
			script := "#!/bin/sh\ncat >&3 <<'END'\n" + test.messages + "END\nexec 3>&-\n" + test.then + "\n"
			if err := os.WriteFile(filepath.Join(bin, "qemu-system-x86_64"), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			limit := time.Minute
			if strings.HasPrefix(name, "hangs") {
				limit = time.Second
			}
			g := guest{kernel: kernel{series: "7.3", arch: "amd64"}, batches: []batch{{build: build, packages: []string{"x"}}}}
			r := g.run(limit, strings.TrimSpace(string(tool)), false)
			r.judge(false)
			problems := strings.Join(r.problems, "\n")
			if r.passed() != test.passed || r.parts[0].failed != test.failed || (problems == "") != (test.problem == "") || !strings.Contains(problems, test.problem) {
				t.Errorf("%d passed, %d failed, %q, want %d, %d, %q", r.passed(), r.parts[0].failed, problems, test.passed, test.failed, test.problem)
			}
			if err := (options{}).report([]result{r}, 0); err == nil {
				t.Error("one guest, and no error: six ABIs are wanted")
			} else if strings.Contains(err.Error(), "failures") != (test.problem != "") {
				t.Errorf("report: %v", err)
			}
		})
	}
}

// A guest whose machine dies is run once more, and no other.
func TestRunTwice(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /dev/fd")
	}
	const done = `echo '{"Done":true}' >&3`
	for name, test := range map[string]struct {
		script string
		runs   int
		failed bool
	}{
		"the kernel dies":             {"echo Kernel panic", 2, true},
		"the kernel dies once":        {"test $n = 2 && " + done + " || echo Kernel panic", 2, false},
		"the emulator dies":           {"exit 3", 2, true},
		"the emulator is killed once": {"test $n = 2 || kill -9 $$; " + done, 2, false},
		"hangs once":                  {"test $n = 2 || exec sleep 1000; " + done, 2, false},
		"hangs with its streams shut": {"exec 3>&- >/dev/null 2>&1; exec sleep 1000", 2, true},
		"it comes to its end":         {done + "; echo Kernel panic", 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			bin := t.TempDir()
			runs := filepath.Join(bin, "runs")
			script := "#!/bin/sh\necho run >>" + runs + "\nn=$(wc -l <" + runs + ")\n" + test.script + "\n"
			if err := os.WriteFile(filepath.Join(bin, "qemu-system-x86_64"), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			g := guest{kernel: kernel{series: "7.3", arch: "amd64"}}
			r := g.runTwice(time.Second, "", false)
			text, err := os.ReadFile(runs)
			if n := strings.Count(string(text), "run"); err != nil || n != test.runs {
				t.Errorf("%d runs, want %d; %v", n, test.runs, err)
			}
			if (len(r.problems) > 0) != test.failed {
				t.Errorf("problems %q, want some: %t", r.problems, test.failed)
			}
			if r.again != (test.runs == 2) || strings.Contains(r.row(nil)[0], "twice") != r.again {
				t.Errorf("again is %v, row %q", r.again, r.row(nil))
			}
		})
	}
}

// What cannot be fetched is asked for again, and then it is an error with the
// reason.
func TestRetried(t *testing.T) {
	before := retryAfter
	defer func() { retryAfter = before }()
	retryAfter = []time.Duration{0, 0}
	for failures, attempts := range []int{1, 2, 3, 3} {
		n := 0
		err := retried("fetch", func() error {
			if n++; n <= failures {
				return errors.New("no route")
			}
			return nil
		})
		if n != attempts || (err != nil) != (failures > 2) || err != nil && err.Error() != "fetch, attempt 3 and the last: no route" {
			t.Errorf("%d failures: %d attempts, %v", failures, n, err)
		}
	}
}

// A kernel that Debian does not have is a row; one that could not be fetched is
// a failure.
func TestNoKernel(t *testing.T) {
	for _, test := range []struct {
		err     error
		problem bool
	}{{errNoPackage, false}, {errors.New("the archive cannot be reached"), true}} {
		r := guest{kernel: kernel{series: "7.3", arch: "amd64", err: test.err}}.run(time.Minute, "", false)
		r.judge(false)
		if (len(r.problems) > 0) != test.problem || !strings.Contains(r.row(nil)[0], test.err.Error()) {
			t.Errorf("%v: problems %q, row %q", test.err, r.problems, r.row(nil))
		}
	}
}
