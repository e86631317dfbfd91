package landlock

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"example.com/landlock/internal/testenv"
)

// everything returns a ruleset that asks for all there is.
func everything(target ABI) *Ruleset {
	return New(target).
		Allow(newest.FS(), "/all").Allow(FSMakeDir, "/dirs").
		AllowNet(newest.Net(), 80).
		Quiet(FSRead, "/quiet").QuietNet(NetBindTCP, 81).QuietScope(ScopeSignal).
		Log(LogNewExecOn)
}

func TestFitEveryABI(t *testing.T) {
	attrSizes := []uintptr{0: 8, 8, 8, 8, 16, 16, 24, 24, 24, 24, 48, 48, 48}
	for abi := ABI(0); abi <= 12; abi++ {
		for _, who := range []reach{oneThread, wholeProcess} {
			for _, newPrivs := range []bool{false, true} {
				t.Run(fmt.Sprintf("ABI %d, reach %d, new privs %v", int(abi), who, newPrivs), func(t *testing.T) {
					r := everything(V11).BestEffort(0)
					if newPrivs {
						r.AllowNewPrivs()
					}
					kernel := Kernel{ABI: abi, Errata: 5}
					p, err := r.fit(kernel, nil, who)
					if err != nil {
						t.Fatal(err)
					}
					raw := kernelRights[abi]
					want := Rights{AccessFS(raw.fs), AccessNet(raw.net), Scope(raw.scope)}
					if who == wholeProcess && abi < 8 {
						want.Scope = 0
					}
					if p.handled != want {
						t.Errorf("handled %v, want %v", p.handled, want)
					}
					if p.attrSize != attrSizes[abi] {
						t.Errorf("attr size %d, want %d", p.attrSize, attrSizes[abi])
					}
					checkFlags(t, p, abi, who, newPrivs)
					checkQuiet(t, p, abi)
					if got, flags := p.forPath(&r.rules[0]); got != want.FS || flags != 0 {
						t.Errorf("rule for everything allows %v, flags %d, want %v", got, flags, want.FS)
					}
					if got, flags := p.forPort(&r.rules[2]); got != want.Net || flags != 0 {
						t.Errorf("port rule allows %v, flags %d, want %v", got, flags, want.Net)
					}
					report := Report{Kernel: kernel, Enforced: want, Shortfall: Shortfall{MissingQuiet: abi < 10}}
					if abi == 1 { // denied there, and no rule can allow it
						report.Enforced.FS |= FSRefer
						report.Denied = FSRefer
					}
					report.Missing = V11.Rights().minus(report.Enforced)
					if abi < 7 {
						report.MissingLog = LogNewExecOn
					}
					if p.report.String() != report.String() {
						t.Errorf("report %v\nwant   %v", p.report, report)
					}
					if complete := abi >= 10; p.report.Complete() != complete {
						t.Errorf("Complete() = %v, want %v", !complete, complete)
					}
				})
			}
		}
	}
}

func checkFlags(t *testing.T, p *plan, abi ABI, who reach, newPrivs bool) {
	t.Helper()
	var want uint32
	if abi >= 7 {
		want |= 2 // LOG_NEW_EXEC_ON
	}
	if abi >= 8 && who == wholeProcess {
		want |= 8 // TSYNC
	}
	if abi >= 11 && !newPrivs {
		want |= 16 // NO_NEW_PRIVS
	}
	if p.flags != want {
		t.Errorf("restrict_self flags %#x, want %#x", p.flags, want)
	}
	if prctl := !newPrivs && abi < 11; p.noNewPrivs != prctl {
		t.Errorf("no_new_privs by prctl: %v, want %v", p.noNewPrivs, prctl)
	}
}

