package osthread

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// threadParts is what one thread has and another may lack, as far as the kernel
// tells either of them. It leaves out the thread's share of the machine (affinity,
// scheduling, priorities, memory policy, cgroup), what all threads have in common
// (limits, dumpable), and the session keyring: to ask for it gives it to a thread
// that has none.
var threadParts = []threadPart{
	{"user or groups", threadUsers},
	{"capabilities", threadCapabilities},
	{"namespaces", threadNamespaces},
	{"seccomp filters", threadFilters},
	{partNoNewPrivs, threadNoNewPrivs},
	{"security label", threadLabels},
	{"personality, speculation or time stamp settings", threadSettings},
}

const (
	partNoNewPrivs = "no_new_privs"
	partFiles      = "descriptors, umask, root or working directory"
)

type threadPart struct {
	name string
	read func() (string, error) // of the calling thread; what cannot be read is an error
}

// State is what a thread has.
type State struct {
	parts       []string // as threadParts
	files       *threadFiles
	deathSignal int32
	filesErr    error // why there are no files
	err         error // why there is no more
}

// Hold keeps the calling goroutine on its thread, and the thread alive, until release
// is called. A thread that its goroutine has left may be taken by [Take] and end, and
// one that ends shares nothing with anybody.
func Hold() (caller State, release func()) {
	runtime.LockOSThread()
	caller.files, caller.filesErr = filesOfThread()
	caller.parts, caller.err = readThread()
	if err := prctlInto(unix.PR_GET_PDEATHSIG, &caller.deathSignal); err != nil && caller.err == nil {
		caller.err = cannotCompare("parent death signal", err)
	}
	return caller, func() {
		caller.files.close()
		runtime.UnlockOSThread()
	}
}

func readThread() ([]string, error) {
	var all []string
	for _, part := range threadParts {
		value, err := part.read()
		if err != nil {
			return nil, cannotCompare(part.name, err)
		}
		all = append(all, value)
	}
	return all, nil
}

// Compare returns an error where the calling thread would give what it runs back what
// the caller's thread has given up, or where that cannot be told. With setsNoNewPrivs
// it is about to set no_new_privs. (A Landlock domain that the caller has enforced on
// its own thread by other means cannot be seen.)
func (caller State) Compare(setsNoNewPrivs bool) error {
	same, err := caller.files.areOurs()
	switch err := cmp.Or(caller.filesErr, err); {
	case err != nil:
		return cannotCompare(partFiles, err)
	case !same:
		return otherThan(partFiles)
	}
	parts, err := readThread()
	if err := cmp.Or(caller.err, err); err != nil {
		return err
	}
	for i, part := range threadParts {
		if part.name == partNoNewPrivs && setsNoNewPrivs {
			continue // it is about to be set
		}
		if parts[i] != caller.parts[i] {
			return otherThan(part.name)
		}
	}
	return nil
}

func otherThan(part string) error {
	step := "Start inherits them"
	if part == partFiles {
		step = "Start inherits all but the descriptors"
	}
	return fmt.Errorf("the calling thread has other %s than the thread that would be restricted in its place: "+
		"%s, or change them for all threads", part, step)
}

// cannotCompare is the error for a part that a thread cannot be asked for.
func cannotCompare(part string, err error) error {
	step := "use Start, which inherits them"
	_, file := errors.AsType[*fs.PathError](err)
	switch {
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		step = "close descriptors, or " + step
	case file && errors.Is(err, unix.ENOENT):
		step = "mount proc" // which Start needs as well
	case file && errors.Is(err, unix.EACCES):
		step = "allow reading /proc in the sandbox that is around this process, or " + step
	case errors.Is(err, unix.EPERM):
		step = "allow that call in the seccomp filter that is around this process, or " + step
	}
	return fmt.Errorf("whether the thread of an Exec or Do has other %s than the calling one cannot be told: %w: %s", part, err, step)
}

// KeepDeathSignal has this thread get the signal that the caller's would get at
// the death of their parent.
func (caller State) KeepDeathSignal() error {
	if caller.deathSignal == 0 {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(caller.deathSignal), 0, 0, 0); err != nil {
		return fmt.Errorf("keep the parent death signal: %w", os.NewSyscallError("prctl", err))
	}
	return nil
}

