package blackbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/internal/testenv"
)

func denial(op, path string) error { return &fs.PathError{Op: op, Path: path, Err: unix.EACCES} }

// blamed returns the first DeniedError in what an error was explained by.
func blamed(err error) *landlock.DeniedError {
	for _, denied := range landlock.All[*landlock.DeniedError](err) {
		return denied
	}
	return nil
}

// reasonsOf returns the reasons that Explain has added to an error.
func reasonsOf(explanation error) []error {
	if tree := treeOf(explanation); len(tree) > 0 {
		return tree[1:]
	}
	return nil
}

// treeOf returns an error that Explain has added reasons to, and them.
func treeOf(explanation error) []error {
	if tree, ok := explanation.(interface{ Unwrap() []error }); ok {
		return tree.Unwrap()
	}
	return nil
}

// allUDP is what is said of advice for UDP where the filter stands in for it.
const allUDP = ", and all other UDP with it: the socket filter refuses UDP as a whole, and this kernel cannot tell its ports apart"

// processOutside is what is said of another process's secrets.
const processOutside = "the process is outside the sandbox, and no rule can allow to look into it"

// An open does not tell how it was: one right and one call are named, and writing is a guess.
func TestExplainOpen(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		own, secret := filepath.Join(dir, "own", "file"), filepath.Join(dir, "secret")
		readable := testenv.Write(t, filepath.Join(dir, "readable"), "")
		if err := os.Chmod(readable, 0o444); err != nil {
			t.Fatal(err)
		}
		unreadable := testenv.Write(t, filepath.Join(dir, "unreadable"), "")
		if err := os.Chmod(unreadable, 0o222); err != nil {
			t.Fatal(err)
		}
		r := landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()}).Allow(landlock.FSReadFile, own)
		for _, test := range []struct {
			path    string
			missing landlock.AccessFS
			guess   bool
			says    string
		}{
			{secret, landlock.FSReadFile, false, fmt.Sprintf("AllowRead(%q) would allow it (if it was opened for writing, AllowReadWrite(%q))", secret, secret)},
			{own, landlock.FSWriteFile, true, fmt.Sprintf("AllowReadWrite(%q)", own)},
			{"/etc/passwd", landlock.FSReadFile, false, `permission denied: landlock: no rule for read_file: AllowRead("/etc/passwd") would allow it`},
			{"/dev/null", landlock.FSReadFile, false, "Use(preset.NullDevices) would allow it"},
			{filepath.Join(dir, "none"), landlock.FSMakeReg, false, fmt.Sprintf("AllowReadWrite(%q)", dir)},
			{"/etc/none", landlock.FSMakeReg, false, "only a rule to write beneath /etc would allow it"},
		} {
			explained := r.Explain(denial("open", test.path))
			denied := blamed(explained)
			if denied == nil || denied.Missing != (landlock.Rights{FS: test.missing}) || denied.Guess != test.guess || !strings.Contains(explained.Error(), test.says) ||
				test.guess != strings.Contains(explained.Error(), "a guess: ") {
				t.Errorf("%v, want %v, %q", explained, test.missing, test.says)
			}
			if test.path == "/etc/passwd" && (!strings.HasSuffix(explained.Error(), test.says) || strings.Count(explained.Error(), "/etc/passwd") != 2) {
				t.Errorf("more than one right and one call: %v", explained)
			}
		}
		if os.Geteuid() == 0 {
			return // whom modes do not keep out
		}
		for _, op := range []string{"open", "mkdir"} {
			if explained := r.Explain(denial(op, "/etc/none")); !strings.Contains(explained.Error(), "the mode of the directory forbids it too") {
				t.Errorf("a directory that its mode keeps this user from: %v", explained)
			}
		}
		if denied := blamed(r.Explain(denial("open", unreadable))); denied == nil || !denied.Guess || denied.Missing.FS != landlock.FSWriteFile {
			t.Errorf("what its mode forbids to read: %v", denied)
		}
		closed := testenv.Write(t, filepath.Join(dir, "closed"), "")
		if err := os.Chmod(closed, 0); err != nil {
			t.Fatal(err)
		}
		if failed := denial("open", closed); r.Clone().Allow(landlock.FSReadFile, closed).Explain(failed) != failed {
			t.Errorf("what its mode forbids to use: %v", r.Explain(failed))
		}
		r.Allow(landlock.FSReadFile, readable)
		if failed, s := denial("open", readable), testenv.MustPrepare(t, r); s.Explain(failed) != failed {
			t.Errorf("what its mode forbids to write: %v", s.Explain(failed))
		}
	})
}

