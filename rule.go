package landlock

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
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

// Rules yields the rules of the ruleset in the caller's order: one for each path and
// each port of each call, those of presets and the quiet ones too. A rule that is a
// mistake is none.
func (r *Ruleset) Rules() iter.Seq[Rule] {
	return func(yield func(Rule) bool) {
		rules := r.orEmpty().rules // those of now, whatever is added meanwhile
		for i := range rules {
			if !yield(rules[i].Rule) {
				return
			}
		}
	}
}

// Add adds rules as values: those of [DeniedError], of another ruleset, or made by a
// program. It does what the call does that [Rule.String] returns. Of another ruleset it
// takes all rules but those with an open file or a judge, which are not in a Rule:
//
//	for rule := range other.Rules() {
//		if !rule.Open && !rule.Judged {
//			r.Add(rule)
//		}
//	}
//	r.Use(preset.DNS).AllowFile(landlock.FSRead, file) // again, as other does
//
// Those are the rules of AllowFile and AllowIf, so call these again; and each preset of
// package [example.com/landlock/preset] has some, so Use it again. What it also adds
// then is there twice, which allows no more. Rules with no right that r handles have to
// be left out too.
//
// A rule that was a preset's is one like any other then: a path that it skips is named
// in [Report].Skipped. Mistakes are those of [Ruleset.Allow] and [Ruleset.AllowNet],
// and besides them, each a [RuleError] with the Rule in it: a rule that is Open or
// Judged; one for a path and a port, or for neither; FS on a port or Net on a path; a
// port above 65535; an optional port; and the zero Rule.
func (r *Ruleset) Add(rules ...Rule) *Ruleset {
	if r == nil {
		return nil
	}
	for _, rule := range rules {
		wrong := rule.misshapen()
		switch {
		case wrong != nil:
		case rule.Open:
			wrong = invalid("a Rule has no open file: call AllowFile with it")
		case rule.Judged:
			wrong = invalid("a Rule has no judge: call AllowIf with it")
		case rule.isPort():
			wrong = r.wrong(Rights{Net: rule.Net}, 1)
		default:
			rule.Port = -1
			rule.Optional = rule.Optional || rule.Quiet
			wrong = cmp.Or(r.wrong(Rights{FS: rule.FS}, 1), wrongPath(rule.Path))
		}
		r.addRule(&wantedRule{Rule: rule}, wrong)
	}
	return r
}

// wantedRule is a rule of a ruleset, with what a value cannot hold. The kernel adds up
// what several rules allow for one file.
type wantedRule struct {
	Rule
	file   *os.File             // Open: to use in place of Path
	judge  func(*os.File) error // Judged: says of what is found at Path why it is to have no rule
	preset bool                 // a preset of Use wants it: that it is skipped is not reported
}

// addRule adds a rule, or keeps the mistake that it is.
func (r *Ruleset) addRule(rule *wantedRule, wrong error) {
	if wrong != nil {
		r.mistakes = append(r.mistakes, rule.failed(wrong))
		return
	}
	rule.preset = r.preset != nil
	r.rules = append(r.rules, *rule)
	if rule.Quiet {
		r.quiet.FS |= rule.FS
		r.quiet.Net |= rule.Net
	}
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
	case path.Dir(path.Clean(rule.Path)) == "/":
		e.hint = "make it first"
	default:
		e.hint = "make it first, or allow its directory"
	}
	return e
}
