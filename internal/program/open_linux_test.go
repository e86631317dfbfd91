package program

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What is opened is nothing to poll: a process without free descriptors, whose Go
// runtime polls nothing yet, would be ended.
func TestOpenedIsNotPolled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	opened, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	found, err := os.OpenFile(path, unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	again, err := Reopen(found)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for name, file := range map[string]*os.File{"Open": opened, "Reopen": again} {
		flags, err := fileFlags(file)
		if err != nil || flags&unix.O_NONBLOCK != 0 {
			t.Errorf("%s: flags %#x, %v", name, flags, err)
		}
	}
}

// fileFlags asks for them without File.Fd, which changes them.
func fileFlags(file *os.File) (flags int, err error) {
	conn, err := file.SyscallConn()
	if err != nil {
		return 0, err
	}
	if closed := conn.Control(func(fd uintptr) { flags, err = unix.FcntlInt(fd, unix.F_GETFL, 0) }); closed != nil {
		return 0, closed
	}
	return flags, err
}
