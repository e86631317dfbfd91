package stub

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Nobody can change what the stub does, by whatever descriptor.
func TestStubIsSealed(t *testing.T) {
	file, err := NewFile()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := WriteFile(file, []byte("text")); err != nil {
		t.Fatal(err)
	}
	again, err := os.OpenFile(fmt.Sprint("/proc/self/fd/", file.Fd()), os.O_RDWR, 0)
	if err != nil {
		t.Skip("needs /proc: ", err)
	}
	defer again.Close()
	for _, f := range []*os.File{file, again} {
		_, writeErr := f.WriteAt([]byte("x"), 0)
		_, mapErr := unix.Mmap(int(f.Fd()), 0, 4, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		for what, err := range map[string]error{"write": writeErr, "truncate": f.Truncate(0), "map": mapErr} {
			if !errors.Is(err, unix.EPERM) {
				t.Errorf("%s: %v, want EPERM", what, err)
			}
		}
	}
	if flags, err := unix.FcntlInt(file.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("it is inherited: %#x, %v", flags, err)
	}
}
