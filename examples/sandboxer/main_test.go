package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"example.com/landlock"
	"example.com/landlock/landlocktest"
)

// The tests start their own binary as the program, and in the sandbox as a
// helper: that needs no Go toolchain.
func TestMain(m *testing.M) {
	if os.Getenv("LANDLOCK_EXAMPLE_MAIN") == "1" {
		main()
		return
	}
	if len(os.Args) > 1 && helpers[os.Args[1]] != nil {
		if err := helpers[os.Args[1]](os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "helper:", err)
			os.Exit(1)
		}
		return
	}
	m.Run()
}

// helpers are what the test binary does as a command, by its first argument.
var helpers = map[string]func(args []string) error{
	"environment": func([]string) error {
		for _, variable := range os.Environ() {
			fmt.Println(variable)
		}
		return nil
	},
}

func self(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// command returns sandboxer as a child that runs in dir.
func command(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), self(t), args...)
	// Without GORACE the race detector sleeps for a second at exit.
	cmd.Env = append(os.Environ(), "LANDLOCK_EXAMPLE_MAIN=1", "GORACE=atexit_sleep_ms=0", "EXAMPLE_SET=set")
	cmd.Dir = dir
	return cmd
}

// result is what came of a run of sandboxer and its command.
type result struct {
	state          *os.ProcessState
	stdout, stderr string
	log            string // what sandboxer has logged to standard error
}

func (r result) String() string {
	return fmt.Sprintf("%v\nstdout: %q\nstderr: %q\nlog: %q", r.state, r.stdout, r.stderr, r.log)
}

func sandboxer(t *testing.T, dir string, args ...string) result {
	t.Helper()
	return finish(t, command(t, dir, args...))
}

func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	r := result{state: cmd.ProcessState, stdout: stdout.String()}
	for line := range strings.Lines(stderr.String()) {
		if strings.HasPrefix(line, "level=") {
			r.log += line
		} else {
			r.stderr += line
		}
	}
	return r
}

func write(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// checkMistake checks that sandboxer ended with status 1 and one line.
func checkMistake(t *testing.T, r result, want string) {
	t.Helper()
	if r.state.ExitCode() != 1 || r.stdout != "" || strings.Count(r.stderr, "\n") != 1 ||
		!strings.HasPrefix(r.stderr, name+": ") || !strings.Contains(r.stderr, want) {
		t.Errorf("%v\nwant status 1 and one line with %q", r, want)
	}
}

func TestHelp(t *testing.T) {
	for _, option := range []string{"-h", "--help", "-help"} {
		r := sandboxer(t, "", option)
		if !r.state.Success() || r.stdout != fmt.Sprintf(usage, name) || r.stderr != "" {
			t.Errorf("%s: %v", option, r)
		}
	}
	// Every option is in the text, in lines that fit a terminal.
	var names []string
	for _, found := range regexp.MustCompile(`(?m)^  --([a-z-]+)( |$)`).FindAllStringSubmatch(usage, -1) {
		names = append(names, found[1])
	}
	for _, name := range []string{"ro", "rox", "rw", "rwx", "unix", "add-exec", "ldd", "ignore-missing",
		"unrestricted-filesystem", "bind-tcp", "connect-tcp", "bind-udp", "connect-udp", "unrestricted-network",
		"unrestricted-sockets",
		"unrestricted-scoped", "env", "best-effort", "log-disable-originating", "log-enable-subprocesses",
		"log-disable-subdomains", "status", "dry-run", "log-level", "version"} {
		if !slices.Contains(names, name) {
			t.Errorf("--%s is not in the usage", name)
		}
	}
	for line := range strings.Lines(usage) {
		if len(line) > 80 {
			t.Errorf("more than 80 columns: %q", line)
		}
	}
}

func TestMistakes(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string
	}{
		"no command":            {nil, "no command"},
		"no command after --":   {[]string{"--ro", "/", "--"}, "no command"},
		"unknown option":        {[]string{"--read", "/", "cat"}, ": unknown option --read (see --help)\n"},
		"option with two lines": {[]string{"--re\nad", "cat"}, ": unknown option --re; ad (see --help)\n"},
		"no value":              {[]string{"--ro"}, ": --ro needs a value (see --help)\n"},
		"empty path":            {[]string{"--ro", "", "cat"}, `: --ro "": an element is empty` + "\n"},
		"empty element":         {[]string{"--rwx", "/tmp,,/usr", "cat"}, `: --rwx "/tmp,,/usr": an element is empty` + "\n"},
		"port too high":         {[]string{"--bind-tcp", "65536", "cat"}, `: --bind-tcp "65536": no port, a number from 0 to 65535` + "\n"},
		"negative port":         {[]string{"--connect-tcp=80,-1", "cat"}, `: --connect-tcp "-1": no port, `},
		"name as port":          {[]string{"--bind-udp", "http", "cat"}, `: --bind-udp "http": no port, `},
		"empty port":            {[]string{"--connect-udp", "80,", "cat"}, `: --connect-udp "80,": an element is empty`},
		"variable, no name":     {[]string{"--env", "=value", "cat"}, `: --env "=value": no name` + "\n"},
		"comma in a value":      {[]string{"--env", "LIST=a,b", "cat"}, `: --env "b": not set: write`},
		"unknown level":         {[]string{"--log-level", "loud", "cat"}, `: --log-level "loud": must be error, `},
		"switch with no bool":   {[]string{"--ldd=perhaps", "cat"}, `: --ldd "perhaps": must be true or false` + "\n"},
		"log flag with no bool": {[]string{"--log-disable-originating=perhaps", "cat"}, `: --log-disable-originating "perhaps": must be`},
		"bad syntax":            {[]string{"---ro", "cat"}, "bad flag syntax: ---ro"},
		"status of a command":   {[]string{"--status", "cat"}, "--status"},
		"version of a command":  {[]string{"--version", "cat"}, "--version"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			checkMistake(t, sandboxer(t, "", test.args...), test.want)
		})
	}
}

