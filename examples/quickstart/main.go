// Quickstart restricts itself with Landlock, then tries what still works and
// what is refused now:
//
//	go run ./examples/quickstart
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"example.com/landlock"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run() error {
	kernel, err := landlock.Probe()
	if err != nil {
		return err // says why there is no Landlock, and what to do about it
	}
	fmt.Println("kernel: ", kernel)

	// A sandbox holds until the process ends, its own cleanup included. Files
	// and directories that are open before stay usable, so open what the end needs.
	temp, err := os.OpenRoot(os.TempDir())
	if err != nil {
		return err
	}
	defer temp.Close()
	dir, err := os.MkdirTemp("", "landlock-quickstart-")
	if err != nil {
		return err
	}
	return errors.Join(demo(dir), temp.RemoveAll(filepath.Base(dir)))
}

func demo(dir string) error {
	notes, link, out := filepath.Join(dir, "notes.txt"), filepath.Join(dir, "link"), filepath.Join(dir, "out")
	opened, err := os.Create(notes)
	if err != nil {
		return err
	}
	defer opened.Close()
	if err := errors.Join(os.Symlink("/etc/passwd", link), os.Mkdir(out, 0o700)); err != nil {
		return err
	}

	// All that V11 knows is denied unless a rule allows it. BestEffort makes do
	// with what older kernels can restrict; without it they return an error.
	rules := landlock.New(landlock.V11).BestEffort(landlock.V1).
		AllowRead(dir).
		AllowReadWrite(out).
		// For the cleanup. To remove an entry is a right on the directory that
		// holds it: here, on no more than empty ones in the directory for temporary files.
		Allow(landlock.FSRemoveFile, dir).
		Allow(landlock.FSRemoveDir, os.TempDir()).
		// Without it there are sockets that no rule is about: net.Listen makes one.
		FilterSockets()
	report, err := rules.Apply()
	if err != nil {
		return err
	}
	fmt.Println("sandbox:", report)

	_, err = os.ReadFile(notes)
	try("read in the directory", err)
	err = os.WriteFile(filepath.Join(out, "result.txt"), []byte("written inside\n"), 0o600)
	try("write beneath out", err)
	_, err = opened.WriteString("written to an open file\n")
	try("write to a file that was open before", err)
	_, err = os.OpenFile(notes, os.O_WRONLY, 0)
	try("open the same file for writing", err)
	_, err = os.ReadFile("/etc/passwd")
	try("read /etc/passwd", err)
	fmt.Println("why:    ", rules.Explain(err))
	_, err = os.ReadFile(link)
	try("read /etc/passwd by a link in the directory", err)
	_, err = net.Dial("tcp", "127.0.0.1:443")
	try("connect to TCP port 443", err)
	_, err = net.Listen("tcp", "127.0.0.1:0")
	try("listen on a TCP port", err)
	_, err = net.Dial("udp", "127.0.0.1:53")
	try("connect to UDP port 53", err)
	return nil
}

// try prints what became of one attempt. What Landlock refuses is
// fs.ErrPermission here; any other error, such as a connection refused because
// nobody listens, is not the sandbox's doing.
func try(what string, err error) {
	switch {
	case err == nil:
		fmt.Println("works:  ", what)
	case errors.Is(err, fs.ErrPermission):
		fmt.Printf("refused: %s: %v\n", what, err)
	default:
		fmt.Printf("failed:  %s, not by the sandbox: %v\n", what, err)
	}
}
