package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"example.com/landlock"
	"example.com/landlock/internal/testchild"
	"example.com/landlock/landlocktest"
)

func TestMain(m *testing.M) { testchild.Main(m, main) }

// site makes a directory with the directory "site" to serve, and files beside
// it that only links in "site" lead to.
func site(t *testing.T) string {
	t.Helper()
	box := t.TempDir()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(box, "site", "sub"), 0o755),
		os.Mkdir(filepath.Join(box, "outside"), 0o755),
		os.WriteFile(filepath.Join(box, "site", "page.html"), []byte("<p>inside"), 0o644),
		os.WriteFile(filepath.Join(box, "site", "sub", "file.txt"), []byte("beneath"), 0o644),
		os.WriteFile(filepath.Join(box, "outside", "secret.txt"), []byte("secret"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"link.txt": "../outside/secret.txt", "links": filepath.Join(box, "outside")} {
		if err := os.Symlink(to, filepath.Join(box, "site", name)); err != nil {
			t.Skipf("needs symbolic links: %v", err)
		}
	}
	return box
}

// serve starts the program and returns its URL, and a function that ends it
// and returns what it has logged.
func serve(t *testing.T, box string, flags ...string) (url string, stop func() string) {
	t.Helper()
	cmd := testchild.Program(t, box, append(flags, "-addr", "127.0.0.1:0", "site")...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	lines := bufio.NewReader(stderr)
	stop = func() string {
		cmd.Process.Kill()
		io.Copy(&log, lines)
		cmd.Wait()
		return log.String()
	}
	for {
		line, err := lines.ReadString('\n')
		log.WriteString(line)
		if found := regexp.MustCompile(`url=(http://127\.0\.0\.1:[0-9]+)\n`).FindStringSubmatch(line); found != nil {
			return found[1], stop
		}
		if err != nil {
			t.Fatalf("no address:\n%s", stop())
		}
	}
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(content)
}

func TestServe(t *testing.T) {
	for _, sandboxed := range []bool{true, false} {
		name, flags := "sandboxed", []string(nil)
		if !sandboxed {
			name, flags = "unsafe", []string{"-unsafe"}
		}
		t.Run(name, func(t *testing.T) {
			kernel, err := landlock.Probe()
			if sandboxed && err != nil {
				cmd := testchild.Program(t, t.TempDir(), "-addr", "127.0.0.1:0", ".")
				out, _ := cmd.CombinedOutput()
				if want := "fileserver: " + err.Error() + "\n"; cmd.ProcessState.ExitCode() != 1 || string(out) != want {
					t.Errorf("without Landlock: %v, output:\n%swant status 1 and:\n%s", cmd.ProcessState, out, want)
				}
				landlocktest.NeedABI(t, landlock.V1)
			}
			url, stop := serve(t, site(t), flags...)
			for _, want := range []struct {
				path, body string
				outside    bool
			}{
				{path: "/page.html", body: "<p>inside"},
				{path: "/sub/file.txt", body: "beneath"},
				{path: "/", body: `<a href="page.html">`},
				{path: "/link.txt", body: "secret", outside: true},
				{path: "/links/secret.txt", body: "secret", outside: true},
				{path: "/links/", body: `<a href="secret.txt">`, outside: true},
			} {
				status, body := get(t, url+want.path)
				if sandboxed && want.outside {
					if status != http.StatusForbidden || strings.Contains(body, want.body) {
						t.Errorf("%s: %d %q, want 403 and an error page", want.path, status, body)
					}
				} else if status != http.StatusOK || !strings.Contains(body, want.body) {
					t.Errorf("%s: %d %q, want 200 and %q", want.path, status, body, want.body)
				}
			}
			log := stop()
			if !sandboxed {
				if !strings.Contains(log, "no sandbox") {
					t.Errorf("does not say that there is no sandbox:\n%s", log)
				}
				return
			}
			enforced := regexp.MustCompile(`report="enforced on [^;]*`).FindString(log)
			if !strings.Contains(enforced, "all filesystem rights") || strings.Contains(enforced, "TCP") != (kernel.ABI >= landlock.V4) {
				t.Errorf("on %v the log has the report %q:\n%s", kernel.ABI, enforced, log)
			}
		})
	}
}

// Each mistake gives status 1 and one line that names it.
func TestMistakes(t *testing.T) {
	box := t.TempDir()
	if err := os.WriteFile(filepath.Join(box, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	const usage = "usage: fileserver "
	tests := map[string]struct {
		args []string
		want string
	}{
		"no directory":      {nil, usage},
		"two directories":   {[]string{".", "."}, usage},
		"unknown flag":      {[]string{"-port", "1", "."}, usage},
		"missing directory": {[]string{"missing"}, "missing: "},
		"file":              {[]string{"file"}, "file: not a directory"},
		"address in use":    {[]string{"-addr", taken.Addr().String(), "."}, taken.Addr().String()},
		"no address":        {[]string{"-addr", "nowhere", "."}, "nowhere"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cmd := testchild.Program(t, box, test.args...)
			out, _ := cmd.CombinedOutput()
			text := string(out)
			if cmd.ProcessState.ExitCode() != 1 || strings.Count(text, "\n") != 1 ||
				!strings.HasPrefix(text, "fileserver: ") || !strings.Contains(text, test.want) {
				t.Errorf("status %d, output %q, want 1 and a line with %q", cmd.ProcessState.ExitCode(), text, test.want)
			}
		})
	}
}
