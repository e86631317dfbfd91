package landlock

import (
	"fmt"
	"log/slog"
	"strings"
)

// Report says what a kernel made of a ruleset. Enforced and Missing together
// are the rights that the ruleset handles.
type Report struct {
	// Kernel is what the running kernel offers; the zero value where there
	// is no Landlock.
	Kernel Kernel
	// Enforced is denied now, except where a rule allows it. Where it is
	// empty there is no sandbox.
	Enforced Rights
	// Missing is handled by the ruleset, but this kernel cannot restrict
	// it: it is still allowed everywhere. Only BestEffort lets that happen.
	Missing Rights
	// Denied is allowed by a rule, but this kernel denies it everywhere:
	// FSRefer on ABI 1, where files cannot move between directories.
	Denied AccessFS
	// Skipped are the paths of AllowOptional that did not exist.
	Skipped []string
	// MissingLog are the flags of Log that this kernel does not know: it
	// logs by its own defaults, below ABI 7 not at all.
	MissingLog LogFlags
	// MissingQuiet says that the ruleset has quiet rules, and this kernel
	// logs their denials all the same.
	MissingQuiet bool
}

// Complete reports whether everything that the ruleset asks for is in force:
// nothing is missing, and no rule is denied. Skipped paths do not count.
func (r Report) Complete() bool {
	return r.Missing.isZero() && r.Denied == 0 && r.MissingLog == 0 && !r.MissingQuiet
}

// String returns the report in one line, for people.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v; ", r.Kernel)
	if r.Enforced.isZero() {
		b.WriteString("NOT SANDBOXED, nothing is enforced")
	} else {
		fmt.Fprintf(&b, "enforced: %v", r.Enforced)
	}
	if !r.Missing.isZero() {
		fmt.Fprintf(&b, "; still allowed, this kernel cannot restrict it: %v", r.Missing)
	}
	if r.Denied != 0 {
		fmt.Fprintf(&b, "; denied although a rule allows it: %v", Rights{FS: r.Denied})
	}
	if r.MissingLog != 0 {
		fmt.Fprintf(&b, "; without %v", r.MissingLog)
	}
	if r.MissingQuiet {
		b.WriteString("; without quiet rules")
	}
	if len(r.Skipped) > 0 {
		fmt.Fprintf(&b, "; skipped, not there: %q", r.Skipped)
	}
	return b.String()
}

// LogValue returns the report as a group for [log/slog], without the fields
// that have nothing to say.
func (r Report) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.Int("abi", int(r.Kernel.ABI)),
		slog.String("errata", r.Kernel.Errata.String()),
		slog.Bool("complete", r.Complete()),
		slog.String("enforced", r.Enforced.String()),
	}
	if !r.Missing.isZero() {
		attrs = append(attrs, slog.String("missing", r.Missing.String()))
	}
	if r.Denied != 0 {
		attrs = append(attrs, slog.String("denied", r.Denied.String()))
	}
	if r.MissingLog != 0 {
		attrs = append(attrs, slog.String("missing_log", r.MissingLog.String()))
	}
	if r.MissingQuiet {
		attrs = append(attrs, slog.Bool("missing_quiet", true))
	}
	if len(r.Skipped) > 0 {
		attrs = append(attrs, slog.Any("skipped", r.Skipped))
	}
	return slog.GroupValue(attrs...)
}
