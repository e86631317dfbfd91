package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"maps"
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

// extract runs the program in dir.
func extract(t *testing.T, dir string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	cmd := testchild.Program(t, dir, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Run()
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// member is an entry of an archive that a test makes: a file, unless the name
// ends in a slash or the mode says otherwise.
type member struct {
	name    string
	content string // of a file; of a link, where it leads
	mode    fs.FileMode
	hard    bool // a hard link, which only tar has
}

// hostile are entries that lead out of the directory in every way there is,
// between ones that do not. box is the directory that holds the directory.
func hostile(box string) []member {
	return []member{
		{name: "first.txt", content: "inside"},
		{name: "sub/", mode: fs.ModeDir},
		{name: "sub/deep/file.txt", content: "inside"},
		{name: "good-link", content: "first.txt", mode: fs.ModeSymlink},
		{name: "good-hard", content: "first.txt", hard: true},
		// An absolute name stays inside, since filepath.Join makes it relative.
		{name: filepath.ToSlash(filepath.Join(box, "outside", "absolute.txt")), content: "inside"},

		{name: "../outside/new.txt", content: "escaped"},
		{name: "sub/../../outside/old.txt", content: "escaped"},
		{name: "../made/", mode: fs.ModeDir},
		{name: "../made-too/\nx", content: "escaped"},
		{name: "link", content: "../outside", mode: fs.ModeSymlink},
		{name: "link/by-link.txt", content: "escaped"},
		{name: "absolute-link", content: filepath.Join(box, "outside"), mode: fs.ModeSymlink},
		{name: "absolute-link/by-absolute-link.txt", content: "escaped"},
		{name: "file-link", content: "../outside/linked.txt", mode: fs.ModeSymlink},
		{name: "file-link", content: "escaped"},
		{name: "hard", content: "../outside/hard.txt", hard: true},
		{name: "hard", content: "escaped"},

		{name: "last.txt", content: "inside"},
	}
}

// outside is what is in the box beside the directory, and escaped what becomes
// of it without a sandbox.
var (
	outside = map[string]string{
		"outside/old.txt": "kept", "outside/linked.txt": "kept", "outside/hard.txt": "kept",
	}
	escaped = map[string]string{
		"outside/old.txt": "escaped", "outside/linked.txt": "escaped", "outside/new.txt": "escaped",
		"outside/by-link.txt": "escaped", "outside/by-absolute-link.txt": "escaped",
		"made-too/\nx": "escaped", "made": "directory",
	}
)

func writeZip(w io.Writer, members []member) error {
	archive := zip.NewWriter(w)
	for _, m := range members {
		if m.hard {
			continue
		}
		header := &zip.FileHeader{Name: m.name}
		header.SetMode(m.mode | 0o644)
		f, err := archive.CreateHeader(header)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(f, m.content); err != nil {
			return err
		}
	}
	return archive.Close()
}

func writeTar(w io.Writer, members []member) error {
	archive := tar.NewWriter(w)
	for _, m := range members {
		header := &tar.Header{Name: m.name, Mode: 0o644}
		switch {
		case m.hard:
			header.Typeflag, header.Linkname = tar.TypeLink, m.content
		case m.mode == fs.ModeSymlink:
			header.Typeflag, header.Linkname = tar.TypeSymlink, m.content
		case m.mode == fs.ModeDir:
			header.Typeflag = tar.TypeDir
		default:
			header.Typeflag, header.Size = tar.TypeReg, int64(len(m.content))
		}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if header.Size > 0 {
			if _, err := io.WriteString(archive, m.content); err != nil {
				return err
			}
		}
	}
	return archive.Close()
}

func writeTarGz(w io.Writer, members []member) error {
	packed := gzip.NewWriter(w)
	if err := writeTar(packed, members); err != nil {
		return err
	}
	return packed.Close()
}

var formats = map[string]func(io.Writer, []member) error{
	"a.zip": writeZip, "a.tar": writeTar, "a.tar.gz": writeTarGz,
}

// pack makes a box with the files of outside and a hostile archive of that name.
func pack(t *testing.T, name string) (box string) {
	t.Helper()
	box = t.TempDir()
	if err := os.Mkdir(filepath.Join(box, "outside"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range outside {
		if err := os.WriteFile(filepath.Join(box, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	archive, err := os.Create(filepath.Join(box, name))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	if err := formats[name](archive, hostile(box)); err != nil {
		t.Fatal(err)
	}
	return box
}

// found returns what is in the box, less the archive and the directory that it
// is extracted to.
func found(t *testing.T, box, archive string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := fs.WalkDir(os.DirFS(box), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == "dir":
			return fs.SkipDir
		case name == "made":
			files[name] = "directory"
		case !d.IsDir() && name != archive:
			content, err := os.ReadFile(filepath.Join(box, name))
			files[name] = string(content)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// checkInside checks that every entry that stays inside is extracted.
func checkInside(t *testing.T, box, archive string) {
	t.Helper()
	names := []string{"good-link"}
	if archive != "a.zip" {
		names = append(names, "good-hard")
	}
	for _, m := range hostile(box) {
		if m.content == "inside" {
			names = append(names, m.name)
		}
	}
	for _, name := range names {
		if content, err := os.ReadFile(filepath.Join(box, "dir", name)); string(content) != "inside" {
			t.Errorf("%s: %q, %v", name, content, err)
		}
	}
}

func TestSandboxed(t *testing.T) {
	if _, err := landlock.Probe(); err != nil {
		box := pack(t, "a.tar")
		status, _, stderr := extract(t, box, "a.tar", "dir")
		if want := "extract: " + err.Error() + "\n"; status != 1 || stderr != want {
			t.Errorf("without Landlock: status %d, %q, want 1 and %q", status, stderr, want)
		}
		landlocktest.NeedABI(t, landlock.V1)
	}
	for archive := range formats {
		t.Run(archive, func(t *testing.T) {
			box := pack(t, archive)
			status, stdout, stderr := extract(t, box, archive, "dir")
			if !strings.HasPrefix(stdout, "sandbox: enforced on ABI ") {
				t.Errorf("no report: %q", stdout)
			}
			if got := found(t, box, archive); !maps.Equal(got, outside) {
				t.Errorf("outside the directory is %q, want %q", got, outside)
			}
			checkInside(t, box, archive)

			refused := []string{
				`"../outside/new.txt": permission denied`,
				`"sub/../../outside/old.txt": permission denied`,
				`"../made/": permission denied`,
				`"../made-too/\nx": permission denied`,
				`"link/by-link.txt": permission denied`,
				`"absolute-link/by-absolute-link.txt": permission denied`,
				`"file-link": permission denied`,
				`"hard": `, // ABI 1 gives another cause
				archive + ": entries not extracted: 8",
			}
			if archive == "a.zip" {
				refused = append(refused[:7], archive+": entries not extracted: 7")
			}
			lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
			if status != 1 || len(lines) != len(refused) {
				t.Fatalf("status %d, want 1 and %d lines:\n%s", status, len(refused), stderr)
			}
			for i, line := range lines {
				if !strings.HasPrefix(line, "extract: "+refused[i]) {
					t.Errorf("line %d: %q, want %q", i+1, line, refused[i])
				}
			}
		})
	}
}

// Without the sandbox the same archives do escape: the test above can fail.
func TestUnsafe(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs symbolic links, which Windows leaves to administrators")
	}
	for archive := range formats {
		t.Run(archive, func(t *testing.T) {
			box := pack(t, archive)
			status, stdout, stderr := extract(t, box, "-unsafe", archive, "dir")
			if status != 0 || stdout != "no sandbox\n" || stderr != "" {
				t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
			}
			want := maps.Clone(escaped)
			want["outside/hard.txt"] = "escaped"
			if archive == "a.zip" {
				want["outside/hard.txt"] = "kept"
			}
			if got := found(t, box, archive); !maps.Equal(got, want) {
				t.Errorf("outside the directory is %q, want %q", got, want)
			}
			checkInside(t, box, archive)
		})
	}
}

// An archive without malice gives status 0 and everything that is in it.
func TestHarmless(t *testing.T) {
	box := t.TempDir()
	archive, err := os.Create(filepath.Join(box, "a.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	// What git writes first is no entry.
	header := &tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "by git"}}
	git := tar.NewWriter(archive)
	if err := errors.Join(git.WriteHeader(header), git.Flush()); err != nil {
		t.Fatal(err)
	}
	members := []member{{name: "first.txt", content: "inside"}, {name: "sub/file.txt", content: "inside"}}
	want := map[string]string{"first.txt": "inside", "sub/file.txt": "inside"}
	kernel, probeErr := landlock.Probe()
	if kernel.ABI != landlock.V1 { // which denies links between directories
		members = append(members, member{name: "sub/hard.txt", content: "first.txt", hard: true})
		want["sub/hard.txt"] = "inside"
	}
	if err := writeTar(archive, members); err != nil {
		t.Fatal(err)
	}
	args := []string{"a.tar", "dir"}
	if probeErr != nil {
		args = append([]string{"-unsafe"}, args...)
	}
	if status, _, stderr := extract(t, box, args...); status != 0 || stderr != "" {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
	if got := found(t, filepath.Join(box, "dir"), ""); !maps.Equal(got, want) {
		t.Errorf("extracted %q, want %q", got, want)
	}
}

// Each mistake gives status 1 and one line that names it.
func TestMistakes(t *testing.T) {
	box := t.TempDir()
	for _, name := range []string{"broken.zip", "broken.tar", "broken.tgz", "archive.rar"} {
		if err := os.WriteFile(filepath.Join(box, name), []byte(strings.Repeat("no archive ", 100)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		args []string
		want string
	}{
		"no arguments":    {nil, "usage: extract "},
		"no directory":    {[]string{"broken.zip"}, "usage: extract "},
		"unknown flag":    {[]string{"-x", "broken.zip", "dir"}, "usage: extract "},
		"missing archive": {[]string{"missing.zip", "dir"}, "missing.zip: "},
		"file for a dir":  {[]string{"broken.zip", "broken.tar"}, "broken.tar: "},
		"broken zip":      {[]string{"-unsafe", "broken.zip", "dir"}, "broken.zip: zip: not a valid zip file"},
		"broken tar":      {[]string{"-unsafe", "broken.tar", "dir"}, "broken.tar: archive/tar: invalid tar header"},
		"broken gzip":     {[]string{"-unsafe", "broken.tgz", "dir"}, "broken.tgz: gzip: invalid header"},
		"another format":  {[]string{"-unsafe", "archive.rar", "dir"}, "archive.rar: not a .zip, "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			status, _, stderr := extract(t, box, test.args...)
			if status != 1 || strings.Count(stderr, "\n") != 1 ||
				!strings.HasPrefix(stderr, "extract: ") || !strings.Contains(stderr, test.want) {
				t.Errorf("status %d, stderr %q, want 1 and a line with %q", status, stderr, test.want)
			}
		})
	}
}
