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
	kernel        kernel
	builds        []build
	first, newest bool // of the kernels that have Landlock
	off           bool // boot with Landlock switched off
	batches       []batch
	initramfs     string // the file
}

func (g guest) String() string {
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

// runTwice is run, and once more where the machine died: on an emulated processor
// one that patches its own code does so now and then, and an emulator may fail or
// hang itself. A machine that the tests bring down dies both times.
func (g guest) runTwice(silence time.Duration, test2json string, verbose bool) result {
	r := g.run(silence, test2json, verbose)
	if !r.died {
		return r
	}
	r.printProblems()
	fmt.Printf("%-10s its machine died: once more\n", g)
	first := r
	r = g.run(silence, test2json, verbose)
	r.again = true
	r.took += first.took
	r.processor += first.processor
	return r
}

// run boots the guest, and returns what it has said until it ended. A machine that
// says nothing for as long as silence is at its end.
func (g guest) run(silence time.Duration, test2json string, verbose bool) (r result) {
	runtime.LockOSThread() // the machine ends with it, see command
	defer runtime.UnlockOSThread()
	r.guest = g
	for _, b := range g.batches {
		r.parts = append(r.parts, part{batch: b})
	}
	if g.kernel.err != nil {
		return r
	}
	start := time.Now()
	defer func() { r.took = time.Since(start) }()
	results, guestEnd, err := os.Pipe()
	if err != nil {
		r.problem("%v", err)
		return r
	}
	defer results.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cmd := g.command(ctx)
	cmd.ExtraFiles = []*os.File{guestEnd} // 3
	var console bytes.Buffer
	cmd.Stdout, cmd.Stderr = &console, &console
	err = cmd.Start()
	guestEnd.Close()
	if err != nil {
		r.problem("start the virtual machine: %v", err)
		return r
	}
	patience := time.AfterFunc(silence, cancel)
	c := collector{result: &r, test2json: test2json, verbose: verbose}
	streamErr := readMessages(results, func(m message) error {
		patience.Reset(silence)
		return c.take(m)
	})
	if streamErr != nil {
		patience.Reset(min(silence, 10*time.Second)) // it may be alive, with nothing more to say
	}
	err = cmd.Wait()
	patience.Stop()
	r.processor = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	switch r.died = true; {
	case ctx.Err() != nil && streamErr == nil:
		r.problem("not off %v after its last word; console:\n%s", silence, tail(console.String()))
	case ctx.Err() != nil:
		r.problem("%v: no word from it for %v%s; console:\n%s", streamErr, silence, c.running(), tail(console.String()))
	case streamErr != nil || err != nil:
		r.problem("%v; virtual machine: %v%s; console:\n%s", streamErr, err, c.running(), tail(console.String()))
	default:
		r.died = false
	}
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
		"-kernel", g.kernel.image, "-initrd", g.initramfs, "-append", options,
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
	build     string // of the binary that is running
	binary    string
	output    []byte
	started   time.Time
}

// say prints how it goes.
func (c *collector) say(format string, args ...any) {
	fmt.Printf("%-10s %s\n", c.guest, fmt.Sprintf(format, args...))
}

func (c *collector) take(m message) error {
	switch {
	case m.Kernel != nil:
		c.facts = *m.Kernel
		c.say("%s has booted, ABI %s", c.facts.Release, c.facts.ABI)
		c.started = time.Now()
	case m.Binary != "":
		return c.print(m)
	}
	return nil
}

// print takes what a binary has printed, and counts its tests where it has ended.
func (c *collector) print(m message) error {
	c.build, c.binary = m.Build, m.Binary
	c.output = append(c.output, m.Output...)
	if c.verbose {
		os.Stdout.Write(bytes.ReplaceAll(m.Output, []byte{0x16}, nil)) // which marks lines for test2json
	}
	if !m.Ended {
		return nil
	}
	outcomes, err := parseTests(c.test2json, c.output)
	if err != nil {
		return err
	}
	p := c.part(c.build)
	if p == nil {
		return fmt.Errorf("the guest ran %s, which is of no build that it has: %q", c.binary, c.build)
	}
	passed, failed, skipped := p.passed, p.failed, p.skipped()
	c.add(p, c.binary, outcomes)
	p.binaries++
	failed = p.failed - failed
	switch {
	case m.Failure != "" && (failed == 0 || m.Failure != "exit status 1"): // which is that a test has failed
		c.problem("%s, %s: %s; it printed:\n%s", c.binary, c.build, m.Failure, tail(string(c.output)))
	case len(outcomes) == 0:
		p.empty = append(p.empty, c.binary)
	}
	c.say("%s, %s: %d passed, %d failed, %d skipped in %.1fs", c.binary, c.build,
		p.passed-passed, failed, p.skipped()-skipped, time.Since(c.started).Seconds())
	c.binary, c.output, c.started = "", nil, time.Now()
	return nil
}

// running says which tests have not ended.
func (c *collector) running() string {
	if c.binary == "" {
		return ""
	}
	outcomes, _ := parseTests(c.test2json, c.output)
	text := "; running " + c.binary + ", " + c.build + ":"
	for _, o := range outcomes {
		if o.action == "" {
			text += " " + o.name
		}
	}
	return text
}

// finish counts what a guest that died has left.
func (c *collector) finish() {
	if p := c.part(c.build); p != nil && c.binary != "" {
		outcomes, _ := parseTests(c.test2json, c.output)
		c.add(p, c.binary, outcomes)
	}
}
