package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"text/tabwriter"

	"example.com/landlock"
)

// printStatus writes what this kernel can restrict, a line for each right, in
// the order in which the kernel got them.
func printStatus(w io.Writer) error {
	kernel, err := landlock.Probe()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "kernel: %v\n\n", kernel)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "RIGHT\tSINCE\tTHIS KERNEL")
	for abi := landlock.V1; abi <= target; abi++ {
		answer := "no"
		if abi <= kernel.ABI {
			answer = "yes"
		}
		for _, right := range added(abi) {
			fmt.Fprintf(table, "%v\t%v\t%s\n", right, abi, answer)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "\nsockets that no rule for ports is about: %s\n", socketStatus())
	return err
}

// socketStatus says whether sockets can be filtered here. UDP takes no Landlock
// for that, where none is allowed.
func socketStatus() string {
	udp := landlock.Rights{Net: landlock.NetBindUDP | landlock.NetConnectSendUDP}
	if _, err := landlock.NewHandling(udp).FilterSockets().DryRun(); err != nil {
		return "allowed, " + err.Error()
	}
	return "refused, by a seccomp filter"
}

// printVersion writes which build this is, as the go command has recorded it: a
// version or a commit where it was built from a repository, else (devel).
func printVersion(w io.Writer) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("--version: this build has no record of its version")
	}
	_, err := fmt.Fprintf(w, "%s %s (%s, %s)\n", name, cmp.Or(info.Main.Version, "(devel)"), info.Main.Path, info.GoVersion)
	return err
}

// added returns the rights that an ABI has and the one before it has not.
func added(abi landlock.ABI) []landlock.Rights {
	fs := abi.FS() &^ (abi - 1).FS()
	net := abi.Net() &^ (abi - 1).Net()
	scopes := abi.Scopes() &^ (abi - 1).Scopes()
	var rights []landlock.Rights
	for bit := range 64 {
		for _, right := range []landlock.Rights{
			{FS: fs & (1 << bit)}, {Net: net & (1 << bit)}, {Scope: scopes & (1 << bit)},
		} {
			if right != (landlock.Rights{}) {
				rights = append(rights, right)
			}
		}
	}
	return rights
}