// A rule stays with the file that was replaced, and what is there now is denied. What
// Explain advises, loaded anew, makes it work.
func TestExplainReplaced(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		read := func(path string) func() error {
			return func() error { _, err := os.ReadFile(path); return err }
		}
		replace := func(path string) error {
			return errors.Join(os.WriteFile(path+".new", nil, 0o666), os.Rename(path+".new", path))
		}
		again := func(path string) error {
			return errors.Join(os.Rename(path, path+".old"), os.MkdirAll(path, 0o777), os.WriteFile(path+"/file", nil, 0o666))
		}
		t.Chdir(dir)
		for name, test := range map[string]struct {
			rules   func(r *landlock.Ruleset, base string)
			change  func(base string) error
			do      func(base string) error
			missing landlock.AccessFS
			advice  string // to which the base is to be added
			apply   func(r *landlock.Ruleset, base string)
		}{
			"a file": {
				func(r *landlock.Ruleset, base string) { r.AllowRead(base + "/conf") },
				func(base string) error { return replace(base + "/conf") },
				func(base string) error { return read(base + "/conf")() },
				landlock.FSReadFile, `AllowRead("%s") would allow it`, func(r *landlock.Ruleset, base string) { r.AllowRead(base) },
			},
			"a file by a relative path": {
				func(r *landlock.Ruleset, base string) { r.AllowRead(filepath.Base(base) + "/conf") },
				func(base string) error { return replace(base + "/conf") },
				func(base string) error { return read(filepath.Base(base) + "/./conf")() },
				landlock.FSReadFile, `AllowRead("%s") would allow it`, func(r *landlock.Ruleset, base string) { r.AllowRead(base) },
			},
			"a log": {
				func(r *landlock.Ruleset, base string) { r.AllowReadWrite(base + "/conf") },
				func(base string) error { return replace(base + "/conf") },
				func(base string) error {
					file, err := os.OpenFile(base+"/conf", os.O_WRONLY|os.O_APPEND, 0)
					file.Close()
					return err
				},
				landlock.FSReadFile, `AllowRead("%[1]s") would allow it (if it was opened for writing, AllowReadWrite("%[1]s"))`, func(r *landlock.Ruleset, base string) { r.AllowReadWrite(base) },
			},
			"a directory": {
				func(r *landlock.Ruleset, base string) { r.AllowRead(base + "/one") },
				func(base string) error { return again(base + "/one") },
				func(base string) error { _, err := os.ReadDir(base + "/one"); return err },
				landlock.FSReadDir, `AllowRead("%s") would allow it`, func(r *landlock.Ruleset, base string) { r.AllowRead(base) },
			},
			"a directory above": {
				func(r *landlock.Ruleset, base string) { r.AllowRead(base + "/one") },
				func(base string) error { return again(base + "/one") },
				func(base string) error { return read(base + "/one/file")() },
				landlock.FSReadFile, `AllowRead("%s") would allow it`, func(r *landlock.Ruleset, base string) { r.AllowRead(base) },
			},
			"a directory in which files are made": {
				func(r *landlock.Ruleset, base string) { r.AllowReadWrite(base + "/one") },
				func(base string) error { return again(base + "/one") },
				func(base string) error { return os.Mkdir(base+"/one/new", 0o777) },
				landlock.FSMakeDir, `AllowReadWrite("%s") would allow it`, func(r *landlock.Ruleset, base string) { r.AllowReadWrite(base) },
			},
			"a link": {
				func(r *landlock.Ruleset, base string) { r.AllowRead(base + "/current") },
				func(base string) error {
					return errors.Join(os.Remove(base+"/current"), os.Symlink("releases/2", base+"/current"))
				},
				func(base string) error { return read(base + "/current/file")() },
				landlock.FSReadFile, `AllowRead("%s/releases") would allow it`, func(r *landlock.Ruleset, base string) { r.AllowRead(base + "/releases") },
			},
			"a link, and a file that may be written": {
				func(r *landlock.Ruleset, base string) {
					r.AllowRead(base+"/current").Allow(landlock.FSWriteFile, base+"/current/file")
				},
				func(base string) error {
					return errors.Join(os.Remove(base+"/current"), os.Symlink("releases/2", base+"/current"))
				},
				func(base string) error { return read(base + "/current/file")() },
				landlock.FSReadFile, `AllowRead("%s/releases") would allow it`, func(r *landlock.Ruleset, base string) { r.AllowRead(base + "/releases") },
			},
		} {
			t.Run(name, func(t *testing.T) {
				base, err := os.MkdirTemp(dir, "base")
				if err != nil {
					t.Fatal(err)
				}
				for _, file := range []string{"conf", "one/file", "releases/1/file", "releases/2/file"} {
					testenv.Write(t, filepath.Join(base, file), "")
				}
				if err := os.Symlink("releases/1", base+"/current"); err != nil {
					t.Fatal(err)
				}
				r := landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()})
				test.rules(r, base)
				s := testenv.MustPrepare(t, r)
				do := func(s *landlock.Sandbox) (err error) {
					if doErr := s.Do(func() error { err = test.do(base); return nil }); doErr != nil {
						t.Fatal(doErr)
					}
					return err
				}
				before := do(s)
				if err := test.change(base); err != nil {
					t.Fatal(err)
				}
				failed := do(s)
				explained := s.Explain(failed)
				denied := blamed(explained)
				if before != nil || !errors.Is(failed, unix.EACCES) {
					t.Fatalf("before: %v, after: %v", before, failed)
				}
				advice := fmt.Sprintf(test.advice, base)
				if denied == nil || denied.Guess || denied.Missing.FS != test.missing || !strings.Contains(explained.Error(), "it was replaced: "+advice) {
					t.Errorf("%v, want %v and %s", explained, test.missing, advice)
				}
				anew := landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()})
				test.apply(anew, base)
				if err := do(testenv.MustPrepare(t, anew)); err != nil {
					t.Errorf("with what was advised: %v", err)
				}
			})
		}
		// At each end of a move it is told for itself.
		base, err := os.MkdirTemp(dir, "base")
		if err != nil {
			t.Fatal(err)
		}
		from, to := testenv.Write(t, base+"/one/file", ""), testenv.Write(t, base+"/to/file", "")
		moves := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()}).AllowReadWrite(base+"/one"))
		if err := again(base + "/one"); err != nil {
			t.Fatal(err)
		}
		explained := moves.Explain(&os.LinkError{Op: "rename", Old: from, New: to, Err: unix.EACCES})
		if text := explained.Error(); strings.Count(text, "replaced") != 1 || !strings.Contains(text, fmt.Sprintf("no rule for remove_file,make_reg,refer on %s/to: AllowReadWrite(\"%[1]s/to\")", base)) {
			t.Errorf("%v", explained)
		}
		// What is still there was not replaced.
		file := filepath.Join(dir, "own", "file")
		s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()}).AllowRead(file))
		if explained := s.Explain(denial("open", file)); strings.Contains(explained.Error(), "replaced") || !blamed(explained).Guess {
			t.Errorf("%v", explained)
		}
		written := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()}).AllowRead(dir).Allow(landlock.FSWriteFile, file))
		testenv.Write(t, file+".new", "")
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
		if explained := written.Explain(denial("open", file)); !blamed(explained).Guess || blamed(explained).Missing.FS != landlock.FSWriteFile || !strings.Contains(explained.Error(), "replaced") {
			t.Errorf("what may be read: %v", explained)
		}
		here := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()}).AllowRead("own/file"))
		testenv.Write(t, filepath.Join(dir, "to", "own", "file"), "")
		t.Chdir("to") // where a relative path of a rule leads elsewhere
		if explained := here.Explain(denial("open", filepath.Join(dir, "to", "own", "file"))); strings.Contains(explained.Error(), "replaced") {
			t.Errorf("another directory: %v", explained)
		}
		if explained := s.Explain(denial("open", file+".other")); strings.Contains(explained.Error(), "replaced") {
			t.Errorf("%v", explained)
		}
	})
}

// A rule's relative path is taken from where the working directory is, and not from the
// link that led there.
func TestExplainReplacedFromLink(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		file := filepath.Join(dir, "own", "file")
		if err := os.Symlink("own", filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
		t.Chdir(filepath.Join(dir, "link")) // which sets PWD
		s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()}).AllowRead("file"))
		testenv.Write(t, file+".new", "")
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
		advice := fmt.Sprintf("it was replaced: AllowRead(%q) would allow it", filepath.Dir(file))
		for _, path := range []string{file, filepath.Join(dir, "link", "file"), "file"} {
			if explained := s.Explain(denial("open", path)); !strings.Contains(explained.Error(), advice) {
				t.Errorf("%s: %v, want %s", path, explained, advice)
			}
		}
	})
}

