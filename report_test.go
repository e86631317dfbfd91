package landlock

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestReportString(t *testing.T) {
	for _, test := range []struct {
		report Report
		want   string
	}{
		{Report{}, "NOT SANDBOXED: nothing is enforced"},
		{Report{Shortfall: Shortfall{Missing: V9.Rights()}}, "NOT SANDBOXED: nothing is enforced; no Landlock here to restrict all filesystem rights, TCP, scopes"},
		{Report{Kernel: Kernel{ABI: V3}, Shortfall: Shortfall{Missing: Rights{Net: V4.Net()}}}, "NOT SANDBOXED: nothing is enforced on ABI 3; not on this kernel: TCP (Linux 6.7)"},
		{Report{Kernel: Kernel{ABI: V11}, Enforced: V11.Rights()}, "enforced on ABI 11: all filesystem rights, TCP, UDP, scopes"},
		{Report{Kernel: Kernel{ABI: 12}, Enforced: Rights{FSRead, NetBindTCP, ScopeSignal}}, "enforced on ABI 12: read, bind_tcp, signal scope"},
		{Report{Kernel: Kernel{ABI: V7}, Enforced: Rights{FS: FSMakeChar | FSMakeBlock | FSRefer}}, "enforced on ABI 7: make_char, make_block, refer"},
		{Report{Kernel: Kernel{V7, ErratumTCPSockets}, Enforced: Rights{V7.FS(), V7.Net(), 0}, Shortfall: Shortfall{Missing: Rights{FSResolveUnix, V10.Net() &^ V7.Net(), V6.Scopes()}, MissingQuiet: true}},
			"enforced on ABI 7: all filesystem rights but resolve_unix, TCP; " +
				"not on this kernel: scopes for a whole process (Linux 7.0), resolve_unix (7.1), UDP (7.2), quiet rules (7.2)"},
		{Report{Kernel: Kernel{ABI: V1}, Enforced: V2.Rights(), Shortfall: Shortfall{Missing: V6.Rights().minus(V2.Rights()), Denied: FSRefer, MissingLog: LogNewExecOn}, Skipped: []string{"/a b"}},
			"enforced on ABI 1: all filesystem rights but truncate,ioctl_dev,resolve_unix; " +
				"not on this kernel: truncate (Linux 6.2), TCP (6.7), ioctl_dev (6.10), scopes (6.12, for a whole process 7.0), log_new_exec_on (6.15); " +
				`denied in spite of a rule: refer (allowed from Linux 5.19 on); skipped: ["/a b"]`},
		{Report{Kernel: Kernel{ABI: V1}, Enforced: Rights{FS: FSExecute}, Shortfall: Shortfall{Missing: Rights{FS: 1 << 40}}, Skipped: []string{"1", "2", "3", "4", "5"}},
			`enforced on ABI 1: execute; not on this kernel: fs.0x10000000000; skipped: ["1" "2" "3"] and 2 more`},
		{Report{Kernel: Kernel{ABI: V5}, Enforced: Rights{FS: FSIoctlDev}, NoIoctl: []string{"/dev"}, Skipped: []string{"/x"}},
			`enforced on ABI 5: ioctl_dev; no ioctl, without FSIoctlDev, on devices by ["/dev"]; skipped: ["/x"]`},
		{Report{Kernel: Kernel{ABI: V10}, Enforced: V10.Rights(), SocketFilter: true}, "enforced on ABI 10: all filesystem rights, TCP, UDP, scopes, sockets filtered"},
		{Report{Kernel: Kernel{ABI: V5}, Enforced: Rights{V5.FS(), netUDP | V4.Net(), 0}, SocketFilter: true},
			"enforced on ABI 5: all filesystem rights but resolve_unix, TCP, UDP, sockets filtered (which enforces UDP)"},
		{Report{Enforced: Rights{Net: netUDP}, Shortfall: Shortfall{Missing: Rights{Net: V4.Net()}}, SocketFilter: true},
			"enforced without Landlock: UDP, sockets filtered (which enforces UDP); no Landlock here to restrict TCP"},
		{Report{Shortfall: Shortfall{Missing: Rights{Net: V4.Net()}}, SocketFilter: true},
			"NOT SANDBOXED: nothing but the socket filter is enforced; no Landlock here to restrict TCP"},
	} {
		if got := test.report.String(); got != test.want {
			t.Errorf("String: %s\nwant    %s", got, test.want)
		}
	}
	missing := Report{Kernel: Kernel{ABI: V4}, Enforced: V4.Rights(), Shortfall: Shortfall{MissingSocketFilter: true}}
	if got, want := missing.String(), "enforced on ABI 4: all filesystem rights but ioctl_dev,resolve_unix, TCP; no seccomp here to filter sockets"; got != want {
		t.Errorf("String: %s\nwant    %s", got, want)
	}
}

