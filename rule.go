package landlock

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Rule is one rule of a [Ruleset]: what one call says of one path or one port. It is a
// plain value, to be shown, stored (its JSON has the rights in words), compared with ==,
// and added to a ruleset by [Ruleset.Add]. The open file of [Ruleset.AllowFile] and the
// judge of [Ruleset.AllowIf] are not in it: their rules can be shown, and not added.
//
// In what Rules yields, and in a DeniedError, a rule for a path has a Port of -1, and one
// that is Quiet is Optional too. So to compare, set these as well:
//
//	rule == landlock.Rule{Path: "/etc", Port: -1, FS: landlock.FSRead}
//
// The zero Rule is no rule.
type Rule struct {
	Path string    `json:"path"` // as the caller has given it; empty for a port
	Port int       `json:"port"` // 0 to 65535; -1 for a path, of which Add also takes 0
	FS   AccessFS  `json:"fs"`   // what is allowed beneath Path, as asked for: handled or not
	Net  AccessNet `json:"net"`  // what is allowed on Port, as asked for: handled or not

	Optional bool `json:"optional"` // Path need not exist: AllowOptional, AllowIf and Quiet
	Judged   bool `json:"judged"`   // the file at Path is judged first: AllowIf
	Open     bool `json:"open"`     // it is for an open file, and Path its name: AllowFile
	Quiet    bool `json:"quiet"`    // nothing is allowed, and denials are kept out of the audit log: Quiet and QuietNet
}

// ruleFields is a Rule without methods, to be printed as it is.
type ruleFields Rule

// String returns the call that makes the rule, in Go, such as
//
//	AllowRead("/etc")
//	AllowConnectTCP(443)
//	Allow(landlock.FSReadFile|landlock.FSIoctlDev, "/dev/tty")
//
// For an open file it has the name, and for a judge the word judge. Of what no call
// makes it returns the fields.
func (r Rule) String() string {
	switch {
	case r == Rule{}:
		return "no rule"
	case r.misshapen() != nil:
		return fmt.Sprintf("Rule%+v", ruleFields(r))
	case r.isPort():
		call, access := r.netCall()
		return fmt.Sprintf("%s(%s%d)", call, access, r.Port)
	}
	call, access := r.fsCall()
	return fmt.Sprintf("%s(%s%q)", call, access, r.Path)
}

// fsCall returns the method that makes a rule for a path, and what its arguments begin
// with.
func (r Rule) fsCall() (call, access string) {
	access = goNames("landlock.FS", fsGroups, fsWords, uint64(r.FS)) + ", "
	switch {
	case r.Quiet:
		return "Quiet", access
	case r.Open:
		return "AllowFile", access
	case r.Judged:
		return "AllowIf", access + "judge, "
	case r.Optional:
		return "AllowOptional", access
	}
	switch r.FS {
	case FSRead:
		return "AllowRead", ""
	case FSReadWrite:
		return "AllowReadWrite", ""
	case FSReadExecute:
		return "AllowExecute", ""
	}
	return "Allow", access
}

// netCall is fsCall for a port.
func (r Rule) netCall() (call, access string) {
	access = goNames("landlock.Net", nil, netWords, uint64(r.Net)) + ", "
	if r.Quiet {
		return "QuietNet", access
	}
	switch r.Net {
	case NetBindTCP:
		return "AllowBindTCP", ""
	case NetConnectTCP:
		return "AllowConnectTCP", ""
	case NetBindUDP:
		return "AllowBindUDP", ""
	case NetConnectSendUDP:
		return "AllowSendUDP", ""
	}
	return "AllowNet", access
}

// goNames returns the names that rights have in Go, such as landlock.FSReadFile.
func goNames(prefix string, groups []group, w words, mask uint64) string {
	var names []string
	for _, word := range appendGroups(nil, groups, w, mask) {
		name := prefix
		for part := range strings.SplitSeq(word, "_") {
			switch part {
			case "tcp":
				name += "TCP"
			case "udp":
				name += "UDP"
			default:
				name += string(part[0]-'a'+'A') + part[1:]
			}
		}
		if strings.HasPrefix(word, "0x") {
			name = word // of an unknown right
		}
		names = append(names, name)
	}
	return cmp.Or(strings.Join(names, "|"), "0")
}

// isPort reports whether it is a rule for a port. The name of an open file may be empty,
// as a path that is a mistake is: what is for a path has -1.
func (r Rule) isPort() bool { return r.Path == "" && r.Port >= 0 }

