package blackbox

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"example.com/landlock"
	"example.com/landlock/internal/testenv"
)

// The rule that a refusal carries lets what was refused through, once it is added to the
// ruleset, in a Sandbox. So it does with no more rights than are missing.
func TestDeniedRuleLetsThrough(t *testing.T) {
	testenv.NeedABI(t, landlock.V4)
	testenv.InBoth(t, func(t *testing.T, dir string) {
		at := func(name string) string { return dir + "/own/rule/" + name }
		for _, name := range []string{"from", "to", "empty/old"} {
			if err := os.MkdirAll(at(name), 0o777); err != nil {
				t.Fatal(err)
			}
		}
		testenv.Write(t, at("from/file"), "text")
		testenv.Write(t, at("file"), "text")
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		port := listener.Addr().(*net.TCPAddr).Port
		nothing := func() error { return nil }
		for _, test := range []struct {
			name string
			do   func() error
			undo func() error
			want []string // the rules that it takes
		}{
			{"read", func() error { return closing(os.Open(at("file"))) }, nothing, []string{fmt.Sprintf("AllowRead(%q)", at("file"))}},
			{"list", func() error { return closing(os.Open(at("empty"))) }, nothing, []string{fmt.Sprintf("AllowRead(%q)", at("empty"))}},
			{"make", func() error { return os.Mkdir(at("empty/new"), 0o777) }, func() error { return os.Remove(at("empty/new")) }, []string{fmt.Sprintf("AllowReadWrite(%q)", at("empty"))}},
			{"remove", func() error { return os.Remove(at("empty/old")) }, func() error { return os.Mkdir(at("empty/old"), 0o777) }, []string{fmt.Sprintf("AllowReadWrite(%q)", at("empty"))}},
			{"truncate", func() error { return os.Truncate(at("file"), 0) }, nothing, []string{fmt.Sprintf("AllowReadWrite(%q)", at("file"))}},
			{"beneath /proc", func() error { return closing(os.Open("/proc/version")) }, nothing, []string{`AllowRead("/proc")`}},
			{"a device", func() error { return closing(os.OpenFile("/dev/null", os.O_RDWR, 0)) }, nothing, []string{`Allow(landlock.FSWriteFile|landlock.FSReadFile, "/dev/null")`}},
			{"move", func() error { return os.Rename(at("from/file"), at("to/file")) }, func() error { return os.Rename(at("to/file"), at("from/file")) }, []string{
				fmt.Sprintf("AllowReadWrite(%q)", at("from")), fmt.Sprintf("AllowReadWrite(%q)", at("to"))}},
			{"connect", func() error { return closing(net.Dial("tcp", listener.Addr().String())) }, nothing, []string{fmt.Sprintf("AllowConnectTCP(%d)", port)}},
		} {
			for _, least := range []bool{false, true} {
				r := landlock.NewHandling(landlock.Rights{FS: landlock.V3.FS(), Net: landlock.V4.Net()})
				err, explained := doIn(t, r, test.do)
				if err == nil {
					t.Errorf("%s: nothing is refused", test.name)
					continue
				}
				var got []string
				for _, denied := range landlock.All[*landlock.DeniedError](explained) {
					got = append(got, denied.Rule.String())
					if least && test.name != "a device" { // which is opened for more than is known to be missing
						denied.Rule.FS = denied.Missing.FS
					}
					r.Add(denied.Rule)
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("%s: %v\nrules %q, want %q", test.name, explained, got, test.want)
				}
				if err, explained = doIn(t, r, test.do); err != nil {
					t.Errorf("%s: with its rules, the least of them %v: %v", test.name, least, explained)
				} else if err = test.undo(); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// doIn does something on a thread in a Sandbox, and has it explained there.
func doIn(t *testing.T, r *landlock.Ruleset, do func() error) (err, explained error) {
	t.Helper()
	s, prepareErr := r.Prepare()
	if prepareErr != nil {
		t.Fatal(prepareErr)
	}
	defer s.Close()
	if doErr := s.Do(func() error { err = do(); explained = s.Explain(err); return nil }); doErr != nil {
		t.Fatal(doErr)
	}
	return err, explained
}

// A file may not gain rights by a move, and so not by the rule that is advised for it.
func TestDeniedRuleOfMoves(t *testing.T) {
	testenv.NeedABI(t, landlock.V3)
	testenv.InBoth(t, func(t *testing.T, dir string) {
		from, to := dir+"/own/from", dir+"/own/to"
		for _, path := range []string{from, to, from + "/dir"} {
			if err := os.Mkdir(path, 0o777); err != nil {
				t.Fatal(err)
			}
		}
		testenv.Write(t, from+"/file", "")
		for _, test := range []struct {
			name string
			want []string
		}{
			{"file", []string{fmt.Sprintf("Allow(landlock.FSMakeReg|landlock.FSRefer, %q)", to)}},
			{"dir", []string{fmt.Sprintf("Allow(landlock.FSMakeDir|landlock.FSRefer, %q)", to), fmt.Sprintf("AllowReadWrite(%q)", from)}},
		} {
			for _, least := range []bool{false, true} {
				r := landlock.NewHandling(landlock.Rights{FS: landlock.V3.FS()}).Allow(landlock.FSRead|landlock.FSRemoveFile|landlock.FSRemoveDir|landlock.FSRefer, from)
				move := func() error { return os.Rename(from+"/"+test.name, to+"/"+test.name) }
				_, explained := doIn(t, r, move)
				var got []string
				for _, denied := range landlock.All[*landlock.DeniedError](explained) {
					got = append(got, denied.Rule.String())
					if least {
						denied.Rule.FS = denied.Missing.FS
					}
					r.Add(denied.Rule)
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("%s: %v\nrules %q, want %q", test.name, explained, got, test.want)
				}
				if err, explained := doIn(t, r, move); err != nil {
					t.Errorf("%s: with its rules, the least of them %v: %v", test.name, least, explained)
				} else if err := os.Rename(to+"/"+test.name, from+"/"+test.name); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// The rule is the narrowest helper's that has what is missing, and what is missing alone
// is enough.
func TestDeniedRuleIsTheNarrowestHelper(t *testing.T) {
	dir := t.TempDir()
	testenv.Write(t, dir+"/file", "")
	if err := os.Mkdir(dir+"/dir", 0o777); err != nil {
		t.Fatal(err)
	}
	all := []landlock.AccessFS{landlock.FSReadFile | landlock.FSReadDir, landlock.FSReadFile | landlock.FSExecute, landlock.FSWriteFile | landlock.FSTruncate, landlock.FSReadFile | landlock.FSWriteFile, landlock.FSMakeReg | landlock.FSRefer, landlock.FSWriteFile | landlock.FSExecute, landlock.FSReadFile | landlock.FSIoctlDev}
	for right := landlock.AccessFS(1); right <= landlock.FSResolveUnix; right <<= 1 {
		all = append(all, right)
	}
	tried := 0
	for _, access := range all {
		for _, path := range []string{dir + "/file", dir + "/dir"} {
			denied := blamed(landlock.New(landlock.V11).CheckTarget(access, path))
			if denied == nil {
				continue // never asked for there
			}
			tried++
			missing := denied.Missing.FS
			want := missing
			for _, helper := range []landlock.AccessFS{landlock.FSRead, landlock.FSReadExecute, landlock.FSReadWrite} {
				if missing&^helper == 0 && (path == dir+"/file" || missing&^(landlock.FSWriteFile|landlock.FSTruncate) != 0) {
					want = helper
					break
				}
			}
			if denied.Rule.FS != want {
				t.Errorf("%v on %s: %v, want %v", access, path, denied.Rule, want)
			}
			for _, fs := range []landlock.AccessFS{want, missing} {
				denied.Rule.FS = fs
				if err := landlock.New(landlock.V11).Add(denied.Rule).CheckTarget(access, path); err != nil {
					t.Errorf("%v on %s: with %v: %v", access, path, denied.Rule, err)
				}
			}
		}
	}
	if tried < len(all) {
		t.Errorf("%d denials, which are not all", tried)
	}
}

// Where it takes more than one rule, or none would do, there is no rule, and the text
// says what there is.
func TestDeniedRuleOrWords(t *testing.T) {
	testenv.NeedABI(t, landlock.V4)
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.Mkdir(dir+"/"+name, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	testenv.Write(t, dir+"/b/file", "")
	for _, name := range []string{"a/link", "b/link"} {
		if err := os.Symlink(dir+"/b/file", dir+"/"+name); err != nil {
			t.Fatal(err)
		}
	}
	r := landlock.NewHandling(landlock.Rights{FS: landlock.V1.FS(), Net: landlock.V4.Net()})
	deny := func(op, path string) error { return &os.PathError{Op: op, Path: path, Err: syscall.EACCES} }
	for _, test := range []struct {
		name string
		err  error
		rule string // "no rule" where there is none
		text string
	}{
		{"a link and its file", r.Check(landlock.FSReadFile|landlock.FSRemoveFile, dir+"/a/link"), "no rule",
			fmt.Sprintf("AllowRead(%q) and AllowReadWrite(%q) would allow it", dir+"/b/file", dir+"/a")},
		{"a link beside its file", r.Check(landlock.FSReadFile|landlock.FSRemoveFile, dir+"/b/link"), fmt.Sprintf("AllowReadWrite(%q)", dir+"/b"), ""},
		{"a link alone", r.Check(landlock.FSRemoveFile, dir+"/a/link"), fmt.Sprintf("AllowReadWrite(%q)", dir+"/a"), ""},
		{"to write beneath /etc", r.Check(landlock.FSMakeReg, "/etc/new"), "no rule", "only a rule to write beneath /etc would allow it"},
		{"several rights to a port", r.CheckNet(landlock.V4.Net(), 7), "AllowNet(landlock.NetBindTCP|landlock.NetConnectTCP, 7)", ""},
		{"a device", r.Explain(deny("open", "/dev/zero")), `Allow(landlock.FSWriteFile|landlock.FSReadFile, "/dev/zero")`, "Use(preset.NullDevices) would allow it"},
		{"a program and its libraries", r.Explain(deny("fork/exec", "/bin/sh")), "no rule", "Use(preset.Programs("},
		{"a scope", landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile, Scope: landlock.ScopeSignal}).BestEffort(landlock.V1).Explain(os.NewSyscallError("kill", syscall.EPERM)), "no rule", "no rule can allow it"},
	} {
		denied := blamed(test.err)
		if denied == nil {
			if kernel, _ := landlock.Probe(); test.name == "a scope" && kernel.ABI < landlock.V6 {
				continue
			}
			t.Errorf("%s: %v", test.name, test.err)
			continue
		}
		if denied.Rule.String() != test.rule || !strings.Contains(denied.Error(), test.text) {
			t.Errorf("%s: %v\nrule %v, want %s", test.name, denied, denied.Rule, test.rule)
		}
		if test.text == "" && !strings.Contains(denied.Error(), test.rule+" would allow it") {
			t.Errorf("%s: the text has another rule: %v", test.name, denied)
		}
	}
	for _, name := range []string{"a", "b"} {
		path := dir + "/" + name + "/link"
		more := r.Clone().AllowRead(dir + "/b/file").AllowReadWrite(dir + "/" + name)
		if err := more.Check(landlock.FSReadFile|landlock.FSRemoveFile, path); err != nil {
			t.Errorf("with what is advised: %v", err)
		}
	}
}

// A rule for UDP ends what the filter stands in for: a strict ruleset is not loaded with
// it, and then it is no rule alone that would do.
func TestDeniedRuleForUDP(t *testing.T) {
	needFilter(t)
	testenv.NeedABI(t, landlock.V4)
	if hasUDP() {
		t.Skip("needs a kernel below ABI 10")
	}
	strict := landlock.NewHandling(landlock.Rights{Net: landlock.V10.Net()}).FilterSockets()
	denied := blamed(strict.CheckNet(landlock.NetBindUDP, 53))
	if denied == nil || denied.Rule != (landlock.Rule{}) || !strings.HasSuffix(denied.Error(), "AllowBindUDP(53) and BestEffort would allow it"+allUDP) {
		t.Errorf("%v", denied)
	}
	if _, err := strict.Clone().AllowBindUDP(53).DryRun(); err == nil {
		t.Error("the rule alone is enough")
	}
	r := strict.Clone().BestEffort(landlock.V4)
	denied = blamed(r.CheckNet(landlock.NetBindUDP, 53))
	if denied == nil || denied.Rule != (landlock.Rule{Port: 53, Net: landlock.NetBindUDP}) || !strings.HasSuffix(denied.Error(), "AllowBindUDP(53) would allow it"+allUDP) {
		t.Fatalf("%v", denied)
	}
	bind := func() error { return closing(net.ListenPacket("udp", "127.0.0.1:0")) }
	testenv.InChild(t, nil, func(t *testing.T, _ string) {
		if err, _ := doIn(t, r, bind); err == nil {
			t.Error("nothing is refused")
		}
		if err, explained := doIn(t, r.Clone().Add(denied.Rule), bind); err != nil {
			t.Errorf("with its rule: %v", explained)
		}
	})
}
