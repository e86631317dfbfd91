package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/testchild"
)

// User is whom a child runs as.
type User struct {
	Name    string
	Unshare uintptr // the namespaces that the child has for itself
	uid     uint32  // 0: as this process
}

// Users are this user, and where it is root an ordinary one.
func Users() []User {
	users := []User{{Name: "this user"}}
	if os.Getuid() == 0 || testchild.Inside() { // there it is one of them already
		users = append(users, User{Name: "an ordinary user", uid: 65534})
	}
	return users
}

// FewUsers are this user alone, and all at full length: for what takes a second each.
func FewUsers() []User {
	users := Users()
	if !LongTests() {
		users = users[:1]
	}
	return users
}

func (u User) become(cmd *exec.Cmd, dir string) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: u.Unshare}
	if u.uid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: u.uid, Gid: u.uid}
		cmd.Dir = dir
		cmd.Env = append(cmd.Env, "HOME="+dir)
	}
}

// Self is this test binary, also for a user who may not enter its directory.
func Self() string { return "/proc/self/exe" }

// kernelABI asks the running kernel, as nothing here may ask the library.
func kernelABI() (int, error) {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, os.NewSyscallError("landlock_create_ruleset", errno)
	}
	return int(abi), nil
}

// OpenFiles returns the open descriptors, asking for each so that it works in
// any sandbox.
func OpenFiles() map[int]bool {
	open := map[int]bool{}
	for fd := range 2000 { // a wrapper's are above 1000
		if isOpen(fd) {
			open[fd] = true
		}
	}
	return open
}

func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

// LeftOpen returns the open descriptors that were not open before, and what for. One
// that is closed at this moment is not left open.
func LeftOpen(before map[int]bool) map[int]string {
	left := map[int]string{}
	for fd := range OpenFiles() {
		if before[fd] {
			continue
		}
		if link := ReadLink(fd); isOpen(fd) {
			left[fd] = link
		}
	}
	return left
}

// ReadLink returns what a descriptor is open for, in the words of /proc.
func ReadLink(fd int) string {
	link, _ := os.Readlink(fmt.Sprint("/proc/self/fd/", fd))
	return link
}
