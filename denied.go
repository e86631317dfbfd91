package landlock

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"example.com/landlock/internal/place"
)

// DeniedError says which rights a ruleset does not allow on a path or a port,
// and what would. It Is [io/fs.ErrPermission]. Explain returns several where it takes
// several rules: [All] lists them.
//
// Without Guess the ruleset refuses what the error is about, and adding its Rule, or
// what the text says where there is none, lets it through, unless something else
// refuses it as well: what another DeniedError of the same explanation is about, or
// what is in Uncertain.
type DeniedError struct {
	Path    string   // as resolved; empty for a port, a scope, and where what failed names no file
	Port    int      // -1 for a path and for a scope; meant only where Path is empty and Missing.Net is not
	Missing Rights   // those that were asked for and are denied; none for a process outside the sandbox
	Nearest string   // the path of the nearest rule above, as the ruleset has it; empty where there is none
	Allowed AccessFS // what is allowed there
	// Guess: something else that is known may be the reason as well, and what was
	// tried is not known well enough to tell. Uncertain says what.
	Guess bool
	// Uncertain says what else may be the reason, or missing; empty where nothing can be.
	Uncertain string

	// Rule is what to add to the ruleset, by [Ruleset.Add]: what people would write. For
	// files that is the narrowest of AllowRead, AllowExecute and AllowReadWrite that has
	// what is missing, so it may allow more: to make a file, AllowReadWrite of its
	// directory. The least is Missing alone: set Rule.FS to Missing.FS. (Rule has no
	// more where none of the three has what is missing, and where all that is missing is
	// to write or truncate what is in a directory.)
	//
	// Of a device Explain names the preset that is made for it in the text, and Rule has
	// what that preset gives this one path: mostly to read and write, since an error does
	// not say what it was opened for, and to control terminals.
	//
	// It is the zero Rule, which is a mistake to add, and the text says what there is,
	//   - where no rule would do, or is not known, as for a scope;
	//   - where it takes more than one, or a preset, as for a program and its libraries;
	//   - where nobody is to be advised one: to write beneath a directory of the system's.
	Rule Rule

	what    string // what is denied, in place of rights that no rule allows
	instead string // what would allow it, in place of Rule
	with    string // what else is to be said of either
}

// Error says in one line what is missing, what there is, and what to add, such as
//
//	landlock: no rule for write_file on /srv/data/x, only for read_file,read_dir on /srv: AllowReadWrite("/srv/data/x") would allow it
func (e *DeniedError) Error() string { return e.text("") }

// text is Error for who has named a path already.
func (e *DeniedError) text(named string) string {
	text := "landlock: "
	if e.Guess {
		text += "a guess: "
	}
	text += e.subject(named)
	if remedy := e.remedy(" would allow it"); remedy != "" {
		text += ": " + remedy
	}
	if e.Uncertain != "" {
		text += " (" + e.Uncertain + ")"
	}
	return text
}

func (e *DeniedError) subject(named string) string {
	switch {
	case e.what != "" && (e.Path == "" || e.Path == named):
		return e.what
	case e.what != "":
		return printable(e.Path) + ": " + e.what
	case e.Missing.Scope != 0:
		return fmt.Sprintf("%v outside the sandbox: the ruleset's scope denies it, and no rule can allow it", e.Missing.Scope)
	case e.Path == "" && e.Missing.Net != 0 && e.Port >= 0:
		return fmt.Sprintf("no rule for %v on port %d", e.Missing.Net, e.Port)
	}
	text := "access denied"
	if e.Missing == (Rights{FS: e.Missing.FS}) && e.Missing.FS != 0 {
		text = "no rule for " + e.Missing.FS.String()
	} else if !e.Missing.isZero() {
		text = "no rule for " + e.Missing.String()
	}
	if e.Path != "" && e.Path != named {
		text += " on " + printable(e.Path)
	}
	switch e.Nearest {
	case "":
		return text
	case e.Path:
		return fmt.Sprintf("%s, only for %v", text, e.Allowed)
	}
	return fmt.Sprintf("%s, only for %v on %s", text, e.Allowed, printable(e.Nearest))
}

// Is reports whether target is [io/fs.ErrPermission].
func (e *DeniedError) Is(target error) bool { return target == fs.ErrPermission }

// suggest notes the rule that would allow what is missing.
func (e *DeniedError) suggest(rule Rule) { e.Rule, e.instead, e.with = rule, "", "" }

// suggestText notes what would allow it where no rule does.
func (e *DeniedError) suggestText(text string) { e.Rule, e.instead, e.with = Rule{}, text, "" }

