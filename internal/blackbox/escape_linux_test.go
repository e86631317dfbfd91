package blackbox

import (
	"io/fs"

	"example.com/landlock"
	"example.com/landlock/internal/testenv"

	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/testchild"
)

// attempt is something that an attacker in a sandboxed child tries, to reach
// what its ruleset does not allow. The list of them is escapes.
type attempt struct {
	name  string
	row   string       // of README's table
	since landlock.ABI // refused from this one on; 0: by no ABI
	with  []unix.Errno // any of these says so; with no ABI: some kernels refuse it
	in    string       // the sandbox; inStrict where empty
	by    string       // whom it works for without a sandbox: byRoot, byOthers, or everybody
	needs string       // what a machine may lack for it
	try   func(w *world) error
	// seen tells in the parent whether the attempt has worked, where the
	// child cannot know.
	seen func(s *scene) error
}

// The sandboxes. Each denies all that the kernel can deny to a child.
const (
	inStrict    = "one readable directory"
	inProc      = "/proc readable as well"
	inProcWrite = "/proc writable as well"
	inOwn       = "a directory of its own as well"
	inWrite     = "a directory as well where it may write what is there"
	inWrapped   = "one readable directory, started by others" // as inStrict

	inFiltered = "sockets filtered" // for the rows in filteredRows

	byRoot, byOthers = "root", "others"
)

// filteredRows are what FilterSockets closes, with its answers; but for UDP where
// the kernel knows that itself.
var filteredRows = map[string]unix.Errno{
	rowFastOpen:  unix.EOPNOTSUPP,
	rowMultipath: unix.EPROTONOSUPPORT,
	rowUDP:       unix.EACCES,
	rowProtocols: unix.EACCES,
	rowRootNet:   unix.EACCES,
	rowRingIoctl: unix.EPERM, // there is no io_uring
}

// expected reports whether this is what a kernel should make of the attempt.
func (a *attempt) expected(o attemptOutcome, kernel landlock.Kernel) bool {
	refused := o.Failure != "" && slices.Contains(a.with, o.Errno)
	switch {
	case a.since > 0 && kernel.ABI >= a.since:
		return refused
	case a.since == 0 && refused:
		return true
	}
	return o.Failure == ""
}

// refusal says, as README does, whether the attempt is refused.
func (a *attempt) refusal() string {
	switch a.since {
	case 0:
		return "no"
	case landlock.V1:
		return "yes"
	}
	return fmt.Sprint("from ABI ", int(a.since))
}

// madeIn reports whether the attempt is for a sandbox, and for this user. What
// is for any sandbox is for none, where in is empty.
func (a *attempt) madeIn(in string) bool {
	if a.by != "" && (a.by == byRoot) != (os.Getuid() == 0) {
		return false
	}
	if in == inFiltered {
		return filteredRows[a.row] != 0
	}
	return in == "" || in == a.in || (in == inStrict || in == inWrapped) && a.in == ""
}

// world is what a child knows of the process that started it, which is not
// restricted, and of what that has made for it to reach.
type world struct {
	In       string         // the sandbox, or empty
	Dir      string         // with the directories secret, allowed and own
	Tasks    []task         // every thread of the parent and of the child's siblings
	Prey     map[string]int // processes to signal, by what is done to them
	Memory   uintptr
	TCP, UDP int // ports
	Segment  int // System V shared memory
	Messages int
	Counter  int // a System V semaphore
	Key      int
	Queue    string     // of POSIX messages; there is one more, to be removed
	Ring     ringParams // of fdRing
	// The parent's namespace of mounts by its number, and that of its host name
	// by a file handle; empty where the kernel has neither.
	Mounts uint64
	UTS    []byte
	// The process group that has the terminal.
	Foreground int
}

func (w *world) at(name string) string { return filepath.Join(w.Dir, name) }

// abstract is the address of an abstract socket of the parent.
func (w *world) abstract(kind string) string { return "@" + w.at(kind) }

// parentMemory has the same address in the parent and in siblings, unless the
// binary is position independent. It holds what a ring is to make.
var parentMemory [4096]byte

// task is a thread that an attacker would like to reach.
type task struct {
	Process, Thread int
	Whose           string
}

