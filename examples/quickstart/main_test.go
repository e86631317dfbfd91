package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"example.com/landlock"
	"example.com/landlock/internal/testchild"
	"example.com/landlock/landlocktest"
)

func TestMain(m *testing.M) { testchild.Main(m, main) }

func TestQuickstart(t *testing.T) {
	temp := t.TempDir()
	cmd := testchild.Program(t, "")
	cmd.Env = append(cmd.Env, "TMPDIR="+temp, "TMP="+temp)
	out, err := cmd.CombinedOutput()

	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	kernel, probeErr := landlock.Probe()
	if probeErr != nil {
		want := "quickstart: " + probeErr.Error() + "\n"
		if string(out) != want || cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("without Landlock: %v, output:\n%swant status 1 and:\n%s", err, out, want)
		}
		landlocktest.NeedABI(t, landlock.V1)
	}
	if err != nil {
		t.Fatalf("%v, output:\n%s", err, out)
	}

	passwd, why := "refused: ", `permission denied: landlock: no rule for read_file: AllowRead("/etc/passwd") would allow it`
	if _, err := os.Stat("/etc/passwd"); err != nil {
		passwd, why = "failed: ", ""
	}
	want := []string{
		"kernel: " + kernel.String(),
		fmt.Sprintf("sandbox: enforced on ABI %d: all filesystem rights", int(kernel.ABI)),
		"works: read in the directory",
		"works: write beneath out",
		"works: write to a file that was open before",
		"refused: open the same file for writing: ",
		passwd + "read /etc/passwd",
		"why: open /etc/passwd: " + why,
		passwd + "read /etc/passwd by a link in the directory",
		"refused: connect to TCP port 443: ",
		"refused: listen on a TCP port: ",
		"refused: connect to UDP port 53: ",
	}
	filters := runtime.GOARCH != "386" // there is no socket filter for that
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), len(want), out)
	}
	for i, line := range lines {
		line = strings.Join(strings.Fields(line), " ")
		allowed := false
		switch _, what, _ := strings.Cut(want[i], ": "); what {
		case "connect to TCP port 443: ":
			allowed = kernel.ABI < landlock.V4
		case "listen on a TCP port: ":
			if allowed = kernel.ABI < landlock.V4; !filters {
				continue // it depends on Multipath TCP
			}
		case "connect to UDP port 53: ":
			allowed = kernel.ABI < landlock.V10 && !filters
		}
		if allowed {
			// Whatever becomes of it, the sandbox does not refuse it.
			if _, what, _ := strings.Cut(strings.TrimSuffix(want[i], ": "), ": "); strings.HasPrefix(line, "refused") || !strings.Contains(line, what) {
				t.Errorf("on %v, which cannot restrict that: %q", kernel.ABI, line)
			}
			continue
		}
		if !strings.HasPrefix(line, want[i]) {
			t.Errorf("line %d: %q, want %q", i+1, line, want[i])
		}
		if strings.HasPrefix(line, "why") && why != "" && line != want[i] {
			t.Errorf("line %d says more: %q, want %q", i+1, line, want[i])
		}
		if strings.HasPrefix(line, "refused") && !strings.Contains(line, "permission denied") {
			t.Errorf("line %d does not say why: %q", i+1, line)
		}
	}
	complete := kernel.ABI >= landlock.V10 || kernel.ABI == landlock.V9 && filters
	if missing := "; not on this kernel: "; strings.Contains(lines[1], missing) == complete || strings.Contains(lines[1], "sockets filtered") != filters {
		t.Errorf("on %v: %q", kernel.ABI, lines[1])
	}
}