func checkQuiet(t *testing.T, p *plan, abi ABI) {
	t.Helper()
	var want Rights
	var wantFlags uint32
	if abi >= 10 {
		want = Rights{FSRead, NetBindTCP, ScopeSignal}
		wantFlags = 1
	}
	if p.quiet != want {
		t.Errorf("quiet %v, want %v", p.quiet, want)
	}
	quiet := 0
	for i := range p.rules {
		rule := &p.rules[i]
		if !rule.Quiet {
			continue
		}
		quiet++
		onPath, pathFlags := p.forPath(rule)
		onPort, portFlags := p.forPort(rule)
		flags := pathFlags
		if rule.isPort() {
			flags = portFlags
		}
		if onPath != 0 || onPort != 0 || flags != wantFlags {
			t.Errorf("%v: %v and %v, flags %d, want none and %d", rule, onPath, onPort, flags, wantFlags)
		}
	}
	if quiet != 2 {
		t.Errorf("%d quiet rules, want one for a path and one for a port", quiet)
	}
}

func TestFitRefused(t *testing.T) {
	strict := func(target ABI) *Ruleset { return New(target) }
	tests := []struct {
		name    string
		ruleset *Ruleset
		kernel  ABI
		who     reach
		needed  ABI // 0: accepted
		words   string
	}{
		{"strict on its own kernel", strict(V5), V5, wholeProcess, 0, ""},
		{"strict on a newer kernel", strict(V5), V11, wholeProcess, 0, ""},
		{"strict on an unknown kernel", strict(V11), 12, wholeProcess, 0, ""},
		{"strict, one right missing", strict(V3), V2, oneThread, V3, "fs.truncate"},
		{"strict, refer missing", strict(V2), V1, oneThread, V2, "fs.refer"},
		{"strict, net missing", strict(V4), V3, oneThread, V4, "net.bind_tcp,net.connect_tcp"},
		{"strict, no Landlock", strict(V1), 0, oneThread, V1, "no Landlock"},
		{"strict, scopes for one thread", strict(V6), V6, oneThread, 0, ""},
		{"strict, scopes for all threads", strict(V6), V7, wholeProcess, V8, "ABI 8 (Linux 7.0): an older kernel gives each thread"},
		{"strict, scopes for all threads", strict(V6), V8, wholeProcess, 0, ""},
		{"strict, nothing missing but below", strict(V7), V6, oneThread, V7, "ABI 7 (Linux 6.15), this kernel has ABI 6"},
		{"strict, log flags", New(V1).Log(LogNewExecOn), V6, oneThread, V7, "log_new_exec_on"},
		{"strict, quiet", New(V1).Quiet(FSRead, "/"), V9, oneThread, V10, "quiet rules"},
		{"handling, its lowest ABI", NewHandling(Rights{FS: FSTruncate}), V3, oneThread, 0, ""},
		{"handling, below", NewHandling(Rights{Net: NetBindUDP}), V9, oneThread, V10, "net.bind_udp"},
		{"handling refer, which ABI 1 denies", NewHandling(Rights{FS: FSExecute | FSRefer}), V1, oneThread, 0, ""},
		{"handling refer, with a rule that ABI 1 denies", NewHandling(Rights{FS: FSExecute | FSRefer}).AllowReadWrite("/"), V1, oneThread, V2, "fs.refer"},
		{"handling no refer, with a rule that ABI 1 denies", NewHandling(Rights{FS: FSWriteFile}).AllowReadWrite("/"), V1, oneThread, V2, "no rule can allow refer"},
		{"handling no refer, with a quiet rule", NewHandling(Rights{FS: FSWriteFile}).AllowRead("/").AllowReadWrite(), V1, oneThread, 0, ""},
		{"handling refer alone", NewHandling(Rights{FS: FSRefer}), V1, oneThread, V2, "fs.refer"},
		{"strict, refer without a rule", strict(V2), V1, wholeProcess, V2, "fs.refer"},
		{"strict, refer denied in spite of a rule", strict(V1).AllowReadWrite("/"), V1, wholeProcess, 0, ""},
		{"best effort at its floor", New(V11).BestEffort(V4), V4, wholeProcess, 0, ""},
		{"best effort below its floor", New(V11).BestEffort(V4), V3, wholeProcess, V4, "lower floor"},
		{"best effort with no floor", New(V11).BestEffort(0), 0, wholeProcess, 0, ""},
		{"best effort, nothing left", NewHandling(Rights{Net: NetBindTCP}).BestEffort(V1), V3, oneThread, V4, "net.bind_tcp"},
		{"best effort, no floor, nothing left", NewHandling(Rights{Net: NetBindTCP}).BestEffort(0), V3, oneThread, 0, ""},
		{"best effort, scopes alone", NewHandling(Rights{Scope: ScopeSignal}).BestEffort(V6), V7, wholeProcess, V8, "scope.signal"},
		{"best effort, refer alone", NewHandling(Rights{FS: FSRefer}).BestEffort(V1), V1, oneThread, V2, "fs.refer"},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s on %d", test.name, test.kernel), func(t *testing.T) {
			_, err := test.ruleset.fit(Kernel{ABI: test.kernel}, nil, test.who)
			if test.needed == 0 {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			unsupported, ok := errors.AsType[*UnsupportedError](err)
			if !ok || !errors.Is(err, errors.ErrUnsupported) {
				t.Fatalf("error %v, want an UnsupportedError", err)
			}
			if unsupported.Needed != test.needed || unsupported.Kernel.ABI != test.kernel {
				t.Errorf("%v: needed %v on %v, want %v on %v", err, unsupported.Needed, unsupported.Kernel.ABI, test.needed, test.kernel)
			}
			if !strings.Contains(err.Error(), test.words) || !strings.Contains(err.Error(), fmt.Sprintf("needs ABI %d (Linux ", test.needed)) {
				t.Errorf("error %q does not contain %q and ABI %d", err, test.words, int(test.needed))
			}
			if _, err := test.ruleset.fit(Kernel{ABI: test.needed}, nil, test.who); err != nil {
				t.Errorf("refused on the kernel it asks for: %v", err)
			}
		})
	}
}

