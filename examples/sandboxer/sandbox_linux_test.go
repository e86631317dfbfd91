package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"example.com/landlock"
	"example.com/landlock/landlocktest"
)

// filters says that there is a socket filter for this architecture. On another
// one the port rules are all there is.
const filters = runtime.GOARCH != "386"

func init() {
	helpers["serve"] = serve
	helpers["get"] = get
	helpers["ioctl"] = ioctl
	helpers["unix"] = dialUnix
	helpers["abstract"] = dialUnix
	helpers["bind-udp"] = bindUDP
	helpers["send-udp"] = sendUDP
}

// serve serves a page on an address, whose port it prints, until its standard
// input ends. It makes Multipath TCP of it, as net.Listen does, but where there
// is no filter for those sockets.
func serve(args []string) error {
	var config net.ListenConfig
	config.SetMultipathTCP(filters)
	listener, err := config.Listen(context.Background(), "tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go http.Serve(listener, page)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

var page = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "the page") })

func get(args []string) error {
	response, err := http.Get(args[0])
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}

// ioctl asks for the terminal's settings: of something that is no terminal
// the answer is ENOTTY, unless Landlock says EACCES before.
func ioctl(args []string) error {
	file, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer file.Close()
	var settings [128]byte
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, file.Fd(), syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&settings)))
	fmt.Println(errno)
	return nil
}

func dialUnix(args []string) error {
	conn, err := net.Dial("unix", args[0])
	if err != nil {
		return err
	}
	return conn.Close()
}

func bindUDP(args []string) error {
	conn, err := net.ListenPacket("udp", args[0])
	if err != nil {
		return err
	}
	return conn.Close()
}

func sendUDP(args []string) error {
	conn, err := net.Dial("udp", args[0])
	if err != nil {
		return err
	}
	_, err = conn.Write([]byte("message"))
	return err
}

// system are options to run the system's programs, wherever they are. The race
// detector reads its settings in /proc.
var system = []string{
	"--best-effort", "--ignore-missing", "--rox", "/bin,/usr/bin,/lib,/lib64,/usr/lib,/usr/lib64", "--ro", "/etc/ld.so.cache,/proc",
}

// helper returns arguments that run the test binary as a helper.
func helper(t *testing.T, options []string, args ...string) []string {
	all := append([]string{"--best-effort", "--add-exec", "--ldd", "--ignore-missing", "--ro", "/proc", "--env", "GORACE"}, options...)
	return append(append(append(all, "--"), self(t)), args...)
}

// shell returns arguments that run a script of the shell.
func shell(options []string, script string) []string {
	return append(append(append([]string{}, system...), options...), "sh", "-c", script)
}

func needProgram(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("needs the program %s: %v", name, err)
		}
	}
}

func TestExitStatus(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	needProgram(t, "sh")
	for _, want := range []int{0, 1, 7, 255} {
		r := sandboxer(t, "", shell(nil, fmt.Sprint("exit ", want))...)
		if r.state.ExitCode() != want || r.stderr != "" {
			t.Errorf("exit %d: %v", want, r)
		}
	}
	r := sandboxer(t, "", shell(nil, "kill -9 $$")...)
	if status := r.state.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Errorf("kill -9: %v", r)
	}
}

// The command replaces sandboxer: it has its process, streams and directory.
func TestProcess(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	needProgram(t, "sh", "cat")
	dir := t.TempDir()
	cmd := command(t, dir, shell(nil, "echo $$ $0; cat; pwd >&2")...)
	cmd.Args = append(cmd.Args, "name")
	cmd.Stdin = strings.NewReader("input")
	r := finish(t, cmd)
	if want := fmt.Sprint(cmd.Process.Pid, " name\ninput"); r.stdout != want || !r.state.Success() {
		t.Errorf("%v\nwant %q", r, want)
	}
	if real, err := filepath.EvalSymlinks(dir); err != nil || r.stderr != real+"\n" {
		t.Errorf("directory %q, want %q, %v", r.stderr, real, err)
	}
}

