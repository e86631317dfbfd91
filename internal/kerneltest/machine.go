package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// guest is a virtual machine to run.
type guest struct {
	kernel    kernel
	build     build
	off       bool // boot with Landlock switched off
	initramfs initramfs
}

func (g guest) String() string { return g.name() + " " + g.build.String() }

// name is what two guests share that differ in the binaries alone.
func (g guest) name() string {
	name := g.kernel.series
	if g.kernel.arch != "amd64" {
		name += " " + g.kernel.arch
	}
	if g.off {
		name += " off"
	}
	return name
}

// The machine of each architecture, the names that its serial ports get (the
// first is the kernel's console), and the compiler for it on other machines.
var machines = map[string]struct {
	qemu                       []string
	console, results, compiler string
}{
	"amd64": {
		[]string{"qemu-system-x86_64", "-cpu", "Nehalem,+rdrand", "-serial", "chardev:results"},
		"ttyS0", "/dev/ttyS1", "x86_64-linux-gnu-gcc",
	},
	"arm64": {
		[]string{"qemu-system-aarch64", "-M", "virt", "-cpu", "max,pauth-impdef=on", "-device", "pci-serial,chardev=results"},
		"ttyAMA0", "/dev/ttyS0", "aarch64-linux-gnu-gcc",
	},
}

// runTwice is run, and once more where the kernel itself died: on an emulated
// processor one that patches its own code does so now and then. A kernel that
// the tests bring down dies both times.
func (g guest) runTwice(limit time.Duration, test2json string, verbose bool) result {
	r := g.run(limit, test2json, verbose)
	if !r.crashed {
		return r
	}
	r.printProblems()
	fmt.Printf("%-20s its kernel died: once more\n", g)
	r = g.run(limit, test2json, verbose)
	r.again = true
	return r
}

// run boots the guest, and returns what it has said until it ended.
func (g guest) run(limit time.Duration, test2json string, verbose bool) (r result) {
	runtime.LockOSThread() // the machine ends with it, see command
	defer runtime.UnlockOSThread()
	r.guest = g
	if g.kernel.err != nil {
		return r
	}
	start := time.Now()
	defer func() { r.took = time.Since(start) }()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	results, guestEnd, err := os.Pipe()
	if err != nil {
		r.problem("%v", err)
		return r
	}
	defer results.Close()
	cmd := g.command(ctx)
	cmd.ExtraFiles = []*os.File{guestEnd} // 3
	var console bytes.Buffer
	cmd.Stdout, cmd.Stderr = &console, &console
	if err := cmd.Start(); err != nil {
		r.problem("start the virtual machine: %v", err)
		return r
	}
	guestEnd.Close()
	c := collector{result: &r, test2json: test2json, verbose: verbose}
	streamErr := readMessages(results, c.take)
	if streamErr != nil && ctx.Err() == nil {
		time.AfterFunc(10*time.Second, cancel) // it may be alive, with nothing more to say
	}
	if err := cmd.Wait(); ctx.Err() == context.DeadlineExceeded {
		r.problem("not done after %v%s; console:\n%s", limit, c.running(), tail(console.String()))
	} else if streamErr != nil || err != nil {
		r.problem("%v; virtual machine: %v%s; console:\n%s", streamErr, err, c.running(), tail(console.String()))
	}
	r.crashed = streamErr != nil && strings.Contains(console.String(), "Kernel panic")
	c.finish()
	return r
}

// command is the virtual machine. It has two processors, and both of them run on
// one thread: on two, kernels that patch their own code die now and then.
func (g guest) command(ctx context.Context) *exec.Cmd {
	m := machines[g.kernel.arch]
	options := "console=" + m.console + " quiet panic=-1 mitigations=off audit=1"
	if g.off {
		options += " lsm=lockdown,capability"
	}
	args := append([]string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-accel", "tcg,thread=single,tb-size=512", "-smp", "2", "-m", "1G",
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-chardev", "file,id=results,path=/dev/fd/3",
		"-kernel", g.kernel.image, "-initrd", g.initramfs.path, "-append", options,
	}, m.qemu[1:]...)
	cmd := exec.CommandContext(ctx, m.qemu[0], args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// tail returns the last lines of what a kernel printed.
func tail(console string) string {
	lines := strings.Split(strings.TrimSpace(console), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// collector makes a result of a guest's messages.
type collector struct {
	*result
	test2json string
	verbose   bool
	binary    string // the one that is running
	output    []byte
	started   time.Time
}

// say prints how it goes.
func (c *collector) say(format string, args ...any) {
	fmt.Printf("%-20s %s\n", c.guest, fmt.Sprintf(format, args...))
}

func (c *collector) take(m message) error {
	if m.Kernel != nil {
		c.facts = *m.Kernel
		c.say("%s has booted, ABI %s", c.facts.Release, c.facts.ABI)
		c.started = time.Now()
		return nil
	}
	c.binary = m.Binary
	c.output = append(c.output, m.Output...)
	if c.verbose {
		os.Stdout.Write(bytes.ReplaceAll(m.Output, []byte{0x16}, nil)) // which marks lines for test2json
	}
	if m.Ended {
		return c.end(m.Failure)
	}
	return nil
}

// end counts the tests of the binary that has ended.
func (c *collector) end(failure string) error {
	outcomes, err := parseTests(c.test2json, c.output)
	if err != nil {
		return err
	}
	passed, failed, skipped := c.passed, c.failed, c.skipped()
	c.add(c.binary, outcomes)
	c.binaries++
	failed = c.failed - failed
	switch {
	case failure != "" && (failed == 0 || failure != "exit status 1"): // which is that a test has failed
		c.problem("%s: %s; it printed:\n%s", c.binary, failure, tail(string(c.output)))
	case len(outcomes) == 0:
		c.empty = append(c.empty, c.binary)
	}
	c.say("%s: %d passed, %d failed, %d skipped in %.1fs", c.binary,
		c.passed-passed, failed, c.skipped()-skipped, time.Since(c.started).Seconds())
	c.binary, c.output, c.started = "", nil, time.Now()
	return nil
}

// running says which tests have not ended.
func (c *collector) running() string {
	if c.binary == "" {
		return ""
	}
	outcomes, _ := parseTests(c.test2json, c.output)
	text := "; running " + c.binary
	for _, o := range outcomes {
		if o.action == "" {
			text += " " + o.name
		}
	}
	return text
}

// finish counts what a guest that died has left.
func (c *collector) finish() {
	if c.binary != "" {
		outcomes, _ := parseTests(c.test2json, c.output)
		c.add(c.binary, outcomes)
	}
}