// What a floor means on each kernel, for Apply and for Prepare. The scopes of a whole
// process take ABI 8, whatever the floor.
func TestFitFloors(t *testing.T) {
	for abi := ABI(0); abi <= 12; abi++ {
		for floor := ABI(0); floor <= V11; floor++ {
			for _, who := range []reach{oneThread, wholeProcess} {
				p, err := New(V11).BestEffort(floor).fit(Kernel{ABI: abi}, nil, who)
				if (err == nil) != (abi >= floor) {
					t.Errorf("floor %d on ABI %d, reach %d: %v", floor, abi, who, err)
				}
				if err != nil {
					continue
				}
				want := abi.Rights()
				if who == wholeProcess && abi < V8 {
					want.Scope = 0
				}
				if abi == V1 {
					want.FS |= FSRefer
				}
				if p.report.Enforced != want || p.report.Missing != V11.Rights().minus(want) {
					t.Errorf("floor %d on ABI %d, reach %d: %v, want %v to be enforced", floor, abi, who, p.report, want)
				}
			}
		}
	}
}

// A strict NewHandling is accepted exactly where all of it is in force, and best
// effort says Complete of the same kernels.
func TestFitStrictRights(t *testing.T) {
	for name, r := range map[string]*Ruleset{
		"files":                      NewHandling(Rights{FS: FSExecute}),
		"device nodes":               NewHandling(Rights{FS: FSMakeChar | FSMakeBlock}),
		"moves":                      NewHandling(Rights{FS: FSExecute | FSRefer}),
		"moves, with a rule":         NewHandling(Rights{FS: FSExecute | FSRefer}).Allow(FSRefer, "/"),
		"moves alone":                NewHandling(Rights{FS: FSRefer}),
		"moves, unasked, by a rule":  NewHandling(Rights{FS: FSMakeReg}).AllowReadWrite("/"),
		"moves, quiet":               NewHandling(Rights{FS: FSExecute | FSRefer}).Quiet(FSRefer, "/"),
		"files of a later ABI":       NewHandling(Rights{FS: FSExecute | FSRefer | FSTruncate}),
		"scopes":                     NewHandling(Rights{Scope: V6.Scopes()}),
		"ports":                      NewHandling(Rights{Net: V4.Net()}),
		"UDP":                        NewHandling(Rights{Net: V10.Net()}),
		"UDP, filtered":              NewHandling(Rights{Net: V10.Net()}).FilterSockets(),
		"UDP, filtered, and a scope": NewHandling(Rights{Net: V10.Net(), Scope: ScopeSignal}).FilterSockets(),
		"log flags":                  NewHandling(Rights{FS: FSExecute}).Log(LogNewExecOn),
		"all of an ABI":              NewHandling(V9.Rights()),
	} {
		for abi := ABI(0); abi <= 12; abi++ {
			for _, who := range []reach{oneThread, wholeProcess} {
				kernel := Kernel{ABI: abi}
				best, err := r.Clone().BestEffort(0).fit(kernel, nil, who)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := r.fit(kernel, nil, who); (err == nil) != best.report.Complete() {
					t.Errorf("%s on ABI %d, reach %d: strict %v, best effort %v", name, abi, who, err, best.report)
				}
			}
		}
	}
}

