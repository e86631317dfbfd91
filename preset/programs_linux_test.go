package preset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/landlocktest"
)

// Programs run with what Programs allows, the null devices and a scratch directory,
// and not without any line of it, with one exception.

const childProgram = "PRESET_PROGRAM" // the path of the program to run

// given is Programs of what the environment says.
func given(r *landlock.Ruleset) error { return Programs(os.Getenv(childProgram))(r) }

// scripted returns a scenario of a script, with all programs that it takes.
func scripted(name, script string, programs ...string) scenario {
	return scenario{name: name, use: presets{Programs(programs...), NullDevices}, lacks: programsLacking(programs...),
		env: []string{"GIT_CONFIG_NOSYSTEM=1"},
		run: func(r *landlock.Ruleset) error {
			dir := os.TempDir()
			cmd := exec.Command(programs[0], "-c", script)
			if programs[0] != "sh" {
				cmd = exec.Command(programs[0], "-e", script)
			}
			cmd.Dir = dir
			out, err := outputOf(r.AllowReadWrite(dir), cmd)
			if err == nil && !strings.HasSuffix(out, "fine\n") {
				err = fmt.Errorf("%q", out)
			}
			return err
		}}
}

var programs = register(
	scripted("sh", "echo fine", "sh"),
	scripted("perl", `print "fine\n"`, "perl"),
	scripted("git", "git init -q --template= . && git -c maintenance.auto=false -c user.name=x -c user.email=x commit -q --allow-empty -m x && git log --format=tformat:fine", "sh", "git"),
	scripted("tar with gzip", "echo fine > file && tar -czf archive.tgz file && rm file && tar -xzf archive.tgz && cat file", "sh", "tar", "gzip", "rm", "cat"),
	scenario{name: "this program", use: presets{given}, run: func(r *landlock.Ruleset) error {
		cmd := exec.Command(os.Getenv(childProgram))
		cmd.Env = []string{childScenario + "=" + nothing.name, "GORACE=atexit_sleep_ms=0"}
		_, err := outputOf(r, cmd)
		return err
	}},
	scenario{name: "a program", use: presets{given}, run: func(r *landlock.Ruleset) error {
		_, err := outputOf(r, exec.Command(os.Getenv(childProgram)))
		return err
	}},
	// The same in a root directory of its own.
	scenario{name: "a program whose library only the cache knows", use: presets{given}, root: map[string]string{}, run: func(r *landlock.Ruleset) error {
		cmd := exec.Command(os.Getenv(childProgram))
		cmd.Stdin = os.Stdin // there is no /dev/null
		_, err := outputOf(r, cmd)
		return err
	}},
)

// inCache is the exception.
var inCache = map[string]string{"/etc/ld.so.cache": "these libraries are in the loader's default directories, too: see TestProgramsCache"}

// checkPrograms checks a scenario of a preset, which misses all lines but the exceptions.
func checkPrograms(t *testing.T, s scenario, preset func(*landlock.Ruleset) error, exceptions map[string]string) {
	t.Helper()
	present := map[string]string{}
	s.misses = nil
	for line := range lines(everything().Use(preset)) {
		if exceptions[line] == "" {
			s.misses = append(s.misses, line)
		} else {
			present[line] = exceptions[line]
		}
	}
	check(t, preset, []scenario{s}, present)
}

func TestProgramsOfTheSystem(t *testing.T) {
	for i, names := range [][]string{{"sh"}, {"perl"}, {"sh", "git"}, {"sh", "tar", "gzip", "rm", "cat"}} {
		if lacking := programsLacking(names...)(); lacking != "" {
			t.Run(programs[i].name, func(t *testing.T) { t.Skip("needs " + lacking) })
			continue
		}
		checkPrograms(t, programs[i], Programs(names...), inCache)
	}
}

// With cgo it is dynamically linked, without not.
func TestProgramsOfGo(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := scenarios["this program"]
	s.env = []string{childProgram + "=" + self}
	checkPrograms(t, s, Programs(self), inCache)
}

// compile makes a program that needs a library, which is in a directory beside it.
func compile(t *testing.T, compiler, flags string) (program string) {
	t.Helper()
	if lacking := programsLacking(compiler)(); lacking != "" {
		t.Skip("needs " + lacking)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"a.c": "int a(void) { return 0; }", "main.c": "int a(void); int main(void) { return a(); }"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"-shared -fPIC -o lib/liba.so a.c", "-o program main.c -Llib -la " + flags} {
		cmd := exec.Command(compiler, strings.Fields(args)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v: %s", compiler, args, err, out)
		}
	}
	return filepath.Join(dir, "program")
}

