package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"example.com/landlock"
	"example.com/landlock/internal/testchild"
	"example.com/landlock/landlocktest"
)

func TestMain(m *testing.M) { testchild.Main(m, main) }

// worker runs the program in dir.
func worker(t *testing.T, dir string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	cmd := testchild.Program(t, dir, args...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Run()
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// needShell skips the test where there is no shell to run jobs with.
func needShell(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skipf("needs a shell: %v", err)
	}
}

// job is a command, and what is to come of it.
type job struct {
	command string
	refusal string // what a hostile job prints where it fails; a good one never does
	prints  string
	denied  bool // by this kernel
}

// good are jobs that do no harm, and need each thing that the sandbox leaves
// them.
func good() []job {
	return []job{
		{command: "echo inside > file && cat file", prints: "inside\n"},
		{command: `echo a > "$TMPDIR/a" && mkdir sub && mv a sub && cat "$HOME/sub/a" && rm -r sub`, prints: "a\n"},
		{command: "printf 'b\\na\\n' | sort | tr '\\n' ' '", prints: "a b "},
		{command: "echo gone > /dev/null && echo error >&2", prints: "error\n"},
		{command: "cat"}, // there is no input
		{command: "sleep 600 & kill $!"},
		{command: `echo "[$LANDLOCK_EXAMPLE_MAIN]"`, prints: "[]\n"},
	}
}

// hostile are jobs that get at what is not theirs. The port is where the test
// listens.
func hostile(t *testing.T, box string, port int, kernel landlock.Kernel) []job {
	const eacces, eperm = "ermission denied", "not permitted"
	jobs := []job{
		{command: fmt.Sprintf("cat '%s/secret'", box), prints: "secret", denied: true},
		{command: "cat ../../secret", prints: "secret", denied: true},
		{command: "ln -s ../../secret link && cat link", prints: "secret", denied: true},
		{command: fmt.Sprintf("echo escaped > '%s/new'", box), denied: true},
		{command: "echo escaped > ../job-1/planted", denied: true},
		{command: "echo escaped >> ../../old", denied: true},
		{command: "rm -f ../../remove", denied: true},
		{command: "printf '#!/bin/sh\\necho ran\\n' > run && chmod +x run && ./run", prints: "ran\n", denied: true},
		{command: "kill -0 $PPID", refusal: eperm, denied: kernel.ABI >= landlock.V6},
	}
	if connect := connector(port); connect == "" {
		t.Log("no connection is tried: needs bash, perl or python3")
	} else {
		jobs = append(jobs, job{command: connect, denied: kernel.ABI >= landlock.V4})
	}
	if _, err := os.Stat("/bin/bash"); err == nil {
		// By the socket filter where the kernel does not know UDP.
		jobs = append(jobs, job{command: "/bin/bash -c ': <> /dev/udp/127.0.0.1/53'", denied: kernel.ABI >= landlock.V10 || runtime.GOARCH != "386"})
	}
	for i := range jobs {
		if jobs[i].refusal == "" {
			jobs[i].refusal = eacces
		}
	}
	return jobs
}

// connector returns a command that connects to the port, or "" where nothing
// that a job can run does.
func connector(port int) string {
	for _, command := range []string{
		`/bin/bash -c ': <> /dev/tcp/127.0.0.1/%d'`,
		`/usr/bin/perl -MIO::Socket::INET -e 'IO::Socket::INET->new("127.0.0.1:%d") or die "$@\n"'`,
		`/usr/bin/python3 -c 'import socket; socket.create_connection(("127.0.0.1", %d))'`,
	} {
		program, _, _ := strings.Cut(command, " ")
		if _, err := os.Stat(program); err == nil {
			return fmt.Sprintf(command, port)
		}
	}
	return ""
}

func TestJobs(t *testing.T) {
	needShell(t)
	kernel, probeErr := landlock.Probe()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port

	for _, sandboxed := range []bool{true, false} {
		name, flags := "sandboxed", []string{"-jobs", "8"}
		if !sandboxed {
			name, flags = "unsafe", append(flags, "-unsafe")
		}
		t.Run(name, func(t *testing.T) {
			box := t.TempDir()
			if sandboxed && probeErr != nil {
				status, _, stderr := worker(t, box, "jobs", "echo x > new")
				if want := "worker: " + probeErr.Error() + "\n"; status != 1 || stderr != want {
					t.Errorf("without Landlock: status %d, %q, want 1 and %q", status, stderr, want)
				}
				landlocktest.NeedABI(t, landlock.V1)
			}
			for name, content := range map[string]string{"secret": "secret", "old": "kept", "remove": "kept"} {
				if err := os.WriteFile(filepath.Join(box, name), []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}

			// Good and hostile ones in turn, so that they run side by side.
			evil, harmless := hostile(t, box, port, kernel), good()
			var jobs []job
			args := append(flags, "jobs")
			rounds := 3
			if testing.Short() {
				rounds = 1
			}
			for i := range rounds * len(evil) {
				jobs = append(jobs, harmless[i%len(harmless)], evil[i%len(evil)])
			}
			for _, job := range jobs {
				args = append(args, job.command)
			}
			status, stdout, stderr := worker(t, box, args...)

			report, results, _ := strings.Cut(stdout, "\n")
			if sandboxed != strings.HasPrefix(report, "sandbox: enforced on ABI ") || sandboxed == (report == "no sandbox") {
				t.Errorf("first line %q", report)
			}
			failed := 0
			for i, job := range jobs {
				name := fmt.Sprint("job-", i+1)
				out, err := os.ReadFile(filepath.Join(box, "jobs", name+".out"))
				if err != nil {
					t.Error(err)
				}
				refused := sandboxed && job.denied
				if refused {
					failed++
				}
				ok := strings.Contains("\n"+results, "\n"+name+": ok\n")
				if ok == refused || strings.Count("\n"+results, "\n"+name+": ") != 1 {
					t.Errorf("%s %q: refused should be %t:\n%s", name, job.command, refused, results)
				}
				if refused && !strings.Contains(string(out), job.refusal) || !refused && string(out) != job.prints {
					t.Errorf("%s %q: refused should be %t, it printed %q", name, job.command, refused, out)
				}
			}
			wantStatus, wantErr := 0, ""
			if failed > 0 {
				wantStatus, wantErr = 1, fmt.Sprintf("worker: jobs failed: %d of %d\n", failed, len(jobs))
			}
			if status != wantStatus || stderr != wantErr {
				t.Errorf("status %d, stderr %q, want %d and %q", status, stderr, wantStatus, wantErr)
			}

			// What is outside the jobs' directories now, whatever they printed.
			for _, name := range []string{"new", "jobs/job-1/planted"} {
				if _, err := os.Stat(filepath.Join(box, name)); os.IsNotExist(err) != sandboxed {
					t.Errorf("%s: %v", name, err)
				}
			}
			if _, err := os.Stat(filepath.Join(box, "remove")); (err == nil) != sandboxed {
				t.Errorf("remove: %v", err)
			}
			if old, err := os.ReadFile(filepath.Join(box, "old")); err != nil || (string(old) == "kept") != sandboxed {
				t.Errorf("old: %q, %v", old, err)
			}
		})
	}
}

// What a job's line and output are, with one job at a time so that the order is
// known.
func TestStatus(t *testing.T) {
	needShell(t)
	box := t.TempDir()
	flags := []string{"-jobs", "1"}
	if _, err := landlock.Probe(); err != nil {
		flags = append(flags, "-unsafe")
	}
	check := func(args []string, wantResults, wantErr string) {
		t.Helper()
		status, stdout, stderr := worker(t, box, append(flags, args...)...)
		if _, results, _ := strings.Cut(stdout, "\n"); status != 1 || results != wantResults || stderr != wantErr {
			t.Errorf("status %d, %q, stderr %q, want 1, %q and %q", status, results, stderr, wantResults, wantErr)
		}
	}
	check([]string{"new/jobs", "echo a; exit 3", "kill -TERM $$", ""},
		"job-1: exit status 3\njob-2: signal: terminated\njob-3: ok\n", "worker: jobs failed: 2 of 3\n")
	if out, err := os.ReadFile(filepath.Join(box, "new/jobs/job-1.out")); string(out) != "a\n" {
		t.Errorf("output %q, %v", out, err)
	}
	check([]string{"-timeout", "10ms", "late", "exec sleep 600"},
		"job-1: killed after 10ms\n", "worker: jobs failed: 1 of 1\n")
}

// Each mistake gives status 1 and one line that names it.
func TestMistakes(t *testing.T) {
	box := t.TempDir()
	if err := os.MkdirAll(filepath.Join(box, "used", "job-2"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(box, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	const usage = "usage: worker "
	tests := map[string]struct {
		args []string
		want string
	}{
		"no arguments":    {nil, usage},
		"no job":          {[]string{"dir"}, usage},
		"unknown flag":    {[]string{"-x", "dir", "true"}, usage},
		"no jobs at once": {[]string{"-jobs", "0", "dir", "true"}, usage},
		"bad timeout":     {[]string{"-timeout", "soon", "dir", "true"}, usage},
		"file for a dir":  {[]string{"-unsafe", "file", "true"}, "file: "},
		"used directory":  {[]string{"-unsafe", "used", "touch ../ran", "touch ../ran"}, filepath.Join("used", "job-2") + ": "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			status, _, stderr := worker(t, box, test.args...)
			if status != 1 || strings.Count(stderr, "\n") != 1 ||
				!strings.HasPrefix(stderr, "worker: ") || !strings.Contains(stderr, test.want) {
				t.Errorf("status %d, stderr %q, want 1 and a line with %q", status, stderr, test.want)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(box, "used", "ran")); !os.IsNotExist(err) {
		t.Errorf("a job has run although there was a mistake: %v", err)
	}
}
