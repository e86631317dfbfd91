package landlock

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/stub"
)

// child is what is started in place of a cmd's program: a stub, which restricts itself
// and executes the program.
type child struct {
	*handover
	stub   *os.File             // under a number that os/exec puts no file under
	attr   *syscall.SysProcAttr // what os/exec does for it
	calls  []stub.Call          // what it does itself
	taking int                  // how many of its calls are there to get its files
}

// gifts are the files that the stub gets: the ruleset, if there is one, and the program
// and a new root where it cannot go by their paths.
type gifts struct{ ruleset, program, root right }

// build makes the stub for cmd. First it opens and sends what the stub gets, and then it
// writes down the calls.
//
// From Go 1.28 on os/exec can restrict a child itself: SysProcAttr has UseLandlock,
// LandlockFD, LandlockFlags and NoNewPrivs. With that, what needs special care here
// is its own affair: Chroot, Ptrace and a thread's own descriptors (CLONE_FILES), and
// there is no need of /proc, of a memory file, of RLIMIT_FSIZE, nor of assembly for
// each architecture. The stub stays for what it cannot do: FilterSockets; to tell
// ErrTooManyLayers from a list of arguments that is too long, since both are E2BIG; to
// watch what a child asks for; and Wrap, since others replace a SysProcAttr, and the
// sandbox would go with it.
func (s *Sandbox) build(cmd *exec.Cmd) (*child, error) {
	if err := procIsThere(); err != nil {
		return nil, err
	}
	h, err := newHandover()
	if err != nil {
		return nil, err
	}
	c := &child{handover: h}
	g, err := s.give(cmd, c)
	if err == nil {
		err = s.makeStub(cmd, c, g)
	}
	if err != nil {
		c.here.Close()
		c.close()
		return nil, err
	}
	return c, nil
}

// give opens and sends what the stub gets.
func (s *Sandbox) give(cmd *exec.Cmd, c *child) (g gifts, err error) {
	ruleset, err := s.copyRuleset()
	if err != nil {
		return g, err
	}
	g.ruleset = c.sendOwn(ruleset)
	program, err := openProgram(cmd)
	if err != nil {
		return g, err
	}
	g.program = c.sendOwn(program)
	root, err := openRoot(cmd)
	if err != nil {
		return g, err
	}
	g.root = c.sendOwn(root)
	if err := c.chooseSlot(cmd); err != nil {
		return g, err
	}
	return g, c.handOver(cmd)
}

// openProgram opens the program where the stub cannot go by its path, and is noFile
// where it can.
func openProgram(cmd *exec.Cmd) (program int, err error) {
	if here, err := foundHere(cmd, 0); err != nil || !here {
		return noFile, err
	}
	program, err = unix.Open(programPath(cmd), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return noFile, startError(cmd, err)
	}
	return program, nil
}

// attributes returns what os/exec does of what cmd's SysProcAttr asks for, and the
// capabilities that the stub keeps where it has to give up others.
func attributes(cmd *exec.Cmd) (attr *syscall.SysProcAttr, kept *[2]unix.CapUserData, err error) {
	if cmd.SysProcAttr == nil {
		return nil, nil, nil
	}
	copied := *cmd.SysProcAttr
	if changesRoot(cmd) {
		kept, err = keepChroot(&copied)
	}
	copied.Ptrace, copied.Chroot = false, ""
	return &copied, kept, err
}

// makeStub writes down what the stub does, and makes its file.
func (s *Sandbox) makeStub(cmd *exec.Cmd, c *child, g gifts) error {
	attr, kept, err := attributes(cmd)
	if err != nil {
		return err
	}
	var image stub.Image
	t, err := c.takeOver(&image)
	if err != nil {
		return err
	}
	c.taking = len(image.Calls())
	changeRoot(&image, cmd, t.number(g.root))
	if attr := cmd.SysProcAttr; attr != nil && attr.Ptrace {
		// Not by os/exec: the tracer would have to see the stub through.
		image.Add(unix.SYS_PTRACE, unix.PTRACE_TRACEME)
	}
	s.restrictStub(&image, t.number(g.ruleset))
	giveUpChroot(&image, kept)
	image.Add(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, t.limit) // as the child had it
	executeProgram(&image, cmd, t.number(g.program))
	c.attr, c.calls = attr, image.Calls()
	return c.makeFile(cmd, image.Bytes(t.socket))
}

// makeFile makes the file of the stub. os/exec finds it by its number here, in the
// child, which must not be another file's by then: os/exec puts files under
// numbers up to the last that it passes, and above the highest that one of them has
// here. So the number of the stub is between them. It is left, like all that is
// close-on-exec, when the stub is executed.
func (c *child) makeFile(cmd *exec.Cmd, text []byte) error {
	file, err := stub.NewFile()
	if err != nil {
		return fmt.Errorf("landlock: start a child: %w", err)
	}
	if err := stub.WriteFile(file, text); err != nil {
		file.Close()
		return fmt.Errorf("landlock: start a child: %w", err)
	}
	if c.stub, err = above(file, 4+len(cmd.ExtraFiles)); err != nil {
		return err
	}
	return c.keepClear(cmd, int(c.stub.Fd()))
}

// close closes what only the stub needs.
func (c *child) close() {
	c.handover.close()
	c.stub.Close()
}