// Where there is no Landlock, the library says why.
func TestWithoutLandlock(t *testing.T) {
	_, err := landlock.Probe()
	if err == nil {
		t.Skip("this kernel has Landlock")
	}
	for _, args := range [][]string{
		{"--status"}, {"cat"}, {"--best-effort", "cat"}, {"--dry-run", "cat"}, {"--unrestricted-network", "cat"},
	} {
		checkMistake(t, sandboxer(t, "", args...), ": "+err.Error()+"\n")
	}
}

// Messages begin with what the program was called by.
func TestName(t *testing.T) {
	for args, want := range map[string]string{
		"--help":    "usage: another [option",
		"--version": "another ",
	} {
		cmd := command(t, "", args)
		cmd.Args[0] = "/opt/bin/another"
		if r := finish(t, cmd); !r.state.Success() || !strings.HasPrefix(r.stdout, want) || r.stderr != "" {
			t.Errorf("%s: %v\nwant %q", args, r, want)
		}
	}
	cmd := command(t, "", "no-such-program", "--unrestricted-filesystem")
	cmd.Args[0] = "./another"
	if r := finish(t, cmd); r.state.Success() || !strings.HasPrefix(r.stderr, "another: ") {
		t.Error(r)
	}
}

// The version is the go command's record, which has none of this test's binary.
func TestVersion(t *testing.T) {
	r := sandboxer(t, "", "--version")
	want := fmt.Sprintf("%s (devel) (example.com/landlock, %s)\n", name, runtime.Version())
	if !r.state.Success() || r.stdout != want {
		t.Errorf("%v\nwant %q", r, want)
	}
}

func TestStatus(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	kernel, _ := landlock.Probe()
	r := sandboxer(t, "", "--status")
	if !r.state.Success() || r.stderr != "" || !strings.HasPrefix(r.stdout, "kernel: "+kernel.String()+"\n\nRIGHT ") {
		t.Fatal(r)
	}
	rights := make(map[string]bool)
	for line := range strings.Lines(r.stdout) {
		found := regexp.MustCompile(`^(\S+) +(ABI \d+, since Linux \S+) +(yes|no)\n$`).FindStringSubmatch(line)
		if found == nil {
			continue
		}
		rights[found[1]] = found[3] == "yes"
		for abi := landlock.V1; abi <= landlock.V11; abi++ {
			has := strings.Contains(","+abi.Rights().String()+",", ","+found[1]+",")
			if since := found[2] == abi.String(); has && !strings.Contains(","+(abi-1).Rights().String()+",", ","+found[1]+",") != since {
				t.Errorf("%q, but %v has %v", line, abi, abi.Rights())
			}
		}
	}
	for right := range strings.SplitSeq(landlock.V11.Rights().String(), ",") {
		yes, listed := rights[right]
		if want := strings.Contains(","+kernel.ABI.Rights().String()+",", ","+right+","); !listed || yes != want {
			t.Errorf("%s: listed %v, %v, want %v", right, listed, yes, want)
		}
		delete(rights, right)
	}
	if len(rights) > 0 {
		t.Errorf("unknown rights: %v", rights)
	}
	sockets := "refused, by a seccomp filter"
	if runtime.GOARCH == "386" {
		sockets = "allowed, landlock: FilterSockets needs a seccomp filter"
	}
	if !strings.Contains(r.stdout, "\nsockets that no rule for ports is about: "+sockets) {
		t.Errorf("%v\nwant sockets %s", r, sockets)
	}
}
