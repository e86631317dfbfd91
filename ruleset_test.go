package landlock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"example.com/landlock/internal/system"
	"example.com/landlock/internal/testenv"
)

func TestMistakes(t *testing.T) {
	good := func() *Ruleset { return New(V1) }
	tests := []struct {
		name    string
		ruleset *Ruleset
		want    string // the whole error, after "landlock: "
	}{
		{"target 0", New(0), "target ABI 0: this version of the package knows 1 to 11"},
		{"negative target", New(-3), "target ABI -3: this version of the package knows 1 to 11"},
		{"target 12", New(12), "target ABI 12: this version of the package knows 1 to 11"},
		{"floor above the target", New(V4).BestEffort(V5), "best effort with floor ABI 5: must be between 0 and the target, ABI 4"},
		{"negative floor", New(V4).BestEffort(-1), "best effort with floor ABI -1: must be between 0 and the target, ABI 4"},
		{"floor above what is handled", NewHandling(Rights{FS: FSExecute}).BestEffort(V2), "best effort with floor ABI 2: must be between 0 and the target, ABI 1"},
		{"handling nothing", NewHandling(Rights{}), "the ruleset handles no right at all"},
		{"handling unknown bits", NewHandling(Rights{FS: 1 << 17, Net: 1 << 4, Scope: 1 << 2}),
			"the ruleset handles rights that this version of the package does not know: fs.0x20000,net.0x10,scope.0x4"},
		{"handling nothing, and more", NewHandling(Rights{}).Log(8), "the ruleset handles no right at all\nlandlock: unknown log flag 0x8"},
		{"two floors", New(V4).BestEffort(V2).BestEffort(V3), "best effort with floor ABI 3, after one with floor ABI 2: a ruleset has one floor, so call it once"},
		{"one floor twice", New(V4).BestEffort(0).Clone().BestEffort(0), "best effort with floor ABI 0, after one with floor ABI 0: "},
		{"target 0 with a floor", New(0).BestEffort(V1), "target ABI 0: this version of the package knows 1 to 11"},
		{"the zero Ruleset", new(Ruleset), "the ruleset handles no right at all"},
		{"unknown right", good().Allow(FSRead|1<<20, "/"), `Allow(landlock.FSRead|0x100000, "/"): unknown access right fs.0x100000`},
		{"no right", good().Allow(0, "/"), `Allow(0, "/"): no access right given`},
		{"no right and no path", good().Allow(0), "rule none: no access right given"},
		{"empty path", good().AllowRead(""), `AllowRead(""): empty path`},
		{"NUL", good().AllowExecute("a\x00b"), `AllowExecute("a\x00b"): path contains a NUL byte`},
		{"optional empty path", good().AllowOptional(FSRead, ""), `AllowOptional(landlock.FSRead, ""): empty path`},
		{"nil file", good().AllowFile(FSRead, nil), `AllowFile(landlock.FSRead, ""): nil file`},
		{"nil judge", good().AllowIf(FSRead, nil, "/a"), `rule read_file,read_dir on ["/a"]: nil judge`},
		{"judged empty path", good().AllowIf(FSRead, func(*os.File) error { return nil }, ""), `AllowIf(landlock.FSRead, judge, ""): empty path`},
		{"zero file", good().AllowFile(FSRead, new(os.File)), `AllowFile(landlock.FSRead, ""): nil file`},
		{"unknown net right", good().AllowNet(1<<4, 80), "AllowNet(0x10, 80): unknown access right net.0x10"},
		{"no net right", good().AllowNet(0, 0), "rule: no access right given"},
		{"no net right and no port", good().AllowNet(0), "rule none: no access right given"},
		{"unknown log flag", good().Log(8), "unknown log flag 0x8"},
		{"quiet nothing", good().Quiet(0, "/"), `Quiet(0, "/"): no access right given`},
		{"quiet port", good().QuietNet(0, 7), "QuietNet(0, 7): no access right given"},
		{"quiet scope", good().QuietScope(0), "quiet scope none: no access right given"},
		{"quiet unknown scope", good().QuietScope(4), "quiet scope 0x4: unknown access right scope.0x4"},
		{"several", good().AllowRead("", "/nonexistent", "\x00").AllowNet(0, 1).Log(8),
			"AllowRead(\"\"): empty path\n" +
				"landlock: AllowRead(\"\\x00\"): path contains a NUL byte\n" +
				"landlock: AllowNet(0, 1): no access right given\n" +
				"landlock: unknown log flag 0x8"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for name, call := range map[string]func() (Report, error){"Apply": test.ruleset.Apply, "DryRun": test.ruleset.DryRun} {
				report, err := call()
				if err == nil {
					t.Fatalf("%s of a ruleset with a mistake: no error", name)
				}
				if report.String() != (Report{}).String() {
					t.Errorf("%s returned the report %v with an error", name, report)
				}
				checkMistake(t, name, err, test.want)
			}
			sandbox, err := test.ruleset.Prepare()
			if sandbox != nil {
				t.Errorf("Prepare returned a Sandbox with an error")
			}
			checkMistake(t, "Prepare", err, test.want)
		})
	}
}

func checkMistake(t *testing.T, call string, err error, want string) {
	t.Helper()
	if err == nil || !strings.HasPrefix(err.Error(), "landlock: "+want) || !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("%s: %v\nwant  landlock: %s, and fs.ErrInvalid", call, err, want)
	}
}

