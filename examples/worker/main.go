// Worker runs shell commands that nobody has looked at, several at a time, and
// gives each a directory of its own:
//
//	go run ./examples/worker -jobs 4 DIR 'date > now' 'cat ~/.ssh/id_*'
//
// Job N can read and write DIR/job-N, where it starts, and run the programs of
// the system. It can open no other file, use no network, and signal nothing that
// it has not started; on an older kernel the first line says what it can do.
// What it prints goes to DIR/job-N.out. With -unsafe there is no sandbox.
// Ctrl-C ends the jobs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"example.com/landlock"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("worker", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints the mistakes, each in one line
	jobs := flags.Int("jobs", 4, "")
	timeout := flags.Duration("timeout", time.Minute, "")
	unsafe := flags.Bool("unsafe", false, "")
	if err := flags.Parse(args); err != nil || flags.NArg() < 2 || *jobs < 1 {
		return errors.New("usage: worker [-jobs N] [-timeout DURATION] [-unsafe] DIR COMMAND [COMMAND ...]")
	}
	dir, commands := flags.Arg(0), flags.Args()[1:]

	runCmd := runSandboxed
	if *unsafe {
		runCmd = (*exec.Cmd).Run
		fmt.Println("no sandbox")
	} else if err := printReport(); err != nil {
		return err
	}
	dirs, err := makeDirs(dir, len(commands))
	if err != nil {
		return err
	}

	ctx, stop := signal.NotifyContext(context.Background(), endings()...)
	defer stop()
	var group sync.WaitGroup
	var failed atomic.Int64
	slots := make(chan struct{}, *jobs)
	for i, command := range commands {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			status := "ok"
			if err := runJob(ctx, command, dirs[i], *timeout, runCmd); err != nil {
				failed.Add(1)
				status = err.Error()
			}
			fmt.Printf("%s: %s\n", filepath.Base(dirs[i]), status)
		})
	}
	group.Wait()
	if n := failed.Load(); n > 0 {
		return fmt.Errorf("jobs failed: %d of %d", n, len(commands))
	}
	return nil
}

// makeDirs makes a new directory in dir for each job, and returns their
// absolute paths.
func makeDirs(dir string, jobs int) ([]string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	dirs := make([]string, jobs)
	for i := range dirs {
		dirs[i] = filepath.Join(dir, fmt.Sprint("job-", i+1))
		if err := os.Mkdir(dirs[i], 0o777); err != nil {
			return nil, err
		}
	}
	return dirs, nil
}

// runJob runs a command in dir. The timeout and the end of ctx kill the shell
// and its process group; what the shell has left in the background otherwise
// goes on, in its sandbox.
func runJob(ctx context.Context, command, dir string, timeout time.Duration, runCmd func(*exec.Cmd) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("killed after %v", timeout))
	defer cancel()
	// Beside the directory and not in it: the job writes to what is open here,
	// and cannot put a link to another file in its place.
	output, err := os.Create(dir + ".out")
	if err != nil {
		return err
	}
	defer output.Close()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, output, output
	// The environment often holds secrets, and Landlock cannot hide it.
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + dir, "TMPDIR=" + dir}
	ownSession(cmd)
	err = runCmd(cmd)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// runSandboxed runs a job in a sandbox of its own. This process stays as it is;
// the job is restricted from its first instruction, and so is all that it
// starts.
func runSandboxed(cmd *exec.Cmd) error {
	return rules().AllowReadWrite(cmd.Dir).Run(cmd)
}

// rules returns what every job needs: the programs of the system with their
// libraries, and /dev/null. Not every system has each of these directories.
//
// Landlock leaves chmod, chown and the setting of times alone: jobs that nobody
// trusts should have a user of their own too.
func rules() *landlock.Ruleset {
	return landlock.New(landlock.V11).BestEffort(landlock.V1).
		AllowOptional(landlock.FSReadExecute, "/bin", "/lib", "/lib64", "/usr").
		AllowOptional(landlock.FSRead, "/etc/ld.so.cache").
		AllowOptional(landlock.FSReadWrite, "/dev/null").
		FilterSockets()
}

// printReport prints what this kernel denies to the jobs, and what it cannot:
// TCP needs ABI 4, the scopes for signals ABI 6 and Unix sockets ABI 9. UDP and
// all other sockets are refused by a seccomp filter, on any kernel.
func printReport() error {
	sandbox, err := rules().Prepare()
	if err != nil {
		return err
	}
	fmt.Println("sandbox:", sandbox.Report())
	return sandbox.Close()
}