// each tries a way to a thread on all of them. In a sandbox it returns nil where
// one can be reached: more an attacker does not need. Without all have to be.
// Threads may have ended meanwhile.
func (w *world) each(try func(k task) error) error {
	var result error = unix.ESRCH
	for _, k := range w.Tasks {
		err := try(k)
		if err == unix.ESRCH {
			continue
		}
		if (err == nil) != (w.In == "") {
			if err == nil {
				return reached(fmt.Sprintf("thread %d of %s (process %d)", k.Thread, k.Whose, k.Process))
			}
			return fmt.Errorf("thread %d of %s: %w", k.Thread, k.Whose, err)
		}
		result = err
	}
	return result
}

// reached is no failure: it says what an attempt has reached.
type reached string

func (r reached) Error() string { return "it has reached " + string(r) }

// The descriptors of a child beside the standard streams.
const (
	fdWorld    = 3 + iota // the world, as JSON
	fdTerminal            // the controlling terminal that it shares with the parent
	fdSecret              // secret/file, open for reading
	fdMail                // a socket, through which the parent sends the same
	fdBell                // a socket: for each byte the parent reads secret/file
	fdRing                // an io_uring that the parent has made, with SQPOLL
)

// outcome of an attempt, as the child tells it.
type attemptOutcome struct {
	Name    string
	Failure string
	Errno   unix.Errno
	Reached string
}

func newAttemptOutcome(name string, err error) attemptOutcome {
	o := attemptOutcome{Name: name}
	if r, ok := err.(reached); ok {
		o.Reached = string(r)
	} else if err != nil {
		o.Failure = err.Error()
		o.Errno, _ = errors.AsType[unix.Errno](err)
	}
	return o
}

func (o attemptOutcome) String() string {
	switch {
	case o.Reached != "":
		return "works, and reaches " + o.Reached
	case o.Failure != "":
		return "fails with " + o.Failure
	}
	return "works"
}

// beAttacker is this test binary as a program that makes all attempts for the
// sandbox that it is in.
func beAttacker() error {
	var w world
	if err := json.NewDecoder(os.NewFile(fdWorld, "world")).Decode(&w); err != nil {
		return err
	}
	var errs []error
	for _, a := range escapes {
		if a.madeIn(w.In) {
			errs = append(errs, json.NewEncoder(os.Stdout).Encode(newAttemptOutcome(a.name, a.try(&w))))
		}
	}
	return errors.Join(errs...)
}

// What an attacker in a sandboxed child can do, and what not. Each attempt is
// made in a sandbox and, to see that it is a way at all, without.
func TestEscape(t *testing.T) {
	testenv.NeedABI(t, landlock.V1)
	testenv.InChildAs(t, inNamespaces(t), prepareProgram, func(t *testing.T, dir string) {
		kernel, _ := landlock.Probe()
		setUpNetwork(t)
		ownSession(t)
		free := attack(t, dir, "")
		tried, refused, lacking := 0, 0, map[string]bool{}
		sandboxes := []string{inStrict, inProc, inProcWrite, inOwn, inWrite, inWrapped}
		if noFilter() == nil {
			sandboxes = append(sandboxes, inFiltered)
		}
		for _, in := range sandboxes {
			outcomes := attack(t, dir, in)
			for _, a := range escapes {
				if !a.madeIn(in) {
					continue
				}
				if control := free[a.name]; control.Failure != "" {
					if a.needs == "" {
						t.Errorf("%s: without a sandbox it %v", a.name, control)
					}
					lacking[fmt.Sprintf("%s: needs %s: %s", a.name, a.needs, control.Failure)] = true
					continue
				}
				o := outcomes[a.name]
				if tried++; o.Failure != "" {
					refused++
					if a.since == 0 && in != inFiltered {
						fmt.Println("refused, though not by every kernel:", a.name)
					}
				}
				if in == inFiltered && (a.since == 0 || kernel.ABI < a.since) {
					// There is not even a socket to try it with, in most cases.
					if !strings.HasSuffix(o.Failure, filteredRows[a.row].Error()) {
						t.Errorf("%s, with %s: it %v, want %v", a.name, in, o, filteredRows[a.row])
					}
				} else if !a.expected(o, kernel) {
					t.Errorf("%s, with %s: it %v, want it refused: %s", a.name, in, o, a.refusal())
				}
			}
		}
		fmt.Printf("as uid %d on ABI %d: %d attempts, %d refused\n", os.Getuid(), int(kernel.ABI), tried, refused)
		for _, reason := range slices.Sorted(maps.Keys(lacking)) {
			fmt.Println("not tried:", reason)
		}
	})
}