func TestRuleErrorFields(t *testing.T) {
	_, err := New(V1).AllowRead("").AllowNet(1<<5, 8080).Apply()
	rules := All[*RuleError](err)
	for _, rule := range rules {
		if !errors.Is(rule, fs.ErrInvalid) {
			t.Errorf("%v is not fs.ErrInvalid", rule)
		}
	}
	if len(rules) != 2 || rules[0].Port != -1 || rules[0].Path != "" || rules[0].Access != FSRead ||
		rules[1].Port != 8080 || rules[1].Path != "" || rules[1].Access != AccessNet(1<<5) {
		t.Errorf("rule errors %+v", rules)
	}
}

// A mistake does not hide the rules that only the kernel or the filesystem refuses.
func TestEveryBadRuleIsReported(t *testing.T) {
	testenv.NeedABI(t, V1)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing")
	pipe, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	defer writer.Close()
	closed, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	_, err = New(V1).
		AllowRead("", dir, missing).
		Allow(FSReadDir|FSMakeReg, file).
		AllowFile(FSRead, pipe, closed).
		AllowOptional(FSRead, filepath.Join(file, "below")).
		Apply()
	if err == nil {
		t.Fatal("Apply of bad rules restricted this process")
	}
	t.Log(err)
	for _, want := range []string{
		`AllowRead(""): empty path`,
		fmt.Sprintf("AllowRead(%q): open: no such file or directory", missing),
		fmt.Sprintf("Allow(landlock.FSReadDir|landlock.FSMakeReg, %q): not a directory, and only directories can have these rights", file),
		`AllowFile(landlock.FSRead, "|0"): a pipe, a socket or another object of no filesystem`,
		fmt.Sprintf("AllowFile(landlock.FSRead, %q): ", file),
		fmt.Sprintf("AllowOptional(landlock.FSRead, %q): open: not a directory", filepath.Join(file, "below")),
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not contain %s", want)
		}
	}
	for _, is := range []error{fs.ErrNotExist, fs.ErrInvalid, os.ErrClosed, syscall.ENOTDIR} {
		if !errors.Is(err, is) {
			t.Errorf("the error is not %v", is)
		}
	}
	if n := strings.Count(err.Error(), "\n"); n != 5 {
		t.Errorf("%d errors, want 6", n+1)
	}
}

// An error names the caller's call, and says what to do.
func TestRuleErrorWords(t *testing.T) {
	const read, write = AccessFS(FSRead), AccessFS(FSReadWrite)
	missing := fmt.Errorf("open: %w", fs.ErrNotExist)
	failed := func(rule Rule, err error) error { return (&wantedRule{Rule: rule}).failed(err) }
	for _, test := range []struct {
		err  error
		want string
	}{
		{&RuleError{}, "rule is wrong"},
		{&RuleError{Err: missing}, "rule: open: file does not exist"},
		{&RuleError{Rule: Rule{Path: "/x"}}, `Allow(0, "/x") is wrong`},
		{&RuleError{Rule: Rule{Path: "/x", FS: read}}, `AllowRead("/x") is wrong`},
		{&RuleError{Rule: Rule{Net: NetBindTCP}}, "AllowBindTCP(0) is wrong"},
		{&RuleError{Rule: Rule{Port: 80}}, "AllowNet(0, 80) is wrong"},
		{&RuleError{Rule: Rule{Path: "/x", Port: 443, FS: read}, Err: missing}, `Rule{Path:/x Port:443 FS:read_file,read_dir Net:none Optional:false Judged:false Open:false Quiet:false}: open: file does not exist`},
		{failed(Rule{Path: "/x", FS: read}, missing), `AllowRead("/x"): open: file does not exist: AllowOptional skips what is not there`},
		{failed(Rule{Path: "/x", FS: FSReadExecute}, missing), `AllowExecute("/x"): open: file does not exist: AllowOptional skips what is not there`},
		{failed(Rule{Path: "/x", FS: FSExecute}, missing), `Allow(landlock.FSExecute, "/x"): open: file does not exist: AllowOptional skips what is not there`},
		{failed(Rule{Path: "/x", FS: read, Open: true}, missing), `AllowFile(landlock.FSRead, "/x"): open: file does not exist`},
		{failed(Rule{Path: "/a/x", FS: write}, missing), `AllowReadWrite("/a/x"): open: file does not exist: make it first, or allow its directory`},
		{failed(Rule{Path: "x", FS: write}, missing), `AllowReadWrite("x"): open: file does not exist: make it first, or allow its directory`},
		{failed(Rule{Path: "/x/", FS: write}, missing), `AllowReadWrite("/x/"): open: file does not exist: make it first`},
		{failed(Rule{Path: "/a/x", FS: write}, fs.ErrPermission), `AllowReadWrite("/a/x"): permission denied`},
		{failed(Rule{Path: "/a/x", FS: FSReadFile | FSMakeReg}, missing), `Allow(landlock.FSReadFile|landlock.FSMakeReg, "/a/x"): open: file does not exist: make it first, or allow its directory`},
		{failed(Rule{Path: "/x", FS: write, Optional: true}, fs.ErrPermission), `AllowOptional(landlock.FSRead|landlock.FSWrite, "/x"): permission denied`},
		{failed(Rule{Path: "/x", FS: read, Optional: true, Judged: true}, fs.ErrPermission), `AllowIf(landlock.FSRead, judge, "/x"): permission denied`},
		{failed(Rule{Path: "/x", FS: write | FSIoctlDev, Quiet: true, Optional: true}, fs.ErrPermission), `Quiet(landlock.FSRead|landlock.FSWrite|landlock.FSIoctlDev, "/x"): permission denied`},
		{failed(Rule{Path: "/x", FS: read, Open: true}, errNoPlace), `AllowFile(landlock.FSRead, "/x"): ` + errNoPlace.Error()},
		{failed(Rule{Path: "/x", FS: read}, errNoPlace), `AllowRead("/x"): ` + errNoPlace.Error() + ": leave it out, or have AllowOptional, which skips it"},
		{failed(Rule{Port: 443, Net: NetConnectTCP}, fs.ErrInvalid), "AllowConnectTCP(443): invalid argument"},
		{failed(Rule{Net: NetBindTCP}, fs.ErrInvalid), "AllowBindTCP(0): invalid argument"},
		{failed(Rule{Port: 1, Net: NetBindTCP, Quiet: true}, fs.ErrInvalid), "QuietNet(landlock.NetBindTCP, 1): invalid argument"},
		{failed(Rule{Port: 1, Net: V4.Net()}, fs.ErrInvalid), "AllowNet(landlock.NetBindTCP|landlock.NetConnectTCP, 1): invalid argument"},
		{&DeniedError{}, "access denied"},
		{&DeniedError{Path: "/x"}, "access denied on /x"},
		{&DeniedError{Path: "/x", Port: 443}, "access denied on /x"},
		{&DeniedError{Path: "/x", Missing: Rights{FS: FSReadFile}}, "no rule for read_file on /x"},
		{&DeniedError{Missing: Rights{FS: FSReadFile}}, "no rule for read_file"},
		{&DeniedError{Port: 443}, "access denied"},
		{&DeniedError{Missing: Rights{Net: NetBindTCP}}, "no rule for bind_tcp on port 0"},
		{&DeniedError{Port: -1, Missing: Rights{Net: NetBindTCP}}, "no rule for net.bind_tcp"},
		{&DeniedError{Path: "/x", Missing: Rights{Net: NetBindTCP}}, "no rule for net.bind_tcp on /x"},
		{&UnsupportedError{}, "the kernel cannot do what the ruleset asks for"},
		{&PartialError{}, "some threads may be restricted and others not: exit now, nothing else is safe"},
	} {
		if got := test.err.Error(); got != "landlock: "+test.want {
			t.Errorf("%#v: %s\nwant %s", test.err, got, "landlock: "+test.want)
		}
	}
}

