package landlock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
		{"target 0 with a floor", New(0).BestEffort(V1), "target ABI 0: this version of the package knows 1 to 11"},
		{"the zero Ruleset", new(Ruleset), "the ruleset handles no right at all"},
		{"unknown right", good().Allow(FSRead|1<<20, "/"), `rule read_file,read_dir,0x100000 on "/": unknown access right 0x100000`},
		{"no right", good().Allow(0, "/"), `rule none on "/": no access right given`},
		{"no right and no path", good().Allow(0), "rule none: no access right given"},
		{"empty path", good().AllowRead(""), `rule read_file,read_dir on "": empty path`},
		{"NUL", good().AllowExecute("a\x00b"), `rule execute,read_file,read_dir on "a\x00b": path contains a NUL byte`},
		{"optional empty path", good().AllowOptional(FSRead, ""), `rule read_file,read_dir on "": empty path`},
		{"nil file", good().AllowFile(FSRead, nil), `rule read_file,read_dir on "": nil file`},
		{"zero file", good().AllowFile(FSRead, new(os.File)), `rule read_file,read_dir on "": nil file`},
		{"unknown net right", good().AllowNet(1<<4, 80), "rule 0x10 on port 80: unknown access right 0x10"},
		{"no net right", good().AllowNet(0, 0), "rule none on port 0: no access right given"},
		{"no net right and no port", good().AllowNet(0), "rule none: no access right given"},
		{"unknown log flag", good().Log(8), "unknown log flag 0x8"},
		{"quiet nothing", good().Quiet(0, "/"), `rule none on "/": no access right given`},
		{"quiet port", good().QuietNet(0, 7), "rule none on port 7: no access right given"},
		{"quiet scope", good().QuietScope(0), "quiet scope none: no scope given"},
		{"quiet unknown scope", good().QuietScope(4), "quiet scope 0x4: unknown scope 0x4"},
		{"several", good().AllowRead("", "/nonexistent", "\x00").AllowNet(0, 1).Log(8),
			"rule read_file,read_dir on \"\": empty path\n" +
				"landlock: rule read_file,read_dir on \"\\x00\": path contains a NUL byte\n" +
				"landlock: rule none on port 1: no access right given\n" +
				"landlock: unknown log flag 0x8"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			report, err := test.ruleset.Apply()
			if err == nil {
				t.Fatal("Apply of a ruleset with a mistake restricted this process")
			}
			if report.String() != (Report{}).String() {
				t.Errorf("Apply returned the report %v with an error", report)
			}
			checkMistake(t, "Apply", err, test.want)
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
	if err == nil || !strings.HasPrefix(err.Error(), "landlock: "+want) {
		t.Errorf("%s: %v\nwant  landlock: %s", call, err, want)
	}
}

func TestRuleErrorFields(t *testing.T) {
	_, err := New(V1).AllowRead("").AllowNet(1<<5, 8080).Apply()
	var rules []*RuleError
	for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
		rule, ok := errors.AsType[*RuleError](err)
		if !ok || !errors.Is(err, fs.ErrInvalid) {
			t.Fatalf("%v is not a RuleError that Is fs.ErrInvalid", err)
		}
		rules = append(rules, rule)
	}
	if len(rules) != 2 || rules[0].Port != -1 || rules[0].Path != "" || rules[0].Access != FSRead ||
		rules[1].Port != 8080 || rules[1].Path != "" || rules[1].Access != AccessNet(1<<5) {
		t.Errorf("rule errors %+v", rules)
	}
}

// A mistake does not hide the rules that only the kernel or the filesystem refuses.
func TestEveryBadRuleIsReported(t *testing.T) {
	needABI(t, V1)
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
		`on "": empty path`,
		fmt.Sprintf("rule read_file,read_dir on %q: open: no such file or directory", missing),
		fmt.Sprintf("rule read_dir,make_reg on %q: not a directory, and only directories can have these rights", file),
		`on "|0": only files and directories of a filesystem can have rules`,
		fmt.Sprintf("on %q: ", file),
		fmt.Sprintf("on %q: open: not a directory", filepath.Join(file, "below")),
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not contain %s", want)
		}
	}
	for _, is := range []error{fs.ErrNotExist, fs.ErrInvalid, os.ErrClosed, errNotDirectory} {
		if !errors.Is(err, is) {
			t.Errorf("the error is not %v", is)
		}
	}
	if n := strings.Count(err.Error(), "\n"); n != 5 {
		t.Errorf("%d errors, want 6", n+1)
	}
}