// inNamespaces returns the users of a test with, where this is root, mounts, a
// network, queues and System V objects of the child's own, so that nothing here
// reaches the machine.
func inNamespaces(t *testing.T) []testenv.User {
	t.Helper()
	users := testenv.Users()
	if os.Getuid() == 0 && !testchild.Inside() {
		users[0].Unshare = unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC
		if err := apart(func() error { return unix.Unshare(int(users[0].Unshare)) }); err != nil {
			t.Skip("needs CAP_SYS_ADMIN: ", err)
		}
	}
	return users
}

// setUpNetwork makes a new network of root's one as others are.
func setUpNetwork(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	socket := mustGet[int](t)(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0))
	defer unix.Close(socket)
	loopback := mustGet[*unix.Ifreq](t)(unix.NewIfreq("lo"))
	loopback.SetUint16(unix.IFF_UP)
	must(t, unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, loopback))
	must(t, os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 65534"), 0))
}

// prepareProgram copies this binary to where no sandbox allows running it.
func prepareProgram(t *testing.T, dir string) {
	program, err := os.ReadFile(testenv.Self())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "program"), program, 0o755); err != nil {
		t.Fatal(err)
	}
}

// attack makes what there is to reach, starts a child in a sandbox, or without,
// and returns what came of its attempts.
func attack(t *testing.T, dir, in string) map[string]attemptOutcome {
	t.Helper()
	s := &scene{t: t, world: world{In: in, Dir: mustGet[string](t)(os.MkdirTemp(dir, "world"))}}
	defer s.clear()
	s.makeFiles()
	s.makeSockets()
	s.makeShared()
	files := s.makeDescriptors()

	r := withLibraries(bestForChildren()).AllowRead(s.at("allowed"), s.at("volume/readable")).Allow(landlock.FSReadDir, s.at("volume")).
		Allow(landlock.FSRemoveFile|landlock.FSRefer, s.at("from")).Allow(landlock.FSMakeReg|landlock.FSRefer, s.at("to"))
	switch in {
	case inProc:
		r.AllowRead("/proc")
	case inProcWrite:
		r.Allow(landlock.FSRead|landlock.FSWriteFile|landlock.FSTruncate, "/proc")
	case inOwn:
		r.AllowReadWrite(s.at("own"))
	case inWrite:
		r.Allow(landlock.FSReadFile|landlock.FSWriteFile, s.at("own"), os.DevNull)
	case inFiltered:
		r.FilterSockets()
	}
	sandbox := testenv.MustPrepare(t, r)
	start := sandbox.Start
	switch in {
	case "":
		start = (*exec.Cmd).Start
	case inWrapped:
		start = wrapAndStart(sandbox.Wrap)
	}
	siblings := map[string]int{
		"a child of the same Sandbox": s.waiting(sandbox.Start).cmd.Process.Pid,
		"one that others started":     s.waiting(wrapAndStart(sandbox.Wrap)).cmd.Process.Pid,
		"a child of another Sandbox":  s.waiting(testenv.MustPrepare(t, r).Start).cmd.Process.Pid,
		"a child without a sandbox":   s.waiting((*exec.Cmd).Start).cmd.Process.Pid,
	}
	cmd, out := try("escape")
	cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr
	cmd.ExtraFiles = files
	must(t, start(cmd))
	for _, file := range files {
		file.Close()
	}
	s.addTasks("the parent", os.Getpid()) // as they are now: whichever thread has started the child
	for whose, process := range siblings {
		s.addTasks(whose, process)
	}
	must(t, errors.Join(json.NewEncoder(s.letter).Encode(s.world), s.letter.Close(), cmd.Wait()))

	outcomes := map[string]attemptOutcome{}
	for decoder := json.NewDecoder(out); decoder.More(); {
		var o attemptOutcome
		must(t, decoder.Decode(&o))
		outcomes[o.Name] = o
	}
	for _, a := range escapes {
		if !a.madeIn(in) {
			continue
		}
		o, ok := outcomes[a.name]
		if !ok {
			t.Fatalf("nothing came of %s", a.name)
		}
		if a.seen != nil && o.Failure == "" {
			outcomes[a.name] = newAttemptOutcome(a.name, a.seen(s))
		}
	}
	return outcomes
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mustGet is must for what comes with an error.
func mustGet[T any](t *testing.T) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		must(t, err)
		return value
	}
}