// What the caller's own rules skip is reported, and what those of presets skip is not.
func TestSkippedByPresets(t *testing.T) {
	testenv.NeedABI(t, V1)
	dir := t.TempDir()
	own, theirs, both, nested := filepath.Join(dir, "own"), filepath.Join(dir, "theirs"), filepath.Join(dir, "both"), filepath.Join(dir, "nested")
	judge := func(*os.File) error { return nil }
	preset := func(r *Ruleset) error {
		r.AllowOptional(FSRead, theirs, both).AllowIf(FSRead, judge, theirs).Quiet(FSRead, theirs)
		return nil
	}
	outer := func(r *Ruleset) error {
		r.Use(preset).AllowOptional(FSRead, nested)
		return nil
	}
	var clone *Ruleset
	panics := func(r *Ruleset) error {
		clone = r.Clone()
		panic("preset")
	}
	for name, test := range map[string]struct {
		use  func(r *Ruleset)
		want []string
	}{
		"a preset":           {func(r *Ruleset) { r.Use(preset) }, nil},
		"after it":           {func(r *Ruleset) { r.Use(preset).AllowOptional(FSRead, own) }, []string{own}},
		"before it":          {func(r *Ruleset) { r.Quiet(FSRead, own).AllowIf(FSRead, judge, both).Use(preset) }, []string{own, both}},
		"one that uses one":  {func(r *Ruleset) { r.Use(outer).AllowOptional(FSRead, own) }, []string{own}},
		"several":            {func(r *Ruleset) { r.Use(outer, preset, outer).AllowOptional(FSRead, both) }, []string{both}},
		"of a clone":         {func(r *Ruleset) { *r = *r.Use(preset).Clone().AllowOptional(FSRead, own) }, []string{own}},
		"a preset by itself": {func(r *Ruleset) { preset(r) }, []string{theirs, both}},
		"with a mistake":     {func(r *Ruleset) { r.Use(nil).AllowOptional(FSRead, own); r.mistakes = nil }, []string{own}},
		"after one's panic":  {func(r *Ruleset) { defer r.AllowOptional(FSRead, own); defer func() { recover() }(); r.Use(panics) }, []string{own}},
		"a preset's clone":   {func(r *Ruleset) { *r = *clone.AllowOptional(FSRead, own) }, []string{own}},
	} {
		if name == "a preset's clone" {
			func() {
				defer func() { recover() }()
				New(V10).BestEffort(V1).Use(panics)
			}()
		}
		r := New(V10).BestEffort(V1)
		test.use(r)
		report, err := r.DryRun()
		if err != nil || !slices.Equal(report.Skipped, test.want) {
			t.Errorf("%s: skipped %q, %v, want %q", name, report.Skipped, err, test.want)
		}
	}
}

