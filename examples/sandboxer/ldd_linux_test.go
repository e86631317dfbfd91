package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"example.com/landlock"
	"example.com/landlock/internal/program"
	"example.com/landlock/landlocktest"
)

// With --add-exec and --ldd a program starts, and with one of them it does not.
func TestAddExecAndLdd(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	needProgram(t, "sh")
	sh, _ := exec.LookPath("sh")
	start, err := program.Read(sh)
	if err != nil || start.Interpreter == "" {
		t.Skipf("needs a dynamically linked shell: %v", err)
	}
	run := []string{"sh", "-c", "exit 7"}
	options := func(options ...string) []string { return append(append([]string{"--best-effort"}, options...), run...) }
	if r := sandboxer(t, "", options("--add-exec", "--ldd")...); r.state.ExitCode() != 7 {
		t.Error(r)
	}
	checkMistake(t, sandboxer(t, "", options("--add-exec")...), `["`+resolved(t, start.Interpreter)+`"]`)
	checkMistake(t, sandboxer(t, "", options("--ldd")...), `["`+resolved(t, sh)+`"]`)
	checkMistake(t, sandboxer(t, "", options()...), `["`+resolved(t, sh)+`" "`+resolved(t, start.Interpreter)+`"]`)
}

// resolved returns what a path leads to, which is what a refusal names.
func resolved(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// A script needs its interpreter, the interpreter's interpreter, and what env starts.
func TestLddOfScripts(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	needProgram(t, "sh")
	sh, _ := exec.LookPath("sh")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "first"), "#! "+sh+" -e\nexit 7\n")
	write(t, filepath.Join(dir, "second"), "#!"+filepath.Join(dir, "first")+"\n")
	names := []string{"first", "second"}
	if env, err := exec.LookPath("env"); err == nil {
		write(t, filepath.Join(dir, "by env"), "#!"+env+" sh\nexit 7\n")
		names = append(names, "by env")
	}
	for _, name := range names {
		args := []string{"--best-effort", "--add-exec", "--ldd", "--ro", dir, "--env", "PATH", "./" + name}
		if r := sandboxer(t, dir, args...); r.state.ExitCode() != 7 {
			t.Errorf("%s: %v", name, r)
		}
	}
	args := []string{"--best-effort", "--add-exec", "--ro", dir, "./first"}
	checkMistake(t, sandboxer(t, dir, args...), `"`+resolved(t, sh)+`"`)
}

// A library that is not found is a mistake, unless missing ones are ignored: then
// it is the loader that gives up.
func TestLddMissing(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	needProgram(t, "gcc")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.c"), "int a(void) { return 6; }")
	write(t, filepath.Join(dir, "main.c"), "int a(void); int main(void) { return a(); }")
	for _, args := range [][]string{{"-shared", "-fPIC", "-o", "liba.so", "a.c"}, {"-o", "program", "main.c", "-L.", "-la"}} {
		cmd := exec.Command("gcc", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("needs the program gcc to work: %v: %s", err, out)
		}
	}
	args := []string{"--best-effort", "--add-exec", "--ldd", "./program"}
	checkMistake(t, sandboxer(t, dir, args...), "not found")
	if r := sandboxer(t, dir, append([]string{"--ignore-missing"}, args...)...); r.state.ExitCode() != 127 {
		t.Errorf("%v\nwant status 127", r)
	}
	if r := sandboxer(t, dir, append([]string{"--env", "LD_LIBRARY_PATH=."}, args...)...); r.state.ExitCode() != 6 {
		t.Errorf("%v\nwant status 6", r)
	}
}
