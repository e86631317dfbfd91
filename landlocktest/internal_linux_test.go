package landlocktest

import (
	"io/fs"
	"net"
	"os"
	"syscall"
	"testing"

	"example.com/landlock"
)

func TestUntested(t *testing.T) {
	on := func(abi landlock.ABI, missing landlock.Rights) landlock.Report {
		return landlock.Report{Kernel: landlock.Kernel{ABI: abi}, Shortfall: landlock.Shortfall{Missing: missing}}
	}
	v11 := landlock.V11.Rights()
	withoutUDP := landlock.Rights{FS: landlock.FSResolveUnix, Scope: v11.Scope}
	for _, test := range []struct {
		report landlock.Report
		want   string
	}{
		{on(7, landlock.Rights{}), ""},
		{landlock.Report{}, ""},
		{on(7, landlock.Rights{FS: landlock.FSResolveUnix, Net: v11.Net &^ landlock.V4.Net(), Scope: v11.Scope}), "not tested on ABI 7: resolve_unix, UDP, scopes of a whole process"},
		{on(7, withoutUDP), "not tested on ABI 7: resolve_unix, scopes of a whole process"},
		{on(6, landlock.Rights{Scope: landlock.ScopeSignal}), "not tested on ABI 6: signal scope of a whole process"},
		{on(5, landlock.Rights{Scope: v11.Scope}), "not tested on ABI 5: scopes"},
		{on(5, landlock.Rights{Scope: landlock.ScopeAbstractUnixSocket}), "not tested on ABI 5: abstract_unix_socket scope"},
		{on(2, landlock.Rights{FS: landlock.FSTruncate | landlock.FSIoctlDev, Net: landlock.NetBindUDP | landlock.V4.Net()}), "not tested on ABI 2: truncate, ioctl_dev, TCP, bind_udp"},
		{on(0, v11), "not tested without Landlock: all filesystem rights, TCP, UDP, scopes"},
		{landlock.Report{Kernel: landlock.Kernel{ABI: 6}, Shortfall: landlock.Shortfall{MissingSocketFilter: true, MissingLog: landlock.LogNewExecOn | landlock.LogSameExecOff, MissingQuiet: true}},
			"not tested on ABI 6: the socket filter, log_same_exec_off, log_new_exec_on, quiet rules"},
	} {
		if got := untested(test.report); got != test.want {
			t.Errorf("%q\nwant %q", got, test.want)
		}
	}
}

// Where Explain cannot tell, nothing is denied, whatever the error is of.
func TestDeniedWhereExplainCannotTell(t *testing.T) {
	NeedABI(t, landlock.V1)
	sandbox.rules = landlock.New(landlock.V1).AllowRead("") // which cannot be loaded
	sandbox.report.Enforced = landlock.V1.Rights()
	defer func() { sandbox.rules, sandbox.report = nil, landlock.Report{} }()
	for _, err := range []error{
		&fs.PathError{Op: "open", Path: "/x", Err: syscall.EACCES},
		&net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{Port: 1}, Err: os.NewSyscallError("connect", syscall.EACCES)},
		os.NewSyscallError("kill", syscall.EPERM),
	} {
		if notDenied(err) == "" {
			t.Errorf("%v counts as denied: %v", err, explained(err))
		}
	}
}
