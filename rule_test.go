package landlock

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/landlock/internal/testenv"
)

// A rule is named by the call that makes it.
func TestRuleString(t *testing.T) {
	for _, test := range []struct {
		rule Rule
		want string
	}{
		{Rule{}, "no rule"},
		{Rule{Path: "/etc", Port: -1, FS: FSRead}, `AllowRead("/etc")`},
		{Rule{Path: "/etc", FS: FSRead}, `AllowRead("/etc")`},
		{Rule{Path: "/tmp/a\n", Port: -1, FS: FSReadWrite}, `AllowReadWrite("/tmp/a\n")`},
		{Rule{Path: "/bin", Port: -1, FS: FSReadExecute}, `AllowExecute("/bin")`},
		{Rule{Path: "/dev/tty", Port: -1, FS: FSReadFile | FSIoctlDev}, `Allow(landlock.FSReadFile|landlock.FSIoctlDev, "/dev/tty")`},
		{Rule{Path: "/x", Port: -1, FS: FSReadWrite | FSExecute}, `Allow(landlock.FSRead|landlock.FSWrite|landlock.FSExecute, "/x")`},
		{Rule{Path: "/x", Port: -1, FS: FSRead, Optional: true}, `AllowOptional(landlock.FSRead, "/x")`},
		{Rule{Path: "/x", Port: -1, FS: FSRead, Optional: true, Judged: true}, `AllowIf(landlock.FSRead, judge, "/x")`},
		{Rule{Path: "/x", Port: -1, FS: FSRead, Open: true}, `AllowFile(landlock.FSRead, "/x")`},
		{Rule{Path: "/x", Port: -1, FS: FSRead, Optional: true, Quiet: true}, `Quiet(landlock.FSRead, "/x")`},
		{Rule{Path: "/x", Port: -1, FS: FSReadFile | 1<<20}, `Allow(landlock.FSReadFile|0x100000, "/x")`},
		{Rule{Port: -1, FS: FSRead, Open: true}, `AllowFile(landlock.FSRead, "")`},
		{Rule{Port: 443, Net: NetConnectTCP}, "AllowConnectTCP(443)"},
		{Rule{Port: 0, Net: NetBindTCP}, "AllowBindTCP(0)"},
		{Rule{Port: 53, Net: NetBindUDP}, "AllowBindUDP(53)"},
		{Rule{Port: 53, Net: NetConnectSendUDP}, "AllowSendUDP(53)"},
		{Rule{Port: 53, Net: NetConnectTCP | NetConnectSendUDP}, "AllowNet(landlock.NetConnectTCP|landlock.NetConnectSendUDP, 53)"},
		{Rule{Port: 53, Net: NetConnectTCP, Quiet: true}, "QuietNet(landlock.NetConnectTCP, 53)"},
		{Rule{Port: 65536, Net: NetBindTCP}, "Rule{Path: Port:65536 FS:none Net:bind_tcp Optional:false Judged:false Open:false Quiet:false}"},
	} {
		if got := test.rule.String(); got != test.want {
			t.Errorf("%#v: %s\nwant %s", test.rule, got, test.want)
		}
		if got := fmt.Sprint(test.rule); got != test.want {
			t.Errorf("printed: %s, want %s", got, test.want)
		}
	}
}

// What a ruleset says has one form in JSON, with the names and words of a Report's.
func TestRuleJSON(t *testing.T) {
	for _, test := range []struct {
		rule Rule
		want string
	}{
		{Rule{Path: "/dev/tty", Port: -1, FS: FSReadFile | FSIoctlDev, Optional: true, Judged: true},
			`{"path":"/dev/tty","port":-1,"fs":"read_file,ioctl_dev","net":"none","optional":true,"judged":true,"open":false,"quiet":false}`},
		{Rule{Port: 0, Net: NetBindTCP | 1<<20, Quiet: true},
			`{"path":"","port":0,"fs":"none","net":"bind_tcp,0x100000","optional":false,"judged":false,"open":false,"quiet":true}`},
		{Rule{Path: "x", Port: -1, FS: FSRead, Open: true},
			`{"path":"x","port":-1,"fs":"read_file,read_dir","net":"none","optional":false,"judged":false,"open":true,"quiet":false}`},
	} {
		var back Rule
		text, err := json.Marshal(test.rule)
		if backErr := json.Unmarshal(text, &back); err != nil || backErr != nil || string(text) != test.want || back != test.rule {
			t.Errorf("JSON %s, %v, and back %v, %v\nwant %s", text, err, back, backErr, test.want)
		}
	}
	options := Options{BestEffort: true, Floor: V4, FilterSockets: true, Log: LogNewExecOn, QuietScope: ScopeSignal}
	const want = `{"best_effort":true,"floor":4,"new_privs":false,"filter_sockets":true,"log":"log_new_exec_on","quiet_scope":"signal"}`
	var back Options
	text, err := json.Marshal(options)
	if backErr := json.Unmarshal(text, &back); err != nil || backErr != nil || string(text) != want || back != options {
		t.Errorf("JSON %s, %v, and back %+v, %v\nwant %s", text, err, back, backErr, want)
	}
}

