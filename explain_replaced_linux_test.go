package landlock

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/landlock/internal/place"
)

// Nobody is advised to open up the system for a file that was replaced.
func TestExplainReplacedInSystem(t *testing.T) {
	c := &checker{kernel: Kernel{ABI: V1}}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	at := func(path string) *place.Place { // as if a file were there
		p, err := findPlace(file, false)
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
		p.Path = path
		return p
	}
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
		e := c.denyReplaced(&DeniedError{Path: test.path, Missing: Rights{FS: test.missing}}, replacement{rule: test.path, path: test.path, now: at(test.path)})
		if text := e.Error(); !strings.HasSuffix(text, test.want) {
			t.Errorf("%s, want %s", text, test.want)
		}
	}
	const link, target = "/var/run", "/run"
	if to, _ := os.Readlink(link); to != target && to != "../run" {
		t.Skipf("needs %s to be a link to %s", link, target)
	}
	found := replacement{path: link + "/none/conf", now: at(target + "/none/conf")}
	if dir, ok := found.holder(); dir != target+"/none" || !ok {
		t.Errorf("a link of the system's above: %q, %v", dir, ok)
	}
}