// FSRefer is denied whether handled or not, so a rule for it is always worth having.
func TestFitReferUnhandled(t *testing.T) {
	r := NewHandling(Rights{FS: FSWriteFile}).AllowReadWrite("/tmp")
	p, err := r.fit(Kernel{ABI: V2}, nil, oneThread)
	if err != nil {
		t.Fatal(err)
	}
	allowed, _ := p.forPath(&p.rules[0])
	if want := FSWriteFile | FSRefer; p.handled.FS != want || allowed != want {
		t.Errorf("handled %v, allowed %v, want %v", p.handled.FS, allowed, want)
	}
	if want := (Rights{FS: FSWriteFile | FSRefer}); p.report.Enforced != want {
		t.Errorf("enforced %v, want %v", p.report.Enforced, want)
	}
	r = NewHandling(Rights{FS: FSWriteFile}).Quiet(FSRefer, "/tmp")
	if p, err = r.fit(Kernel{ABI: V10}, nil, oneThread); err != nil || p.handled.FS != FSWriteFile|FSRefer || p.quiet.FS != FSRefer {
		t.Errorf("with quiet refer: handled %v, quiet %v, %v, want refer in both", p.handled.FS, p.quiet.FS, err)
	}
	if p, err = r.BestEffort(V1).fit(Kernel{ABI: V1}, nil, oneThread); err != nil || p.report.Denied != 0 {
		t.Errorf("a quiet rule counts as one that is denied: %v, %v", p.report.Denied, err)
	}
	r = NewHandling(Rights{Net: NetBindTCP, FS: FSTruncate}).AllowReadWrite("/tmp").BestEffort(V2)
	if p, err = r.fit(Kernel{ABI: V2}, nil, oneThread); err == nil {
		t.Errorf("refer alone is handled: %v", p.handled)
	}
}

// randomRuleset returns a ruleset without mistakes.
func randomRuleset(rnd *rand.Rand) *Ruleset {
	var r *Ruleset
	if rnd.IntN(2) == 0 {
		r = New(ABI(1 + rnd.IntN(int(newest))))
	} else {
		r = NewHandling(Rights{AccessFS(rnd.Uint64()), AccessNet(rnd.Uint64()), Scope(rnd.Uint64())}.intersect(newest.Rights()))
	}
	for range rnd.IntN(6) {
		fs, net := AccessFS(rnd.Uint64())&newest.FS()|FSRead, AccessNet(rnd.Uint64())&newest.Net()|NetBindTCP
		scope := ScopeSignal
		// What is not handled is a mistake, and makes no rule without an object.
		var paths []string
		var ports []uint16
		if r.wrong(Rights{FS: fs}, 1) == nil {
			paths = []string{fmt.Sprint("/", rnd.IntN(3))}
		}
		if r.wrong(Rights{Net: net}, 1) == nil {
			ports = []uint16{uint16(rnd.IntN(3))}
		}
		switch rnd.IntN(7) {
		case 0:
			r.Allow(fs, paths...)
		case 1:
			r.AllowOptional(fs, paths...)
		case 2:
			r.AllowNet(net, ports...)
		case 3:
			r.Quiet(fs, paths...).QuietNet(net, ports...)
		case 4:
			r.Log(LogFlags(rnd.IntN(8)))
		case 5:
			r.AllowNewPrivs()
			if r.handled.Net != 0 {
				r.FilterSockets()
			}
		case 6:
			if r.handled.Scope&scope != 0 {
				r.QuietScope(scope)
			}
		}
	}
	if rnd.IntN(3) > 0 {
		r.BestEffort(ABI(rnd.IntN(int(r.target) + 1)))
	}
	return r
}

