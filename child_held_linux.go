package landlock

import (
	"io"
	"os"
	"os/exec"
	"sync"
)

// progress says how far a start is. Goroutines of os/exec wait for it: they may look at
// cmd, and must not take a stub for the program.
type progress struct {
	restored chan struct{} // closed when cmd is as before
	decided  chan struct{} // closed when it is clear whether the program runs
	running  bool          // whether it does, then
}

func newProgress() *progress {
	return &progress{restored: make(chan struct{}), decided: make(chan struct{})}
}

// decide says whether the program runs, and lets go on who waits for that.
func (p *progress) decide(running bool) {
	p.running = running
	close(p.decided)
}

// awaitProgram reports whether the program runs, once that is decided.
func (p *progress) awaitProgram() bool {
	<-p.decided
	return p.running
}

// hold has wait what goroutines of os/exec do for cmd. It returns what they are to read
// from, nil where nobody copies to the child.
func (p *progress) hold(cmd *exec.Cmd) (input *heldInput) {
	if cancel := cmd.Cancel; cancel != nil {
		cmd.Cancel = func() error {
			if !p.awaitProgram() {
				return os.ErrProcessDone
			}
			return cancel()
		}
	}
	if in := cmd.Stdin; in != nil && !isFile(in) {
		input = &heldInput{from: in, progress: p, used: make(chan struct{})}
		cmd.Stdin = input
	}
	same := equal(cmd.Stdout, cmd.Stderr)
	cmd.Stdout = p.holdOutput(cmd.Stdout)
	if same {
		cmd.Stderr = cmd.Stdout
	} else {
		cmd.Stderr = p.holdOutput(cmd.Stderr)
	}
	return input
}

// equal reports whether two streams are one, as far as they can be compared.
func equal(a, b any) bool {
	defer func() { recover() }()
	return a == b
}

func isFile(stream any) bool {
	_, ok := stream.(*os.File)
	return ok
}

// heldInput keeps os/exec from reading what is meant for the program before it
// is clear that there is one. os/exec may read by either method.
type heldInput struct {
	from     io.Reader
	progress *progress
	used     chan struct{} // closed when it is first read from
	once     sync.Once
}

// ready reports whether there is a program to read for.
func (h *heldInput) ready() bool {
	h.once.Do(func() { close(h.used) })
	return h.progress.awaitProgram()
}

func (h *heldInput) Read(text []byte) (int, error) {
	if !h.ready() {
		return 0, io.EOF
	}
	return h.from.Read(text)
}

func (h *heldInput) WriteTo(w io.Writer) (int64, error) {
	if !h.ready() {
		return 0, nil
	}
	return io.Copy(w, h.from)
}

// heldOutput keeps os/exec from writing to a writer that may look at cmd before
// that is as it was. os/exec may write by either method.
type heldOutput struct {
	to       io.Writer
	progress *progress
}

// holdOutput returns out as it is where os/exec does not copy to it.
func (p *progress) holdOutput(out io.Writer) io.Writer {
	if out == nil || isFile(out) {
		return out
	}
	return &heldOutput{out, p}
}

func (h *heldOutput) Write(text []byte) (int, error) {
	<-h.progress.restored
	return h.to.Write(text)
}

func (h *heldOutput) ReadFrom(r io.Reader) (int64, error) {
	<-h.progress.restored
	return io.Copy(h.to, r)
}
