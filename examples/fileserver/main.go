// Fileserver serves the files of one directory over HTTP, and can open nothing
// else:
//
//	go run ./examples/fileserver -addr 127.0.0.1:8080 DIR
//
// A symbolic link that leads out of DIR gives an error page. With -unsafe
// there is no sandbox, and it gives the file.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"os"
	"time"

	"example.com/landlock"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "fileserver:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("fileserver", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints the mistakes, each in one line
	addr := flags.String("addr", "127.0.0.1:8080", "")
	unsafe := flags.Bool("unsafe", false, "")
	if err := flags.Parse(args); err != nil || flags.NArg() != 1 {
		return errors.New("usage: fileserver [-addr HOST:PORT] [-unsafe] DIR")
	}
	dir := flags.Arg(0)
	if info, err := os.Stat(dir); err != nil {
		return err
	} else if !info.IsDir() {
		return fmt.Errorf("%s: not a directory", dir)
	}

	// What is open before the restriction keeps working after it: the server
	// accepts connections, and needs no right to bind a port.
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	defer listener.Close()

	if *unsafe {
		slog.Warn("no sandbox")
	} else if err := restrict(dir); err != nil {
		return err
	}
	slog.Info("listening", "url", "http://"+listener.Addr().String())
	return http.Serve(listener, http.FileServer(http.Dir(dir)))
}

// restrict leaves this process nothing but to read dir and to use what is open.
func restrict(dir string) error {
	// Go reads some files only when they are first needed. Need them now: the
	// table of MIME types, and the local time zone for the log.
	mime.TypeByExtension(".html")
	_, _ = time.Now().Zone()

	// Files can be restricted on every kernel with Landlock, and TCP from ABI 4
	// on. All other sockets, UDP and Multipath TCP among them, FilterSockets
	// refuses. The report says what is missing.
	report, err := landlock.New(landlock.V11).BestEffort(landlock.V1).AllowRead(dir).FilterSockets().Apply()
	if err != nil {
		return err
	}
	slog.Info("sandboxed", "report", report)
	return nil
}