func TestRulesMerge(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r := New(V11).
		AllowRead("/a").Allow(FSWriteFile, "/a", "/a").Quiet(FSExecute, "/a").
		AllowOptional(FSRead, "/optional").AllowOptional(FSWrite, "/optional").Quiet(FSRead, "/optional").
		Quiet(FSRead, "/quiet first").AllowOptional(FSRead, "/quiet first").
		AllowOptional(FSRead, "/required").Allow(FSRead, "/required").AllowOptional(FSWrite, "/required").
		Quiet(FSRead, "/quiet only").
		AllowFile(FSRead, file).AllowFile(FSWrite, file).
		AllowBindTCP(80).AllowConnectTCP(80, 443).QuietNet(NetBindUDP, 80)
	want := []pathRule{
		{pathKey{path: "/a"}, FSRead | FSWriteFile, false, FSExecute},
		{pathKey{path: "/optional"}, FSReadWrite, true, FSRead},
		{pathKey{path: "/quiet first"}, FSRead, true, FSRead},
		{pathKey{path: "/required"}, FSReadWrite, false, 0},
		{pathKey{path: "/quiet only"}, 0, false, FSRead},
		{pathKey{file: file}, FSReadWrite, false, 0},
	}
	if fmt.Sprint(r.paths) != fmt.Sprint(want) {
		t.Errorf("path rules %v\nwant       %v", r.paths, want)
	}
	wantPorts := []portRule{{80, NetBindTCP | NetConnectTCP, NetBindUDP}, {443, NetConnectTCP, 0}}
	if fmt.Sprint(r.ports) != fmt.Sprint(wantPorts) {
		t.Errorf("port rules %v, want %v", r.ports, wantPorts)
	}
	if want := (Rights{FSRead | FSExecute, NetBindUDP, 0}); r.quiet != want {
		t.Errorf("quiet %v, want %v", r.quiet, want)
	}
}

func TestHelpers(t *testing.T) {
	if FSRead != 0xc || FSReadExecute != 0xd || FSWrite != 0x77b2 || FSReadWrite != 0x77be {
		t.Errorf("groups %#x %#x %#x %#x", uint64(FSRead), uint64(FSReadExecute), uint64(FSWrite), uint64(FSReadWrite))
	}
	r := New(V1).AllowRead("r").AllowReadWrite("w").AllowExecute("x").AllowRead().AllowNet(NetBindTCP)
	if len(r.mistakes) > 0 || fmt.Sprint(r.paths[0].access, r.paths[1].access, r.paths[2].access) != fmt.Sprint(FSRead, FSReadWrite, FSReadExecute) {
		t.Errorf("rules %v, mistakes %v", r.paths, r.mistakes)
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
	if !errors.Is(ErrTooManyLayers, errTooBig) {
		t.Error("ErrTooManyLayers is not E2BIG")
	}
	partial := &PartialError{Restricted: 3, Failed: 1, Err: errTooBig}
	if text := partial.Error(); !errors.Is(partial, errTooBig) || !strings.Contains(text, "3 threads are restricted and 1 are not: exit now") {
		t.Error(text)
	}
}

func TestReportString(t *testing.T) {
	report := Report{
		Kernel:       Kernel{V6, ErratumTCPSockets},
		Enforced:     Rights{FSRead, NetBindTCP, 0},
		Missing:      Rights{0, 0, ScopeSignal},
		Denied:       FSRefer,
		Skipped:      []string{"/a b"},
		MissingLog:   LogNewExecOn,
		MissingQuiet: true,
	}
	want := "ABI 6 (Linux 6.12), errata fixed: tcp_sockets; enforced: fs.read_file,fs.read_dir,net.bind_tcp; " +
		"still allowed, this kernel cannot restrict it: scope.signal; denied although a rule allows it: fs.refer; " +
		`without log_new_exec_on; without quiet rules; skipped, not there: ["/a b"]`
	if got := report.String(); got != want {
		t.Errorf("String() = %s\nwant       %s", got, want)
	}
	if got, want := report.LogValue().String(), "[abi=6 errata=tcp_sockets complete=false enforced=fs.read_file,fs.read_dir,net.bind_tcp "+
		"missing=scope.signal denied=refer missing_log=log_new_exec_on missing_quiet=true skipped=[/a b]]"; got != want {
		t.Errorf("LogValue() = %s\nwant         %s", got, want)
	}
	if got, want := (Report{}).String(), "no Landlock; NOT SANDBOXED, nothing is enforced"; got != want {
		t.Errorf("the zero Report is %q, want %q", got, want)
	}
	if !(Report{Skipped: []string{"/x"}}).Complete() || report.Complete() {
		t.Error("Complete is wrong")
	}
}