func TestFiles(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	needProgram(t, "sh", "cat", "ls", "mkdir", "mv", "rm")
	const script = "#!/bin/sh\necho ran"
	tests := map[string]struct {
		options, script string
		allowed         bool
		needs           landlock.ABI // above 1
	}{
		"read, no option":               {"", "cat d/file", false, 0},
		"read, --ro file":               {"--ro d/file", "cat d/file", true, 0},
		"read, --ro directory":          {"--ro d", "cat d/sub/file", true, 0},
		"read, -ro=":                    {"-ro=d", "cat d/file", true, 0},
		"read, --ro another":            {"--ro e", "cat d/file", false, 0},
		"read, list":                    {"--ro e,d", "cat d/file e/file", true, 0},
		"read, repeated":                {"--ro e --ro d", "cat d/file e/file", true, 0},
		"read, comma in the name":       {`--ro a\,b`, "cat a,b", true, 0},
		"read, by a link":               {"--ro link", "cat d/file", true, 0},
		"read, --unrestricted":          {"--unrestricted-filesystem", "cat d/file", true, landlock.V4},
		"list, no option":               {"", "ls d", false, 0},
		"list, --ro":                    {"--ro d", "ls d", true, 0},
		"write, --ro":                   {"--ro d", "echo x >>d/file", false, 0},
		"write, --rox":                  {"--rox d", "echo x >>d/file", false, 0},
		"write, --rw":                   {"--rw d", "echo x >>d/file", true, 0},
		"write, --rwx":                  {"--rwx d", "echo x >>d/file", true, 0},
		"write, --rw file":              {"--rw d/file", "echo x >d/file", true, 0},
		"write, --unrestricted-network": {"--unrestricted-network --unrestricted-scoped", "echo x >>d/file", false, 0},
		"make, --rox":                   {"--rox d", "echo x >d/new", false, 0},
		"make, --rw":                    {"--rw d", "echo x >d/new && mkdir d/dir && rm d/new", true, 0},
		"move, --rw":                    {"--rw d", "mv d/file d/sub/moved", true, landlock.V2},
		"remove, --ro":                  {"--ro d", "rm -f d/file", false, 0},
		"run, --ro":                     {"--ro d", "d/program", false, 0},
		"run, --rw":                     {"--rw d", "d/program", false, 0},
		"run, --rox":                    {"--rox d", "d/program", true, 0},
		"run, --rwx":                    {"--rwx d", "d/program", true, 0},
		"null device, no option":        {"", "echo x >/dev/null", false, 0},
		"null device, --rw":             {"--rw /dev/null", "echo x >/dev/null", true, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			landlocktest.NeedABI(t, max(test.needs, landlock.V1))
			box := t.TempDir()
			for file, content := range map[string]string{
				"d/file": "content", "d/sub/file": "content", "e/file": "content", "a,b": "content", "d/program": script,
			} {
				write(t, filepath.Join(box, file), content)
			}
			if err := os.Symlink("d", filepath.Join(box, "link")); err != nil {
				t.Fatal(err)
			}
			r := sandboxer(t, box, shell(strings.Fields(test.options), test.script)...)
			if r.state.Success() != test.allowed || !test.allowed && !strings.Contains(strings.ToLower(r.stderr), "permission denied") {
				t.Errorf("%s: %v\nwant allowed: %v", test.script, r, test.allowed)
			}
		})
	}
}

