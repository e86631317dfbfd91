package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"example.com/landlock"
)

const usage = `usage: %[1]s [option ...] [--] command [argument ...]

Runs the command in a Landlock sandbox: what no option allows is denied, to it
and to everything that it starts. What is open already, such as the standard
streams, stays usable; typing into a terminal for others (TIOCSTI) is refused.
By a terminal that it shares the command can still interrupt and stop others
that have it: give one that needs no terminal other streams, and setsid(1).
The command is looked up in PATH and replaces %[1]s: its exit status is
its own. A mistake gives one line and exit status 1.

Files and directories, and all that is beneath them:
  --ro PATH                   read files, list directories
  --rox PATH                  --ro, and run programs
  --rw PATH                   --ro, and create, write, truncate, move, remove;
                              ioctl on devices such as a terminal; to make
                              device nodes stays denied
  --rwx PATH                  --rw, and run programs
  --unix PATH                 connect to a Unix socket, or all in a directory
  --add-exec                  read and run the command's own file
  --ldd                       the same for its loader, the interpreter of a
                              script and what it has env start, and read its
                              libraries; each has to be what it is needed for.
                              What a program loads later, such as plug-ins,
                              needs --ro
  --ignore-missing            skip paths and libraries that do not exist, and
                              paths that are a pipe or a socket in this run
  --unrestricted-filesystem   restrict no access to files

Network, by port; 0 is any port that the kernel picks:
  --bind-tcp PORT             bind a TCP socket to a local port
  --connect-tcp PORT          connect to a remote TCP port
  --bind-udp PORT             bind a UDP socket; sending wants port 0 as well
  --connect-udp PORT          connect or send to a remote UDP port
  --unrestricted-network      restrict no ports
  --unrestricted-sockets      allow sockets that no rule for ports is about:
                              Multipath TCP, raw, packet, ping, vsock and more

Processes outside the sandbox:
  --unrestricted-scoped       do not restrict signals and abstract Unix sockets

Environment, empty by default:
  --env NAME                  pass a variable on, if it is set
  --env NAME=VALUE            set a variable

Kernel:
  --best-effort               on an old kernel, restrict what it can and say
                              what it cannot; where that is everything, the
                              command does not run. By default all that is
                              known, to ABI 11 (Linux 7.3), must be restricted.
  --log-disable-originating   log no denials of the command itself (audit)
  --log-enable-subprocesses   log denials of the programs that it runs
  --log-disable-subdomains    log no denials of sandboxes that it makes
                              (the three need ABI 7, Linux 6.15)

Sandboxer itself:
  --status                    print what this kernel can restrict
  --dry-run                   print what would be enforced, with every rule
  --log-level LEVEL           error: mistakes alone; warn: what cannot be
                              restricted, too (default); info: the report,
                              too; debug: every rule, too
  --version                   print which build this is
  -h, --help                  print this

PATH, PORT and --env can be given many times, and as lists with commas. A comma
that belongs to a path or a value is written \, as in --env 'LIST=a\,b'.
`

// options is what the command line says.
type options struct {
	paths []pathRule
	ports []portRule
	env   map[string]string

	bestEffort, ignoreMissing bool
	unrestrictedFilesystem    bool
	unrestrictedNetwork       bool
	unrestrictedSockets       bool
	unrestrictedScoped        bool
	logFlags                  landlock.LogFlags

	addExec, ldd    bool
	status, version bool
	dryRun          bool
	log             *slog.Logger
	command         []string
}

var logLevels = map[string]slog.Level{
	"error": slog.LevelError,
	"warn":  slog.LevelWarn,
	"info":  slog.LevelInfo,
	"debug": slog.LevelDebug,
}

// parse reads the arguments up to the command. The error is flag.ErrHelp where
// help is wanted.
func parse(args []string) (*options, error) {
	o := &options{env: make(map[string]string)}
	flags := &optionSet{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError)}
	flags.SetOutput(io.Discard) // main prints the mistakes, each in one line
	level := slog.LevelWarn
	o.defineRules(flags)
	o.defineSwitches(flags)
	flags.option("log-level", func(text string) (err error) {
		var known bool
		if level, known = logLevels[text]; !known {
			err = fmt.Errorf("%q: must be error, warn, info or debug", text)
		}
		return err
	})
	if err := flags.parse(args); err != nil {
		return nil, err
	}
	o.log, o.command = newLog(level), flags.Args()
	printed := o.status || o.version
	switch {
	case printed && len(o.command) > 0:
		return nil, fmt.Errorf("--status and --version run no command, such as %q", o.command[0])
	case !printed && len(o.command) == 0:
		return nil, errors.New("no command (see --help)")
	}
	o.dropUseless()
	return o, nil
}