// scene is what the parent makes for a child to reach.
type scene struct {
	world
	t      *testing.T
	letter *os.File // to the child's fdWorld
	hunted map[string]waiter
	told   map[os.Signal]chan os.Signal // what the terminal has told this process
	undo   []func()
}

// waiter is a child that waits until its standard input ends.
type waiter struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

func (s *scene) clear() {
	for _, undo := range slices.Backward(s.undo) {
		undo()
	}
}

func (s *scene) later(undo func()) { s.undo = append(s.undo, undo) }

// makeFiles makes files that belong to the user whom the attempts are made as.
func (s *scene) makeFiles() {
	for _, name := range []string{"secret/file", "secret/old", "secret/removed", "secret/long", "allowed/file", "own/file", "own/short", "from/file"} {
		testenv.Write(s.t, s.at(name), name)
	}
	for _, name := range []string{"secret/dir", "secret/empty", "allowed/mount", "view", "to"} {
		must(s.t, os.Mkdir(s.at(name), 0o777))
	}
	must(s.t, errors.Join(os.Symlink("file", s.at("secret/link")), unix.Mkfifo(s.at("own/fifo"), 0o600)))
	if s.subvolume(btrfsCreate, ".", "volume", -1) != nil {
		must(s.t, os.Mkdir(s.at("volume"), 0o777)) // there is no Btrfs
	}
	testenv.Write(s.t, s.at("volume/file"), "volume/file")
	must(s.t, os.Mkdir(s.at("volume/readable"), 0o777))
	testenv.Write(s.t, s.at("own/long"), strings.Repeat("long", 64<<10))
	if os.Getuid() == 0 {
		must(s.t, unix.Mount("tmpfs", s.at("allowed/mount"), "tmpfs", 0, ""))
		s.later(func() { unix.Unmount(s.at("allowed/mount"), unix.MNT_DETACH) })
		must(s.t, os.Mkdir(s.at("allowed/mount/old"), 0o777))
		for _, name := range []string{"allowed", "own"} {
			must(s.t, os.MkdirAll(s.at("view/"+name), 0o777))
			must(s.t, unix.Mount(s.at(name), s.at("view/"+name), "", unix.MS_BIND, ""))
			s.later(func() { unix.Unmount(s.at("view/"+name), unix.MNT_DETACH) })
		}
	}
}

func (s *scene) makeSockets() {
	t := s.t
	tcp := mustGet[net.Listener](t)(listenTCP("127.0.0.1:0"))
	udp := mustGet[net.PacketConn](t)(net.ListenPacket("udp", "127.0.0.1:0"))
	s.TCP, s.UDP = tcp.Addr().(*net.TCPAddr).Port, udp.LocalAddr().(*net.UDPAddr).Port
	s.later(func() { tcp.Close(); udp.Close() })
	for _, address := range []string{s.at("secret/%s"), s.abstract("%s")} {
		stream := mustGet[net.Listener](t)(net.Listen("unix", fmt.Sprintf(address, "stream")))
		datagram := mustGet[net.PacketConn](t)(net.ListenPacket("unixgram", fmt.Sprintf(address, "datagram")))
		s.later(func() { stream.Close(); datagram.Close() })
	}
}

