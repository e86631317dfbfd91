package place

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// See asks the kernel whether this thread may trace a process, by a link that
// it shows to nobody else. Reading a link is no access that a rule is about.
func See(dir string) Sight {
	if _, err := os.Lstat("/proc/self/task/" + filepath.Base(dir)); err == nil {
		return SightUnknown // itself, which may always
	}
	var stat unix.Stat_t
	if unix.Stat(dir+"/environ", &stat) != nil {
		return SightUnknown
	}
	_, err := os.Readlink(dir + "/cwd")
	switch {
	case !errors.Is(err, unix.EACCES):
		return SightGranted
	case !mayTrace(&stat):
		return SightUnknown
	case !asCapable(dir) || os.Getuid() == 0 && !capable(unix.CAP_SYS_PTRACE): // root's own are kept from it too, and do not look so
		return SightDoubted
	}
	return SightRefused
}

// mayTrace reports whether this user may trace the process that a file belongs to: the
// file is root's where the process lets nobody else look into it.
func mayTrace(stat *unix.Stat_t) bool {
	return int(stat.Uid) == os.Getuid() && int(stat.Gid) == os.Getgid() || capable(unix.CAP_SYS_PTRACE)
}

// asCapable reports whether this thread has all the capabilities of a process: it
// needs them to trace it.
func asCapable(dir string) bool {
	here, err := capabilities(0)
	pid := 0
	for _, digit := range filepath.Base(dir) {
		pid = pid*10 + int(digit-'0')
	}
	there, otherErr := capabilities(pid)
	if err != nil || otherErr != nil {
		return false
	}
	for i := range here {
		if there[i].Permitted&^here[i].Permitted != 0 {
			return false
		}
	}
	return true
}

// capable reports whether this thread has a capability.
func capable(number uint) bool {
	sets, err := capabilities(0)
	return err == nil && sets[number/32].Effective&(1<<(number%32)) != 0
}

// capabilities returns those of a process, or with 0 of this thread.
func capabilities(pid int) (sets [2]unix.CapUserData, err error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3, Pid: int32(pid)}
	err = unix.Capget(&header, &sets[0])
	return sets, err
}

// MayBind reports whether it is sure that the kernel lets this thread listen on a port,
// but for Landlock.
func MayBind(port int) bool {
	if port == 0 || capable(unix.CAP_NET_BIND_SERVICE) {
		return true
	}
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil {
		return false
	}
	start, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return err == nil && port >= start
}
