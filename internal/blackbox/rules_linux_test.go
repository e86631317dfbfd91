package blackbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/internal/testenv"
)

// Files, directories, links and open files, in one call each.
func TestRules(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	prepare := func(t *testing.T, dir string) {
		for _, name := range []string{"file", "dir/file", "opened/file", "other", "target"} {
			testenv.Write(t, filepath.Join(dir, name), name)
		}
		if err := os.Symlink("target", filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
	}
	testenv.InChild(t, prepare, func(t *testing.T, dir string) {
		if err := os.Chdir(dir); err != nil {
			t.Fatal(err)
		}
		opened, err := os.Open("opened")
		if err != nil {
			t.Fatal(err)
		}
		already, err := os.Open("other")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Rename("opened", "renamed"); err != nil {
			t.Fatal(err)
		}
		report := testenv.MustApply(t, landlock.New(landlock.V1).
			AllowReadWrite("file", "dir", "link"). // what only directories can have is dropped for the file
			AllowOptional(landlock.FSRead, "missing", "dir").
			AllowFile(landlock.FSRead, opened))
		opened.Close()
		if fmt.Sprint(report.Skipped) != "[missing]" {
			t.Errorf("skipped %q, want missing", report.Skipped)
		}
		for _, name := range []string{"file", "dir/file", "renamed/file", "target", "link"} {
			if _, err := os.ReadFile(name); err != nil {
				t.Errorf("read: %v", err)
			}
		}
		if err := os.WriteFile("dir/new", nil, 0o600); err != nil {
			t.Errorf("write: %v", err)
		}
		for _, name := range []string{"other", "/etc/passwd"} {
			if _, err := os.ReadFile(name); !errors.Is(err, unix.EACCES) {
				t.Errorf("read %s: %v, want EACCES", name, err)
			}
		}
		if err := os.WriteFile("renamed/new", nil, 0o600); !errors.Is(err, unix.EACCES) {
			t.Errorf("write beneath a directory that may only be read: %v, want EACCES", err)
		}
		if text, err := io.ReadAll(already); err != nil || string(text) != "other" {
			t.Errorf("read a file that was open before: %q, %v", text, err)
		}
		if err := exec.Command("/bin/true").Run(); !errors.Is(err, unix.EACCES) {
			t.Errorf("run a program: %v, want EACCES", err)
		}
	})
}

// Each call's rules stand alone: for one path some may be wrong.
func TestRulesStandAlone(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	dir := t.TempDir()
	file, missing := testenv.Write(t, filepath.Join(dir, "file"), ""), filepath.Join(dir, "missing")
	for _, test := range []struct {
		name    string
		ruleset *landlock.Ruleset
		want    string // the error, or else what is skipped
	}{
		{"optional and not there", landlock.New(landlock.V1).AllowOptional(landlock.FSRead, missing).AllowOptional(landlock.FSWrite, missing), missing},
		{"quiet and not there", landlock.New(landlock.V10).BestEffort(landlock.V1).Quiet(landlock.FSRead, missing), missing},
		{"needed as well", landlock.New(landlock.V1).AllowOptional(landlock.FSRead, missing).AllowRead(missing).AllowOptional(landlock.FSRead, missing),
			fmt.Sprintf("landlock: AllowRead(%q): open: no such file or directory: AllowOptional skips what is not there", missing)},
		{"rights of directories on a file", landlock.New(landlock.V1).AllowRead(file).Allow(landlock.FSMakeDir|landlock.FSReadDir, file),
			fmt.Sprintf("landlock: Allow(landlock.FSReadDir|landlock.FSMakeDir, %q): not a directory, and only directories can have these rights", file)},
		{"rights of directories on a file, optional", landlock.New(landlock.V1).AllowOptional(landlock.FSMakeDir|landlock.FSReadDir, file, dir), file},
		{"rights of directories on a file, judged", landlock.New(landlock.V1).AllowIf(landlock.FSReadDir, func(*os.File) error { return nil }, file, dir), file},
		{"rights of directories elsewhere, by a judge", landlock.New(landlock.V1).AllowIf(landlock.FSRead, func(*os.File) error {
			_, err := landlock.New(landlock.V1).Allow(landlock.FSReadDir, file).DryRun()
			return err
		}, dir),
			fmt.Sprintf("landlock: AllowIf(landlock.FSRead, judge, %q): landlock: Allow(landlock.FSReadDir, %q): not a directory, and only directories can have these rights", dir, file)},
		{"rights of directories that no kernel had, optional", landlock.New(landlock.V10).BestEffort(landlock.V1).AllowOptional(landlock.FSRefer, file, dir), file},
		{"rights of directories on a file, quiet", landlock.New(landlock.V10).BestEffort(landlock.V1).Quiet(landlock.FSMakeDir|landlock.FSReadDir, file), ""},
		{"rights of files and directories on a file", landlock.New(landlock.V1).AllowRead(file).AllowReadWrite(file), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			report, err := test.ruleset.DryRun()
			got := strings.Join(report.Skipped, ", ")
			if err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("skipped or wrong: %s, want %s", got, test.want)
			}
		})
	}
}