// makeShared makes what processes share without files. What a kernel lacks is
// left out, and missed where there is no sandbox.
func (s *scene) makeShared() {
	s.Segment, _ = unix.SysvShmGet(unix.IPC_PRIVATE, 4096, 0o600)
	s.later(func() { unix.SysvShmCtl(s.Segment, unix.IPC_RMID, nil) })
	s.Messages, _ = number(unix.Syscall(unix.SYS_MSGGET, unix.IPC_PRIVATE, 0o600, 0))
	s.later(func() { unix.Syscall(unix.SYS_MSGCTL, uintptr(s.Messages), unix.IPC_RMID, 0) })
	s.Counter, _ = number(unix.Syscall(unix.SYS_SEMGET, unix.IPC_PRIVATE, 1, 0o600))
	s.later(func() { unix.Syscall6(unix.SYS_SEMCTL, uintptr(s.Counter), 0, unix.IPC_RMID, 0, 0, 0) })

	name := fmt.Sprint("landlock-", filepath.Base(s.Dir), os.Getpid())
	s.Queue = name
	if fd, err := openQueue(name, unix.O_CREAT|unix.O_RDWR); err == nil {
		unix.Close(fd)
		s.later(func() { removeQueue(name) })
	}
	if fd, err := openQueue(name+"-other", unix.O_CREAT|unix.O_RDWR); err == nil {
		unix.Close(fd)
		s.later(func() { removeQueue(name + "-other") })
	}
	const everything = 0x3f3f0000 // to its possessor and its user
	if key, err := unix.AddKey("user", name, []byte("secret"), unix.KEY_SPEC_USER_KEYRING); err == nil {
		if unix.KeyctlSetperm(key, everything) == nil { // which not every session keyring lets its user do
			s.Key = key
		}
		s.later(func() { unix.KeyctlInt(unix.KEYCTL_UNLINK, key, unix.KEY_SPEC_USER_KEYRING, 0, 0) })
	}
	s.hunted, s.Prey = map[string]waiter{}, map[string]int{}
	for _, what := range []string{preyOwned, preyInterrupted, preyStopped, preyJoined} {
		s.hunted[what] = s.waiting(func(cmd *exec.Cmd) error {
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a group to signal
			return cmd.Start()
		})
		s.Prey[what] = s.hunted[what].cmd.Process.Pid
	}
	if mounts, err := os.Open("/proc/self/ns/mnt"); err == nil {
		s.Mounts, _ = namespaceID(int(mounts.Fd()))
		mounts.Close()
	}
	if handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, "/proc/self/ns/uts", unix.AT_SYMLINK_FOLLOW); err == nil {
		s.UTS = handle.Bytes()
	}
}