// What is returned can be compared with what is written.
func TestRulesCompare(t *testing.T) {
	r := New(V11).AllowRead("/a").Add(Rule{Path: "/a", FS: FSRead}, Rule{Path: "/q", FS: FSRead, Quiet: true}).Quiet(FSRead, "/q").AllowFile(FSRead, nil).AllowFile(FSRead, os.Stdin).AllowRead("").
		AllowIf(FSRead, func(*os.File) error { return nil }, "/a")
	for _, wrong := range All[*RuleError](errors.Join(r.Mistakes()...)) {
		if wrong.Port != -1 {
			t.Errorf("%+v", ruleFields(wrong.Rule))
		}
	}
	for rule := range r.Rules() {
		if rule.Port != -1 || rule.Quiet && !rule.Optional {
			t.Errorf("%+v", ruleFields(rule))
		}
	}
	rules := slices.Collect(r.Rules())
	if rules[0] != (Rule{Path: "/a", Port: -1, FS: FSRead}) || rules[1] != rules[0] || rules[3] != rules[2] {
		t.Errorf("%v", rules)
	}
}

// Every kind of rule is the same once it was told as a value and added again, but for
// those that take a file or a judge.
func TestAddAgain(t *testing.T) {
	want := New(V11).
		AllowRead("/a", "b").AllowConnectTCP(443, 0).AllowReadWrite("/a").AllowExecute("/x").
		Allow(FSReadFile|FSIoctlDev, "/dev/tty").Allow(V11.FS(), "/all").AllowBindTCP(65535).
		AllowOptional(FSRead, "/o").Quiet(FSWrite, "/q", "/r").QuietNet(NetBindUDP, 7).
		AllowNet(V11.Net(), 8).AllowRead("/a").
		Use(func(r *Ruleset) error { r.AllowOptional(FSRead, "/p").AllowNet(NetBindUDP, 9); return nil })
	got := New(V11).Add(slices.Collect(want.Rules())...)
	if len(got.mistakes)+len(want.mistakes) > 0 {
		t.Fatalf("mistakes %v, %v", got.mistakes, want.mistakes)
	}
	if again := slices.Collect(got.Rules()); !slices.Equal(again, slices.Collect(want.Rules())) || len(again) != 17 {
		t.Errorf("%d rules: %v\nwant %v", len(again), got, want)
	}
	if got.String() != want.String() || got.quiet != want.quiet {
		t.Errorf("%v, quiet %v\nwant %v, %v", got, got.quiet, want, want.quiet)
	}
	for abi := V1; abi <= newest; abi++ {
		one, oneErr := want.Clone().BestEffort(V1).fit(Kernel{ABI: abi}, nil, oneThread)
		other, otherErr := got.Clone().BestEffort(V1).fit(Kernel{ABI: abi}, nil, oneThread)
		if oneErr != nil || otherErr != nil || one.report.String() != other.report.String() || one.handled != other.handled || one.quiet != other.quiet {
			t.Errorf("ABI %d: %v, %v, want %v, %v", int(abi), other, otherErr, one, oneErr)
		}
	}
	// What another program may write is the same rule as what Rules yields.
	loose := New(V11).Add(Rule{Path: "/a", FS: FSRead}, Rule{Path: "/q", FS: FSWrite, Quiet: true})
	strict := New(V11).AllowRead("/a").Quiet(FSWrite, "/q")
	if got, want := slices.Collect(loose.Rules()), slices.Collect(strict.Rules()); !slices.Equal(got, want) || len(loose.mistakes) > 0 {
		t.Errorf("%v, %v, want %v", got, loose.mistakes, want)
	}
	if r := New(V1).Add(); len(r.rules)+len(r.mistakes) > 0 {
		t.Errorf("no rules: %v", r)
	}
}