// Each call stands for itself: the kernel adds up what they allow.
func TestRulesOfCalls(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r := New(V11).
		AllowRead("/a", "/b").Allow(FSWriteFile, "/a").
		AllowOptional(FSRead, "/c").
		Quiet(FSExecute, "/c").Quiet(FSRead, "/d").
		AllowBindTCP(80).QuietNet(NetBindUDP, 80).
		AllowFile(FSRead, file).
		AllowNet(NetConnectTCP|NetBindUDP, 80, 443).
		AllowIf(FSRead, func(*os.File) error { return nil }, "/e").
		Use(func(r *Ruleset) error { r.AllowExecute("/f").AllowConnectTCP(443); return nil })
	want := []Rule{
		{Path: "/a", Port: -1, FS: FSRead}, {Path: "/b", Port: -1, FS: FSRead}, {Path: "/a", Port: -1, FS: FSWriteFile},
		{Path: "/c", Port: -1, FS: FSRead, Optional: true},
		{Path: "/c", Port: -1, FS: FSExecute, Optional: true, Quiet: true}, {Path: "/d", Port: -1, FS: FSRead, Optional: true, Quiet: true},
		{Port: 80, Net: NetBindTCP}, {Port: 80, Net: NetBindUDP, Quiet: true},
		{Path: os.DevNull, Port: -1, FS: FSRead, Open: true},
		{Port: 80, Net: NetConnectTCP | NetBindUDP}, {Port: 443, Net: NetConnectTCP | NetBindUDP},
		{Path: "/e", Port: -1, FS: FSRead, Optional: true, Judged: true},
		{Path: "/f", Port: -1, FS: FSReadExecute}, {Port: 443, Net: NetConnectTCP},
	}
	if got := slices.Collect(r.Rules()); !slices.Equal(got, want) {
		t.Errorf("rules %v\nwant  %v", got, want)
	}
	if len(r.mistakes) > 0 {
		t.Errorf("mistakes %v", r.mistakes)
	}
	if want := (Rights{FSRead | FSExecute, NetBindUDP, 0}); r.quiet != want {
		t.Errorf("quiet %v, want %v", r.quiet, want)
	}
	for range r.Rules() {
		break
	}
	n := 0
	for rule := range r.Rules() { // those of the beginning, and not for ever
		if n++; !rule.Open && !rule.Judged {
			r.Add(rule)
		}
		if n == len(want)-1 {
			*r = *New(V1) // nor those of another ruleset
		}
	}
	if n != len(want) {
		t.Errorf("%d rules while more are added, want %d", n, len(want))
	}
}

// A rule for rights that the ruleset does not handle would allow what nobody
// denies.
func TestUnhandledRules(t *testing.T) {
	files := NewHandling(Rights{FS: FSWriteFile})
	network := NewHandling(Rights{Net: NetBindTCP})
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, test := range []struct {
		name    string
		ruleset *Ruleset
		want    string // "" where it is no mistake
	}{
		{"a port", New(V3).AllowConnectTCP(443), "AllowConnectTCP(443): the ruleset does not handle this, so it is allowed everywhere: handle it (New does from V4 on)"},
		{"no port", New(V3).AllowConnectTCP(), ""},
		{"a right among others", New(V1).AllowReadWrite("/").AllowFile(FSRead|FSResolveUnix, null), ""},
		{"a right alone", New(V2).Allow(FSTruncate, "/"), `Allow(landlock.FSTruncate, "/"): `},
		{"optional", New(V8).AllowOptional(FSResolveUnix, "/"), `AllowOptional(landlock.FSResolveUnix, "/"): `},
		{"an open file", New(V4).AllowFile(FSIoctlDev, null), fmt.Sprintf("AllowFile(landlock.FSIoctlDev, %q): ", os.DevNull)},
		{"a port right among others", New(V4).AllowNet(NetBindTCP|NetBindUDP, 53), ""},
		{"another right", files.Clone().AllowRead("/"), `AllowRead("/"): `},
		{"another port right", network.Clone().AllowConnectTCP(1), "AllowConnectTCP(1): "},
		{"a path, where only the network is handled", network.Clone().AllowReadWrite("/"), "AllowReadWrite"},
		{"refer, which every filesystem ruleset denies", files.Clone().Allow(FSRefer, "/"), ""},
		{"refer under V1", New(V1).Allow(FSRefer, "/"), ""},
		{"refer, where only the network is handled", network.Clone().Allow(FSRefer, "/"), `Allow(landlock.FSRefer, "/"): `},
		{"quiet", New(V8).Quiet(FSResolveUnix, "/"), `Quiet(landlock.FSResolveUnix, "/"): `},
		{"quiet, among others", New(V8).Quiet(FSResolveUnix|FSExecute, "/").QuietNet(NetBindTCP|NetBindUDP, 1), ""},
		{"quiet port", New(V9).QuietNet(NetBindUDP, 1), "QuietNet(landlock.NetBindUDP, 1): "},
		{"quiet scope", New(V5).QuietScope(ScopeSignal), "quiet scope signal: the ruleset does not handle this"},
		{"quiet scope, handled", New(V6).QuietScope(ScopeSignal), ""},
		{"a target that is wrong already", New(0).AllowRead("/"), "target ABI 0"},
		{"sockets, without a network right", New(V3).FilterSockets(), "filter sockets: the ruleset handles no network right"},
		{"sockets, with one", New(V4).FilterSockets(), ""},
		{"sockets, with a target that is wrong already", New(0).FilterSockets(), "target ABI 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := errors.Join(test.ruleset.mistakes...)
			switch {
			case test.want == "" && err != nil:
				t.Errorf("a mistake: %v", err)
			case test.want != "" && test.name != "a path, where only the network is handled":
				checkMistake(t, "the ruleset", err, test.want)
			case test.want != "" && err == nil:
				t.Error("no mistake")
			}
			if len(test.ruleset.mistakes) > 1 {
				t.Errorf("more than one mistake: %v", err)
			}
		})
	}
}

func TestUse(t *testing.T) {
	network := func(r *Ruleset) error {
		r.AllowConnectTCP(443)
		return nil
	}
	missing := fmt.Errorf("find git: %w", fs.ErrNotExist)
	r := New(V4).Use(network, func(r *Ruleset) error {
		r.Use(network)
		return missing
	}, nil).Use()
	if len(r.rules) != 2 {
		t.Errorf("rules %v, want one of each preset", r)
	}
	_, err := r.Apply()
	if err == nil || !errors.Is(err, fs.ErrInvalid) || !errors.Is(err, fs.ErrNotExist) ||
		err.Error() != "landlock: preset: find git: file does not exist\nlandlock: nil preset" {
		t.Errorf("Apply: %v", err)
	}
}