// What is advised for what was replaced is never wider than where its rule was: not by a
// link that leads elsewhere, and not for what the rule did not allow.
func TestExplainReplacedNarrowly(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		switchTo := func(to, path string) error { return errors.Join(os.Remove(path), os.Symlink(to, path)) }
		read := func(path string) error { _, err := os.ReadFile(path); return err }
		other := testenv.Write(t, filepath.Join(dir, "other", "file"), "")
		testenv.Write(t, filepath.Join(dir, "other", "1", "conf"), "")
		for name, test := range map[string]struct {
			rules  func(r *landlock.Ruleset, base string)
			change func(base string) error
			do     func(base string) error
			says   string // to which the base is to be added, and the other directory
			apply  func(r *landlock.Ruleset, base string)
			next   func(base string) error // is held too, by what is applied; may be nil
		}{
			"a link to a file of the system's": {
				func(r *landlock.Ruleset, base string) { r.AllowRead(base + "/file") },
				func(base string) error { return switchTo("/etc/passwd", base+"/file") },
				func(base string) error { return read(base + "/file") },
				`replaced: AllowRead("/etc/passwd") would allow it, once the ruleset is loaded again`, func(r *landlock.Ruleset, base string) { r.AllowRead("/etc/passwd") }, nil,
			},
			"a link to a file elsewhere": {
				func(r *landlock.Ruleset, base string) { r.AllowRead(base + "/file") },
				func(base string) error { return switchTo("../other/file", base+"/file") },
				func(base string) error { return read(base + "/file") },
				`replaced: AllowRead("%[2]s/file") would allow it, once the ruleset is loaded again`, func(r *landlock.Ruleset, base string) { r.AllowRead(other) }, nil,
			},
			"a link to a directory of the system's": {
				func(r *landlock.Ruleset, base string) { r.AllowRead(base + "/vol") },
				func(base string) error {
					return errors.Join(os.Rename(base+"/vol", base+"/old"), os.Symlink("/etc", base+"/vol"))
				},
				func(base string) error { return read(base + "/vol/passwd") },
				`replaced: AllowRead("/etc/passwd") would allow it, once the ruleset is loaded again`, func(r *landlock.Ruleset, base string) { r.AllowRead("/etc/passwd") }, nil,
			},
			"a link above to a directory elsewhere": {
				func(r *landlock.Ruleset, base string) { r.AllowRead(base + "/vol/..data/conf") },
				func(base string) error { return switchTo(dir+"/other/1", base+"/vol/..data") },
				func(base string) error { return read(base + "/vol/..data/conf") },
				`replaced: AllowRead("%[2]s/1/conf") would allow it, once the ruleset is loaded again`, func(r *landlock.Ruleset, base string) { r.AllowRead(dir + "/other/1/conf") }, nil,
			},
			"a link to a file beneath": {
				func(r *landlock.Ruleset, base string) { r.AllowRead(base + "/file") },
				func(base string) error { return switchTo("vol/..1/conf", base+"/file") },
				func(base string) error { return read(base + "/file") },
				`replaced: AllowRead("%[1]s") would allow it (if`, func(r *landlock.Ruleset, base string) { r.AllowRead(base) },
				func(base string) error { return switchTo("log", base+"/file") },
			},
			"links through a link": {
				func(r *landlock.Ruleset, base string) { r.AllowRead(base + "/vol/conf") },
				func(base string) error { return switchTo("..2", base+"/vol/..data") },
				func(base string) error { return read(base + "/vol/conf") },
				`replaced: AllowRead("%[1]s/vol") would allow it (if`, func(r *landlock.Ruleset, base string) { r.AllowRead(base + "/vol") },
				func(base string) error { return switchTo("..3", base+"/vol/..data") },
			},
			"a link on the way": {
				func(r *landlock.Ruleset, base string) { r.AllowRead(base + "/vol/..data") },
				func(base string) error { return switchTo("..2", base+"/vol/..data") },
				func(base string) error { return read(base + "/vol/conf") },
				`replaced: AllowRead("%[1]s/vol") would allow it (if`, func(r *landlock.Ruleset, base string) { r.AllowRead(base + "/vol") },
				func(base string) error { return switchTo("..3", base+"/vol/..data") },
			},
			"a file behind a link": {
				func(r *landlock.Ruleset, base string) { r.AllowRead(base + "/vol/..data/conf") },
				func(base string) error { return switchTo("..2", base+"/vol/..data") },
				func(base string) error { return read(base + "/vol/..data/conf") },
				`replaced: AllowRead("%[1]s/vol") would allow it (if`, func(r *landlock.Ruleset, base string) { r.AllowRead(base + "/vol") },
				func(base string) error { return switchTo("..3", base+"/vol/..data") },
			},
			"a file that may have been written": {
				func(r *landlock.Ruleset, base string) { r.AllowRead(base + "/file") },
				func(base string) error { return os.Rename(base+"/log", base+"/file") },
				func(base string) error { return os.WriteFile(base+"/file", nil, 0) },
				`replaced: AllowRead("%[1]s") would allow it (if it was opened for writing, AllowReadWrite("%[1]s/file"))`,
				func(r *landlock.Ruleset, base string) { r.AllowReadWrite(base + "/file") }, nil,
			},
			"a log that may not be read": {
				func(r *landlock.Ruleset, base string) { r.Allow(landlock.FSWriteFile, base+"/log") },
				func(base string) error { return os.Rename(base+"/file", base+"/log") },
				func(base string) error { return read(base + "/log") },
				`no rule for read_file: AllowRead("%[1]s/log") would allow it (if it was opened for writing: its rule is for another file than the one there now: it was replaced: Allow(landlock.FSWriteFile, "%[1]s"))`,
				func(r *landlock.Ruleset, base string) { r.AllowRead(base + "/log") }, nil,
			},
			"a log, whose directory may be read": {
				func(r *landlock.Ruleset, base string) { r.AllowRead(base).Allow(landlock.FSWriteFile, base+"/log") },
				func(base string) error { return os.Rename(base+"/file", base+"/log") },
				func(base string) error {
					file, err := os.OpenFile(base+"/log", os.O_WRONLY|os.O_APPEND, 0)
					file.Close()
					return err
				},
				`replaced: Allow(landlock.FSWriteFile, "%[1]s") would allow it (if it was opened for writing)`,
				func(r *landlock.Ruleset, base string) { r.Allow(landlock.FSWriteFile, base) }, nil,
			},
		} {
			t.Run(name, func(t *testing.T) {
				base, err := os.MkdirTemp(dir, "base")
				if err != nil {
					t.Fatal(err)
				}
				for _, file := range []string{"file", "log", "vol/..1/conf", "vol/..2/conf", "vol/..3/conf"} {
					testenv.Write(t, filepath.Join(base, file), "")
				}
				if err := errors.Join(os.Symlink("..1", base+"/vol/..data"), os.Symlink("..data/conf", base+"/vol/conf")); err != nil {
					t.Fatal(err)
				}
				try := func(s *landlock.Sandbox) (err error) {
					if doErr := s.Do(func() error { err = test.do(base); return nil }); doErr != nil {
						t.Fatal(doErr)
					}
					return err
				}
				r := landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()})
				test.rules(r, base)
				s := testenv.MustPrepare(t, r)
				if err := test.change(base); err != nil {
					t.Fatal(err)
				}
				failed := try(s)
				if !errors.Is(failed, unix.EACCES) {
					t.Fatalf("after the change: %v", failed)
				}
				says, _, _ := strings.Cut(fmt.Sprintf(test.says+"\x00%[1]s%[2]s", base, filepath.Dir(other)), "\x00")
				if explained := s.Explain(failed); !strings.Contains(explained.Error(), says) {
					t.Errorf("%v, want %s", explained, says)
				}
				anew := landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()})
				test.apply(anew, base)
				advised := testenv.MustPrepare(t, anew)
				if err := try(advised); err != nil {
					t.Errorf("with what was advised: %v", err)
				}
				if test.next == nil {
					return
				}
				if err := errors.Join(test.next(base), try(advised)); err != nil {
					t.Errorf("the next one, with what was advised: %v", err)
				}
			})
		}
	})
}

// The name of an open file is only a text.
func TestExplainOpenFileIsNotReplaced(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		secret := filepath.Join(dir, "secret")
		file, err := os.Open(filepath.Join(dir, "own", "file"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		named := os.NewFile(file.Fd(), secret)
		s := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()}).AllowFile(landlock.FSReadFile, named))
		explained := s.Explain(denial("open", secret))
		if want := fmt.Sprintf("no rule for read_file: AllowRead(%q)", secret); !strings.Contains(explained.Error(), want) {
			t.Errorf("%v, want %s", explained, want)
		}
	})
}