func TestReportComplete(t *testing.T) {
	some := Rights{FS: FSExecute}
	for _, test := range []struct {
		report Report
		want   bool
	}{
		{Report{}, false}, // that of a failed Apply
		{Report{Kernel: Kernel{ABI: V11}}, false},
		{Report{Skipped: []string{"/x"}}, false},
		{Report{Enforced: some}, true},
		{Report{Enforced: some, Skipped: []string{"/x"}}, true},
		{Report{SocketFilter: true}, true},
		{Report{Enforced: some, Shortfall: Shortfall{Missing: Rights{Scope: ScopeSignal}}}, false},
		{Report{Enforced: some, Shortfall: Shortfall{Denied: FSRefer}}, false},
		{Report{Enforced: some, Shortfall: Shortfall{MissingLog: LogNewExecOn}}, false},
		{Report{Enforced: some, Shortfall: Shortfall{MissingQuiet: true}}, false},
		{Report{Enforced: some, Shortfall: Shortfall{MissingSocketFilter: true}}, false},
		{Report{SocketFilter: true, Shortfall: Shortfall{Missing: some}}, false},
	} {
		if got := test.report.Complete(); got != test.want {
			t.Errorf("%+v: Complete is %v", test.report, got)
		}
	}
	if report, err := New(0).Apply(); err == nil || report.Complete() {
		t.Errorf("a failed Apply: %+v, %v", report, err)
	}
}

func TestReportJSON(t *testing.T) {
	for _, test := range []struct {
		report Report
		want   string
	}{
		{Report{}, `{"kernel":{"abi":0,"errata":"none"},"enforced":{"fs":"none","net":"none","scope":"none"},"socket_filter":false,` +
			`"missing":{"fs":"none","net":"none","scope":"none"},"denied":"none","missing_log":"none","missing_quiet":false,"missing_socket_filter":false}`},
		{Report{Kernel{V7, ErratumTCPSockets | ErratumScopedSignals | 1<<30}, Rights{FSRead, NetBindTCP, 0}, true,
			Shortfall{Rights{Scope: ScopeSignal}, FSRefer, LogNewExecOn, true, true}, []string{"/x"}, []string{"/dev"}},
			`{"kernel":{"abi":7,"errata":"tcp_sockets,scoped_signals,0x40000000"},"enforced":{"fs":"read_file,read_dir","net":"bind_tcp","scope":"none"},"socket_filter":true,` +
				`"missing":{"fs":"none","net":"none","scope":"signal"},"denied":"refer","missing_log":"log_new_exec_on","missing_quiet":true,"missing_socket_filter":true,"skipped":["/x"],"no_ioctl":["/dev"]}`},
	} {
		text, err := json.Marshal(test.report)
		if err != nil || string(text) != test.want {
			t.Errorf("JSON %s, %v\nwant %s", text, err, test.want)
		}
		var back Report
		if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, test.report) {
			t.Errorf("through JSON %s: %+v, %v, want %+v", text, back, err, test.report)
		}
	}
}