// "/proc/self" is a link, and followed when the ruleset is loaded: it is of no
// use to a child.
func TestProcSelfIsTheParents(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Skip("needs cat")
	}
	testenv.InBoth(t, func(t *testing.T, dir string) {
		file, err := os.Open(filepath.Join(dir, "secret"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		opened := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), file.Fd())
		if text, err := os.ReadFile(opened); err != nil || len(text) == 0 {
			t.Fatalf("this process, by its descriptor: %q, %v", text, err)
		}
		own, parents, environ := "/proc/self/status", fmt.Sprintf("/proc/%d/status", os.Getpid()), fmt.Sprintf("/proc/%d/environ", os.Getpid())
		for _, test := range []struct {
			allowed, path string
			want          bool
		}{
			{"/proc/self", own, false}, {"/proc/self", parents, true},
			{"/proc", own, true}, {"/proc", parents, true}, {"/proc", environ, false},
			{"/proc", opened, false},
		} {
			s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).AllowOptional(landlock.FSReadFile, "/bin", "/usr", "/lib", "/lib64", "/etc").AllowRead(test.allowed, dir))
			if test.path == environ && os.Getuid() == 0 {
				continue // Linux 6.12 refuses it, 6.18 does not
			}
			if out, err := s.Output(exec.Command(cat, test.path)); (err == nil && len(out) > 0) != test.want {
				t.Errorf("read %s beneath %s: %q, %v, want it to work: %t", test.path, test.allowed, out, err, test.want)
			}
		}
	})
}