// A rule for a file that the open itself has made would come too late for the next.
func TestExplainMadeNow(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		for name, test := range map[string]struct {
			rules func(r *landlock.Ruleset, base string)
			do    func(base string) error
			says  string
			apply func(r *landlock.Ruleset, base string)
		}{
			"os.CreateTemp": {
				func(r *landlock.Ruleset, base string) { r.AllowRead(base).Allow(landlock.FSMakeReg, base) },
				func(base string) error { file, err := os.CreateTemp(base, ""); file.Close(); return err },
				`Allow(landlock.FSWriteFile, "%s") would allow it (if it was opened for writing`, func(r *landlock.Ruleset, base string) { r.Allow(landlock.FSWriteFile, base) },
			},
			"os.WriteFile": {
				func(r *landlock.Ruleset, base string) { r.AllowRead(base).Allow(landlock.FSMakeReg, base) },
				func(base string) error { return os.WriteFile(base+"/new", nil, 0o666) },
				`Allow(landlock.FSWriteFile, "%s") would allow it (if it was opened for writing`, func(r *landlock.Ruleset, base string) { r.Allow(landlock.FSWriteFile, base) },
			},
			"where nothing may be read": {
				func(r *landlock.Ruleset, base string) { r.Allow(landlock.FSMakeReg, base) },
				func(base string) error { file, err := os.CreateTemp(base, ""); file.Close(); return err },
				`(if it was opened for writing, and perhaps just made, Allow(landlock.FSWriteFile|landlock.FSReadFile, "%s"))`, func(r *landlock.Ruleset, base string) { r.Allow(landlock.FSReadFile|landlock.FSWriteFile, base) },
			},
			"where all may be written": {
				func(r *landlock.Ruleset, base string) { r.Allow(landlock.FSMakeReg|landlock.FSWriteFile, base) },
				func(base string) error { file, err := os.CreateTemp(base, ""); file.Close(); return err },
				`leave an empty file where they may not: if it was just made, Allow(landlock.FSReadFile, "%s"))`, func(r *landlock.Ruleset, base string) { r.Allow(landlock.FSReadFile, base) },
			},
			"where nothing may be made": {
				func(r *landlock.Ruleset, base string) { r.AllowRead(base) },
				func(base string) error { return os.WriteFile(base+"/old", nil, 0) },
				`AllowReadWrite("%s/old") would allow it (if`, func(r *landlock.Ruleset, base string) { r.AllowReadWrite(base + "/old") },
			},
		} {
			t.Run(name, func(t *testing.T) {
				base, err := os.MkdirTemp(dir, "base")
				if err != nil {
					t.Fatal(err)
				}
				testenv.Write(t, base+"/old", "")
				try := func(add func(r *landlock.Ruleset, base string)) (s *landlock.Sandbox, err error) {
					r := landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()})
					test.rules(r, base)
					add(r, base)
					s = testenv.MustPrepare(t, r)
					if doErr := s.Do(func() error { err = test.do(base); return nil }); doErr != nil {
						t.Fatal(doErr)
					}
					return s, err
				}
				s, failed := try(func(*landlock.Ruleset, string) {})
				if !errors.Is(failed, unix.EACCES) {
					t.Fatal(failed)
				}
				if explained, says := s.Explain(failed), fmt.Sprintf(test.says, base); !strings.Contains(explained.Error(), says) {
					t.Errorf("%v, want %s", explained, says)
				}
				if _, err := try(test.apply); err != nil {
					t.Errorf("with what was advised: %v", err)
				}
			})
		}
	})
}

// After Apply it is the ruleset itself that knows.
func TestExplainReplacedAfterApply(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		file := filepath.Join(dir, "own", "file")
		other := testenv.Write(t, filepath.Join(dir, "own", "other"), "")
		r := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).AllowRead(file, other)
		testenv.MustApply(t, r)
		if err := os.Rename(other, file); err != nil {
			t.Fatal(err)
		}
		// So one path is gone, and the other has that file.
		if _, err := os.ReadFile(file); err != nil {
			t.Errorf("a rule follows its file: %v", err)
		}
		if err := os.WriteFile(other, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := os.ReadFile(other)
		if explained := r.Explain(err); !strings.Contains(explained.Error(), fmt.Sprintf("replaced: AllowRead(%q) would allow it", filepath.Dir(other))) {
			t.Errorf("%v", explained)
		}
	})
}

// A ruleset that is loaded to explain something does without rules whose path is gone.
func TestExplainWithoutRules(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		secret, gone := filepath.Join(dir, "secret"), testenv.Write(t, filepath.Join(dir, "gone"), "")
		r := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).AllowRead(gone)
		if explained := r.Explain(denial("open", secret)); strings.Contains(explained.Error(), "left out") {
			t.Errorf("%v", explained)
		}
		if err := os.Remove(gone); err != nil {
			t.Fatal(err)
		}
		explained := r.Explain(denial("open", secret))
		if denied := blamed(explained); denied == nil || denied.Guess || !strings.Contains(denied.Uncertain, "the rule for "+gone) {
			t.Errorf("%v", explained)
		}
		if failed := denial("mkdir", dir+"/new"); r.Explain(failed) != failed {
			t.Errorf("what is not denied: %v", r.Explain(failed))
		}
		if err := r.Check(landlock.FSReadFile, secret); blamed(err) != nil {
			t.Errorf("Check, which is to tell what would be loaded: %v", err)
		}
		wrong := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile | landlock.FSReadDir}).AllowRead(gone).Allow(landlock.FSReadDir, secret)
		if explained := wrong.Explain(denial("open", secret)); blamed(explained) != nil || !strings.Contains(explained.Error(), "cannot be told") {
			t.Errorf("with a rule that is wrong: %v", explained)
		}
		r.AllowFile(landlock.FSReadFile, nil)
		if explained := r.Explain(denial("open", secret)); blamed(explained) != nil || !strings.Contains(explained.Error(), "cannot be told") {
			t.Errorf("with another mistake: %v", explained)
		}
	})
}