func TestIoctl(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V5)
	for option, want := range map[string]syscall.Errno{"--ro": syscall.EACCES, "--rw": syscall.ENOTTY} {
		r := sandboxer(t, "", helper(t, []string{option, os.DevNull}, "ioctl", os.DevNull)...)
		if r.stdout != want.Error()+"\n" {
			t.Errorf("%s: %v\nwant %v", option, r, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	run := []string{"--best-effort", "--add-exec", "--ldd", "--ignore-missing", "--ro", "/proc"}
	for options, want := range map[string]string{
		"":                                "",
		"--env EXAMPLE_SET":               "EXAMPLE_SET=set\n",
		"--env EXAMPLE_UNSET":             "",
		"--env A=1,EXAMPLE_SET --env B=2": "A=1\nB=2\nEXAMPLE_SET=set\n",
		`-env=A=1\,2`:                     "A=1,2\n",
	} {
		args := append(append(append([]string{}, run...), strings.Fields(options)...), self(t), "environment")
		if r := sandboxer(t, "", args...); r.stdout != want || !r.state.Success() {
			t.Errorf("%s: %v\nwant %q", options, r, want)
		}
	}
}

// startServer runs the server in the sandbox, on an address. It returns the
// port and a function that ends it, or what it says instead.
func startServer(t *testing.T, address string, options ...string) (port, failure string, stop func()) {
	t.Helper()
	cmd := command(t, "", helper(t, options, "serve", address)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var line string
	if _, err := fmt.Fscanln(stdout, &line); err != nil {
		cmd.Wait()
		return "", stderr.String(), nil
	}
	return line, "", func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("server: %v: %s", err, stderr.String())
		}
	}
}

func TestBindTCP(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V4)
	// While this listens on the port of one address, nobody else takes it on others.
	reserved, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer reserved.Close()
	number := reserved.Addr().(*net.TCPAddr).Port
	port := strconv.Itoa(number)
	address, other := "127.0.0.2:"+port, strconv.Itoa(number^1)
	tests := map[string]struct {
		address string
		options []string
		allowed bool
	}{
		"no option":               {address, nil, false},
		"port":                    {address, []string{"--bind-tcp", port}, true},
		"list":                    {address, []string{"-bind-tcp=" + other + "," + port}, true},
		"another port":            {address, []string{"--bind-tcp", other}, false},
		"connect-tcp":             {address, []string{"--connect-tcp", port}, false},
		"any port, no option":     {"127.0.0.1:0", nil, false},
		"any port":                {"127.0.0.1:0", []string{"--bind-tcp", "0"}, true},
		"--unrestricted-network":  {address, []string{"--unrestricted-network"}, true},
		"--unrestricted-..., not": {address, []string{"--unrestricted-filesystem", "--unrestricted-scoped"}, false},
	}
	// Without the filter Multipath TCP passes the rules, where the kernel has it.
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 262)
	if err == nil {
		syscall.Close(fd)
	}
	if kernel, _ := landlock.Probe(); err == nil && filters && kernel.Errata&landlock.ErratumTCPSockets != 0 {
		free := tests["--unrestricted-network"]
		free.options = []string{"--unrestricted-sockets"}
		tests["--unrestricted-sockets"] = free
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			bound, failure, stop := startServer(t, test.address, test.options...)
			if stop != nil {
				defer stop()
			}
			if !test.allowed {
				if !strings.Contains(failure, "bind: permission denied") {
					t.Errorf("bound port %q, %q, want permission denied", bound, failure)
				}
				return
			}
			if failure != "" {
				t.Fatal(failure)
			}
			host, _, _ := net.SplitHostPort(test.address)
			response, err := http.Get("http://" + net.JoinHostPort(host, bound))
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if body, err := io.ReadAll(response.Body); string(body) != "the page" || err != nil {
				t.Errorf("%q, %v", body, err)
			}
		})
	}
}

func TestConnectTCP(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V4)
	server := httptest.NewServer(page)
	defer server.Close()
	number := server.Listener.Addr().(*net.TCPAddr).Port
	port, other := strconv.Itoa(number), strconv.Itoa(number^1)
	tests := map[string]struct {
		options []string
		allowed bool
	}{
		"no option":              {nil, false},
		"port":                   {[]string{"--connect-tcp", port}, true},
		"repeated":               {[]string{"-connect-tcp", other, "-connect-tcp", port}, true},
		"another port":           {[]string{"--connect-tcp", other}, false},
		"bind-tcp":               {[]string{"--bind-tcp", port}, false},
		"--unrestricted-network": {[]string{"--unrestricted-network"}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := sandboxer(t, "", helper(t, test.options, "get", server.URL)...)
			if test.allowed && r.stdout != "the page" || !test.allowed && !strings.Contains(r.stderr, "connect: permission denied") {
				t.Errorf("%v\nwant allowed: %v", r, test.allowed)
			}
		})
	}
}

