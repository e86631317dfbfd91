package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const stanzas = `# a comment
Types: deb deb-src
# another
URIs: http://one.example/debian http://two.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By:
 /usr/share/keyrings/one.gpg

Types: deb
URIs: http://security.example/
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://off.example/
Suites: bookworm
Components: main
`

const lines = `# deb http://off.example/ bookworm main
deb [arch=amd64 signed-by=/keys/a.gpg] http://one.example/debian bookworm main contrib # a comment
deb-src http://one.example/debian bookworm main
deb	http://tab.example/debian bookworm main
deb http://two.example/debian bookworm-security main
deb http://flat.example/ ./
`

func TestSources(t *testing.T) {
	both := []string{"main", "contrib"}
	updates := []string{"bookworm", "bookworm-updates"}
	want := []source{
		{"http://one.example/debian", updates, both, "/usr/share/keyrings/one.gpg"},
		{"http://two.example/debian", updates, both, "/usr/share/keyrings/one.gpg"},
		{"http://security.example/", []string{"bookworm-security"}, []string{"main"}, ""},
	}
	if got := parseStanzas(stanzas); !reflect.DeepEqual(got, want) {
		t.Errorf("stanzas: %v, want %v", got, want)
	}
	want = []source{
		{"http://one.example/debian", []string{"bookworm"}, both, "/keys/a.gpg"},
		{"http://tab.example/debian", []string{"bookworm"}, []string{"main"}, ""},
		{"http://two.example/debian", []string{"bookworm-security"}, []string{"main"}, ""},
	}
	if got := parseLines(lines); !reflect.DeepEqual(got, want) {
		t.Errorf("lines: %v, want %v", got, want)
	}
}