// A process outside the sandbox is one whatever the rules are; the kernel is asked.
func TestExplainProcessOutside(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		idle := func() *exec.Cmd {
			cmd := exec.Command("/bin/cat")
			cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { in.Close(); cmd.Wait() })
			return cmd
		}
		outside := idle()
		if err := outside.Start(); err != nil {
			t.Fatal(err)
		}
		in := func(file string) string { return fmt.Sprintf("/proc/%d/%s", outside.Process.Pid, file) }
		r := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile | landlock.FSReadDir | landlock.FSWriteFile}).AllowRead("/")
		s := testenv.MustPrepare(t, r)
		for name, do := range map[string]func() error{
			"exe":       func() error { _, err := os.Readlink(in("exe")); return err },
			"root":      func() error { _, err := os.Stat(in("root/etc")); return err },
			"task root": func() error { _, err := os.Stat(in(fmt.Sprintf("task/%d/root/etc", outside.Process.Pid))); return err },
			"fdinfo":    func() error { _, err := os.ReadDir(in("fdinfo")); return err },
			"io":        func() error { _, err := os.ReadFile(in("io")); return err },
			"mem":       func() error { _, err := os.Open(in("mem")); return err },
			"a link to it": func() error {
				link := filepath.Join(dir, "link")
				if err := errors.Join(os.RemoveAll(link), os.Symlink(in("io"), link)); err != nil {
					t.Fatal(err)
				}
				_, err := os.ReadFile(link)
				return err
			},
		} {
			if kernel, _ := landlock.Probe(); name == "fdinfo" && kernel.ABI < landlock.V2 {
				continue // guarded since Linux 5.14
			}
			var failed, inside error
			if err := s.Do(func() error { failed = do(); inside = r.Explain(failed); return nil }); err != nil {
				t.Fatal(err)
			}
			if err := do(); err != nil {
				t.Errorf("%s without a sandbox: %v", name, err)
			}
			denied := blamed(inside)
			if failed == nil || denied == nil || denied.Guess || denied.Missing != (landlock.Rights{}) || !strings.Contains(inside.Error(), processOutside) || strings.Contains(inside.Error(), "would allow it") {
				t.Errorf("%s: %v", name, inside)
			}
			if seen := s.Explain(failed); blamed(seen) == nil || !blamed(seen).Guess {
				t.Errorf("%s, explained by who sees it: %v", name, seen)
			}
		}
		// Without a rule for /proc it is still no rule that would help.
		none := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile | landlock.FSReadDir}).AllowRead(dir)
		if err := testenv.MustPrepare(t, none).Do(func() error {
			_, err := os.Open(in("mem"))
			if explained := none.Explain(err); !strings.Contains(explained.Error(), processOutside) || strings.Contains(explained.Error(), "AllowRead") {
				t.Errorf("without a rule: %v", explained)
			}
			_, err = os.Open(in("status"))
			if explained := none.Explain(err); !strings.Contains(explained.Error(), `AllowRead("/proc") would allow it`) {
				t.Errorf("what is no secret: %v", explained)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		inner := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar}))
		if err := s.Do(func() error {
			cmd := idle()
			if err := inner.Start(cmd); err != nil {
				return err
			}
			exe := fmt.Sprintf("/proc/%d/exe", cmd.Process.Pid)
			if _, err := os.Readlink(exe); err != nil {
				t.Errorf("the kernel does not show what is beneath: %v", err)
			}
			if denied := blamed(r.Explain(denial("readlink", exe))); denied != nil && !denied.Guess {
				t.Errorf("a child in a sandbox beneath: %v", denied)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// What is said of processes outside is said of no other.
func TestExplainProcessesInside(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		r := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).AllowRead("/")
		if err := testenv.MustPrepare(t, r).Do(func() error {
			for _, path := range []string{
				"/proc/self/root/etc", "/proc/thread-self/mem", fmt.Sprintf("/proc/%d/exe", os.Getpid()), fmt.Sprintf("/proc/%d/exe", unix.Gettid()),
				fmt.Sprintf("/proc/%d/task/%d/exe", os.Getpid(), unix.Gettid()), "/proc/999999999999999999999/exe", "/proc/4194305/exe", "/proc/1x/exe", dir + "/proc/1/exe",
			} {
				if failed := denial("stat", path); r.Explain(failed) != failed {
					t.Errorf("%v", r.Explain(failed))
				}
			}
			if os.Geteuid() != 0 {
				if failed := denial("stat", "/proc/1/exe"); r.Explain(failed) != failed { // root's
					t.Errorf("%v", r.Explain(failed))
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		call := os.NewSyscallError("ptrace", unix.EPERM)
		if denied := blamed(r.Explain(call)); denied == nil || !denied.Guess {
			t.Errorf("ptrace: %v", r.Explain(call))
		}
		for _, err := range []error{os.NewSyscallError("ptrace", unix.ESRCH), os.NewSyscallError("mount", unix.EPERM)} {
			if explained := r.Explain(err); explained != err {
				t.Errorf("%v", explained)
			}
		}
		if filter := landlock.NewHandling(landlock.Rights{Net: anyUDP}).BestEffort(0).FilterSockets(); filter.Explain(call) != call && !hasUDP() {
			t.Errorf("without a domain: %v", filter.Explain(call))
		}
	})
}

func hasUDP() bool {
	kernel, _ := landlock.Probe()
	return kernel.ABI.Net()&landlock.NetBindUDP != 0
}

func TestExplainIoctl(t *testing.T) {
	testenv.NeedABI(t, landlock.V5)
	testenv.InBoth(t, func(t *testing.T, dir string) {
		r := landlock.NewHandling(landlock.Rights{FS: landlock.V5.FS()}).AllowRead("/").AllowReadWrite("/dev")
		if err := testenv.MustPrepare(t, r).Do(func() error {
			terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
			if err != nil {
				t.Skip("needs pseudo-terminals: ", err)
			}
			defer terminal.Close()
			_, errno := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
			if explained := r.Explain(&fs.PathError{Op: "ioctl", Path: terminal.Name(), Err: errno}); errno != unix.EACCES || blamed(explained) == nil || blamed(explained).Guess ||
				blamed(explained).Missing.FS != landlock.FSIoctlDev || !strings.Contains(explained.Error(), "Use(preset.PseudoTerminals) would allow it") {
				t.Errorf("%v", explained)
			}
			explained := r.Explain(os.NewSyscallError("ioctl", errno))
			if denied := blamed(explained); denied == nil || !denied.Guess || denied.Missing.FS != landlock.FSIoctlDev || !strings.Contains(explained.Error(), "preset.Terminal") {
				t.Errorf("%v", explained)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if explained := r.Explain(denial("ioctl", "/dev/null")); !strings.Contains(explained.Error(), `Allow(landlock.FSIoctlDev, "/dev/null") would allow it`) {
			t.Errorf("%v", explained)
		}
		without := landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()})
		for r, err := range map[*landlock.Ruleset]error{
			r:       denial("ioctl", dir+"/secret"), // no device
			without: os.NewSyscallError("ioctl", unix.EACCES),
		} {
			if explained := r.Explain(err); explained != err {
				t.Errorf("%v", explained)
			}
		}
	})
}

// Of several errors each is explained, by its own path, and what is certain comes first.
func TestExplainJoined(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		secret, own := filepath.Join(dir, "secret"), filepath.Join(dir, "own", "file")
		other := testenv.Write(t, filepath.Join(dir, "other"), "")
		r := landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()}).Allow(landlock.FSReadFile, own)
		on := func(path string) string { return fmt.Sprintf("no rule for read_file on %s: AllowRead(%[1]q)", path) }
		guessed := fmt.Sprintf("a guess: no rule for write_file on %s", own)
		gone := &fs.PathError{Op: "open", Path: dir + "/none", Err: unix.ENOENT}
		move := &os.LinkError{Op: "rename", Old: secret, New: dir + "/new", Err: unix.EACCES}
		deep := fmt.Errorf("a: %w", fmt.Errorf("b: %w, %w", errors.New("c"), errors.Join(denial("open", other), denial("open", secret))))
		for name, test := range map[string]struct {
			err  error
			says []string // in this order
		}{
			"two":                      {errors.Join(denial("open", secret), denial("open", other)), []string{on(secret), on(other)}},
			"two of one text":          {fmt.Errorf("%w and %w", denial("open", other), denial("open", secret)), []string{on(other), on(secret)}},
			"a guess first":            {errors.Join(denial("open", own), denial("open", secret)), []string{on(secret), guessed}},
			"another error first":      {errors.Join(gone, denial("open", secret)), []string{on(secret)}},
			"a move":                   {errors.Join(move, denial("open", secret)), []string{"no rule for remove_file,make_reg on " + dir, on(secret)}},
			"deep":                     {deep, []string{on(other), on(secret)}},
			"one that was explained":   {errors.Join(r.Explain(denial("open", other)), denial("open", secret)), []string{fmt.Sprintf("AllowRead(%q)", other), on(secret)}},
			"one, and what names none": {fmt.Errorf("%w: %w", errors.ErrUnsupported, denial("open", secret)), []string{"no rule for read_file: AllowRead"}},
			"one, and its errno":       {fmt.Errorf("%w: %w", unix.EACCES, denial("open", secret)), []string{"no rule for read_file: AllowRead"}},
		} {
			explained := r.Explain(test.err)
			text := fmt.Sprint(explained)
			for _, says := range test.says {
				_, after, found := strings.Cut(text, says)
				if !found {
					t.Errorf("%s: %v, want %s", name, explained, test.says)
				}
				text = after
			}
			if denied := blamed(explained); denied == nil || denied.Guess {
				t.Errorf("%s: what is certain is not the first: %v", name, denied)
			}
		}
		if denied := blamed(r.Explain(errors.Join((*fs.PathError)(nil), denial("open", secret)))); denied == nil || denied.Path != secret {
			t.Errorf("with a nil pointer: %v", denied)
		}
		twice := errors.Join(denial("open", secret), denial("open", secret))
		if text := r.Explain(twice).Error(); strings.Count(text, "landlock: ") != 1 {
			t.Errorf("one reason is said twice: %s", text)
		}
		for _, err := range []error{errors.Join(gone, unix.EACCES), errors.Join(gone, (*os.LinkError)(nil)), errors.Join(gone, r.Check(landlock.FSReadFile, secret))} {
			if explained := r.Explain(err); explained != err {
				t.Errorf("%v", explained)
			}
		}
	})
}

// A file without a name is made by opening its directory.
func TestExplainUnnamedFile(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		open := func(path string, flags int) error {
			file, err := os.OpenFile(path, flags, 0o600)
			file.Close()
			return err
		}
		make := func(path string) error { return open(path, unix.O_TMPFILE|os.O_RDWR) }
		if err := make(dir); err != nil {
			t.Skipf("needs O_TMPFILE: %v", err)
		}
		kept := filepath.Join(dir, "kept")
		must(t, os.Mkdir(kept, 0o500))
		read := landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()}).AllowRead(dir)
		for _, test := range []struct {
			r       *landlock.Ruleset
			path    string
			missing landlock.AccessFS
			guess   bool
			says    string
		}{
			{read, dir, landlock.FSWriteFile, true, fmt.Sprintf("Allow(landlock.FSWriteFile, %q) would allow it (if a file without a name was to be made there (O_TMPFILE))", dir)},
			{landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()}).Allow(landlock.FSReadDir|landlock.FSWriteFile, dir), dir, landlock.FSReadFile, true, fmt.Sprintf("AllowRead(%q)", dir)},
			{landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()}), dir, landlock.FSReadDir, false, fmt.Sprintf("AllowRead(%q) would allow it (if a file without a name was to be made there (O_TMPFILE), AllowReadWrite(%[1]q))", dir)},
			{landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()}), "/etc", landlock.FSReadDir, false, `AllowRead("/etc") would allow it`},
		} {
			failed := denial("open", test.path)
			if test.path == dir {
				must(t, testenv.MustPrepare(t, test.r).Do(func() error { failed = make(dir); return nil }))
			}
			explained := test.r.Explain(failed)
			if denied := blamed(explained); denied == nil || denied.Missing.FS != test.missing || denied.Guess != test.guess || !strings.HasSuffix(explained.Error(), test.says) &&
				test.missing != landlock.FSReadFile {
				t.Errorf("%v, want %v, %s", explained, test.missing, test.says)
			}
		}
		if failed := denial("open", kept); os.Geteuid() != 0 && read.Explain(failed) != failed {
			t.Errorf("what its mode forbids: %v", read.Explain(failed))
		}
	})
}