// misshapen returns why no call makes such a rule, whatever the ruleset.
func (r Rule) misshapen() error {
	switch {
	case r == Rule{}:
		return invalid("the zero Rule is no rule")
	case r.Port < -1, r.Port > 65535, r.Port == -1 && r.Path == "" && r.FS == 0 && r.Net != 0:
		return invalid(fmt.Sprintf("port %d: must be 0 to 65535, or -1 for a path", r.Port))
	case !r.isPort() && (r.Port > 0 || r.Net != 0):
		return invalid("a rule is for a path or for a port, and not for both")
	case r.isPort() && r.FS != 0:
		return invalid("a rule for a port has no rights to files, and one for files has a path")
	case r.isPort() && (r.Optional || r.Judged || r.Open):
		return invalid("a rule for a port is never optional, judged or open")
	case r.Quiet && (r.Judged || r.Open):
		return invalid("a quiet rule allows nothing, and is never judged or open")
	case r.Judged && r.Open, r.Optional && r.Open:
		return invalid("a rule for an open file is never optional or judged")
	}
	return nil
}

var (
	errEmptyPath = invalid("empty path")
	errNUL       = invalid("path contains a NUL byte")
)

// wrongPath returns why no kernel would take a rule for a path.
func wrongPath(path string) error {
	switch {
	case path == "":
		return errEmptyPath
	case strings.IndexByte(path, 0) >= 0:
		return errNUL
	}
	return nil
}

// words returns what a rule allows, and where.
func (r Rule) words() (what, object string) {
	if r.isPort() {
		rights := appendGroups(nil, netGroups, netWords, uint64(r.Net))
		what, object = strings.Join(rights, ",")+" on port", fmt.Sprint(r.Port)
	} else {
		what, object = r.FS.brief()+" beneath", fmt.Sprintf("%q", r.Path)
	}
	switch {
	case r.Quiet:
		what = "quiet " + what
	case r.Judged:
		object += " (judged)"
	case r.Optional:
		object += " (optional)"
	case r.Open:
		object += " (open)"
	}
	return what, object
}

// RuleError says which rule of a ruleset is wrong, and why. Those of several rules are
// joined: [All] lists them.
type RuleError struct {
	Rule                // the one that is wrong, as the call has it
	Access fmt.Stringer // its FS, or for a port its Net
	Err    error        // why: unwraps to fs.ErrNotExist, fs.ErrInvalid and the like

	hint string // what to do about it
}

// Error returns the rule, the cause, and what to do where that can be told, such as
//
//	landlock: AllowReadWrite("/srv/data/x"): open: no such file or directory: make it first, or allow its directory
//
// The rule is named by the call that makes it, as by [Rule.String].
func (e *RuleError) Error() string {
	text := "landlock: rule"
	if e.Rule != (Rule{}) {
		text = "landlock: " + e.Rule.String()
	}
	if e.Err == nil {
		return text + " is wrong"
	}
	text += ": " + e.Err.Error()
	if e.hint != "" {
		text += ": " + e.hint
	}
	return text
}

// Unwrap returns the cause.
func (e *RuleError) Unwrap() error { return e.Err }

// wantedRule is a rule of a ruleset, with what a value cannot hold. The kernel adds up
// what several rules allow for one file.
type wantedRule struct {
	Rule
	file   *os.File             // Open: to use in place of Path
	judge  func(*os.File) error // Judged: says of what is found at Path why it is to have no rule
	preset bool                 // a preset of Use wants it: that it is skipped is not reported
}

// failed returns the error for a rule that cannot be had.
func (rule *wantedRule) failed(err error) *RuleError {
	e := &RuleError{Rule: rule.Rule, Access: rule.FS, Err: err}
	if rule.isPort() {
		e.Access = rule.Net
		return e
	}
	if rule.Optional || rule.Open {
		return e
	}
	switch {
	case errors.Is(err, errNoPlace):
		e.hint = "leave it out, or have AllowOptional, which skips it"
	case !errors.Is(err, fs.ErrNotExist):
	case rule.FS&fsMake == 0:
		e.hint = "AllowOptional skips what is not there"
	case filepath.Dir(filepath.Clean(rule.Path)) == "/":
		e.hint = "make it first"
	default:
		e.hint = "make it first, or allow its directory"
	}
	return e
}