// remedy returns what would allow it, with a verb for that; empty where nothing does.
func (e *DeniedError) remedy(verb string) string {
	call := e.instead
	if call == "" && e.Rule != (Rule{}) {
		call = e.Rule.String()
	}
	if call == "" {
		return ""
	}
	return call + verb + e.with
}

// also adds to e what is missing elsewhere. Where that takes a rule of its own there are
// two, and none that would do alone.
func (e *DeniedError) also(more *DeniedError) {
	both := more.Rule.FS&e.Missing.FS == e.Missing.FS && isBeneath(e.Path, more.Rule.Path)
	e.Missing.FS |= more.Missing.FS
	switch own, other := e.Rule, more.Rule; {
	case other == Rule{}:
		e.suggestText(more.instead)
	case both:
		e.suggest(other)
	case own != Rule{}:
		e.suggestText(own.String() + " and " + other.String())
	}
}

// advise notes the rule that would allow what is missing: for the file itself, or its
// directory where files are made and removed. There is none where that would be to write
// beneath a directory of the system's, or where the kernel takes none.
func (c *checker) advise(e *DeniedError, missing AccessFS, p *place.Place) {
	e.suggestText("")
	if c.kernel.ABI == V1 && missing&FSRefer != 0 {
		return
	}
	on := p.Path
	if (missing&^fsFile != 0 || !p.Exists()) && !p.IsDirectory() {
		on = filepath.Dir(p.Path)
	}
	c.adviseOn(e, missing, on, on != p.Path || p.IsDirectory())
}

// adviseOn is advise for a path, which may be a directory's.
func (c *checker) adviseOn(e *DeniedError, missing AccessFS, on string, directory bool) {
	if strings.HasPrefix(on, "/proc/") {
		on, directory = "/proc", true // the kernel loses rules for what is beneath, and the next process has other files there
	}
	if directory && missing&^(FSReadExecute|FSIoctlDev|FSResolveUnix) != 0 && isSystems(on) {
		e.suggestText(fmt.Sprintf("only a rule to write beneath %s", printable(on)))
		return
	}
	access := helpers(missing, directory)
	if c.strict && c.kernel.ABI == V1 {
		access &^= FSRefer // which it denies in spite of a rule, and a strict ruleset is not loaded then
	}
	e.suggest(Rule{Path: on, Port: -1, FS: access})
}

// helpers returns the rights of the narrowest helper that has those that are missing, and
// these alone where none has them.
func helpers(missing AccessFS, directory bool) AccessFS {
	if directory && missing&^(FSWriteFile|FSTruncate) == 0 {
		return missing // AllowReadWrite also lets all that is beneath be read and removed
	}
	for _, helper := range []AccessFS{FSRead, FSReadExecute, FSReadWrite} {
		if missing&^helper == 0 {
			return helper
		}
	}
	return missing
}

// isSystems reports whether a directory is one of the system's, beneath which nobody is
// advised to let a program write.
func isSystems(dir string) bool {
	switch dir {
	case "/", "/home", "/opt", "/root", "/run", "/srv", "/var":
		return true
	}
	if shared := "/dev/shm"; dir == shared || strings.HasPrefix(dir, shared+"/") {
		return false
	}
	top, _, _ := strings.Cut(strings.TrimPrefix(dir, "/"), "/")
	switch top {
	case "bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "sys", "usr":
		return true
	}
	return false
}

// withAllUDP says of an error for ports what else its rule allows. A strict ruleset is not
// loaded with the rule: the filter cannot stand in for the rights any more.
func (c *checker) withAllUDP(e *DeniedError) {
	if e.Missing.Net&c.refused.Net == 0 {
		return
	}
	if c.strict {
		e.suggestText(e.remedy("") + " and BestEffort")
	}
	e.with = allUDP
}

const allUDP = ", and all other UDP with it: the socket filter refuses UDP as a whole, and this kernel cannot tell its ports apart"

// certain reports whether one of the reasons is more than a guess.
func certain(reasons []error) bool {
	for _, reason := range reasons {
		if denied, ok := reason.(*DeniedError); ok && !denied.Guess {
			return true
		}
	}
	return false
}

// guess makes reasons guesses, and says why they are.
func guess(reasons []error, why string) []error {
	for _, reason := range reasons {
		if denied, ok := reason.(*DeniedError); ok {
			denied.Guess = true
		}
	}
	return uncertain(reasons, why)
}

// uncertain adds what is not known to each reason.
func uncertain(reasons []error, why string) []error {
	for _, reason := range reasons {
		if denied, ok := reason.(*DeniedError); ok {
			denied.Uncertain = strings.TrimPrefix(denied.Uncertain+"; "+why, "; ")
		}
	}
	return reasons
}
