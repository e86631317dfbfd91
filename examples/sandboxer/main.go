// Sandboxer runs a command in a Landlock sandbox. What no option allows is
// denied, to the command and to everything that it starts:
//
//	go run ./examples/sandboxer --best-effort --add-exec --ldd --ro . ls -l
//
// With --help it lists its options, with --status what this kernel can do, and
// with --dry-run what it would do.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"example.com/landlock"
)

// name is what this program was called by. (On an old kernel that may be
// nothing at all.)
var name = filepath.Base(append(os.Args, "sandboxer")[0])

func main() {
	if err := run(os.Args[min(1, len(os.Args)):]); err != nil {
		fmt.Fprintln(os.Stderr, name+":", oneLine(err))
		os.Exit(1)
	}
}

// oneLine returns the text of err. Joined errors have a line each.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// run does not return where the command runs: that has replaced this process,
// so its exit status and the signals that it gets are its own.
func run(args []string) error {
	o, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, err := fmt.Printf(usage, name)
		return err
	case err != nil:
		return err
	case o.status:
		return printStatus(os.Stdout)
	case o.version:
		return printVersion(os.Stdout)
	}
	if o.unrestricted() {
		return o.runUnrestricted()
	}
	return o.runSandboxed()
}

func (o *options) runSandboxed() error {
	if _, err := landlock.Probe(); err != nil {
		return err // there is nothing to be done here, whatever the options
	}
	program, err := exec.LookPath(o.command[0])
	if err != nil {
		return err
	}
	if err := o.addProgram(program); err != nil {
		return err
	}
	sandbox, err := o.ruleset().Prepare()
	if err != nil {
		return o.explain(err)
	}
	defer sandbox.Close()
	report := sandbox.Report()
	if o.dryRun {
		return errors.Join(o.print(os.Stdout, program, report.String()), wouldFail(sandbox, program))
	}
	o.logReport(report)
	if err := o.protectTerminal(); err != nil {
		return err
	}
	err = sandbox.Exec(program, o.command, o.environ())
	return refusal(err, program)
}

// protectTerminal keeps the command from typing. Where that cannot be done it
// is an error, unless best effort will do.
func (o *options) protectTerminal() error {
	err := refuseTyping()
	if err == nil {
		return nil
	}
	err = fmt.Errorf("the command could type into a terminal that it shares: %w", err)
	if !o.bestEffort {
		return err
	}
	o.log.Warn(name + ": " + err.Error())
	return nil
}

// runUnrestricted runs the command where the options leave nothing to
// restrict. Three of them have to say so, and still it is not done in silence.
func (o *options) runUnrestricted() error {
	program, err := exec.LookPath(o.command[0])
	if err != nil {
		return err
	}
	const warning = "NOT SANDBOXED: filesystem, network and scopes are all unrestricted"
	if o.dryRun {
		return o.print(os.Stdout, program, warning)
	}
	o.log.Error(name + ": " + warning) // at every level
	return &fs.PathError{Op: "exec", Path: program, Err: execve(program, o.command, o.environ())}
}

// explain puts what the library says into this program's terms.
func (o *options) explain(err error) error {
	if old, ok := err.(*landlock.UnsupportedError); ok {
		return o.explainOld(old)
	}
	var rules []error // what is wrong besides is told once these are mended
	for _, rule := range landlock.All[*landlock.RuleError](err) {
		rules = append(rules, o.explainRule(rule))
	}
	if len(rules) == 0 {
		return err
	}
	return errors.Join(rules...)
}

// explainRule names the option of a rule, and not all the rights that it has.
func (o *options) explainRule(err *landlock.RuleError) error {
	for _, rule := range o.paths {
		if rule.path == err.Path && rule.access == err.FS {
			return fmt.Errorf("%s %q: %w", rule.option, rule.path, err.Err)
		}
	}
	return err
}

func (o *options) explainOld(old *landlock.UnsupportedError) error {
	if old.MissingSocketFilter && old.Needed <= old.Kernel.ABI {
		return fmt.Errorf("%w: --unrestricted-sockets goes without a filter, and so does --best-effort", errors.Unwrap(old))
	}
	var missing []string
	if old.Missing != (landlock.Rights{}) {
		missing = append(missing, old.Missing.String())
	}
	if old.MissingLog != 0 {
		missing = append(missing, old.MissingLog.String())
	}
	text := fmt.Sprintf("%v is needed", old.Needed)
	if len(missing) > 0 {
		text += " for " + strings.Join(missing, ",")
	}
	text += fmt.Sprintf(", this kernel has %v: ", old.Kernel.ABI)
	if o.bestEffort {
		return errors.New(text + "nothing at all would be restricted")
	}
	return errors.New(text + "--best-effort restricts what it can")
}

// logReport logs what is enforced, and what is not although it was asked for.
func (o *options) logReport(report landlock.Report) {
	if !report.Complete() {
		var attrs []any
		if report.Missing != (landlock.Rights{}) {
			attrs = append(attrs, "still_allowed", report.Missing.String())
		}
		if report.Denied != 0 {
			attrs = append(attrs, "denied", report.Denied.String())
		}
		if report.MissingLog != 0 {
			attrs = append(attrs, "missing_log", report.MissingLog.String())
		}
		if report.MissingSocketFilter {
			attrs = append(attrs, "missing_socket_filter", true)
		}
		o.log.Warn(name+": this kernel cannot do all of it", attrs...)
	}
	o.log.Info(name+": sandbox", "report", report)
	for _, rule := range o.paths {
		o.log.Debug(name+": rule", "path", rule.path, "access", rule.access.String(), "option", rule.option)
	}
	for _, rule := range o.ports {
		o.log.Debug(name+": rule", "port", rule.port, "access", rule.access.String(), "option", rule.option)
	}
}

// newLog returns a log to standard error without the time, which says nothing
// about a program that runs for a moment.
func newLog(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, attr slog.Attr) slog.Attr {
			if len(groups) == 0 && attr.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return attr
		},
	}))
}
