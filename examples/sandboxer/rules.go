package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"text/tabwriter"

	"example.com/landlock"
	"example.com/landlock/internal/libraries"
	"example.com/landlock/internal/program"
)

// target is what the default restricts: everything that there is.
const target = landlock.V11

// readWrite has ioctl for terminals, which hardly work without. Making device
// nodes is not in it: where root runs the command, one that stands for the
// disk would be a way out.
const readWrite = landlock.FSReadWrite | landlock.FSIoctlDev

// readExecute is for files, where the right to list directories has no place.
const readExecute = landlock.FSReadFile | landlock.FSExecute

var pathOptions = map[string]landlock.AccessFS{
	"ro":   landlock.FSRead,
	"rox":  landlock.FSReadExecute,
	"rw":   readWrite,
	"rwx":  readWrite | landlock.FSExecute,
	"unix": landlock.FSResolveUnix,
}

var portOptions = map[string]landlock.AccessNet{
	"bind-tcp":    landlock.NetBindTCP,
	"connect-tcp": landlock.NetConnectTCP,
	"bind-udp":    landlock.NetBindUDP,
	"connect-udp": landlock.NetConnectSendUDP,
}

// pathRule is a rule, and the option that wants it.
type pathRule struct {
	option   string
	path     string
	access   landlock.AccessFS
	optional bool // the path need not exist
}

type portRule struct {
	option string
	port   uint16
	access landlock.AccessNet
}

// handled returns what the options want restricted.
func (o *options) handled() landlock.Rights {
	rights := target.Rights()
	if o.unrestrictedFilesystem {
		rights.FS = 0
	}
	if o.unrestrictedNetwork {
		rights.Net = 0
	}
	if o.unrestrictedScoped {
		rights.Scope = 0
	}
	return rights
}

// dropUseless drops the rules for what is not restricted anyway.
func (o *options) dropUseless() {
	handled := o.handled()
	o.paths = slices.DeleteFunc(o.paths, func(rule pathRule) bool { return rule.access&handled.FS == 0 })
	o.ports = slices.DeleteFunc(o.ports, func(rule portRule) bool { return rule.access&handled.Net == 0 })
	if handled.FS == 0 {
		o.addExec, o.ldd = false, false
	}
}

func (o *options) unrestricted() bool { return o.handled() == landlock.Rights{} }

// ruleset returns what the options say as a ruleset of the library.
func (o *options) ruleset() *landlock.Ruleset {
	ruleset := landlock.New(target)
	if handled := o.handled(); handled != target.Rights() {
		ruleset = landlock.NewHandling(handled)
	}
	if o.bestEffort {
		// Not a floor of 0, which would run the command without any sandbox.
		ruleset.BestEffort(landlock.V1)
	}
	for _, rule := range o.paths {
		if rule.optional || o.ignoreMissing {
			ruleset.AllowOptional(rule.access, rule.path)
		} else {
			ruleset.Allow(rule.access, rule.path)
		}
	}
	for _, rule := range o.ports {
		ruleset.AllowNet(rule.access, rule.port)
	}
	if !o.unrestrictedNetwork && !o.unrestrictedSockets {
		ruleset.FilterSockets()
	}
	return ruleset.Log(o.logFlags)
}

// addProgram adds the rules of --add-exec and --ldd for the program at path.
func (o *options) addProgram(path string) error {
	if o.addExec {
		o.paths = append(o.paths, pathRule{option: "--add-exec", path: path, access: readExecute})
	}
	if !o.ldd {
		return nil
	}
	needs, err := libraries.Of(path, o.env["LD_LIBRARY_PATH"])
	if err != nil {
		return fmt.Errorf("--ldd: %w", err)
	}
	if missing := errors.Join(needs.Missing...); missing != nil {
		if !o.ignoreMissing {
			return fmt.Errorf("--ldd: %w (--ignore-missing goes on without)", missing)
		}
		o.log.Info(name+": --ldd", "error", oneLine(missing))
	}
	for _, file := range slices.Concat(needs.Run, needs.Libraries) {
		o.paths = append(o.paths, pathRule{option: "--ldd", path: file, access: readExecute})
	}
	for _, file := range needs.Config {
		o.paths = append(o.paths, pathRule{option: "--ldd", path: file, access: landlock.FSReadFile, optional: true})
	}
	return nil
}

// refusal returns why the program cannot be run, where that is for want of a
// rule. It finds rules as the kernel does: by what is above a file, whatever
// the names are.
func (o *options) refusal(path string) error {
	if o.unrestrictedFilesystem {
		return nil
	}
	rules := o.ruleset()
	files, start, err := program.Chain(path)
	if err == nil && start.Interpreter != "" {
		files = append(files, start.Interpreter) // the loader
	}
	var denied []string
	for _, file := range files {
		err := rules.Check(readExecute, file)
		if _, refused := errors.AsType[*landlock.DeniedError](err); refused {
			denied = append(denied, file)
		} else if err != nil {
			return err // whether it is refused cannot be told
		}
	}
	if denied == nil {
		return nil
	}
	return fmt.Errorf("exec %s: %w: no option allows to run %q (see --add-exec, --ldd and --rox)", path, fs.ErrPermission, denied)
}

// print writes what --dry-run prints.
func (o *options) print(w io.Writer, program, report string) error {
	var command strings.Builder
	for _, argument := range o.command {
		fmt.Fprintf(&command, " %q", argument)
	}
	fmt.Fprintf(w, "report: %s\nprogram: %q\ncommand:%s\nenvironment: %q\n\n", report, program, command.String(), o.environ())
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "OPTION\tON\tALLOWS")
	for _, rule := range o.paths {
		fmt.Fprintf(table, "%s\t%q\t%v\n", rule.option, rule.path, landlock.Rights{FS: rule.access})
	}
	for _, rule := range o.ports {
		fmt.Fprintf(table, "%s\tport %d\t%v\n", rule.option, rule.port, landlock.Rights{Net: rule.access})
	}
	return table.Flush()
}