// On kernels that cannot tell UDP ports apart, UDP is refused where no option
// allows any.
func TestUDP(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	kernel, _ := landlock.Probe()
	if !filters {
		landlocktest.NeedABI(t, landlock.V10)
	}
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	port := strconv.Itoa(server.LocalAddr().(*net.UDPAddr).Port)
	tests := map[string]struct {
		options, command, address string
		allowed                   bool
	}{
		"bind, no option":      {"", "bind-udp", "127.0.0.1:0", false},
		"bind":                 {"--bind-udp 0", "bind-udp", "127.0.0.1:0", true},
		"bind, with TCP":       {"--bind-tcp 0", "bind-udp", "127.0.0.1:0", false},
		"send, no option":      {"--bind-udp 0", "send-udp", "127.0.0.1:" + port, false},
		"send":                 {"--bind-udp 0 --connect-udp " + port, "send-udp", "127.0.0.1:" + port, true},
		"send, --unrestricted": {"--unrestricted-network", "send-udp", "127.0.0.1:" + port, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if kernel.ABI < landlock.V10 && strings.Contains(test.options, "udp") {
				test.allowed = true
			}
			r := sandboxer(t, "", helper(t, strings.Fields(test.options), test.command, test.address)...)
			if r.state.Success() != test.allowed || !test.allowed && !strings.Contains(r.stderr, "permission denied") {
				t.Errorf("%v\nwant allowed: %v", r, test.allowed)
			}
		})
	}
}

func TestUnixSocket(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V9)
	dir := t.TempDir()
	socket := filepath.Join(dir, "socket")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for option, allowed := range map[string]bool{
		"": false, "--rw " + dir: false, "--unix " + socket: true, "--unix " + dir: true, "--unrestricted-filesystem": true,
	} {
		r := sandboxer(t, "", helper(t, strings.Fields(option), "unix", socket)...)
		if r.state.Success() != allowed || !allowed && !strings.Contains(r.stderr, "permission denied") {
			t.Errorf("%s: %v\nwant allowed: %v", option, r, allowed)
		}
	}
}

func TestScopes(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V6)
	needProgram(t, "sh")
	name := fmt.Sprintf("@sandboxer-%d", os.Getpid())
	listener, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for option, allowed := range map[string]bool{
		"--unrestricted-scoped": true, "--unrestricted-network": false, "--unrestricted-filesystem": false,
	} {
		r := sandboxer(t, "", shell([]string{option}, "kill -0 $PPID")...)
		if r.state.Success() != allowed || !allowed && !strings.Contains(r.stderr, "not permitted") {
			t.Errorf("signal, %s: %v\nwant allowed: %v", option, r, allowed)
		}
		r = sandboxer(t, "", helper(t, []string{option}, "abstract", name)...)
		if r.state.Success() != allowed || !allowed && !strings.Contains(r.stderr, "not permitted") {
			t.Errorf("abstract socket, %s: %v\nwant allowed: %v", option, r, allowed)
		}
	}
}

// On a kernel that cannot do it all, the default is not to run.
func TestStrict(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	needProgram(t, "sh")
	kernel, _ := landlock.Probe()
	all := append([]string{"--rox", "/"}, "sh", "-c", "exit 7")
	if r := sandboxer(t, "", all...); !filters && kernel.ABI >= landlock.V11 {
		checkMistake(t, r, ": --unrestricted-sockets goes without a filter")
	} else if kernel.ABI >= landlock.V11 {
		if r.state.ExitCode() != 7 || r.stderr != "" || r.log != "" {
			t.Errorf("strict: %v", r)
		}
	} else {
		checkMistake(t, r, kernel.ABI.String()+": --best-effort restricts what it can")
		if missing := "fs.resolve_unix"; kernel.ABI < landlock.V9 && !strings.Contains(r.stderr, missing) {
			t.Errorf("%v\nwant %s to be named", r, missing)
		}
	}
	r := sandboxer(t, "", append([]string{"--best-effort"}, all...)...)
	if r.state.ExitCode() != 7 || r.stderr != "" {
		t.Errorf("best effort: %v", r)
	}
	missing := "fs.resolve_unix" // UDP the filter refuses
	if !filters {
		missing = "missing_socket_filter"
	}
	if warned := strings.HasPrefix(r.log, "level=WARN") && strings.Count(r.log, "\n") == 1; warned != (kernel.ABI < landlock.V9 || !filters) ||
		warned && !strings.Contains(r.log, missing) {
		t.Errorf("best effort, %v: %v", kernel.ABI, r)
	}
	// The scopes alone are less than this kernel has, or more.
	scopes := []string{"--unrestricted-filesystem", "--unrestricted-network", "sh", "-c", "kill -0 $PPID"}
	r = sandboxer(t, "", scopes...)
	if kernel.ABI < landlock.V6 {
		checkMistake(t, r, "ABI 6, since Linux 6.12 is needed for scope.")
		checkMistake(t, sandboxer(t, "", append([]string{"--best-effort"}, scopes...)...), "nothing at all would be restricted")
	} else if r.state.Success() || r.log != "" {
		t.Errorf("scopes: %v", r)
	}
}