// The error of a program is also that of the directory that it was to start in.
func TestExplainDirectoryOfProgram(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		program := testenv.Write(t, filepath.Join(dir, "program"), "#!/bin/true\n")
		must(t, os.Chmod(program, 0o700))
		r := landlock.NewHandling(landlock.Rights{FS: landlock.FSExecute})
		for op, may := range map[string]bool{"fork/exec": true, "exec": false} {
			explained := r.Explain(denial(op, program))
			if denied := blamed(explained); denied == nil || denied.Guess || strings.Count(explained.Error(), "or Dir of the exec.Cmd") == 1 != may {
				t.Errorf("%v", explained)
			}
		}
	})
}

// A call that makes a socket does not say which: for UDP the filter stands in for a right.
func TestExplainSomeSocket(t *testing.T) {
	needFilter(t)
	refused := os.NewSyscallError("socket", unix.EACCES)
	explained := landlock.NewHandling(landlock.Rights{Net: anyUDP}).BestEffort(0).FilterSockets().Explain(refused)
	denied := blamed(explained)
	if !strings.Contains(explained.Error(), filteredSocket) || (denied == nil) != hasUDP() {
		t.Errorf("%v", explained)
	}
	if denied != nil && (!denied.Guess || denied.Missing.Net != anyUDP || !strings.Contains(explained.Error(), "AllowBindUDP(PORT) or AllowSendUDP(PORT) would allow it"+allUDP+" (if it was for UDP)")) {
		t.Errorf("%v", explained)
	}
	if explained := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).FilterSockets().Explain(refused); blamed(explained) != nil || explained == refused {
		t.Errorf("where no right is handled: %v", explained)
	}
}

// A preset is named for the terminals that it allows.
func TestExplainTerminal(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		_, other := openTerminal(t)
		_, own := openTerminal(t)
		r := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile | landlock.FSWriteFile}).AllowRead(dir)
		stdin, err := unix.Dup(0)
		must(t, err)
		must(t, unix.Dup3(int(own.Fd()), 0, 0))
		defer unix.Dup3(stdin, 0, 0)
		for path, preset := range map[string]string{
			"/dev/tty":   "Terminal",
			own.Name():   "Terminal",
			other.Name(): "PseudoTerminals",
			"/dev/ptmx":  "PseudoTerminals",
		} {
			if explained := r.Explain(denial("open", path)); !strings.Contains(explained.Error(), "Use(preset."+preset+") would allow it") {
				t.Errorf("%v, want %s", explained, preset)
			}
		}
	})
}

// Where an error hides what was refused, it is looked for.
func TestExplainHidden(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		exists := func(path string) bool { _, err := os.Stat(path); return err == nil }
		all := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).AllowRead("/")
		files := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).AllowOptional(landlock.FSReadFile, "/etc/passwd", "/etc/group", "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/services", "/usr/share/zoneinfo")
		none := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).AllowRead(dir)
		for _, test := range []struct {
			name  string
			err   error
			needs string
			guess bool
			says  string // or nothing is said
		}{
			{"user", user.UnknownUserError("x"), "/etc/passwd", true, "Use(preset.Users)"},
			{"user number", fmt.Errorf("wrapped: %w", user.UnknownUserIdError(1)), "/etc/passwd", true, "Use(preset.Users)"},
			{"group", user.UnknownGroupError("x"), "/etc/group", true, "Use(preset.Users)"},
			{"group number", user.UnknownGroupIdError("1"), "/etc/group", true, "Use(preset.Users)"},
			{"user by the C library", errors.New("user: lookup username x: permission denied"), "/etc/passwd", false, "Use(preset.Users)"},
			{"zone", unix.EACCES, "/usr/share/zoneinfo", true, "Use(preset.TimeZones)"},
			{"wrapped zone", fmt.Errorf("zone: %w", unix.EACCES), "/usr/share/zoneinfo", true, "Use(preset.TimeZones)"},
			{"nobody answers", &net.DNSError{Err: "connection refused", Server: "[::1]:53", Name: "x"}, "/etc/resolv.conf", false, "Use(preset.DNS)"},
			{"dial", &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "connection refused", Server: "127.0.0.1:53", Name: "x"}}, "/etc/resolv.conf", false, "Use(preset.DNS)"},
			{"the C library", &net.DNSError{Err: "Temporary failure in name resolution", IsTemporary: true, Name: "x"}, "/etc/resolv.conf", false, "Use(preset.DNS)"},
			{"nobody answers, in Go's words", &net.DNSError{Err: "read udp [::1]:41714->[::1]:53: read: connection refused", Server: "[::1]:53", Name: "x"}, "/etc/resolv.conf", false, "Use(preset.DNS)"},
			{"a server of the program's own", &net.DNSError{Err: "read udp 127.0.0.1:41714->127.0.0.2:5353: read: connection refused", Server: "[::1]:53", Name: "x"}, "/etc/resolv.conf", true, "Use(preset.DNS)"},
			{"a lookup that was given up", &net.DNSError{Err: "operation was canceled", Name: "x"}, "/", false, ""},
			{"a lookup that took too long", &net.DNSError{Err: "dial udp [::1]:53: i/o timeout", Server: "[::1]:53", IsTimeout: true, Name: "x"}, "/etc/resolv.conf", true, "Use(preset.DNS)"},
			{"another answer", &net.DNSError{Err: "server misbehaving", Server: "127.0.0.1:53", Name: "x"}, "/etc/resolv.conf", true, "Use(preset.DNS)"},
			{"no such host", &net.DNSError{Err: "no such host", Server: "192.0.2.1:53", IsNotFound: true, Name: "x"}, "/etc/hosts", true, "Use(preset.DNS)"},
			{"a port", &net.DNSError{Err: "unknown port", Name: "tcp/x", IsNotFound: true}, "/etc/services", true, `AllowRead("/etc/services")`},
			{"a network", &net.DNSError{Err: "unknown network", Name: "x/y"}, "/", false, ""},
			{"an address", &net.DNSError{Err: "unrecognized address", Name: "x"}, "/", false, ""},
			{"a server that is known", &net.DNSError{Err: "i/o timeout", Server: "192.0.2.1:53", IsTimeout: true, Name: "x"}, "/", false, ""},
			{"another errno", unix.ENOENT, "/", false, ""},
			{"zone that there is not", errors.New("unknown time zone X"), "/", false, ""},
			{"nil", (*net.DNSError)(nil), "/", false, ""},
			{"nil exit", (*exec.ExitError)(nil), "/", false, ""},
			{"exit without a state", &exec.ExitError{}, "/", false, ""},
		} {
			if !exists(test.needs) {
				t.Logf("%s: %s is missing", test.name, test.needs)
				continue
			}
			explained := none.Explain(test.err)
			denied := blamed(explained)
			switch {
			case test.says == "" && explained != test.err:
				t.Errorf("%s: %v", test.name, explained)
			case test.says != "" && (denied == nil || denied.Guess != test.guess || denied.Path == "" || !strings.Contains(explained.Error(), test.says+" would allow it")):
				t.Errorf("%s: %v, want %s", test.name, explained, test.says)
			}
			if denied != nil && strings.Contains(test.err.Error(), "permission denied") && strings.Contains(denied.Uncertain, "there is none") {
				t.Errorf("%s: what is denied is doubted: %v", test.name, explained)
			}
			for _, r := range []*landlock.Ruleset{all, files} {
				if explained := r.Explain(test.err); explained != test.err {
					t.Errorf("%s, where it may be read: %v", test.name, explained)
				}
			}
		}
	})
}

