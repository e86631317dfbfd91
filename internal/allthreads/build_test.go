//go:build linux && (amd64 || arm64)

package allthreads_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"example.com/landlock/internal/allthreads/cthreads"
)

// goCommand runs the go command on this package.
func goCommand(t *testing.T, environment []string, arguments ...string) string {
	t.Helper()
	cmd := exec.Command("go", arguments...)
	cmd.Env = append(os.Environ(), environment...)
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
	return string(output)
}

func needGo(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds binaries, which takes long")
	}
	if output, err := exec.Command("go", "vet", ".").CombinedOutput(); err != nil {
		t.Skipf("needs the go command, this package's source and a build cache: %v %s", err, output)
	}
}

func TestBuildModes(t *testing.T) {
	if !long {
		t.Skip("builds binaries, which takes long: set LANDLOCK_LONG_TESTS")
	}
	if !cthreads.Available {
		t.Skip("needs cgo, whose run builds all of them")
	}
	needGo(t)
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	static := []string{"-tags=netgo,osusergo", "-ldflags=-linkmode external -extldflags -static"}
	for _, mode := range []struct {
		name        string
		compiler    string // of C, for modes that need one
		environment []string
		flags       []string
	}{
		{"position independent", "", nil, []string{"-buildmode=pie"}},
		{"for a debugger", "", nil, []string{"-gcflags=all=-N -l"}},
		{"without C", "", []string{"CGO_ENABLED=0"}, nil},
		{"static glibc", "gcc", nil, static},
		{"static musl", "musl-gcc", nil, static},
		{"race detector and coverage", "gcc", nil, []string{"-race", "-covermode=atomic"}},
		{"address sanitizer, not optimized", "gcc", nil, []string{"-asan", "-gcflags=all=-N"}},
		{"the other architecture", "", []string{"CGO_ENABLED=0", "GOARCH=" + other}, []string{"-gcflags=all=-N -l"}},
	} {
		t.Run(mode.name, func(t *testing.T) {
			environment := mode.environment
			if mode.compiler != "" {
				if _, err := exec.LookPath(mode.compiler); err != nil {
					t.Skipf("needs the program %s", mode.compiler)
				}
				environment = append(environment, "CC="+mode.compiler)
			}
			binary := filepath.Join(t.TempDir(), "test")
			goCommand(t, environment, append(append([]string{"test", "-c", "-o", binary}, mode.flags...), ".")...)
			if strings.Contains(strings.Join(environment, " "), "GOARCH") {
				return // that it links is all that can be seen here
			}
			for _, name := range []string{"blocked system calls", "churn", "concurrent calls", "everything at once"} {
				runScenario(t, binary, name, nil)
			}
		})
	}
}

// TestHeldSection reads the compiler's output: while threads are held, which
// may have any lock of the Go runtime, nothing may call into it. A write
// barrier does so without a word in the source.
func TestHeldSection(t *testing.T) {
	needGo(t)
	modes := [][]string{{"-gcflags=-S"}}
	if long && cthreads.Available { // the detectors need C
		modes = append(modes, []string{"-gcflags=-S", "-race"}, []string{"-gcflags=-S", "-race", "-cover", "-covermode=atomic"},
			[]string{"-gcflags=-S", "-cover", "-covermode=atomic"}, []string{"-gcflags=all=-N", "-gcflags=-S -N", "-asan"})
	}
	for _, flags := range modes {
		t.Run(strings.Join(flags, " "), func(t *testing.T) { checkHeldSection(t, flags) })
	}
}

func checkHeldSection(t *testing.T, flags []string) {
	const prefix = "example.com/landlock/internal/allthreads."
	functions := regexp.MustCompile(`(?m)^(\S+) STEXT`)
	calls := regexp.MustCompile(`\tCALL\t(\S+)\(SB\)|\tCALL\t([A-Z]\S*)\n`)
	output := goCommand(t, nil, append(append([]string{"build"}, flags...), ".")...)
	callees := map[string][]string{}
	starts := functions.FindAllStringSubmatchIndex(output, -1)
	for i, at := range starts {
		end := len(output)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		name := strings.TrimPrefix(output[at[2]:at[3]], prefix)
		for _, call := range calls.FindAllStringSubmatch(output[at[0]:end], -1) {
			callees[name] = append(callees[name], call[1]+call[2])
		}
	}
	seen, todo := map[string]bool{}, []string{"(*call).attempt"}
	for len(todo) > 0 {
		caller := todo[0]
		todo = todo[1:]
		for _, callee := range callees[caller] {
			name, own := strings.CutPrefix(callee, prefix)
			if own && !seen[name] {
				seen[name] = true
				todo = append(todo, name)
			}
			switch {
			case own:
			case caller == "(*call).attempt" && strings.HasPrefix(callee, "runtime.morestack"): // before anybody is held
			case slices.Contains(flags, "-race") && (callee == "sync/atomic.AddUint32" || callee == "sync/atomic.StoreUint32"):
				// Coverage's counters: see ignoreAtomics.
			default:
				t.Errorf("%s calls %s, want nothing called but this package's own", caller, callee)
			}
		}
	}
	if len(seen) < 15 {
		t.Errorf("found only %v below attempt, want all that runs while threads are held", seen)
	}
}
