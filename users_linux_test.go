package landlock

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"example.com/landlock/internal/testchild"
)

// testUser is whom a child runs as.
type testUser struct {
	name    string
	uid     uint32  // 0: as this process
	unshare uintptr // the namespaces that the child has for itself
}

func testUsers() []testUser {
	users := []testUser{{name: "this user"}}
	if os.Getuid() == 0 || testchild.Inside() { // there it is one of them already
		users = append(users, testUser{name: "an ordinary user", uid: 65534})
	}
	return users
}

// fewUsers are this user alone, and all at full length: for what takes a second each.
func fewUsers() []testUser {
	users := testUsers()
	if !longTests() {
		users = users[:1]
	}
	return users
}

// needRoot skips what an ordinary user cannot do. In a child it comes first, before
// the function takes privileges away.
func needRoot(t testing.TB, why string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, " + why)
	}
}

func (u testUser) become(cmd *exec.Cmd, dir string) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: u.unshare}
	if u.uid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: u.uid, Gid: u.uid}
		cmd.Dir = dir
		cmd.Env = append(cmd.Env, "HOME="+dir)
	}
}

// self is this test binary, also for a user who may not enter its directory.
func self() string { return "/proc/self/exe" }