// A server of names that is not reached is named by a text alone.
func TestExplainServerOfNames(t *testing.T) {
	needFilter(t)
	lookup := func(text string) error {
		return &net.DNSError{Err: text, Server: "192.0.2.1:53", Name: "x"}
	}
	const udp, tcp = "dial udp 192.0.2.1:53: socket: permission denied", "dial tcp 192.0.2.1:53: connect: permission denied"
	r := landlock.NewHandling(landlock.Rights{Net: anyUDP}).BestEffort(0).FilterSockets()
	explained := r.Explain(lookup(udp))
	if denied := blamed(explained); denied == nil || denied.Guess || denied.Port != 53 || !strings.Contains(explained.Error(), "Use(preset.DNS) would allow it") ||
		strings.Contains(explained.Error(), allUDP) == hasUDP() {
		t.Errorf("%v", explained)
	}
	for _, err := range []error{lookup(tcp), lookup("dial udp 192.0.2.1:53: connect: network is unreachable")} {
		if explained := r.Explain(err); explained != err {
			t.Errorf("%v", explained)
		}
	}
}

// What the standard library itself returns in a sandbox.
func TestExplainHiddenFromLibrary(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		r := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).AllowRead(dir)
		testenv.MustApply(t, r)
		_, zone := time.LoadLocation("Europe/Paris")
		_, host := net.LookupHost("landlock.invalid")
		for _, test := range []struct {
			name, needs string
			err         error
			says        string
		}{
			{"zone", "/usr/share/zoneinfo/Europe/Paris", zone, "preset.TimeZones"},
			{"host", "/etc/resolv.conf", host, "preset.DNS"},
		} {
			if _, err := os.Stat(test.needs); err != nil {
				t.Logf("%s: %v", test.name, err)
				continue
			}
			if explained := r.Explain(test.err); test.err == nil || !strings.Contains(explained.Error(), test.says) {
				t.Errorf("%s: %v", test.name, explained)
			}
		}
	})
}

// Of a child that has ended there is a status, and sometimes what it said.
func TestExplainExitStatus(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		shell := filesToRun("/bin/sh")
		if len(shell) < 2 {
			t.Skip("needs a shell that is linked dynamically")
		}
		program := testenv.Write(t, filepath.Join(dir, "program"), "#!/bin/sh\n")
		if err := os.Chmod(program, 0o777); err != nil {
			t.Fatal(err)
		}
		base := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile | landlock.FSExecute | landlock.FSWriteFile})
		system := base.Clone()
		for _, path := range []string{"/usr", "/bin", "/lib", "/lib64", "/etc"} {
			system.AllowOptional(landlock.FSReadFile|landlock.FSExecute, path)
		}
		run := func(r *landlock.Ruleset, script string) error {
			cmd := exec.Command("/bin/sh", "-c", script)
			cmd.Stdin = os.Stdin
			_, err := testenv.MustPrepare(t, r).Output(cmd)
			return err
		}
		loader := base.Clone().Allow(landlock.FSReadFile|landlock.FSExecute, shell...)
		for _, test := range []struct {
			name  string
			rules *landlock.Ruleset
			err   error
			code  int
			guess bool
			says  string // or nothing is said
		}{
			{"a library", loader, run(loader, ""), 127, false, `libc.so.6: Use(preset.Programs("NAME"))`},
			{"a program", system, run(system, program), 126, false, fmt.Sprintf("%s: AllowExecute(%q)", program, program)},
			{"the null device", system, run(system, "exec >/dev/null"), 0, false, "/dev/null: Use(preset.NullDevices)"},
			{"no such program", system, run(system, "landlock-no-such-program"), 127, false, ""},
			{"another status", loader, run(system, "exit 3"), 3, false, ""},
			{"without a word", loader, run(system, "exit 127"), 127, true, "preset.Programs("},
			{"without a word of a program", loader, run(system, "exit 126"), 126, true, "preset.Programs("},
		} {
			exit, _ := errors.AsType[*exec.ExitError](test.err)
			if exit == nil || test.code != 0 && exit.ExitCode() != test.code {
				t.Errorf("%s: %v", test.name, test.err)
				continue
			}
			explained := test.rules.Explain(test.err)
			denied := blamed(explained)
			switch {
			case test.says == "" && explained != test.err:
				t.Errorf("%s: %v", test.name, explained)
			case test.says != "" && (denied == nil || denied.Guess != test.guess || !strings.Contains(explained.Error(), test.says)):
				t.Errorf("%s: %v, want %s (%s)", test.name, explained, test.says, exit.Stderr)
			}
		}
	})
}

