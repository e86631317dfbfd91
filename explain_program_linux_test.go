package landlock

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestProgramFiles(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("needs sh")
	}
	files := programFiles(sh)
	if len(files) == 0 || files[0] != sh || len(files) > 2 {
		t.Errorf("programFiles(%s) = %q", sh, files)
	}
	t.Log(files)
	if got := programFiles("/nonexistent"); got != nil {
		t.Errorf("of a file that is not there: %q", got)
	}
	if dir := t.TempDir(); programFiles(dir) != nil {
		t.Error("a directory is taken for a program")
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o777); err != nil {
		t.Fatal(err)
	}
	if files := programFiles(fifo); files != nil {
		t.Errorf("a FIFO is taken for a program: %q", files)
	}
	loop := filepath.Join(t.TempDir(), "loop")
	if err := os.WriteFile(loop, []byte("#!"+loop), 0o755); err != nil {
		t.Fatal(err)
	}
	if files := programFiles(loop); !slices.Equal(files, []string{loop, loop, loop, loop, loop, loop}) {
		t.Errorf("a script that names itself: %q", files)
	}
}
