package stub

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// NewFile returns a file in memory that can be executed. It is empty.
func NewFile() (*os.File, error) {
	const name, flags = "landlock-stub", unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_EXEC)
	if err == unix.EINVAL { // before Linux 6.3, where all of them may be executed
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err == unix.EACCES {
		return nil, fmt.Errorf("%w: memory files that may be executed are forbidden: set the sysctl vm.memfd_noexec to 0 or 1", os.NewSyscallError("memfd_create", err))
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// WriteFile gives a file of NewFile's its text, which nobody can change any more.
func WriteFile(file *os.File, text []byte) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return os.NewSyscallError("getrlimit", err)
	} else if limit.Cur < uint64(len(text)) {
		// To write more is a signal, and the end of this process.
		return fmt.Errorf("RLIMIT_FSIZE of %d bytes: the child's stub takes %d: %w", limit.Cur, len(text), unix.EFBIG)
	}
	_, err := file.Write(text)
	if err == nil {
		_, err = unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	}
	if err != nil {
		return fmt.Errorf("make the stub: %w", err)
	}
	return nil
}