func TestClone(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	base := New(V10).AllowRead("/a", "/b", "/c").AllowConnectTCP(1, 2, 3).AllowFile(FSRead, file).Quiet(FSRead, "/q").Log(8).Log(16)
	// With room for more: what clones append must not meet in it.
	base.rules, base.mistakes = slices.Grow(base.rules, 50), slices.Grow(base.mistakes, 50)
	text, mistakes := base.String(), errors.Join(base.mistakes...).Error()
	first, second := base.Clone(), base.Clone()
	change := func(r *Ruleset, n int) {
		path := fmt.Sprint("/of/", n)
		r.AllowRead(path).AllowOptional(FSRead, path).AllowBindTCP(uint16(n)).Quiet(FSWrite, path).QuietNet(NetBindUDP, 5).QuietScope(ScopeSignal).
			Log(LogNewExecOn).Log(LogFlags(n) << 8).AllowNewPrivs().FilterSockets().BestEffort(ABI(n))
	}
	change(first, 7)
	change(second, 8)
	if got := base.String(); got != text || errors.Join(base.mistakes...).Error() != mistakes {
		t.Errorf("the base is now %s, was %s", got, text)
	}
	change(base, 9)
	for n, r := range map[int]*Ruleset{7: first, 8: second, 9: base} {
		all := fmt.Sprint(r, errors.Join(r.mistakes...), r.quiet)
		own, others := fmt.Sprint("/of/", n), 0
		for other := 7; other <= 9; other++ {
			others += strings.Count(all, fmt.Sprint("/of/", other))
		}
		if others != strings.Count(all, own) || others != 3 || r.floor != ABI(n) ||
			!strings.Contains(all, fmt.Sprintf("bind_tcp on port %d", n)) || !strings.Contains(all, fmt.Sprintf("flag %#x", n<<8)) {
			t.Errorf("clone %d: %s", n, all)
		}
	}
	if base.Clone().rules[6].file != file {
		t.Error("the open file is not shared")
	}
}

func TestRulesetString(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, test := range []struct {
		ruleset *Ruleset
		want    string
	}{
		{nil, "handling nothing"},
		{new(Ruleset), "handling nothing"},
		{New(0), "handling nothing, MISTAKES (1)"},
		{New(V9), "ABI 9"},
		{New(V9).BestEffort(0), "ABI 9, best effort even without Landlock"},
		{New(V9).FilterSockets(), "ABI 9, sockets filtered"},
		{NewHandling(Rights{FS: FSReadFile, Net: V4.Net(), Scope: ScopeSignal}).AllowNewPrivs(), "handling read_file, TCP, signal scope, new privileges"},
		{New(V9).BestEffort(V4).AllowRead("/usr/share", "/a b").AllowConnectTCP(443).AllowReadWrite("/tmp").AllowConnectTCP(80, 8080),
			`ABI 9, best effort from ABI 4: read beneath "/usr/share", "/a b"; connect_tcp on port 443; read,write beneath "/tmp"; connect_tcp on port 80, 8080`},
		{New(V10).AllowConnectTCP(1).Log(LogNewExecOn).QuietScope(ScopeSignal).AllowOptional(FSReadExecute, "/lib64").AllowFile(FSRead, file).
			AllowIf(FSRead, func(*os.File) error { return nil }, "/judged").Quiet(FSRead|FSWrite|FSIoctlDev, "/q\n").QuietNet(NetBindUDP|NetConnectSendUDP, 53).Allow(0, "/"),
			`ABI 10, log_new_exec_on, quiet signal scope, MISTAKES (1): connect_tcp on port 1; read,execute beneath "/lib64" (optional); ` +
				fmt.Sprintf("read beneath %q (open), \"/judged\" (judged); ", os.DevNull) + `quiet read,write,ioctl_dev beneath "/q\n"; quiet UDP on port 53`},
	} {
		if got := test.ruleset.String(); got != test.want {
			t.Errorf("String: %s\nwant    %s", got, test.want)
		}
		if got := fmt.Sprintf("%v", test.ruleset); test.ruleset != nil && got != test.want {
			t.Errorf("%%v: %s", got)
		}
	}
}

// A nil Ruleset handles nothing, as the zero one.
func TestNilRuleset(t *testing.T) {
	for name, r := range map[string]*Ruleset{"nil": nil, "zero": {}} {
		r := r.BestEffort(V1).AllowRead("/").AllowOptional(FSRead, "/").AllowReadWrite("/").AllowExecute("/").AllowFile(FSRead, nil).
			AllowNet(NetBindTCP, 1).AllowBindTCP(1).AllowConnectTCP(1).AllowBindUDP(1).AllowSendUDP(1).FilterSockets().AllowNewPrivs().Log(0).Quiet(FSRead, "/").QuietNet(NetBindTCP, 1).
			QuietScope(ScopeSignal).Add(Rule{}).Use(func(*Ruleset) error { return nil }).Clone()
		for range r.Rules() {
		}
		_, applyErr := r.Apply()
		_, dryErr := r.DryRun()
		sandbox, prepareErr := r.Prepare()
		for _, err := range []error{applyErr, dryErr, prepareErr} {
			if !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("%s: %v, want a mistake", name, err)
			}
		}
		if r.Handled() != (Rights{}) || r.Target() != 0 || r.String() == "" {
			t.Errorf("%s: handles %v, target %v: %s", name, r.Handled(), r.Target(), r)
		}
		if mistakes := r.Mistakes(); len(mistakes) == 0 || !errors.Is(mistakes[0], fs.ErrInvalid) || (r == nil) != (r.Options() == Options{}) {
			t.Errorf("%s: mistakes %v, options %+v", name, mistakes, r.Options())
		}
		if sandbox.Close() != nil || sandbox.Fd() != ^uintptr(0) || sandbox.Report().String() != (Report{}).String() {
			t.Errorf("%s: its Sandbox, which is nil, does something", name)
		}
	}
}