func TestProgramsOfC(t *testing.T) {
	s := scenarios["a program"]
	for _, compiler := range []string{"gcc", "musl-gcc"} {
		t.Run(compiler, func(t *testing.T) {
			program := compile(t, compiler, "-Wl,-rpath,$ORIGIN/lib")
			s.env = []string{childProgram + "=" + program}
			exceptions := map[string]string{"/etc/ld.so.cache": "RUNPATH and the default directories have all libraries"}
			if compiler == "musl-gcc" {
				exceptions = map[string]string{}
				for line := range lines(everything().Use(Programs(program))) {
					if strings.HasSuffix(line, ".path") {
						exceptions[line] = "RPATH has the only library"
					}
				}
			}
			checkPrograms(t, s, Programs(program), exceptions)
			for rule := range everything().Use(Programs(program)).Rules() {
				if filepath.Base(rule.Path) == "liba.so" && rule.FS != file {
					t.Errorf("%v on a library, want it to be read alone", rule.FS)
				}
			}
			t.Run("LD_LIBRARY_PATH", func(t *testing.T) {
				t.Setenv("LD_LIBRARY_PATH", "/nowhere")
				program := compile(t, compiler, "")
				if err := everything().Use(Programs(program)).Run(exec.Command(program)); err == nil || !strings.Contains(err.Error(), `"liba.so"`) {
					t.Errorf("a library that is missing: %v", err)
				}
				t.Setenv("LD_LIBRARY_PATH", filepath.Join(filepath.Dir(program), "lib"))
				if err := everything().Use(Programs(program)).Run(exec.Command(program)); err != nil {
					t.Error(err)
				}
				t.Setenv("LD_LIBRARY_PATH", "lib") // as it is now, whatever the directory is later
				t.Chdir(filepath.Dir(program))
				r := everything().Use(Programs("./program"))
				t.Chdir("/")
				cmd := exec.Command(program)
				cmd.Dir = filepath.Dir(program)
				if err := r.Run(cmd); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A library in a directory that nothing but the loader's cache knows.
func TestProgramsCache(t *testing.T) {
	if lacking := programsLacking("gcc", "ldconfig")(); lacking != "" {
		t.Skip("needs " + lacking)
	}
	landlocktest.NeedABI(t, landlock.V1)
	program := compile(t, "gcc", "-Wl,-rpath,$ORIGIN/lib")
	r := everything().Use(Programs(program))
	root := map[string]string{}
	for _, path := range paths(r) {
		inside := path
		switch filepath.Base(path) {
		case "program":
			inside = "/program"
		case "liba.so":
			inside = "/opt/lib/liba.so"
		case "ld.so.cache":
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		root[inside] = string(text)
	}
	made := t.TempDir()
	makeRoot(t, made, root)
	dirs := []string{"-r", made, "-C", "/ld.so.cache", "/opt/lib"}
	if out, err := exec.Command("ldconfig", dirs...).CombinedOutput(); err != nil {
		t.Skipf("needs the program ldconfig to work in another root directory: %v: %s", err, out)
	}
	cache, err := os.ReadFile(filepath.Join(made, "ld.so.cache"))
	if err != nil {
		t.Fatal(err)
	}
	root["/etc/ld.so.cache"] = string(cache)
	s := scenarios["a program whose library only the cache knows"]
	s.root, s.env, s.misses = root, []string{childProgram + "=/program"}, []string{"/program", "/opt/lib/liba.so", "/etc/ld.so.cache"}
	t.Run("", func(t *testing.T) {
		s.needs(t)
		if out, code := s.start(t, ""); code != 0 {
			t.Fatalf("status %d: %s", code, out)
		}
		for _, line := range s.misses {
			s.checkMisses(t, line)
		}
	})
}

// mistakes returns what is wrong with a preset.
func mistakes(preset func(*landlock.Ruleset) error) error {
	_, err := landlock.New(landlock.V1).BestEffort(0).Use(preset).DryRun()
	return err
}

// A program that is not what Programs can allow is a mistake that names it.
func TestProgramsMistakes(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("here", "#!/bin/sh\n")
	write("neither", "text")
	write("broken", "\x7fELF")
	write("gone", "#!/nonexistent/interpreter\n")
	env, err := exec.LookPath("env")
	if err != nil {
		t.Skip("needs the program env: ", err)
	}
	write("by-env", "#!"+env+" no-such-program\n")
	write("round", "#!"+dir+"/round\n")
	if err := errors.Join(os.WriteFile("plain", []byte("#!/bin/sh\n"), 0o644), os.Mkdir("dir", 0o755), unix.Mkfifo("fifo", 0o777)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", os.Getenv("PATH")+":.")
	for name, want := range map[string]string{
		"":                "not found",
		"no-such-program": "not found",
		"here":            exec.ErrDot.Error(),
		"./no-such":       "no such file",
		"./plain":         "permission denied",
		"./dir":           "directory",
		"./fifo":          "not a regular file",
		"./neither":       "neither an ELF file nor a script",
		"./broken":        "broken ELF file",
		"./gone":          "/nonexistent/interpreter",
		"./by-env":        "no-such-program",
		"./round":         "too many interpreters",
		"a\x00b":          "not found",
	} {
		err := mistakes(Programs("sh", name))
		if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), fmt.Sprintf("program %q: ", name)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
	err = mistakes(Programs("first-missing", "second-missing"))
	if err == nil || !strings.Contains(err.Error(), "first-missing") || !strings.Contains(err.Error(), "second-missing") {
		t.Errorf("two that are missing: %v", err)
	}
	if err := mistakes(Programs()); err != nil && errors.Is(err, fs.ErrInvalid) {
		t.Errorf("no program: %v", err)
	}
}

// A name with .. is looked up as the kernel does it, and stays the file that it was
// when the working directory changes.
func TestProgramsRelative(t *testing.T) {
	if lacking := programsLacking("sh")(); lacking != "" {
		t.Skip("needs " + lacking)
	}
	dir := t.TempDir()
	for _, name := range []string{"a/b", "program", "a/program"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	sh, _ := exec.LookPath("sh")
	for name, text := range map[string]string{"program": "exit 1", "a/program": "exit 0"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!"+sh+"\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "a/b"), 0o755), os.Symlink("a/b", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	r := everything().Use(Programs("link/../program")) // a/program
	t.Chdir("/")
	landlocktest.NeedABI(t, landlock.V1)
	if err := r.Run(exec.Command(filepath.Join(dir, "a/program"))); err != nil {
		t.Error(err)
	}
	if err := r.Run(exec.Command(filepath.Join(dir, "program"))); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("another program: %v, want a refusal", err)
	}
}