func TestUnrestricted(t *testing.T) {
	needProgram(t, "sh")
	options := []string{"--unrestricted-filesystem", "--unrestricted-network", "--unrestricted-scoped"}
	r := sandboxer(t, "", append(options, "sh", "-c", "kill -0 $PPID && echo $A >/dev/null && exit 7")...)
	if r.state.ExitCode() != 7 || r.stderr != "" || !strings.Contains(r.log, "NOT SANDBOXED") || strings.Count(r.log, "\n") != 1 {
		t.Error(r)
	}
	useless := []string{"--unix", "/no/such", "--add-exec", "--ldd", "--bind-tcp", "80", "--log-level", "error"}
	r = sandboxer(t, "", append(append(options, useless...), "sh", "-c", "exit 7")...)
	if r.state.ExitCode() != 7 || !strings.Contains(r.log, "NOT SANDBOXED") {
		t.Error(r)
	}
	r = sandboxer(t, "", append(append(options, useless...), "--dry-run", "sh")...)
	if !r.state.Success() || !strings.HasPrefix(r.stdout, "report: NOT SANDBOXED") || !strings.HasSuffix(r.stdout, "\nOPTION  ON  ALLOWS\n") {
		t.Error(r)
	}
	checkMistake(t, sandboxer(t, "", append(options, "no-such-program")...), "no-such-program")
}

func TestLogFlags(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	needProgram(t, "sh")
	kernel, _ := landlock.Probe()
	flags := []string{"--log-disable-originating", "--log-enable-subprocesses", "--log-disable-subdomains"}
	r := sandboxer(t, "", shell(flags, "exit 7")...)
	if r.state.ExitCode() != 7 || strings.Contains(r.log, "missing_log") != (kernel.ABI < landlock.V7) {
		t.Error(r)
	}
}

func TestLogLevels(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	needProgram(t, "sh")
	kernel, _ := landlock.Probe()
	for level, want := range map[string]struct{ info, debug bool }{
		"error": {}, "warn": {}, "info": {info: true}, "debug": {true, true},
	} {
		r := sandboxer(t, "", shell([]string{"--log-level", level, "--bind-tcp", "8080"}, "exit 7")...)
		info := regexp.MustCompile(`(?m)^level=INFO .* report="enforced on ABI \d+: `).MatchString(r.log)
		debug := regexp.MustCompile(`(?m)^level=DEBUG .* path=/bin access=execute,read_file,read_dir option=--rox$`).MatchString(r.log) &&
			regexp.MustCompile(`(?m)^level=DEBUG .* port=8080 access=bind_tcp option=--bind-tcp$`).MatchString(r.log)
		warned := strings.Contains(r.log, "level=WARN")
		if r.state.ExitCode() != 7 || info != want.info || debug != want.debug || warned != (level != "error" && (kernel.ABI < landlock.V9 || !filters)) {
			t.Errorf("%s: %v", level, r)
		}
	}
}