func TestFitProperties(t *testing.T) {
	seeds := uint64(5_000)
	if testenv.LongTests() {
		seeds = 500_000
	}
	for seed := range seeds {
		rnd := rand.New(rand.NewPCG(seed, 1))
		r := randomRuleset(rnd)
		if len(r.mistakes) > 0 {
			if !r.handled.isZero() {
				t.Fatalf("seed %d: %v", seed, r.mistakes)
			}
			continue
		}
		kernel := Kernel{ABI(rnd.IntN(13)), Errata(rnd.Uint32())}
		who := reach(rnd.IntN(2))
		var noFilter error
		if rnd.IntN(3) == 0 {
			noFilter = errNoSeccomp
		}
		before := fmt.Sprintf("%+v", r)
		p, err := r.fit(kernel, noFilter, who)
		if after := fmt.Sprintf("%+v", r); after != before {
			t.Fatalf("seed %d: fit changed the ruleset:\n%s\n%s", seed, before, after)
		}
		for _, broken := range brokenProperties(r, kernel, noFilter, who, p, err) {
			t.Errorf("seed %d: %s\non %v for %d: %+v\n%v\nfrom %s", seed, broken, kernel, who, p, err, before)
		}
	}
}

// brokenProperties returns what must hold for every fit and does not.
func brokenProperties(r *Ruleset, kernel Kernel, noFilter error, who reach, p *plan, err error) (broken []string) {
	holds := func(ok bool, property string) {
		if !ok {
			broken = append(broken, property)
		}
	}
	if err != nil {
		unsupported, ok := errors.AsType[*UnsupportedError](err)
		holds(ok, "the error is an UnsupportedError")
		holds(ok && (unsupported.Needed > kernel.ABI.known() || unsupported.MissingSocketFilter), "what is needed is newer, or a filter")
		holds(ok && (!unsupported.MissingSocketFilter || r.filtersSockets() && noFilter != nil), "a filter is missed where it is asked for, and cannot be had")
		holds(r.floor > 0 || !r.bestEffort, "best effort without a floor never fails")
		holds(p == nil, "no plan comes with an error")
		return broken
	}
	report, can := p.report, kernel.ABI.Rights()
	holds(report.Enforced.intersect(report.Missing).isZero(), "Enforced and Missing are disjoint")
	denied := r.handled
	if p.handled.FS != 0 {
		denied.FS |= FSRefer
	}
	holds(report.Enforced.union(report.Missing) == denied, "Enforced and Missing are what is handled, and moves")
	holds(p.handled.FS == 0 || report.Enforced.FS&FSRefer != 0, "moves are denied along with any filesystem right")
	holds(p.handled.minus(can).isZero(), "nothing is handled that the kernel does not know")
	holds(p.handled.FS&^(r.handled.FS|FSRefer) == 0 && p.handled.minus(Rights{FS: p.handled.FS}).minus(r.handled).isZero(),
		"nothing is handled that was not asked for, but refer")
	holds(p.handled.FS == 0 || r.handled.FS&^FSRefer != 0 || r.handled.FS == p.handled.FS, "refer comes only with other rights")
	holds(p.quiet.minus(p.handled).isZero(), "quiet rights are handled")
	holds(len(p.rules) == len(r.rules), "no rule is lost")
	holds(report.SocketFilter == (r.filtersSockets() && noFilter == nil), "there is a socket filter where it is asked for and can be had")
	holds(report.MissingSocketFilter == (r.filtersSockets() && noFilter != nil), "a socket filter that cannot be had is missing")
	holds((p.sockets != nil) == report.SocketFilter, "the filter is there where the report says so")
	holds(p.inStead().isZero() || kernel.ABI < V10, "the filter stands in for nothing that the kernel knows")
	holds(report.Enforced.Net&^p.inStead().Net&^can.Net == 0, "what is enforced of the network the kernel knows, or the filter")
	holds(report.Denied == 0 || kernel.ABI == V1, "rules are denied on ABI 1 only")
	for i := range p.rules {
		rule := &p.rules[i]
		if rule.isPort() {
			allowed, flags := p.forPort(rule)
			holds(allowed == rule.Net&p.handled.Net || rule.Quiet, "a port rule has the rights that are handled")
			holds(allowed == 0 || !rule.Quiet, "a quiet port rule allows nothing")
			holds(flags == 0 || rule.Quiet && kernel.ABI >= V10, "a flag is for quiet port rules, on a kernel that knows it")
			continue
		}
		allowed, flags := p.forPath(rule)
		holds(allowed&^p.handled.FS == 0, "no rule asks for a right that is not handled")
		holds(allowed == rule.FS&p.handled.FS || rule.Quiet, "every handled right that a rule allows stays allowed")
		holds(allowed == 0 || !rule.Quiet, "a quiet rule allows nothing")
		holds(flags == 0 || rule.Quiet && kernel.ABI >= V10, "a flag is for quiet rules, on a kernel that knows it")
	}
	holds(kernel.ABI >= V7 || p.flags&7 == 0, "no log flag below ABI 7")
	if !r.bestEffort {
		holds(report.Shortfall == (Shortfall{Denied: report.Denied}), "strict means that nothing is missing")
		holds(r.byRights || kernel.ABI >= r.target || !p.inStead().isZero(), "a strict target means that version")
		holds(!r.byRights || report.Complete(), "strict rights mean that they are all in force")
	}
	if kernel.ABI >= r.target && (who == oneThread || kernel.ABI >= V8) {
		holds(report.Missing.isZero(), "nothing is missing at or above the target")
	}
	if r.bestEffort && r.floor > 0 {
		holds(!report.Enforced.isZero() && kernel.ABI >= r.floor, "a floor promises that something is enforced")
	}
	return broken
}