func threadUsers() (string, error) {
	var users, groups [3]uint32
	if err := getres(unix.SYS_GETRESUID, &users); err != nil {
		return "", os.NewSyscallError("getresuid", err)
	}
	if err := getres(unix.SYS_GETRESGID, &groups); err != nil {
		return "", os.NewSyscallError("getresgid", err)
	}
	others, err := unix.Getgroups()
	if err != nil {
		return "", os.NewSyscallError("getgroups", err)
	}
	files, err := threadFileUser()
	return fmt.Sprint(users, groups, others, files), err
}

// threadFileUser returns the user and the group that files are opened as. The
// calls that tell take -1, set nothing then, and never fail: where one is refused,
// it is by a filter that looks at no argument, and /proc is read.
func threadFileUser() ([2]int, error) {
	user, err := unix.SetfsuidRetUid(-1)
	call := os.NewSyscallError("setfsuid", err)
	group, err := unix.SetfsgidRetGid(-1)
	if call = cmp.Or(call, os.NewSyscallError("setfsgid", err)); call == nil {
		return [2]int{user, group}, nil
	}
	status, err := ReadProc(ownProc + "status")
	if err != nil {
		return [2]int{}, fmt.Errorf("%w, and %w", call, err)
	}
	var ids [2]int
	for i, name := range []string{"Uid", "Gid"} {
		field, _ := Field(status, name) // real, effective, saved, of files
		var others [3]int
		if _, err := fmt.Sscan(field, &others[0], &others[1], &others[2], &ids[i]); err != nil {
			return [2]int{}, fmt.Errorf("%w, and %sstatus has no %s of files", call, ownProc, name)
		}
	}
	return ids, nil
}

// getres calls getresuid or getresgid. Those of x/sys/unix answer an error with
// zeros, which are root's.
func getres(number uintptr, ids *[3]uint32) error {
	if number == unix.SYS_GETRESUID && sixteenBitIDs {
		number = 209 // getresuid32
	} else if sixteenBitIDs {
		number = 211 // getresgid32
	}
	_, _, errno := unix.RawSyscall(number, uintptr(unsafe.Pointer(&ids[0])), uintptr(unsafe.Pointer(&ids[1])), uintptr(unsafe.Pointer(&ids[2])))
	if errno != 0 {
		return errno
	}
	return nil
}

// sixteenBitIDs: the calls of that name are of an age with 65536 users.
const sixteenBitIDs = runtime.GOARCH == "386" || runtime.GOARCH == "arm"

func threadCapabilities() (string, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return "", os.NewSyscallError("capget", err)
	}
	securebits, err := prctl(unix.PR_GET_SECUREBITS, 0, 0)
	if err != nil {
		return "", err
	}
	var bounding, ambient uint64
	for capability := range uintptr(64) {
		bound, err := prctl(unix.PR_CAPBSET_READ, capability, 0)
		if errors.Is(err, unix.EINVAL) && capability > 0 {
			break // there are no more
		}
		if err != nil {
			return "", err
		}
		raised, err := prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_IS_SET, capability)
		if err != nil {
			return "", err
		}
		bounding |= uint64(bound) << capability
		ambient |= uint64(raised) << capability
	}
	return fmt.Sprint(sets, securebits, bounding, ambient), nil
}

func prctl(option int, a, b uintptr) (int, error) {
	value, err := unix.PrctlRetInt(option, a, b, 0, 0)
	return value, os.NewSyscallError("prctl", err)
}

// prctlInto is for the options that write what they get.
func prctlInto(option uintptr, value *int32) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_PRCTL, option, uintptr(unsafe.Pointer(value)), 0, 0, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("prctl", errno)
	}
	return nil
}

func threadNoNewPrivs() (string, error) {
	set, err := prctl(unix.PR_GET_NO_NEW_PRIVS, 0, 0)
	return fmt.Sprint(set), err
}

const ownProc = "/proc/thread-self/"