func TestIgnoreMissing(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	needProgram(t, "sh")
	missing := filepath.Join(t.TempDir(), "missing")
	for _, option := range []string{"--ro", "--rox", "--rw", "--rwx", "--unix"} {
		args := []string{"--best-effort", "--rox", "/", option, missing, "sh", "-c", "exit 7"}
		checkMistake(t, sandboxer(t, "", args...), fmt.Sprintf(": %s %q: open: no such file or directory", option, missing))
		if r := sandboxer(t, "", append([]string{"--ignore-missing"}, args...)...); r.state.ExitCode() != 7 {
			t.Errorf("%s: %v", option, r)
		}
	}
}

func TestDryRun(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	needProgram(t, "sh")
	dir := t.TempDir()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	r := sandboxer(t, dir, "--best-effort", "--dry-run", "--add-exec", "--ro", dir, "--rox", "/", "--bind-tcp", "80", "--env", "A=1", "sh", "-c", ">made")
	lines := strings.Split(r.stdout, "\n")
	if !r.state.Success() || r.stderr != "" || len(lines) != 11 {
		t.Fatalf("%v\nwant 10 lines", r)
	}
	for i, want := range []string{
		`^report: enforced on ABI \d+: all filesystem rights.*` + map[bool]string{true: ", sockets filtered", false: "; no seccomp here to filter sockets"}[filters],
		`^program: "` + regexp.QuoteMeta(sh) + `"$`,
		`^command: "sh" "-c" ">made"$`,
		`^environment: \["A=1"\]$`,
		`^$`,
		`^OPTION +ON +ALLOWS$`,
		`^--ro +"` + regexp.QuoteMeta(dir) + `" +fs\.read_file,fs\.read_dir$`,
		`^--rox +"/" +fs\.execute,fs\.read_file,fs\.read_dir$`,
		`^--add-exec +"` + regexp.QuoteMeta(sh) + `" +fs\.execute,fs\.read_file$`,
		`^--bind-tcp +port 80 +net\.bind_tcp$`,
	} {
		if !regexp.MustCompile(want).MatchString(lines[i]) {
			t.Errorf("line %d: %q, want %q", i+1, lines[i], want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "made")); err == nil {
		t.Error("it has run the command")
	}
	checkMistake(t, sandboxer(t, dir, "--best-effort", "--dry-run", "--ro", "missing", "sh"), `"missing"`)
}

// What no rule allows to run is refused, and by --dry-run in the same words.
func TestRefused(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	needProgram(t, "sh")
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := write(t, filepath.Join(dir, "sub", "script"), "#!"+sh+"\nexit 7\n")
	sh = resolved(t, sh)
	if err := os.Symlink("sub", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		options string
		denied  string // "" is nothing
		advice  bool   // whether it is known which options are enough
	}{
		"no option":             {"sh", sh, false},
		"--ro":                  {"--ro / sub/script", script, true},
		"--rox, interpreter":    {"--rox /usr,/bin,/lib --ignore-missing --rox /lib64 sub/script", script, true},
		"--unix":                {"--unix / sh", sh, false},
		"--add-exec, script":    {"--add-exec sub/script", sh, false},
		"--ldd, script":         {"--ldd sub/script", script, false},
		"--rox, another":        {"--rox . sh", sh, false},
		"--rox, of a link":      {"--add-exec --ldd --rox link/.. link/script", "", false},
		"--rox":                 {"--rox / sub/script", "", false},
		"--rwx":                 {"--rwx / sub/script", "", false},
		"--rox, path of a link": {"--rox /proc/self/root sub/script", "", false},
		"--add-exec and --ldd":  {"--add-exec --ldd sub/script", "", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"--best-effort"}, strings.Fields(test.options)...)
			r := sandboxer(t, dir, args...)
			dry := sandboxer(t, dir, append([]string{"--dry-run"}, args...)...)
			if !strings.HasPrefix(dry.stdout, "report: enforced on ABI ") {
				t.Errorf("--dry-run: %v", dry)
			}
			if test.denied == "" {
				if r.state.ExitCode() != 7 || !dry.state.Success() || dry.stderr != "" {
					t.Errorf("%v\n--dry-run: %v", r, dry)
				}
				return
			}
			checkMistake(t, r, fmt.Sprintf("permission denied: no option allows to run [%q", test.denied))
			advice, found := strings.CutSuffix(r.stderr[strings.LastIndex(r.stderr, "]")+1:], " would allow it\n")
			if dry.state.ExitCode() != 1 || dry.stderr != r.stderr || !found && advice != " (see --add-exec, --ldd and --rox)\n" {
				t.Errorf("%v\n--dry-run: %v", r, dry)
			}
			if found != test.advice {
				t.Errorf("options are advised: %v, want %v: %s", found, test.advice, r.stderr)
			}
			if !found {
				return
			}
			more := strings.Fields(strings.ReplaceAll(strings.TrimPrefix(advice, ": "), `"`, ""))
			if followed := sandboxer(t, dir, slices.Concat(more, args)...); followed.state.ExitCode() != 7 {
				t.Errorf("with %q: %v", more, followed)
			}
		})
	}
}