// A rule that no call makes is a mistake, and so is one that the ruleset cannot have. It
// adds nothing, and the others are added.
func TestAddMistakes(t *testing.T) {
	for _, test := range []struct {
		name string
		rule Rule
		want string
	}{
		{"the zero Rule", Rule{}, "rule: the zero Rule is no rule"},
		{"an open file", Rule{Path: "/x", Port: -1, FS: FSRead, Open: true}, `AllowFile(landlock.FSRead, "/x"): a Rule has no open file: call AllowFile with it`},
		{"judged", Rule{Path: "/x", Port: -1, FS: FSRead, Optional: true, Judged: true}, `AllowIf(landlock.FSRead, judge, "/x"): a Rule has no judge: call AllowIf with it`},
		{"a path and a port", Rule{Path: "/x", Port: 443, FS: FSRead}, "Port:443 FS:read_file,read_dir Net:none Optional:false Judged:false Open:false Quiet:false}: a rule is for a path or for a port, and not for both"},
		{"a path with rights to ports", Rule{Path: "/x", Port: -1, FS: FSRead, Net: NetBindTCP}, "Net:bind_tcp Optional:false Judged:false Open:false Quiet:false}: a rule is for a path or for a port, and not for both"},
		{"a path with these alone", Rule{Path: "/x", Net: NetBindTCP}, "and not for both"},
		{"neither", Rule{Port: -1}, `Allow(0, ""): no access right given`},
		{"neither, with rights to ports", Rule{Port: -1, Net: NetBindTCP}, "port -1: must be 0 to 65535, or -1 for a path"},
		{"neither, with rights to files", Rule{Port: -1, FS: FSRead}, `AllowRead(""): empty path`},
		{"neither, with both", Rule{Port: -1, FS: FSRead, Net: NetBindTCP}, "and not for both"},
		{"files on a port", Rule{Port: 443, FS: FSRead}, "Rule{Path: Port:443 FS:read_file,read_dir Net:none Optional:false Judged:false Open:false Quiet:false}: a rule for a port has no rights to files, and one for files has a path"},
		{"files on port 0", Rule{FS: FSRead}, "a rule for a port has no rights to files, and one for files has a path"},
		{"both on a port", Rule{Port: 443, FS: FSRead, Net: NetBindTCP}, "a rule for a port has no rights to files, and one for files has a path"},
		{"a port too high", Rule{Port: 65536, Net: NetBindTCP}, "port 65536: must be 0 to 65535, or -1 for a path"},
		{"a port too low", Rule{Port: -2, Net: NetBindTCP}, "port -2: must be 0 to 65535, or -1 for a path"},
		{"a path with a port too low", Rule{Path: "/x", Port: -2, FS: FSRead}, "port -2: must be 0 to 65535, or -1 for a path"},
		{"an optional port", Rule{Port: 1, Net: NetBindTCP, Optional: true}, "never optional, judged or open"},
		{"a judged port", Rule{Port: 1, Net: NetBindTCP, Judged: true}, "never optional, judged or open"},
		{"an open port", Rule{Port: 1, Net: NetBindTCP, Open: true}, "never optional, judged or open"},
		{"quiet and open", Rule{Path: "/x", Port: -1, FS: FSRead, Quiet: true, Open: true}, "Quiet:true}: a quiet rule allows nothing, and is never judged or open"},
		{"quiet and judged", Rule{Path: "/x", Port: -1, FS: FSRead, Optional: true, Quiet: true, Judged: true}, "Quiet:true}: a quiet rule allows nothing, and is never judged or open"},
		{"quiet, judged and a port", Rule{Port: 1, Net: NetBindTCP, Quiet: true, Judged: true}, "never optional, judged or open"},
		{"open and judged", Rule{Path: "/x", Port: -1, FS: FSRead, Open: true, Judged: true}, "Quiet:false}: a rule for an open file is never optional or judged"},
		{"open and optional", Rule{Path: "/x", Port: -1, FS: FSRead, Open: true, Optional: true}, "Quiet:false}: a rule for an open file is never optional or judged"},
		{"no right", Rule{Path: "/x", Port: -1}, `Allow(0, "/x"): no access right given`},
		{"no right to a port", Rule{Port: 1}, "AllowNet(0, 1): no access right given"},
		{"an unknown right", Rule{Path: "/x", Port: -1, FS: 1 << 20}, `Allow(0x100000, "/x"): unknown access right fs.0x100000`},
		{"an unknown right to a port", Rule{Port: 1, Net: 1 << 20}, "AllowNet(0x100000, 1): unknown access right net.0x100000"},
		{"a right that is not handled", Rule{Path: "/x", Port: -1, FS: FSResolveUnix}, `Allow(landlock.FSResolveUnix, "/x"): the ruleset does not handle this`},
		{"a right to a port that is not handled", Rule{Port: 1, Net: NetBindUDP, Quiet: true}, "QuietNet(landlock.NetBindUDP, 1): the ruleset does not handle this"},
		{"a NUL", Rule{Path: "a\x00", Port: -1, FS: FSRead, Optional: true}, `AllowOptional(landlock.FSRead, "a\x00"): path contains a NUL byte`},
	} {
		r := New(V5).Add(Rule{Path: "/before", FS: FSRead}, test.rule, Rule{Port: 1, Net: NetBindTCP})
		if got := fmt.Sprint(slices.Collect(r.Rules())); got != `[AllowRead("/before") AllowBindTCP(1)]` || r.quiet != (Rights{}) {
			t.Errorf("%s: rules %s, quiet %v", test.name, got, r.quiet)
		}
		if len(r.mistakes) != 1 {
			t.Errorf("%s: mistakes %v, want one", test.name, r.mistakes)
			continue
		}
		err := r.mistakes[0]
		wrong, ok := errors.AsType[*RuleError](err)
		if !ok || !errors.Is(err, fs.ErrInvalid) || wrong.Path != test.rule.Path || wrong.FS != test.rule.FS || wrong.Net != test.rule.Net {
			t.Errorf("%s: %#v, want a RuleError with the rule, that is fs.ErrInvalid", test.name, err)
		}
		if !strings.HasPrefix(err.Error(), "landlock: ") || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v\nwant %s", test.name, err, test.want)
		}
	}
}