// optionSet gives mistakes in options the words of this program.
type optionSet struct {
	*flag.FlagSet
	mistake error // in the value of an option
}

// option defines an option with a value. The error of set begins with the value.
func (s *optionSet) option(name string, set func(text string) error) {
	s.Func(name, "", func(text string) error { return s.keep(name, set(text)) })
}

// toggle defines an option that is on or off.
func (s *optionSet) toggle(name string, set func(on bool)) {
	s.BoolFunc(name, "", func(text string) error {
		on, err := strconv.ParseBool(text)
		if err != nil {
			return s.keep(name, fmt.Errorf("%q: must be true or false", text))
		}
		set(on)
		return nil
	})
}

func (s *optionSet) keep(name string, err error) error {
	if err != nil {
		s.mistake = fmt.Errorf("--%s %w", name, err)
	}
	return err
}

func (s *optionSet) parse(args []string) error {
	err := s.Parse(args)
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return err
	case s.mistake != nil:
		return s.mistake
	}
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		text = "unknown option --" + name
	} else if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		text = "--" + name + " needs a value"
	}
	return errors.New(text + " (see --help)")
}

func (o *options) defineRules(flags *optionSet) {
	list := func(name string, add func(element string) error) {
		flags.option(name, func(text string) error {
			elements, err := splitList(text)
			for i := 0; i < len(elements) && err == nil; i++ {
				err = add(elements[i])
			}
			return err
		})
	}
	for name, access := range pathOptions {
		list(name, func(path string) error {
			o.paths = append(o.paths, pathRule{option: "--" + name, path: path, access: access})
			return nil
		})
	}
	for name, access := range portOptions {
		list(name, func(text string) error {
			port, err := strconv.ParseUint(text, 10, 16)
			if err != nil {
				return fmt.Errorf("%q: no port, a number from 0 to 65535", text)
			}
			o.ports = append(o.ports, portRule{option: "--" + name, port: uint16(port), access: access})
			return nil
		})
	}
	flags.option("env", o.addEnv)
}

func (o *options) defineSwitches(flags *optionSet) {
	for name, value := range map[string]*bool{
		"best-effort":             &o.bestEffort,
		"ignore-missing":          &o.ignoreMissing,
		"unrestricted-filesystem": &o.unrestrictedFilesystem,
		"unrestricted-network":    &o.unrestrictedNetwork,
		"unrestricted-sockets":    &o.unrestrictedSockets,
		"unrestricted-scoped":     &o.unrestrictedScoped,
		"add-exec":                &o.addExec,
		"ldd":                     &o.ldd,
		"status":                  &o.status,
		"version":                 &o.version,
		"dry-run":                 &o.dryRun,
	} {
		flags.toggle(name, func(on bool) { *value = on })
	}
	for name, bit := range map[string]landlock.LogFlags{
		"log-disable-originating": landlock.LogSameExecOff,
		"log-enable-subprocesses": landlock.LogNewExecOn,
		"log-disable-subdomains":  landlock.LogSubdomainsOff,
	} {
		flags.toggle(name, func(on bool) {
			if o.logFlags &^= bit; on {
				o.logFlags |= bit
			}
		})
	}
}

// splitList splits text at its commas, less those with a backslash before them.
func splitList(text string) ([]string, error) {
	const escaped = "\x00" // no argument of a program can contain it
	list := strings.Split(strings.ReplaceAll(text, `\,`, escaped), ",")
	for i, element := range list {
		if element == "" {
			return nil, fmt.Errorf("%q: an element is empty", text)
		}
		list[i] = strings.ReplaceAll(element, escaped, ",")
	}
	return list, nil
}

// addEnv adds the variables in text. A name after NAME=VALUE that is not set
// is most likely the rest of a value that has a comma: half a value would be a
// surprise.
func (o *options) addEnv(text string) error {
	elements, err := splitList(text)
	if err != nil {
		return err
	}
	afterValue := false
	for _, element := range elements {
		name, value, given := strings.Cut(element, "=")
		if name == "" {
			return fmt.Errorf("%q: no name", element)
		}
		set := given
		if !given {
			value, set = os.LookupEnv(name)
		}
		switch {
		case set:
			o.env[name] = value
		case afterValue:
			return fmt.Errorf(`%q: not set: write \, for a comma in a value, or --env once more`, name)
		}
		afterValue = afterValue || given
	}
	return nil
}

// environ returns the command's environment.
func (o *options) environ() []string {
	env := make([]string, 0, len(o.env))
	for _, name := range slices.Sorted(maps.Keys(o.env)) {
		env = append(env, name+"="+o.env[name])
	}
	return env
}