// A judge sees what is found at a path each time that the ruleset is loaded, and the
// rule is for what it has seen.
func TestAllowIf(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	prepare := func(t *testing.T, dir string) {
		for _, name := range []string{"good", "bad", "other/file"} {
			testenv.Write(t, filepath.Join(dir, name), name)
		}
		if err := os.Symlink("other", filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
	}
	testenv.InChild(t, prepare, func(t *testing.T, dir string) {
		good, link := filepath.Join(dir, "good"), filepath.Join(dir, "link")
		wrong := errors.New("not a regular file")
		calls := 0
		regular := func(file *os.File) error {
			calls++
			info, err := file.Stat()
			if err == nil && !info.Mode().IsRegular() {
				err = wrong
			}
			return err
		}
		r := landlock.New(landlock.V1).AllowIf(landlock.FSRead, regular, good, filepath.Join(dir, "missing"))
		report, err := r.DryRun()
		if err != nil || calls != 1 || fmt.Sprint(report.Skipped) != fmt.Sprint([]string{filepath.Join(dir, "missing")}) {
			t.Errorf("%+v, %v after %d calls", report, err, calls)
		}
		if err := r.Clone().Check(landlock.FSReadFile, good); err != nil || calls != 2 {
			t.Errorf("Check: %v after %d calls", err, calls)
		}
		var rule *landlock.RuleError
		if _, err := r.Clone().AllowIf(landlock.FSRead, regular, link).Prepare(); !errors.As(err, &rule) || rule.Path != link || !errors.Is(err, wrong) {
			t.Errorf("a link to a directory: %v", err)
		}
		if err := r.Clone().AllowIf(landlock.FSRead, regular, link).Check(landlock.FSReadFile, good); !errors.Is(err, wrong) {
			t.Errorf("Check of a ruleset that cannot be loaded: %v", err)
		}
		// On a kernel that knows none of the rights it is judged all the same.
		if _, err := landlock.New(landlock.V9).BestEffort(landlock.V1).AllowIf(landlock.FSResolveUnix, regular, link).DryRun(); !errors.Is(err, wrong) {
			t.Errorf("a right of a newer kernel: %v", err)
		}
		absent := func(*os.File) error { return fmt.Errorf("as good as %w", fs.ErrNotExist) }
		if report, err := landlock.New(landlock.V1).AllowIf(landlock.FSRead, absent, good).DryRun(); err != nil || fmt.Sprint(report.Skipped) != fmt.Sprint([]string{good}) {
			t.Errorf("a judge that says it is not there: %+v, %v", report, err)
		}
		var kept *os.File
		if _, err := landlock.New(landlock.V1).AllowIf(landlock.FSRead, func(file *os.File) error { kept = file; return nil }, good).DryRun(); err != nil {
			t.Error(err)
		}
		if _, err := kept.Stat(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("a file that a judge keeps: %v, want it closed", err)
		}
		if _, err := landlock.New(landlock.V1).AllowIf(landlock.FSRead, (*os.File).Close, good).DryRun(); !errors.As(err, &rule) || !errors.Is(err, os.ErrClosed) {
			t.Errorf("a judge that closes the file: %v", err)
		}
		if _, err := landlock.New(landlock.V1).AllowIf(landlock.FSRead, func(file *os.File) error { *file = os.File{}; return nil }, good).DryRun(); err != nil {
			t.Errorf("a judge that overwrites the file: %v", err)
		}
		file, err := os.Open(good)
		if err != nil {
			t.Fatal(err)
		}
		r = landlock.New(landlock.V1).AllowFile(landlock.FSReadFile, file)
		file.Close()
		*file = os.File{}
		if _, err := r.DryRun(); !errors.As(err, &rule) || rule.Path != good || !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("a file that is overwritten: %v", err)
		}
		checkJudgeLeaves(t, good)
		// Whatever the path leads to once the judge has seen it.
		exchange := func(file *os.File) error {
			if err := regular(file); err != nil {
				return err
			}
			return errors.Join(os.Rename(good, good+" moved"), os.Symlink("other", good))
		}
		testenv.MustApply(t, landlock.New(landlock.V1).AllowIf(landlock.FSRead, exchange, good))
		if _, err := os.ReadFile(good + " moved"); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"good/file", "other/file", "bad"} {
			if _, err := os.ReadFile(filepath.Join(dir, name)); !errors.Is(err, unix.EACCES) {
				t.Errorf("read %s: %v, want EACCES", name, err)
			}
		}
	})
}

// checkJudgeLeaves checks that a judge that never returns leaves nothing open.
func checkJudgeLeaves(t *testing.T, path string) {
	t.Helper()
	open := func() []string {
		runtime.GC()
		var links []string
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("needs /proc: ", err)
		}
		for _, entry := range entries {
			if link, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil && strings.Contains(link, "landlock-ruleset") {
				links = append(links, link)
			}
		}
		return links
	}
	before := open()
	for name, leave := range map[string]func(){"panic": func() { panic("judge") }, "Goexit": runtime.Goexit} {
		done := make(chan bool)
		go func() {
			defer close(done)
			defer func() { recover() }()
			landlock.New(landlock.V1).AllowIf(landlock.FSRead, func(*os.File) error { leave(); return nil }, path).DryRun()
		}()
		<-done
		if after := open(); len(after) > len(before) {
			t.Errorf("%s: %q are open, before %q", name, after, before)
		}
	}
}