// threadNamespaces reads links, which takes no descriptor, and which no domain
// forbids. A kind that is not there is none of this kernel's, or, for children,
// one in which none has begun.
func threadNamespaces() (string, error) {
	var stat unix.Statfs_t
	err := unix.Statfs(ownProc+"ns/", &stat)
	if err == nil && stat.Type != unix.PROC_SUPER_MAGIC {
		err = unix.ENOENT
	}
	if err != nil {
		return "", &fs.PathError{Op: "statfs", Path: ownProc + "ns", Err: err}
	}
	var all []string
	for _, kind := range []string{"cgroup", "ipc", "mnt", "net", "pid_for_children", "time_for_children", "user", "uts"} {
		link, err := os.Readlink(ownProc + "ns/" + kind)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return "", err
		}
		all = append(all, link)
	}
	return fmt.Sprint(all), nil
}

// threadFilters returns the seccomp mode, and where there are filters how many.
// The kernel does not tell which. A filter can answer prctl, and something can be
// mounted on /proc: where both can be asked, they have to agree.
func threadFilters() (string, error) {
	asked, err := prctl(unix.PR_GET_SECCOMP, 0, 0)
	switch {
	case errors.Is(err, unix.EINVAL):
		asked = unix.SECCOMP_MODE_DISABLED // not built in
	case err != nil:
		asked = unix.SECCOMP_MODE_FILTER // the kernel does not refuse
	}
	status, err := ReadProc(ownProc + "status")
	if err != nil && asked == unix.SECCOMP_MODE_DISABLED {
		return "0 0", nil
	}
	if err != nil {
		return "", err
	}
	mode, ok := Field(status, "Seccomp")
	if !ok {
		mode = "0" // not built in
	}
	if mode != strconv.Itoa(asked) {
		return "", fmt.Errorf("the seccomp mode is %d by prctl and %s by %sstatus, and one of them is not the kernel's answer", asked, mode, ownProc)
	}
	if asked == unix.SECCOMP_MODE_DISABLED {
		return "0 0", nil
	}
	filters, ok := Field(status, "Seccomp_filters")
	if !ok {
		return "", fmt.Errorf("this kernel tells no number of filters, as Linux does from 5.9: %w", errors.ErrUnsupported)
	}
	return mode + " " + filters, nil
}

// threadLabels returns what security modules such as SELinux and AppArmor have the
// thread be, and what it executes next. The system call is in Linux from 6.8.
func threadLabels() (string, error) {
	var all []string
	for _, attribute := range []struct {
		number uintptr // LSM_ATTR_CURRENT, LSM_ATTR_EXEC
		name   string
	}{{100, "current"}, {101, "exec"}} {
		label := make([]byte, 8<<10)
		size := uint32(len(label))
		_, _, errno := unix.Syscall6(unix.SYS_LSM_GET_SELF_ATTR, attribute.number, uintptr(unsafe.Pointer(&label[0])), uintptr(unsafe.Pointer(&size)), 0, 0, 0)
		switch errno {
		case 0:
			label = label[:size]
		case unix.EOPNOTSUPP, unix.EINVAL, unix.ENOENT: // no module has it, or it is not set
			label = nil
		default:
			text, err := ReadProc(ownProc + "attr/" + attribute.name)
			if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) { // /proc is there: threadNamespaces has seen it
				return "", err
			}
			label = text
		}
		all = append(all, string(label))
	}
	return fmt.Sprintf("%q", all), nil
}

// threadPersonality asks the kernel, which never refuses to tell. Filters do that
// keep a process from changing it (systemd's LockPersonality); then /proc is read.
func threadPersonality() (int, error) {
	const onlyTell = 0xffffffff
	persona, _, errno := unix.RawSyscall(unix.SYS_PERSONALITY, onlyTell, 0, 0)
	if errno == 0 {
		return int(persona), nil
	}
	call := os.NewSyscallError("personality", errno)
	text, err := ReadProc(ownProc + "personality")
	if err != nil {
		return 0, fmt.Errorf("%w, and %w", call, err)
	}
	value, err := strconv.ParseUint(strings.TrimSpace(string(text)), 16, 32)
	if err != nil {
		return 0, fmt.Errorf("%w, and %spersonality: %w", call, ownProc, err)
	}
	return int(value), nil
}