func TestHelpers(t *testing.T) {
	r := New(V10).AllowRead("r").AllowReadWrite("w").AllowExecute("x").AllowRead().AllowNet(NetBindTCP).
		AllowBindTCP(1).AllowConnectTCP(2).AllowBindUDP(3).AllowSendUDP(4)
	const want = `ABI 10: read beneath "r"; read,write beneath "w"; read,execute beneath "x"; ` +
		"bind_tcp on port 1; connect_tcp on port 2; bind_udp on port 3; connect_send_udp on port 4"
	if got := r.String(); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// The groups are what they were when programs were written that use them: a right
// that a later ABI brings must not come into one.
func TestGroupsNeverGrow(t *testing.T) {
	for _, group := range []struct {
		rights, want AccessFS
	}{
		{FSRead, 0xc}, {FSReadExecute, 0xd}, {FSWrite, 0x77b2}, {FSReadWrite, 0x77be},
	} {
		if group.rights != group.want {
			t.Errorf("a group is %v, and has to stay %v", group.rights, group.want)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, test := range []struct {
		ruleset *Ruleset
		want    Options
	}{
		{New(V9).AllowRead("/").Quiet(FSRead, "/"), Options{}},
		{New(V9).BestEffort(0), Options{BestEffort: true}},
		{New(V9).BestEffort(V4), Options{BestEffort: true, Floor: V4}},
		{New(V9).AllowNewPrivs(), Options{NewPrivs: true}},
		{New(V9).FilterSockets(), Options{FilterSockets: true}},
		{New(V9).Log(LogNewExecOn).Log(LogSameExecOff), Options{Log: LogNewExecOn | LogSameExecOff}},
		{New(V9).QuietScope(ScopeSignal).QuietScope(ScopeAbstractUnixSocket).Clone(), Options{QuietScope: V9.Scopes()}},
	} {
		if got := test.ruleset.Options(); got != test.want {
			t.Errorf("%v: %+v, want %+v", test.ruleset, got, test.want)
		}
	}
}

func TestMistakesAreListed(t *testing.T) {
	r := New(V4).AllowRead("/")
	if mistakes := r.Mistakes(); len(mistakes) > 0 {
		t.Errorf("mistakes of %v: %v", r, mistakes)
	}
	r.Log(1 << 9).AllowRead("").AllowBindUDP(53)
	mistakes := r.Mistakes()
	const want = "landlock: unknown log flag 0x200\nlandlock: AllowRead(\"\"): empty path\n" +
		"landlock: AllowBindUDP(53): the ruleset does not handle this, so it is allowed everywhere: handle it (New does from V10 on), or leave the rule out"
	if _, err := r.Apply(); err == nil || err.Error() != want || errors.Join(mistakes...).Error() != want {
		t.Errorf("%q\nApply: %v\nwant   %s", mistakes, err, want)
	}
	if rule, ok := errors.AsType[*RuleError](mistakes[1]); !ok || rule.Path != "" || rule.Access != fmt.Stringer(FSRead) {
		t.Errorf("%#v is not about AllowRead", mistakes[1])
	}
	for _, mistake := range mistakes {
		if !errors.Is(mistake, fs.ErrInvalid) {
			t.Errorf("%v is not ErrInvalid", mistake)
		}
	}
	clear(mistakes)
	if again := r.Mistakes(); len(again) != 3 || again[0] == nil {
		t.Errorf("the slice is the ruleset's own: %v", again)
	}
}

// Whoever reads where a ruleset is made knows what it is: a preset adds rules.
func TestPresetsAddRules(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	preset := func(f func(r *Ruleset)) func(*Ruleset) error {
		return func(r *Ruleset) error { f(r); return nil }
	}
	adds := func(r *Ruleset) {
		r.AllowRead("/").AllowFile(FSRead, file).AllowIf(FSRead, func(*os.File) error { return nil }, "/").AllowSendUDP(53).Quiet(FSRead, "/").QuietNet(NetBindTCP, 1).
			Add(Rule{Path: "/", Port: -1, FS: FSRead})
		_, _, _, _ = r.Options(), r.Mistakes(), r.String(), r.Clone().BestEffort(0).Log(LogNewExecOn)
	}
	for name, test := range map[string]struct {
		preset func(r *Ruleset)
		want   string // in the mistake; empty where it is none
	}{
		"rules":                 {adds, ""},
		"rules of two":          {func(r *Ruleset) { r.Use(preset(adds)) }, ""},
		"BestEffort":            {func(r *Ruleset) { r.BestEffort(0) }, "it calls BestEffort"},
		"its wrong use":         {func(r *Ruleset) { r.BestEffort(V11) }, "it calls BestEffort"},
		"AllowNewPrivs":         {func(r *Ruleset) { r.AllowNewPrivs() }, "it calls AllowNewPrivs"},
		"FilterSockets":         {func(r *Ruleset) { r.FilterSockets() }, "it calls FilterSockets"},
		"Log":                   {func(r *Ruleset) { r.Log(LogSubdomainsOff) }, "it calls Log"},
		"QuietScope":            {func(r *Ruleset) { r.QuietScope(ScopeSignal) }, "it calls QuietScope"},
		"one of its own":        {func(r *Ruleset) { r.Use(preset(func(r *Ruleset) { r.Log(LogSubdomainsOff) })) }, "it calls Log"},
		"after its own":         {func(r *Ruleset) { r.Use(preset(adds)).AllowNewPrivs() }, "it calls AllowNewPrivs"},
		"another ruleset":       {func(r *Ruleset) { *r = *New(V1) }, "it puts another ruleset in the place"},
		"a changed clone":       {func(r *Ruleset) { *r = *r.Clone().BestEffort(0) }, "it puts another ruleset in the place"},
		"a ruleset and a panic": {func(r *Ruleset) { *r = *New(V1); panic("preset") }, "it puts another ruleset in the place"},
		"Apply":                 {func(r *Ruleset) { r.Apply() }, "it loads the ruleset"},
		"Start":                 {func(r *Ruleset) { r.Start(exec.Command("/bin/true")) }, "it loads the ruleset"},
		"Check":                 {func(r *Ruleset) { r.Check(FSRead, "/") }, "it loads the ruleset"},
		"CheckTarget":           {func(r *Ruleset) { r.CheckTarget(FSRead, "/") }, "it loads the ruleset"},
	} {
		for _, r := range []*Ruleset{New(V10), New(V10).BestEffort(V4).AllowRead("/").Log(LogNewExecOn)} {
			options, target, rules := r.Options(), r.Target(), len(r.rules)
			func() {
				defer func() { recover() }()
				r.Use(preset(test.preset))
			}()
			if r.Options() != options || r.Target() != target || len(r.rules) < rules {
				t.Errorf("%s: now %v, options were %+v", name, r, options)
			}
			if mistakes := r.Mistakes(); test.want == "" && len(mistakes) > 0 {
				t.Errorf("%s: mistakes %v", name, mistakes)
			} else if test.want != "" && len(mistakes) != 1 {
				t.Errorf("%s: mistakes %v, want one", name, mistakes)
			} else if test.want != "" {
				checkMistake(t, name, mistakes[0], "preset: "+test.want)
			}
			if r.AllowNewPrivs(); !r.Options().NewPrivs {
				t.Errorf("%s: the ruleset takes no options after Use", name)
			}
		}
	}
}

// A ruleset that an earlier preset has put by is another one too, whichever it is: with
// it would go what was said since, and what is known to be enforced.
func TestPresetsKeepTheRuleset(t *testing.T) {
	var stash Ruleset
	put := func(to, from *Ruleset) { reflect.ValueOf(to).Elem().Set(reflect.ValueOf(from).Elem()) } // as *to = *from, which vet refuses
	keep := func(r *Ruleset) error { put(&stash, r); return nil }
	replace := func(r *Ruleset) error { r.AllowRead("/preset"); put(r, &stash); return nil }
	since := []Rule{{Path: "/since", Port: -1, FS: FSRead}}
	for name, test := range map[string]func(r *Ruleset){
		"of the same":            func(r *Ruleset) { r.Use(keep).AllowRead("/since").BestEffort(V2) },
		"of the same, unchanged": func(r *Ruleset) { r.AllowRead("/since").BestEffort(V2).Use(keep) },
		"of another":             func(r *Ruleset) { New(V3).BestEffort(V1).Use(keep); r.AllowRead("/since").BestEffort(V2) },
		"of the same rules":      func(r *Ruleset) { r.AllowRead("/since").BestEffort(V2); r.Clone().Use(keep) },
		"within it": func(r *Ruleset) {
			r.AllowRead("/since").BestEffort(V2).Use(func(r *Ruleset) error { r.Use(keep); return nil })
		},
		"not in a preset": func(r *Ruleset) { r.AllowRead("/since").BestEffort(V2); put(&stash, r) },
	} {
		r := New(V3)
		test(r)
		enforced := new(applied)
		r.applied.Store(enforced)
		r.Use(replace)
		if !slices.Equal(slices.Collect(r.Rules()), since) || r.Options() != (Options{BestEffort: true, Floor: V2}) || len(r.Mistakes()) != 1 || r.applied.Load() != enforced {
			t.Errorf("%s: %v, mistakes %v", name, r, r.Mistakes())
			continue
		}
		checkMistake(t, name, r.Mistakes()[0], "preset: it puts another ruleset in the place")
	}
	// Around it a use goes on: what comes after is in it still.
	r := New(V3).Use(keep, func(r *Ruleset) error { r.Use(replace).BestEffort(V1); return nil })
	if mistakes := r.Mistakes(); len(mistakes) != 2 || r.Options() != (Options{}) {
		t.Errorf("%v, mistakes %v", r, mistakes)
	}
}

// What a preset returns is said once, also where it is a mistake that was there.
func TestPresetsSayOnce(t *testing.T) {
	const kept, loads = `landlock: AllowRead(""): empty path`, "landlock: preset: it loads the ruleset, to enforce or to ask it, and may add rules alone: do so after Use"
	dryRun := func(r *Ruleset) error { _, err := r.DryRun(); return err }
	for name, test := range map[string]struct {
		preset func(r *Ruleset) error
		want   []string // besides what is kept
	}{
		"DryRun":            {dryRun, []string{loads}},
		"Check":             {func(r *Ruleset) error { return r.Check(FSRead, "/") }, []string{loads}},
		"Run":               {func(r *Ruleset) error { return r.Run(exec.Command("/bin/true")) }, []string{loads}},
		"wrapped":           {func(r *Ruleset) error { return fmt.Errorf("own: %w", dryRun(r)) }, []string{loads}},
		"another's":         {func(r *Ruleset) error { return r.Use(dryRun).Mistakes()[1] }, []string{loads}},
		"of a clone":        {func(r *Ruleset) error { return dryRun(r.Clone().AllowRead("\x00")) }, []string{`landlock: preset: landlock: AllowRead("\x00"): path contains a NUL byte`}},
		"all mistakes":      {func(r *Ruleset) error { return errors.Join(r.Mistakes()...) }, nil},
		"a mistake":         {func(r *Ruleset) error { return r.Mistakes()[0] }, nil},
		"joined with own":   {func(r *Ruleset) error { return errors.Join(dryRun(r), fs.ErrExist, fs.ErrClosed) }, []string{loads, "landlock: preset: file already exists", "landlock: preset: file already closed"}},
		"%w beside own":     {func(r *Ruleset) error { return fmt.Errorf("%w, %w", dryRun(r), fs.ErrExist) }, []string{loads, "landlock: preset: file already exists"}},
		"wrapped with own":  {func(r *Ruleset) error { return fmt.Errorf("own: %w", errors.Join(fs.ErrExist, dryRun(r))) }, []string{loads, "landlock: preset: file already exists"}},
		"own":               {func(*Ruleset) error { return fs.ErrExist }, []string{"landlock: preset: file already exists"}},
		"own, joined":       {func(*Ruleset) error { return errors.Join(fs.ErrExist, fs.ErrClosed) }, []string{"landlock: preset: file already exists\nfile already closed"}},
		"own, like what is": {func(*Ruleset) error { return New(V3).AllowRead("").Mistakes()[0] }, []string{"landlock: preset: " + kept}},
	} {
		r := New(V3).AllowRead("")
		var got []string
		for _, mistake := range r.Use(test.preset).Mistakes() {
			got = append(got, mistake.Error())
		}
		if want := append([]string{kept}, test.want...); !slices.Equal(got, want) {
			t.Errorf("%s: mistakes %q\nwant %q", name, got, want)
		}
	}
}

// converted is a RuleError by its method As alone.
type converted struct{ rule *RuleError }

func (c converted) Error() string { return "converted" }
func (c converted) As(target any) bool {
	rule, ok := target.(**RuleError)
	if ok {
		*rule = c.rule
	}
	return ok
}

// many cannot be compared.
type many []string

func (m many) Error() string { return strings.Join(m, ",") }

// All is what errors.AsType is, and finds the rest too.
func TestAll(t *testing.T) {
	a, b := &RuleError{Rule: Rule{Path: "/a"}}, &RuleError{Rule: Rule{Path: "/b"}}
	inside := &RuleError{Rule: Rule{Path: "/inside"}, Err: b}
	var none *RuleError
	for name, test := range map[string]struct {
		err  error
		want []*RuleError
	}{
		"nil":               {nil, nil},
		"none":              {fs.ErrExist, nil},
		"itself":            {a, []*RuleError{a}},
		"wrapped":           {fmt.Errorf("x: %w", a), []*RuleError{a}},
		"joined":            {errors.Join(b, fs.ErrExist, a), []*RuleError{b, a}},
		"several %w":        {fmt.Errorf("%w, %w", a, errors.Join(b)), []*RuleError{a, b}},
		"one in another":    {errors.Join(a, inside), []*RuleError{a, inside, b}},
		"the same again":    {errors.Join(a, b, fmt.Errorf("x: %w", a), inside), []*RuleError{a, b, inside}},
		"others like it":    {errors.Join(a, &RuleError{Rule: a.Rule}), []*RuleError{a, {Rule: a.Rule}}},
		"a nil pointer":     {errors.Join(none, a, (*DeniedError)(nil), converted{}), []*RuleError{a}},
		"by its method As":  {errors.Join(b, converted{a}), []*RuleError{b, a}},
		"what an error has": {explain(a, []error{&DeniedError{}, b}), []*RuleError{a, b}},
	} {
		got := All[*RuleError](test.err)
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
		if first, ok := errors.AsType[*RuleError](test.err); first != nil && (!ok || got[0] != first) {
			t.Errorf("%s: %v, and errors.AsType finds %v first", name, got, first)
		}
	}
	if got := All[many](errors.Join(many{"a"}, many{"a"}, many{"b"})); len(got) != 3 {
		t.Errorf("what cannot be compared: %v", got)
	}
	if got := All[interface {
		error
		Is(error) bool
	}](errors.Join(a, &DeniedError{}, &UnsupportedError{})); len(got) != 2 {
		t.Errorf("by an interface: %v", got)
	}
}

func TestErrors(t *testing.T) {
	for _, err := range []error{ErrNotBuilt, ErrDisabled, ErrBlocked, &UnsupportedError{}} {
		if !errors.Is(err, errors.ErrUnsupported) || !errors.Is(fmt.Errorf("wrapped: %w", err), errors.ErrUnsupported) {
			t.Errorf("%v is not ErrUnsupported", err)
		}
	}
	if errors.Is(ErrNotBuilt, ErrDisabled) || errors.Is(ErrDisabled, ErrBlocked) {
		t.Error("the reasons for no Landlock are one")
	}
	if !errors.Is(ErrTooManyLayers, system.E2BIG) {
		t.Error("ErrTooManyLayers is not E2BIG")
	}
	partial := &PartialError{Restricted: 3, Failed: 1, Err: system.E2BIG}
	if text := partial.Error(); !errors.Is(partial, system.E2BIG) || !strings.Contains(text, "3 threads are restricted and 1 are not: exit now") {
		t.Error(text)
	}
	partial = &PartialError{MissingSocketFilter: true, Err: system.E2BIG}
	if text := partial.Error(); !errors.Is(partial, system.E2BIG) || !strings.Contains(text, "enforced and its socket filter is not: exit now") {
		t.Error(text)
	}
}
