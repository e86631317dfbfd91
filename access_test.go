package landlock

import (
	"strings"
	"testing"
)

func TestMaskText(t *testing.T) {
	tests := []struct {
		mask interface{ String() string }
		want string
	}{
		{AccessFS(0), "none"},
		{FSRead, "read_file,read_dir"},
		{FSReadExecute, "execute,read_file,read_dir"},
		{FSExecute | 1<<40, "execute,0x10000000000"},
		{AccessFS(1 << 63), "0x8000000000000000"},
		{V11.FS(), "execute,write_file,read_file,read_dir,remove_dir,remove_file,make_char,make_dir,make_reg," +
			"make_sock,make_fifo,make_block,make_sym,refer,truncate,ioctl_dev,resolve_unix"},
		{V11.Net(), "bind_tcp,connect_tcp,bind_udp,connect_send_udp"},
		{AccessNet(0), "none"},
		{V11.Scopes(), "abstract_unix_socket,signal"},
		{Scope(4), "0x4"},
		{LogNewExecOn | LogSubdomainsOff, "log_new_exec_on,log_subdomains_off"},
		{Errata(0b1011), "tcp_sockets,scoped_signals,whiteouts"},
		{Rights{FSRead, NetBindTCP, ScopeSignal}, "fs.read_file,fs.read_dir,net.bind_tcp,scope.signal"},
		{Rights{}, "none"},
		{Rights{Net: 1 << 9}, "net.0x200"},
	}
	for _, test := range tests {
		if got := test.mask.String(); got != test.want {
			t.Errorf("%#v.String() = %q, want %q", test.mask, got, test.want)
		}
	}
}

func TestUnmarshalText(t *testing.T) {
	good := map[string]AccessFS{
		"none":                       0,
		"read_dir,read_file":         FSRead,
		" read_file ,\tread_file\n":  FSReadFile,
		"0x10000000000,execute":      FSExecute | 1<<40,
		"read_file,0x4":              FSReadFile,
		"resolve_unix,refer,execute": FSResolveUnix | FSRefer | FSExecute,
	}
	for text, want := range good {
		var got AccessFS
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("UnmarshalText(%q): %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", ",", "read", "READ_FILE", "none,read_file", "bind_tcp", "4", "0x", "0xg", "0x10000000000000000"} {
		got := FSExecute
		err := got.UnmarshalText([]byte(text))
		if err == nil || got != FSExecute {
			t.Errorf("UnmarshalText(%q): %v, %v, want an error and the mask as it was", text, got, err)
			continue
		}
		for _, part := range []string{"filesystem access right", "execute, write_file", "resolve_unix"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("UnmarshalText(%q): error %q does not contain %q", text, err, part)
			}
		}
	}
	for _, text := range []string{"none,read_file", "read_file, none ", "none,none"} {
		var mask AccessFS
		if err := mask.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "none stands alone") {
			t.Errorf("UnmarshalText(%q): %v, want that none stands alone", text, err)
		}
	}
	var flags LogFlags
	if err := flags.UnmarshalText([]byte("0x100000000")); err == nil {
		t.Errorf("LogFlags.UnmarshalText of a number above 32 bits: %v, want an error", flags)
	}
}

func FuzzMaskText(f *testing.F) {
	f.Add("read_file,read_dir", uint64(12))
	f.Add("none", uint64(0))
	f.Add("0x4, execute", uint64(1)<<63|1)
	f.Fuzz(func(t *testing.T, text string, bits uint64) {
		roundTrip(t, AccessFS(bits))
		roundTrip(t, AccessNet(bits))
		roundTrip(t, Scope(bits))
		roundTrip(t, LogFlags(bits))
		roundTrip(t, Errata(bits))
		var mask AccessFS
		if mask.UnmarshalText([]byte(text)) == nil {
			roundTrip(t, mask)
		}
	})
}

func roundTrip[M interface {
	comparable
	MarshalText() ([]byte, error)
}, P interface {
	*M
	UnmarshalText([]byte) error
}](t *testing.T, mask M) {
	t.Helper()
	text, err := mask.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var back M
	if err := P(&back).UnmarshalText(text); err != nil || back != mask {
		t.Errorf("%#v through %q: %#v, %v", mask, text, back, err)
	}
}