// threadSettings returns what a thread can turn off for safety's sake. What the
// processor or the kernel does not have is none.
func threadSettings() (string, error) {
	persona, err := threadPersonality()
	if err != nil {
		return "", err
	}
	all := []int{persona}
	for _, speculation := range []uintptr{unix.PR_SPEC_STORE_BYPASS, unix.PR_SPEC_INDIRECT_BRANCH, unix.PR_SPEC_L1D_FLUSH} {
		setting, err := prctl(unix.PR_GET_SPECULATION_CTRL, speculation, 0)
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENODEV) {
			return "", err
		}
		all = append(all, setting)
	}
	var stamps int32
	if err := prctlInto(unix.PR_GET_TSC, &stamps); err != nil && !errors.Is(err, unix.EINVAL) {
		return "", err
	}
	return fmt.Sprint(all, stamps), nil
}

// threadFiles tells another thread whether it shares the descriptors, the umask,
// the root and the working directory of this one. The kernel knows (kcmp). Where
// that is not built in, or is refused, as in many containers, it is tried.
type threadFiles struct {
	thread int
	paths  string // umask, root and working directory; "" where the kernel is asked
	pipe   [2]int // open in this thread's descriptors alone, then
	id     fileID // of its first end
}

// filesOfThread returns those of the calling thread, to be closed.
func filesOfThread() (f *threadFiles, err error) {
	f = &threadFiles{thread: unix.Gettid(), pipe: [2]int{-1, -1}}
	if _, err := f.shared(); err == nil {
		return f, nil
	}
	if f.paths, err = threadPaths(); err != nil {
		return f, err
	}
	if err := unix.Pipe2(f.pipe[:], unix.O_CLOEXEC); err != nil {
		return f, os.NewSyscallError("pipe2", err)
	}
	f.id, err = identify(f.pipe[0], "")
	return f, err
}

func (f *threadFiles) close() {
	for _, fd := range f.pipe {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// areOurs reports whether the calling thread has the same.
func (f *threadFiles) areOurs() (bool, error) {
	if f.paths == "" {
		return f.shared()
	}
	paths, err := threadPaths()
	if err != nil {
		return false, err
	}
	id, err := identify(f.pipe[0], "")
	if errors.Is(err, unix.EBADF) {
		return false, nil
	}
	return id == f.id && paths == f.paths, err
}

// shared asks the kernel, and makes sure that it is the kernel which answers: it
// refuses a type that there is none of with EINVAL, and a filter does not.
func (f *threadFiles) shared() (bool, error) {
	const noType = 99
	if _, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(unix.Gettid()), uintptr(f.thread), noType, 0, 0, 0); errno != unix.EINVAL {
		return false, os.NewSyscallError("kcmp", cmp.Or(errno, unix.ENOSYS))
	}
	for _, kind := range []uintptr{2, 3} { // KCMP_FILES, KCMP_FS
		order, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(unix.Gettid()), uintptr(f.thread), kind, 0, 0, 0)
		if errno != 0 {
			return false, os.NewSyscallError("kcmp", errno)
		}
		if order != 0 {
			return false, nil
		}
	}
	return true, nil
}

// threadPaths returns umask, root and working directory.
func threadPaths() (string, error) {
	status, err := ReadProc(ownProc + "status")
	if err != nil {
		return "", err
	}
	umask, ok := Field(status, "Umask")
	if !ok {
		return "", fmt.Errorf("%sstatus has no umask, as it does from Linux 4.7: %w", ownProc, errors.ErrUnsupported)
	}
	root, err := identify(unix.AT_FDCWD, "/")
	if err != nil {
		return "", err
	}
	working, err := identify(unix.AT_FDCWD, "") // and not ".", which takes the right to search it
	if err != nil {
		return "", err
	}
	return fmt.Sprint(umask, root, working), nil
}

// fileID tells files apart, and mounts of them.
type fileID struct{ device, inode, mount uint64 }

// identify returns which file is at a path, or with an empty one is open.
func identify(at int, path string) (fileID, error) {
	var stat unix.Statx_t
	err := unix.Statx(at, path, unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_MNT_ID, &stat)
	if err == nil && stat.Mask&unix.STATX_MNT_ID == 0 {
		err = unix.EOPNOTSUPP // before Linux 5.8
	}
	return fileID{unix.Mkdev(stat.Dev_major, stat.Dev_minor), stat.Ino, stat.Mnt_id}, os.NewSyscallError("statx", err)
}