// A program that its user may run and not read is refused by --dry-run too.
func TestRefusedUnreadable(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	if os.Geteuid() == 0 {
		t.Skip("needs an ordinary user: root reads every file")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "program"), "#!/bin/sh\n")
	if err := os.Chmod(filepath.Join(dir, "program"), 0o111); err != nil {
		t.Fatal(err)
	}
	for _, option := range []string{"--best-effort", "--dry-run"} {
		r := sandboxer(t, dir, "--best-effort", option, "./program")
		if r.state.ExitCode() != 1 || !strings.Contains(r.stderr, "permission denied: no option allows to run") {
			t.Errorf("%s: %v", option, r)
		}
	}
}

// Where something else refuses to run a program, no option is recommended.
func TestRefusedOtherwise(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "script"), "#!.\n") // a directory cannot be run
	checkMistake(t, sandboxer(t, dir, "--best-effort", "--rox", ".", "./script"), "exec ./script: permission denied\n")
}

func TestMistakesOfCommands(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	needProgram(t, "sh")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "text"), "neither ELF nor script")
	write(t, filepath.Join(dir, "no-interpreter"), "#! \n")
	write(t, filepath.Join(dir, "round"), "#!round\n")
	write(t, filepath.Join(dir, "file"), "")
	if err := os.Chmod(filepath.Join(dir, "file"), 0o644); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "no-such-interpreter"), "#!/no/such -x\n")
	write(t, filepath.Join(dir, "second"), "#!./no-such-interpreter\n")
	write(t, filepath.Join(dir, "empty"), "")
	write(t, filepath.Join(dir, "broken"), "\x7fELF\x02\x01\x01")
	tests := map[string]struct{ options, want string }{
		"not in PATH":                {"no-such-program", `"no-such-program": executable file not found`},
		"no such file":               {"./no-such-program", "no-such-program"},
		"a directory":                {"./", "is a directory"},
		"not executable":             {"./file", "permission denied"},
		"path of a file":             {"--ro text/file sh", `--ro "text/file": open: not a directory`},
		"one path, two options":      {"--ro one --rox one sh", `no such file or directory; --rox "one": open in `},
		"two mistakes":               {"--ro one --rw two sh", `--ro "one": open in ` + dir + `: no such file or directory; --rw "two": open in `},
		"ldd, no program":            {"--ldd ./text", `text" is neither an ELF file nor a script with #! at its beginning` + "\n"},
		"ldd, an empty file":         {"--ldd ./empty", "empty: empty, or a file of the kernel's own\n"},
		"ldd, a part of a program":   {"--ldd ./broken", `broken": broken ELF file`},
		"ldd, no interpreter":        {"--ldd ./no-such-interpreter", `: --ldd: interpreter "/no/such" of "` + dir + `/no-such-interpreter": no such file or directory (--ignore-`},
		"ldd, none of the second":    {"--ldd ./second", `: --ldd: interpreter "/no/such" of "` + dir + `/no-such-interpreter": no such file`},
		"ldd, script of nothing":     {"--ldd ./no-interpreter", "#! names no interpreter"},
		"ldd, script of itself":      {"--ldd ./round", "too many interpreters"},
		"a program of no known kind": {"--rox . ./text", "./text: exec format error\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			checkMistake(t, sandboxer(t, dir, append([]string{"--best-effort"}, strings.Fields(test.options)...)...), test.want)
		})
	}
}
