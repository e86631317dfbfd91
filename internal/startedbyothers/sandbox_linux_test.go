package startedbyothers

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/landlock"
	"example.com/landlock/landlocktest"
	"example.com/landlock/preset"
)

// The two directories of a place.
const allowed, denied = "allowed", "denied"

// place is where a program is started: inside a sandbox, or outside, which shows
// that nothing else denies.
type place struct {
	dir     string // what the program attempts is in here
	sandbox *landlock.Sandbox
	want    string // how its attempts go
}

// inEach runs f in both places.
func inEach(t *testing.T, f func(t *testing.T, p place)) {
	t.Helper()
	t.Run("sandboxed", func(t *testing.T) {
		dir := newDir(t)
		f(t, place{dir, prepare(t, dir, preset.Programs(self(t))), inSandbox})
	})
	t.Run("free", func(t *testing.T) { f(t, place{newDir(t), nil, outside}) })
}

func newDir(t *testing.T) string {
	dir := t.TempDir()
	for _, name := range []string{allowed, denied} {
		err := errors.Join(os.Mkdir(filepath.Join(dir, name), 0o700), os.WriteFile(filepath.Join(dir, name, "file"), []byte("text\n"), 0o600))
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// prepare makes a sandbox in which what the programs need is allowed.
func prepare(t *testing.T, dir string, programs ...func(*landlock.Ruleset) error) *landlock.Sandbox {
	t.Helper()
	landlocktest.NeedABI(t, landlock.V6)
	sandbox, err := landlock.New(landlock.V6).AllowReadWrite(filepath.Join(dir, allowed)).Use(programs...).Prepare()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sandbox.Close() })
	return sandbox
}

// command returns one of the programs, ready to be started by others.
func (p place) command(t *testing.T, program string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), self(t), p.dir)
	cmd.Env = append(os.Environ(), startedAs+"="+program, "GORACE=atexit_sleep_ms=0")
	p.wrap(t, cmd)
	return cmd
}

func (p place) wrap(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if p.sandbox == nil {
		return
	}
	if err := p.sandbox.Wrap(cmd); err != nil {
		t.Fatal(err)
	}
}

// notAllowed returns a program that its sandbox does not allow.
func notAllowed(t *testing.T) *exec.Cmd {
	dir := newDir(t)
	return place{dir, prepare(t, dir), ""}.command(t, "attempts")
}

// refused checks with which status a program that is not allowed has ended, and
// what was said of it.
func refused(t *testing.T, status int, said string) {
	t.Helper()
	if status != 126 {
		t.Errorf("a program that is not allowed ends with status %d, want 126", status)
	}
	if line := strings.TrimSpace(said); !strings.HasPrefix(line, "landlock: ") || !strings.Contains(line, self(t)) ||
		!strings.Contains(line, "permission denied") || strings.Contains(line, "\n") {
		t.Errorf("of a program that is not allowed is said %q, want one line that names it and says why", said)
	}
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