// What a best-effort ruleset denies on an old kernel, it denies on a new one too.
func TestFitNeverStricter(t *testing.T) {
	for seed := range uint64(5_000) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		r := randomRuleset(rnd)
		if len(r.mistakes) > 0 {
			continue
		}
		r.bestEffort, r.floor = true, 0
		who := reach(rnd.IntN(2))
		full, err := r.fit(Kernel{ABI: newest}, nil, who)
		if err != nil {
			t.Fatal(err)
		}
		for abi := ABI(0); abi < newest; abi++ {
			p, err := r.fit(Kernel{ABI: abi}, nil, who)
			if err != nil {
				t.Fatal(err)
			}
			if extra := p.handled.minus(full.handled); !extra.isZero() {
				t.Errorf("seed %d: ABI %d denies %v, the target does not", seed, int(abi), extra)
			}
			for i := range r.rules {
				old, _ := p.forPath(&r.rules[i])
				new, _ := full.forPath(&r.rules[i])
				if new&p.handled.FS != old {
					t.Errorf("seed %d: ABI %d allows %v of %v, the target %v", seed, int(abi), old, r.rules[i], new)
				}
			}
		}
	}
}

var errNoSeccomp = fmt.Errorf("no seccomp: %w", errors.ErrUnsupported)

// What FilterSockets comes to on each ABI, for a whole process and for one
// thread, with a filter and without.
func TestFitSockets(t *testing.T) {
	udp := Rights{Net: netUDP}
	for _, test := range []struct {
		name     string
		ruleset  func() *Ruleset
		stands   bool // the filter, below ABI 10, for UDP
		fastOpen bool // is refused
		// The lowest ABI on which the ruleset is accepted when it is strict.
		strict, strictWhole ABI
	}{
		{"everything", func() *Ruleset { return New(V10) }, true, true, V9, V9},
		{"everything, and more", func() *Ruleset { return New(V11) }, true, true, V11, V11},
		{"without UDP", func() *Ruleset { return New(V5) }, false, true, V5, V5},
		{"a rule for UDP", func() *Ruleset { return New(V10).AllowSendUDP(53) }, false, true, V10, V10},
		{"a rule for UDP and TCP", func() *Ruleset { return New(V10).AllowNet(NetConnectTCP|NetBindUDP, 53) }, false, true, V10, V10},
		{"a quiet rule for UDP", func() *Ruleset { return New(V10).QuietNet(NetBindUDP, 53) }, true, true, V10, V10},
		{"rules for TCP", func() *Ruleset { return New(V10).AllowConnectTCP(443).AllowBindTCP(0) }, true, true, V9, V9},
		{"UDP alone", func() *Ruleset { return NewHandling(udp) }, true, false, 0, 0},
		{"UDP and files", func() *Ruleset { return NewHandling(Rights{FS: FSReadFile, Net: netUDP}) }, true, false, V1, V1},
		{"UDP and scopes", func() *Ruleset { return NewHandling(Rights{Net: netUDP, Scope: ScopeSignal}) }, true, false, V6, V8},
		{"binding UDP", func() *Ruleset { return NewHandling(Rights{Net: NetBindUDP}) }, false, false, V10, V10},
		{"sending UDP", func() *Ruleset { return NewHandling(Rights{Net: NetConnectSendUDP | NetBindTCP}) }, false, false, V10, V10},
		{"binding TCP", func() *Ruleset { return NewHandling(Rights{Net: NetBindTCP}) }, false, false, V4, V4},
	} {
		t.Run(test.name, func(t *testing.T) {
			for abi := ABI(0); abi <= 12; abi++ {
				for _, who := range []reach{oneThread, wholeProcess} {
					kernel := Kernel{ABI: abi}
					plain, err := test.ruleset().BestEffort(0).fit(kernel, nil, who)
					if err != nil {
						t.Fatal(err)
					}
					want := plain.report
					want.SocketFilter = true
					stands := test.stands && abi < 10
					if stands {
						want.Enforced = want.Enforced.union(udp)
						want.Missing = want.Missing.minus(udp)
					}
					filtered, err := test.ruleset().BestEffort(0).FilterSockets().fit(kernel, nil, who)
					if err != nil || fmt.Sprint(filtered.report) != fmt.Sprint(want) || filtered.report.SocketFilter != want.SocketFilter {
						t.Fatalf("ABI %d, reach %d: report %+v, %v\nwant %+v", abi, who, filtered.report, err, want)
					}
					if got := *filtered.sockets; got.RefuseUDP != stands || got.RefuseFastOpen != test.fastOpen {
						t.Errorf("ABI %d, reach %d: the filter refuses %+v, want UDP %v, fast open %v", abi, who, got, stands, test.fastOpen)
					}
					if filtered.handled != plain.handled || filtered.flags != plain.flags || filtered.noNewPrivs != plain.noNewPrivs {
						t.Errorf("ABI %d, reach %d: the filter changes what Landlock does: %+v, want %+v", abi, who, filtered, plain)
					}
					want = plain.report
					want.MissingSocketFilter = true
					missing, err := test.ruleset().BestEffort(0).FilterSockets().fit(kernel, errNoSeccomp, who)
					if err != nil || fmt.Sprint(missing.report) != fmt.Sprint(want) || missing.sockets != nil || missing.report.Complete() {
						t.Errorf("ABI %d, reach %d, no seccomp: report %+v, %v\nwant %+v", abi, who, missing.report, err, want)
					}
					lowest := test.strict
					if who == wholeProcess {
						lowest = test.strictWhole
					}
					checkStrictSockets(t, test.ruleset().FilterSockets(), kernel, who, lowest, stands)
				}
			}
		})
	}
}

