package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
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
	option string
	path   string
	file   *os.File // to use in place of path, which is its name
	access landlock.AccessFS
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
		switch {
		case rule.file != nil:
			ruleset.AllowFile(rule.access, rule.file)
		case o.ignoreMissing:
			ruleset.AllowOptional(rule.access, rule.path)
		default:
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

// addProgram adds the rules of --add-exec and --ldd for the program at path. They are
// for the files that were looked at: whoever can write where the program lies may put
// another one there meanwhile.
func (o *options) addProgram(path string) error {
	switch {
	case o.ldd:
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
		if o.addExec {
			o.addFiles("--add-exec", readExecute, needs.Program)
		}
		o.addFiles("--ldd", readExecute, needs.Run...)
		o.addFiles("--ldd", landlock.FSReadFile, slices.Concat(needs.Libraries, needs.Config)...)
	case o.addExec:
		file, err := program.Executable(path)
		if err != nil {
			return fmt.Errorf("--add-exec: %w (--rox on a path asks nothing)", err)
		}
		o.addFiles("--add-exec", readExecute, file.File)
	}
	return nil
}

func (o *options) addFiles(option string, access landlock.AccessFS, files ...*os.File) {
	for _, file := range files {
		o.paths = append(o.paths, pathRule{option: option, path: file.Name(), file: file, access: access})
	}
}

// refusal returns err, of the program's execve, in this program's terms where it is for
// want of an option, and else as it is.
func refusal(err error, path string) error {
	var files, missing []string
	for _, denied := range landlock.All[*landlock.DeniedError](err) {
		files = append(files, denied.Path)
		if option := optionFor(denied.Rule); option != "" {
			missing = append(missing, option)
		}
	}
	if files == nil {
		return err
	}
	advice := " (see --add-exec, --ldd and --rox)"
	if len(missing) == len(files) {
		advice = ": " + strings.Join(missing, " ") + " would allow it"
	}
	return fmt.Errorf("exec %s: %w: no option allows to run %q%s", path, fs.ErrPermission, files, advice)
}

// wouldFail returns why the program cannot be run in the sandbox, as far as that shows
// before it is tried.
func wouldFail(sandbox *landlock.Sandbox, path string) error {
	denied := &fs.PathError{Op: "exec", Path: path, Err: syscall.EACCES}
	explained := sandbox.Explain(denied)
	if explained == error(denied) { // it is not
		_, err := program.Chain(path)
		return err
	}
	return refusal(explained, path)
}

// optionFor returns the narrowest of some options that has all that a rule has: none for
// the zero Rule.
func optionFor(rule landlock.Rule) string {
	for _, name := range []string{"ro", "rox", "rw", "rwx"} {
		if rule.FS != 0 && rule.FS&^pathOptions[name] == 0 {
			return fmt.Sprintf("--%s %q", name, rule.Path)
		}
	}
	return ""
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