func TestReadSources(t *testing.T) {
	etc := t.TempDir()
	for name, text := range map[string]string{"sources.list": lines, "sources.list.d/a.sources": stanzas, "sources.list.d/b.list": lines, "sources.list.d/c.disabled": lines} {
		name = filepath.Join(etc, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := readSources(etc); err != nil || len(got) != 9 {
		t.Errorf("%d sources, %v, want 9", len(got), err)
	}
}

func TestKernelSources(t *testing.T) {
	list, err := kernelSources(parseLines(lines), codename("ID=debian\nVERSION_CODENAME=\"bookworm\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		" signed-by=/keys/a.gpg] http://one.example/debian bullseye main\n",
		"http://one.example/debian trixie-backports main\n",
		"http://two.example/debian trixie-security main\n",
	} {
		if !strings.Contains(list, want) {
			t.Errorf("no %q in\n%s", want, list)
		}
	}
	if strings.Contains(list, "trusted") || strings.Contains(list, "bookworm-backports") {
		t.Error(list)
	}
	if _, err := kernelSources(nil, "bookworm"); err == nil {
		t.Error("a machine that has no source of Debian, and no error")
	}
}

const search = `linux-image-5.10.0-46-cloud-amd64 - Linux 5.10 for x86-64 cloud (signed)
linux-image-5.10.0-46-cloud-amd64-unsigned - Linux 5.10 for x86-64 cloud
linux-image-6.1-cloud-amd64 - Linux for cloud (meta-package)
linux-image-6.1.0-0.deb11.52-cloud-amd64 - Linux 6.1 for x86-64 cloud (signed)
linux-image-6.1.0-9-cloud-amd64 - Linux 6.1 for x86-64 cloud (signed)
linux-image-6.1.0-56-cloud-amd64 - Linux 6.1 for x86-64 cloud (signed)
linux-image-6.12.117+deb13-cloud-arm64 - Linux 6.12 for arm64 cloud (signed)
linux-image-6.12.117+deb12-cloud-arm64 - Linux 6.12 for arm64 cloud (signed)
linux-image-6.18.15+deb13-cloud-amd64 - Linux 6.18 for x86-64 cloud
linux-image-6.19.8+deb13-cloud-amd64 - Linux 6.19 for x86-64 cloud
linux-image-7.3.4+deb13-cloud-amd64 - Linux 7.3.4 for x86-64 cloud
linux-binary-7.3.4+deb13-cloud-amd64 - Linux 7.3.4 for x86-64 cloud: image
linux-image-7.3.4+deb13-cloud-amd64 - Linux 7.3.4 for x86-64 cloud
linux-image-7.10.1+deb13-cloud-amd64 - Linux 7.10.1 for x86-64 cloud
linux-image-4.19.0-1-cloud-amd64 - Linux 4.19 for x86-64 cloud
linux-image-cloud-amd64 - Linux for x86-64 cloud (meta-package)
`

func TestNewestKernels(t *testing.T) {
	found := newestKernels(search)
	var got []string
	for _, k := range found {
		got = append(got, k.pkg)
	}
	want := []string{
		"linux-image-5.10.0-46-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64", "linux-image-6.12.117+deb13-cloud-arm64",
		"linux-image-6.18.15+deb13-cloud-amd64", "linux-image-6.19.8+deb13-cloud-amd64",
		"linux-binary-7.3.4+deb13-cloud-amd64", "linux-image-7.10.1+deb13-cloud-amd64",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("newest kernels %q, want %q", got, want)
	}
	var series []string
	for _, k := range selectKernels(found, "amd64") {
		if k.err != nil {
			k.series += " missing"
		}
		series = append(series, k.series)
	}
	if got := strings.Join(series, ", "); got != "5.10, 6.1, 6.12 missing, 6.19, 7.0 missing, 7.1 missing, 7.2 missing, 7.3, 7.10" {
		t.Errorf("selected %s", got)
	}
}

// The archive is read back by cpio, where there is one.
func TestInitramfs(t *testing.T) {
	cpio, err := exec.LookPath("cpio")
	if err != nil {
		cpio, err = exec.LookPath("bsdcpio")
	}
	var image bytes.Buffer
	source := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(source, []byte("copied"), 0o644); err != nil {
		t.Fatal(err)
	}
	files := []file{
		{name: "dir", mode: fs.ModeDir | 0o755},
		{name: "dir/file", mode: 0o640, text: "hello"},
		{name: "dir/link", mode: fs.ModeSymlink | 0o777, text: "file"},
		{name: "copy", mode: 0o755, source: source},
	}
	if err := writeInitramfs(&image, files); err != nil {
		t.Fatal(err)
	}
	// By hand: the header of a file, its name and content, each filled up to four bytes.
	want := "070701" + "00000002" + "000081a0" + strings.Repeat("0", 16) + "00000001" + "00000000" + "00000005" +
		strings.Repeat("0", 32) + "00000009" + "00000000" + "dir/file\x00\x00" + "hello\x00\x00\x00"
	if !strings.Contains(image.String(), want) || image.Len()%4 != 0 {
		t.Errorf("%q\nwant in it %q", image.String(), want)
	}
	if err := writeInitramfs(io.Discard, []file{{name: "x", source: "/nonexistent"}}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a source that is not there: %v", err)
	}
	if err != nil {
		t.Skip("needs cpio: ", err)
	}
	dir := t.TempDir()
	cmd := exec.Command(cpio, "-i", "-d")
	cmd.Dir, cmd.Stdin = dir, &image
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, want := range map[string]string{"dir/link": "hello", "copy": "copied"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
}

func TestReadMessages(t *testing.T) {
	const good = `{"Kernel":{"Release":"7.3.4","ABI":"11"}}` + "\n" + `{"Binary":"x","Output":"aGk="}` + "\n"
	for stream, want := range map[string]string{
		good + `{"Done":true}` + "\n":  "",
		good:                           "ended without",
		good + `{"Done":true}`:         "ended without", // cut
		good + "[ 1.2] Kernel panic\n": "not a message",
		"":                             "ended without",
	} {
		var all []message
		err := readMessages(strings.NewReader(stream), func(m message) error { all = append(all, m); return nil })
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", stream, err, want)
		}
		if stream != "" && (len(all) != 2 || all[0].Kernel.ABI != "11" || string(all[1].Output) != "hi") {
			t.Errorf("%q: %v", stream, all)
		}
	}
}

func TestCollect(t *testing.T) {
	const events = `{"Action":"start"}
{"Action":"run","Test":"TestA"}
{"Action":"output","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Test":"TestA","Output":"    a_test.go:1: needs a shell: it has none\n"}
{"Action":"output","Test":"TestA","Output":"--- SKIP: TestA (0.00s)\n"}
{"Action":"skip","Test":"TestA"}
{"Action":"run","Test":"TestB"}
{"Action":"pass","Test":"TestB"}
{"Action":"run","Test":"TestC"}
{"Action":"fail","Test":"TestC"}
{"Action":"run","Test":"TestD"}
{"Action":"output","Output":"panic\n"}
{"Action":"fail"}
`
	outcomes, err := collect([]byte(events))
	if err != nil {
		t.Fatal(err)
	}
	var r result
	var p part
	r.add(&p, "x", outcomes)
	if p.passed != 1 || p.failed != 2 || p.skipped() != 1 || len(r.problems) != 2 || p.skips["needs a shell: it has none"] == nil {
		t.Errorf("%+v, %+v", r, p)
	}
	if got := (outcome{output: "--- SKIP\n"}).reason(); got != "no reason" {
		t.Errorf("reason %q", got)
	}
}

// What a guest may not do, one at a time.
func TestJudge(t *testing.T) {
	pure, cgo := build{arch: "amd64"}, build{"amd64", true}
	good := func() result {
		return result{
			guest: guest{kernel: kernel{series: "7.3"}}, facts: kernelFacts{Release: "7.3.4+deb13", ABI: "11"},
			parts: []part{
				{batch: batch{build: pure, packages: []string{"x", "y"}}, binaries: 2, passed: 5,
					skips: map[string][]string{"needs a kernel below ABI 8, this one has 11": {"x TestOld"}, "needs cgo": {"x TestC"}}},
				{batch: batch{build: cgo, packages: []string{"x"}}, binaries: 1, passed: 5,
					skips: map[string][]string{"needs root, to install the filter": {"x TestFilter/an_ordinary_user"}}},
			},
		}
	}
	tests := map[string]struct {
		change func(*result)
		want   string
	}{
		"good":           {func(*result) {}, ""},
		"other kernel":   {func(r *result) { r.facts = kernelFacts{Release: "7.2.1", ABI: "10"} }, "booted Linux 7.2.1"},
		"other ABI":      {func(r *result) { r.facts.ABI = "10" }, "has Landlock ABI 10, want 11"},
		"on":             {func(r *result) { r.off = true }, "want off"},
		"died":           {func(r *result) { r.parts[0].binaries = 1 }, "1 of 2 test binaries came to an end, pure Go"},
		"died in a part": {func(r *result) { r.parts[1].binaries = 0 }, "0 of 1 test binaries came to an end, cgo"},
		"no test":        {func(r *result) { r.parts[0].empty = []string{"x"} }, "no test has run in x"},
		"skips":          {func(r *result) { r.parts[0].skips["needs ABI 11, this kernel has 10"] = []string{"x TestNew"} }, "x TestNew: needs ABI 11"},
		"skips cgo":      {func(r *result) { r.parts[1].skips["needs cgo"] = []string{"x TestC"} }, "skipped, cgo: x TestC: needs cgo"},
		"skips as root": {func(r *result) {
			r.parts[1].skips["needs root, to install the filter"] = []string{"x TestFilter/an_ordinary_user", "x TestFilter/this_user"}
		}, "skipped, cgo: x TestFilter/this_user: needs root"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := good()
			test.change(&r)
			r.judge(false)
			if got := strings.Join(r.problems, "\n"); (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("problems %q, want %q", got, test.want)
			}
		})
	}
}

func TestExcused(t *testing.T) {
	pure, cgo := build{arch: "amd64"}, build{"amd64", true}
	if !pure.excused("TestC", "needs cgo and gcc", 11) || cgo.excused("TestC", "needs cgo and gcc", 11) {
		t.Error("cgo is for binaries with cgo to have")
	}
	small := build{arch: "386"}
	for _, reason := range []string{"needs a socket filter: none for 386", "needs an architecture that has a filter", "needs amd64"} {
		if !small.excused("TestX", reason, 11) || pure.excused("TestX", reason, 11) {
			t.Errorf("%s: must be excused on 386 alone", reason)
		}
	}
	for _, test := range []struct {
		reason string
		abi    int
		want   bool
	}{
		{"needs ABI 10, this kernel has 7", 7, true},
		{"needs ABI 7, this kernel has 7", 7, false},
		{"needs Landlock ABI 9 (Linux 7.1), this kernel has ABI 8 (Linux 7.0)", 8, true},
		{"needs Landlock ABI 1: not built into this kernel", 0, true},
		{"needs Landlock ABI 1: an answer that nobody knows", 7, false},
		{"needs a kernel below ABI 8, this one has 11", 11, true},
		{"needs the program gcc: not found", 11, true},
		{"needs the program git: not found", 11, true},
		{"needs the program github: not found", 11, false},
		{"needs the C library's resolver", 11, true},
		{"needs the source of the package", 0, true},
		{"needs the program sh: not found", 11, false},
		{"needs the program sh: not found", 0, false},
		{"needs a kernel below ABI 8, this one has 7", 7, false},
		{"this kernel has Landlock", 11, true},
		{"this kernel has Landlock", 0, false},
		{"needs Landlock: landlock_create_ruleset: function not implemented", 0, true},
		{"needs Landlock: landlock_create_ruleset: function not implemented", 2, false},
		{"needs the audit log to be on", 11, false},
		{"needs root, to install the filter", 11, false},
		{"needs amd64 or arm64", 11, false},
		{"asks for each of four million thread ids, which takes long", 11, true},
		{"builds binaries, which takes long", 11, true},
		{"is started by TestRun", 11, true},
		{"no reason", 11, false},
	} {
		if got := cgo.excused("TestX", test.reason, test.abi); got != test.want {
			t.Errorf("%q on ABI %d: %v, want %v", test.reason, test.abi, got, test.want)
		}
	}
}

func TestTable(t *testing.T) {
	pure, cgo := build{arch: "amd64"}, build{"amd64", true}
	results := []result{
		{guest: guest{kernel: kernel{series: "7.3", arch: "amd64"}}, facts: kernelFacts{Release: "7.3.4+deb13-cloud-amd64", ABI: "11", Errata: 0b1011},
			parts: []part{
				{batch: batch{build: pure}, passed: 5, failed: 1, skips: map[string][]string{"needs cgo": {"x TestC"}, "needs ABI 12, this kernel has 11": {"x TestD"}}},
				{batch: batch{build: cgo}, passed: 6},
			}, problems: []string{"one", "two"}},
		{guest: guest{kernel: kernel{series: "7.3", arch: "amd64"}, off: true}, facts: kernelFacts{Release: "7.3.4+deb13-cloud-amd64", ABI: "off"},
			parts: []part{{batch: batch{build: pure}, passed: 7}}},
		{guest: guest{kernel: kernel{series: "7.0", arch: "amd64", err: errors.New("no package\nmore")}}, parts: []part{{batch: batch{build: cgo}}}},
	}
	want := `| kernel                               | ABI | errata | pure Go             | cgo                 | failed           | seconds |
|--------------------------------------|-----|--------|---------------------|---------------------|------------------|---------|
| 7.3.4+deb13                          | 11  | 1 2 4  | 5 passed, 2 skipped | 6 passed, 0 skipped | 1 and 1 problems | 0       |
| 7.3.4+deb13, ` + "`lsm=`" + ` without Landlock | off |        | 7 passed, 0 skipped |                     | 0                | 0       |
| 7.0: not had: no package             |     |        |                     |                     |                  |         |
`
	if text := table(results); text != want {
		t.Errorf("%s\nwant\n%s", text, want)
	}
	if text, want := skipList(results), "* needs ABI 12: x TestD (on 7.3)\n* needs cgo: x TestC (on 7.3)\n"; text != want {
		t.Errorf("%s\nwant\n%s", text, want)
	}
	if n := differentABIs(results); n != 1 {
		t.Errorf("%d ABIs, want 1", n)
	}
}

func TestImageArch(t *testing.T) {
	amd64, arm64 := make([]byte, 0x300), make([]byte, 0x300)
	copy(amd64[0x202:], "HdrS")
	copy(arm64[0x38:], "ARM\x64")
	for want, image := range map[string][]byte{"amd64": amd64, "arm64": arm64, "": make([]byte, 0x100)} {
		if got := imageArch(image); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestExpectedABI(t *testing.T) {
	for series, want := range map[string]string{"5.10": notBuilt, "5.13": "1", "5.15": "1", "6.1": "2", "6.6": "3", "6.8": "4", "6.10": "5", "6.14": "6", "6.19": "7", "7.3": "11", "7.10": "11"} {
		if got := expectedABI(series); got != want {
			t.Errorf("%s: %s, want %s", series, got, want)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Setenv("PWD", "/here")
	o := options{cache: "cache", kernel: "/boot/vmlinuz", parallel: 1}
	if err := o.check(); err != nil || o.cache != "/here/cache" || o.kernel != "/boot/vmlinuz" || o.markdown != "" {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range []options{{cache: "/c"}, {cache: "/c", parallel: 1, only: "["}} {
		if err := bad.check(); err == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
}