func checkStrictSockets(t *testing.T, r *Ruleset, kernel Kernel, who reach, lowest ABI, stands bool) {
	t.Helper()
	p, err := r.fit(kernel, nil, who)
	switch unsupported, _ := errors.AsType[*UnsupportedError](err); {
	case kernel.ABI < lowest && (unsupported == nil || unsupported.Needed != lowest || unsupported.MissingSocketFilter):
		t.Errorf("strict on ABI %d, reach %d: %v, want ABI %d to be needed", kernel.ABI, who, err, lowest)
	case kernel.ABI < lowest && stands && unsupported.Missing.Net&netUDP != 0:
		t.Errorf("strict on ABI %d, reach %d: %v is missing, and the filter stands in for UDP", kernel.ABI, who, unsupported.Missing)
	case kernel.ABI >= lowest && (err != nil || !p.report.Complete() || !p.report.SocketFilter || p.report.Enforced.minus(Rights{FS: FSRefer}) != r.handled.minus(Rights{FS: FSRefer})):
		t.Errorf("strict on ABI %d, reach %d: %v, want all to be enforced", kernel.ABI, who, err)
	}
	_, err = r.fit(kernel, errNoSeccomp, who)
	unsupported, _ := errors.AsType[*UnsupportedError](err)
	if unsupported == nil || !unsupported.MissingSocketFilter || !errors.Is(err, errNoSeccomp) || unsupported.Needed != max(lowest, kernel.ABI.known()) ||
		!strings.Contains(err.Error(), "FilterSockets needs a seccomp filter, which cannot be had here: no seccomp") ||
		strings.Contains(err.Error(), "this kernel has ") != (unsupported.Needed > kernel.ABI) {
		t.Errorf("strict on ABI %d, reach %d, without seccomp: %v", kernel.ABI, who, err)
	}
}