// A mistake has the rule that is wrong, as a value.
func TestRuleErrorRule(t *testing.T) {
	for _, test := range []struct {
		r    *Ruleset
		want Rule
	}{
		{New(V1).AllowRead(""), Rule{Port: -1, FS: FSRead}},
		{New(V1).AllowOptional(FSRead, "\x00"), Rule{Path: "\x00", Port: -1, FS: FSRead, Optional: true}},
		{New(V10).Quiet(0, "/x"), Rule{Path: "/x", Port: -1, Optional: true, Quiet: true}},
		{New(V1).AllowFile(FSRead, nil), Rule{Port: -1, FS: FSRead, Open: true}},
		{New(V1).AllowConnectTCP(443), Rule{Port: 443, Net: NetConnectTCP}},
		{New(V4).QuietNet(0, 443), Rule{Port: 443, Quiet: true}},
	} {
		err, ok := errors.AsType[*RuleError](errors.Join(test.r.mistakes...))
		if !ok || err.Rule != test.want {
			t.Errorf("%v: %v, want %+v", test.r, err, ruleFields(test.want))
			continue
		}
		if access := fmt.Stringer(test.want.FS); err.Access != access && err.Access != fmt.Stringer(test.want.Net) {
			t.Errorf("%v: access %v", err, err.Access)
		}
	}
}

// What a ruleset is loaded with, in order: what is wrong is told in the caller's order,
// ports and paths alike, and a rule that Add has made stands for itself.
func TestAddedRulesAreLoaded(t *testing.T) {
	testenv.NeedABI(t, V1)
	dir := t.TempDir()
	missing, other := filepath.Join(dir, "missing"), filepath.Join(dir, "other")
	report, err := New(V11).BestEffort(V1).Add(
		Rule{Path: missing, FS: FSRead, Optional: true}, Rule{Port: 443, Net: NetConnectTCP}, Rule{Path: dir, FS: FSReadWrite},
		Rule{Path: other, FS: FSRead, Quiet: true}).DryRun()
	if err != nil || !slices.Equal(report.Skipped, []string{missing, other}) {
		t.Errorf("skipped %q, %v", report.Skipped, err)
	}
	_, err = New(V1).Add(Rule{Path: other, FS: FSRead}, Rule{Path: dir, FS: FSRead}, Rule{Path: missing, FS: FSReadWrite}).DryRun()
	want := fmt.Sprintf("landlock: AllowRead(%q): open: no such file or directory: AllowOptional skips what is not there\n"+
		"landlock: AllowReadWrite(%q): open: no such file or directory: make it first, or allow its directory", other, missing)
	if err == nil || err.Error() != want || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v\nwant %s", err, want)
	}
}
