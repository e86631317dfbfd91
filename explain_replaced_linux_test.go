package landlock

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Nobody is advised to open up the system for a file that was replaced.
func TestExplainReplacedInSystem(t *testing.T) {
	c := &checker{kernel: Kernel{ABI: V1}}
	for _, test := range []struct {
		path    string
		missing AccessFS
		want    string
	}{
		{"/etc/resolv.conf", FSReadFile, `: AllowRead("/etc/resolv.conf") would allow it, once the ruleset is loaded again`},
		{"/root/conf", FSReadFile, `: AllowRead("/root/conf") would allow it, once the ruleset is loaded again`},
		{"/home/nobody/conf", FSReadFile, `: AllowRead("/home/nobody/conf") would allow it, once the ruleset is loaded again`},
		{"/dev/none", FSReadFile, `: AllowRead("/dev/none") would allow it, once the ruleset is loaded again`},
		{"/etc/none/conf", FSReadFile, `: AllowRead("/etc/none") would allow it`},
		{"/none/conf", FSReadFile, `: AllowRead("/none") would allow it`},
		{"/etc/motd", FSWriteFile, `: AllowReadWrite("/etc/motd") would allow it, once the ruleset is loaded again`},
		{"/conf", FSReadFile, `: AllowRead("/conf") would allow it, once the ruleset is loaded again`},
	} {
		e := c.denyReplaced(&DeniedError{Path: test.path, Missing: Rights{FS: test.missing}}, replacement{rule: test.path, path: test.path, now: &place{path: test.path, kind: unix.S_IFREG}})
		if text := e.Error(); !strings.HasSuffix(text, test.want) {
			t.Errorf("%s, want %s", text, test.want)
		}
	}
	const link, target = "/var/run", "/run"
	if to, _ := os.Readlink(link); to != target && to != "../run" {
		t.Skipf("needs %s to be a link to %s", link, target)
	}
	found := replacement{path: link + "/none/conf", now: &place{path: target + "/none/conf", kind: unix.S_IFREG}}
	if dir, ok := found.holder(); dir != target+"/none" || !ok {
		t.Errorf("a link of the system's above: %q, %v", dir, ok)
	}
}