// A floor promises that something is enforced, and the filter alone may be it.
func TestFitSocketsFloor(t *testing.T) {
	for _, test := range []struct {
		handled  AccessNet
		floor    ABI
		kernel   ABI
		noFilter error
		want     string // the error; empty where it runs
	}{
		{netUDP, V1, V1, nil, ""},
		{netUDP, V1, V1, errNoSeccomp, "landlock: FilterSockets needs a seccomp filter, which cannot be had here: " + errNoSeccomp.Error() + "; only BestEffort with a lower floor would run here"},
		{netUDP, V1, 0, nil, "landlock: the ruleset needs ABI 1 (Linux 5.13), this kernel has no Landlock; only BestEffort with a lower floor would run here"},
		{netUDP, 0, 0, nil, ""},
		{NetBindTCP, V1, V3, nil, "landlock: the ruleset needs ABI 4 (Linux 6.7), this kernel has ABI 3 and lacks net.bind_tcp; only BestEffort with a lower floor would run here"},
		{NetBindTCP, V1, V3, errNoSeccomp, "landlock: the ruleset needs ABI 4 (Linux 6.7), this kernel has ABI 3 and lacks net.bind_tcp; only BestEffort with a lower floor would run here"},
		{NetBindTCP, V1, V4, errNoSeccomp, ""},
		{NetBindUDP, V1, V9, nil, "landlock: the ruleset needs ABI 10 (Linux 7.2), this kernel has ABI 9 and lacks net.bind_udp; only BestEffort with a lower floor would run here"},
	} {
		r := NewHandling(Rights{Net: test.handled}).BestEffort(test.floor).FilterSockets()
		_, err := r.fit(Kernel{ABI: test.kernel}, test.noFilter, oneThread)
		if text := fmt.Sprint(errors.Join(err)); test.want == "" && err != nil || test.want != "" && text != test.want {
			t.Errorf("%v on ABI %d, filters %v: %s\nwant %s", r, test.kernel, test.noFilter, text, test.want)
		}
		if unsupported, ok := errors.AsType[*UnsupportedError](err); ok && unsupported.MissingSocketFilter != (test.noFilter != nil) {
			t.Errorf("%v on ABI %d, filters %v: %+v", r, test.kernel, test.noFilter, unsupported.Shortfall)
		}
		if reason := strings.Contains(test.want, "FilterSockets"); errors.Is(err, errNoSeccomp) != reason {
			t.Errorf("%v on ABI %d, filters %v: %v wraps why there are no filters: %v", r, test.kernel, test.noFilter, err, !reason)
		}
	}
}