// makeDescriptors makes what the child will find open.
func (s *scene) makeDescriptors() []*os.File {
	t := s.t
	files := make([]*os.File, fdRing+1)
	var err error
	files[fdWorld], s.letter, err = os.Pipe()
	must(t, err)

	controller, terminal := openTerminal(t)
	files[fdTerminal] = terminal
	s.shareTerminal(controller, terminal)
	files[fdSecret] = mustGet[*os.File](t)(os.Open(s.at("secret/file")))

	mail := mustGet[[2]int](t)(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	must(t, unix.Sendmsg(mail[0], []byte("x"), unix.UnixRights(int(files[fdSecret].Fd())), nil, 0))
	s.later(func() { unix.Close(mail[0]) })
	files[fdMail] = os.NewFile(uintptr(mail[1]), "mail")

	bell := mustGet[[2]int](t)(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	files[fdBell] = os.NewFile(uintptr(bell[1]), "bell")
	go func() { // until the child has ended
		defer unix.Close(bell[0])
		for one := make([]byte, 1); ; {
			if n, err := unix.Read(bell[0], one); n == 0 || err != nil && err != unix.EINTR {
				return
			}
			os.ReadFile(s.at("secret/file"))
			unix.Write(bell[0], one)
		}
	}()

	copy(parentMemory[:], s.at("secret/by ring")+"\x00")
	s.Memory = uintptr(unsafe.Pointer(&parentMemory))
	s.Ring.Flags, s.Ring.ThreadIdle = ringPolled, 1 // a millisecond, and its thread sleeps
	if ring, err := s.Ring.setUp(); err == nil {
		files[fdRing] = os.NewFile(uintptr(ring), "ring")
	} else {
		files[fdRing] = mustGet[*os.File](t)(os.Open(s.at("allowed"))) // so that the number is taken
	}
	return files[fdWorld:]
}

// ownSession makes this process the leader of a session, which can have a
// controlling terminal. It leads a process group, which none can who makes a
// session: so it joins another's first.
func ownSession(t *testing.T) {
	t.Helper()
	cmd, _ := try("wait")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	must(t, errors.Join(err, cmd.Start()))
	must(t, unix.Setpgid(0, cmd.Process.Pid))
	mustGet[int](t)(unix.Setsid())
	must(t, errors.Join(stdin.Close(), cmd.Wait()))
}

// openTerminal returns the two ends of a new terminal.
func openTerminal(t *testing.T) (controller, terminal *os.File) {
	t.Helper()
	controller = mustGet[*os.File](t)(os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0))
	fd := int(controller.Fd())
	must(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	number := mustGet[int](t)(unix.IoctlGetInt(fd, unix.TIOCGPTN))
	return controller, mustGet[*os.File](t)(os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|unix.O_NOCTTY, 0))
}

// shareTerminal makes a terminal that of this session until the scene is
// cleared, notes what signals this process gets of it, and has it answer what
// terminals are asked for.
func (s *scene) shareTerminal(controller, terminal *os.File) {
	s.told = map[os.Signal]chan os.Signal{unix.SIGTTIN: nil, unix.SIGTTOU: nil, unix.SIGHUP: nil, unix.SIGINT: nil, unix.SIGWINCH: nil}
	for sig := range s.told {
		s.told[sig] = make(chan os.Signal, 1)
		signal.Notify(s.told[sig], sig)
	}
	must(s.t, unix.IoctlSetInt(int(terminal.Fd()), unix.TIOCSCTTY, 0))
	s.Foreground = unix.Getpgrp()
	go func() { // until no process has the terminal open
		for text := make([]byte, 100); ; {
			n, err := controller.Read(text)
			if err != nil {
				return
			}
			if strings.Contains(string(text[:n]), whoAreYou) {
				controller.WriteString(itIsMe)
			}
		}
	}()
	s.later(func() {
		if own, err := os.Open("/dev/tty"); err == nil { // else it was hung up
			unix.IoctlSetInt(int(own.Fd()), unix.TIOCNOTTY, 0)
			own.Close()
		}
		controller.Close()
	})
}

// hears reports whether this process has been sent a signal.
func hears(sig os.Signal) func(s *scene) error {
	return func(s *scene) error {
		select {
		case <-s.told[sig]:
			return nil
		case <-time.After(10 * time.Second):
			return fmt.Errorf("%v did not come", sig)
		}
	}
}

// waiting starts a child that waits until the scene is cleared.
func (s *scene) waiting(start func(*exec.Cmd) error) waiter {
	s.t.Helper()
	cmd, _ := try("wait")
	stdin, err := cmd.StdinPipe()
	must(s.t, errors.Join(err, start(cmd)))
	s.later(func() { stdin.Close(); cmd.Wait() })
	return waiter{cmd, stdin}
}

// addTasks adds all threads of a process to the world.
func (s *scene) addTasks(whose string, process int) {
	s.t.Helper()
	for _, entry := range mustGet[[]os.DirEntry](s.t)(os.ReadDir(fmt.Sprintf("/proc/%d/task", process))) {
		k := task{Process: process, Whose: whose}
		fmt.Sscan(entry.Name(), &k.Thread)
		s.Tasks = append(s.Tasks, k)
	}
}

var tableRow = regexp.MustCompile(`(?m)^\| (.*?) \| (yes|no|from ABI \d+) \|(.*)\|$`)

// README's table of what is refused says what the attempts have shown.
func TestEscapesInReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("needs the source of the package") // which a binary that was copied has not
	}
	must(t, err)
	_, text, _ := strings.Cut(string(readme), "\n## What it protects from, and what not\n")
	text, _, _ = strings.Cut(text, "\n##")
	rows := map[string]string{}
	for _, row := range tableRow.FindAllStringSubmatch(text, -1) {
		rows[row[1]] = row[2]
		if strings.Contains(row[3], "`FilterSockets`") != (filteredRows[row[1]] != 0) {
			t.Errorf("README does not say whether FilterSockets closes %q, or says it wrongly", row[1])
		}
		if row[2] == "no" && strings.TrimSpace(row[3]) == "" {
			t.Errorf("README does not say what closes %q", row[1])
		}
	}
	used := map[string]bool{}
	for _, a := range escapes {
		used[a.row] = true
		if got, want := rows[a.row], a.refusal(); got != want {
			t.Errorf("README says %q of %q, want %q for %s", got, a.row, want, a.name)
		}
	}
	for row := range rows {
		if !used[row] {
			t.Errorf("README has %q, which nothing tries", row)
		}
	}
}