// A program takes more than its file.
func TestExplainProgram(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		none := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile | landlock.FSExecute}).AllowRead(dir)
		path := "/bin/sh"
		if len(filesToRun(path)) < 2 {
			t.Skip("needs a shell that is linked dynamically")
		}
		t.Setenv("PATH", "/nothing:/bin")
		copied := filepath.Join(dir, "copied")
		in, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		out, err := os.OpenFile(copied, os.O_CREATE|os.O_WRONLY, 0o777)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(out, in)
		if err := errors.Join(err, out.Close()); err != nil {
			t.Fatal(err)
		}
		for program, says := range map[string]string{path: `Use(preset.Programs("sh"))`, copied: fmt.Sprintf("Use(preset.Programs(%q))", copied)} {
			failed := denial("fork/exec", program)
			explained := none.Explain(failed)
			if denied := blamed(explained); denied == nil || denied.Guess || strings.Count(explained.Error(), "would allow it") != 1 || !strings.Contains(explained.Error(), says+" would allow it") {
				t.Errorf("%v, want %s", explained, says)
			}
		}
		replaced := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile | landlock.FSExecute}).AllowRead(copied))
		if err := errors.Join(os.Rename(copied, copied+".old"), os.WriteFile(copied, []byte("#!/bin/sh\n"), 0o777)); err != nil {
			t.Fatal(err)
		}
		if explained := replaced.Explain(denial("fork/exec", copied)); strings.Contains(explained.Error(), "replaced") {
			t.Errorf("a rule that did not allow to execute it: %v", explained)
		}
		broken := testenv.Write(t, filepath.Join(dir, "broken"), "#!/")
		if err := os.Chmod(broken, 0o777); err != nil {
			t.Fatal(err)
		}
		if failed := denial("fork/exec", broken); none.Explain(failed) != failed {
			t.Errorf("what runs nowhere: %v", none.Explain(failed))
		}
		t.Chdir(dir)
		if denied := blamed(none.Explain(denial("fork/exec", "./copied"))); denied == nil || !denied.Guess {
			t.Errorf("a path that may be relative to Dir: %v", denied)
		}
	})
}

// Each layer answers EXDEV for itself.
func TestExplainLayers(t *testing.T) {
	testenv.NeedABI(t, landlock.V4)
	testenv.InBoth(t, func(t *testing.T, dir string) {
		from, to := filepath.Join(dir, "own", "file"), testenv.Write(t, filepath.Join(dir, "to", "old"), "")
		moves := landlock.NewHandling(landlock.Rights{FS: landlock.V2.FS()}).AllowReadWrite(dir)
		network := landlock.NewHandling(landlock.Rights{Net: landlock.V4.Net()})
		other := landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar})
		testenv.MustApply(t, moves)
		if err := os.Rename(from, to); err != nil {
			t.Fatalf("a rule allows it: %v", err)
		}
		testenv.MustApply(t, network)
		if err := os.Rename(to, from); err != nil && !strings.Contains(network.Explain(err).Error(), "handles no filesystem right") {
			t.Errorf("%v", network.Explain(err))
		}
		testenv.MustApply(t, other)
		err := os.Rename(from, to)
		if os.IsNotExist(err) {
			err = os.Rename(to, from)
		}
		if denied := blamed(other.Explain(err)); !errors.Is(err, unix.EXDEV) || denied == nil || denied.Missing.FS != landlock.FSRefer {
			t.Errorf("the layer that denies it: %v", other.Explain(err))
		}
		if explained := moves.Explain(err); blamed(explained) != nil || !strings.Contains(explained.Error(), "this ruleset allows the move: another layer denies it") {
			t.Errorf("the layer that allows it: %v", explained)
		}
		for _, err := range []error{
			&os.LinkError{Op: "rename", Old: from, New: from + ".new", Err: unix.EXDEV}, // in one directory
			&os.LinkError{Op: "rename", Old: from, New: "/proc/x", Err: unix.EXDEV},     // on another mount
			&os.LinkError{Op: "rename", Old: from, New: to, Err: unix.EACCES},
		} {
			if explained := moves.Explain(err); explained != err {
				t.Errorf("%v", explained)
			}
		}
	})
}

// Where a relative name begins is in no error.
func TestExplainRelativeNames(t *testing.T) {
	testenv.InBoth(t, func(t *testing.T, dir string) {
		testenv.Write(t, filepath.Join(dir, "here", "own", "file"), "")
		testenv.Write(t, filepath.Join(dir, "here", "allowed"), "")
		testenv.Write(t, filepath.Join(dir, "there", "allowed"), "")
		testenv.Write(t, filepath.Join(dir, "there", "both"), "")
		testenv.Write(t, filepath.Join(dir, "here", "both"), "")
		testenv.Write(t, filepath.Join(dir, "there", "other"), "")
		t.Chdir(filepath.Join(dir, "here"))
		there, err := os.OpenRoot(filepath.Join(dir, "there"))
		if err != nil {
			t.Fatal(err)
		}
		defer there.Close()
		r := landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS()}).AllowReadWrite(filepath.Join(dir, "here", "allowed"))
		testenv.MustApply(t, r)
		open := func(f fs.FS, name string) error { _, err := f.Open(name); return err }
		outside := os.DirFS(filepath.Join(dir, "there"))
		_, rootErr := there.Open("both")
		for name, err := range map[string]error{
			"DirFS, and no such file here": open(outside, "other"),
			"DirFS, and allowed here":      open(outside, "allowed"),
			"Root":                         rootErr,
			"Root, of which both are here": there.Mkdir("new", 0o777),
			"Root, a move":                 there.Rename("both", "new"),
			"Root, a link":                 there.Symlink("x", "new"),
			"Root, FS":                     open(there.FS(), "both"),
		} {
			if explained := r.Explain(err); !errors.Is(err, unix.EACCES) || explained != err {
				t.Errorf("%s: %v", name, explained)
			}
		}
		for _, err := range []error{open(outside, "both"), open(os.DirFS("."), "both")} {
			if denied := blamed(r.Explain(err)); denied == nil || !denied.Guess || denied.Path != filepath.Join(dir, "here", "both") {
				t.Errorf("it may be the file that is here: %v", r.Explain(err))
			}
		}
		_, dotted := os.Open("./both")
		for name, err := range map[string]error{
			"a name that no fs.FS takes": dotted,
			"mkdir":                      os.Mkdir("new", 0o777),
			"RemoveAll":                  os.RemoveAll(filepath.Join(dir, "there")),
		} {
			if denied := blamed(r.Explain(err)); denied == nil || denied.Guess {
				t.Errorf("%s: %v", name, r.Explain(err))
			}
		}
	})
}

// net.Listen makes Multipath TCP sockets, which Landlock lets through.
func TestExplainPrivilegedPort(t *testing.T) {
	testenv.NeedABI(t, landlock.V4)
	testenv.InBoth(t, func(t *testing.T, dir string) {
		r := landlock.NewHandling(landlock.Rights{Net: landlock.NetBindTCP})
		listen := func(port int) error {
			return &net.OpError{Op: "listen", Net: "tcp", Addr: &net.TCPAddr{Port: port}, Err: os.NewSyscallError("bind", syscall.EACCES)}
		}
		listener, err := listenTCP("127.0.0.1:1")
		privileged := !errors.Is(err, unix.EACCES)
		if err == nil {
			listener.Close()
		}
		explained := r.Explain(listen(1))
		if denied := blamed(explained); denied == nil || denied.Guess == privileged || strings.Contains(explained.Error(), "landlock: CAP_NET_BIND_SERVICE") == privileged {
			t.Errorf("port 1: %v", explained)
		}
		if os.Geteuid() != 0 && privileged {
			t.Log("every user may listen on port 1 here")
		}
		if denied := blamed(r.Explain(listen(47321))); denied == nil || denied.Guess {
			t.Errorf("port 47321: %v", denied)
		}
		if noFilter() == nil {
			if denied := blamed(r.Clone().FilterSockets().Explain(listen(1))); denied == nil || denied.Guess {
				t.Errorf("with FilterSockets: %v", denied)
			}
		}
		if err := testenv.MustPrepare(t, landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile, Net: landlock.NetBindTCP})).Do(func() error {
			// The kernel says in a file of /proc which ports are free to all.
			if denied := blamed(r.Explain(listen(47321))); denied == nil || denied.Guess != (os.Geteuid() != 0) {
				t.Errorf("port 47321, where that cannot be read: %v", denied)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}
