package landlock

import (
	"fmt"
	"io/fs"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Which rules open devices that refuse ioctl, by the Report.
func TestNoIoctl(t *testing.T) {
	needABI(t, V5)
	master, terminal := openTerminal(t)
	name := terminal.Name()
	linked := scratch(t) + "/link"
	if err := os.Symlink("/dev", linked); err != nil {
		t.Fatal(err)
	}
	handling := func() *Ruleset { return NewHandling(Rights{FS: FSReadWrite | FSExecute | FSIoctlDev}) }
	absent := func(*os.File) error { return fs.ErrNotExist }
	const rw = FSReadFile | FSWriteFile
	for _, test := range []struct {
		r    *Ruleset
		want []string
	}{
		{handling().AllowReadWrite("/dev"), []string{"/dev"}},
		{handling().AllowReadWrite("/dev").AllowRead("/dev"), []string{"/dev"}},
		{handling().AllowRead("/dev/pts/", "/dev/../dev/.", "//dev"), []string{"/dev/pts/", "/dev/../dev/.", "//dev"}},
		{handling().Allow(rw, "/dev/tty", "/dev/ptmx", name), []string{"/dev/tty", "/dev/ptmx", name}},
		{handling().AllowFile(rw, terminal, master), []string{name, master.Name()}},
		{handling().AllowIf(rw, func(*os.File) error { return nil }, name), []string{name}},
		// Granted by this rule, another for the path, or one above it.
		{handling().Allow(rw|FSIoctlDev, "/dev"), nil},
		{handling().AllowReadWrite("/dev/pts").Allow(FSIoctlDev, "/dev/pts"), nil},
		{handling().Allow(FSIoctlDev, "/dev/").AllowReadWrite("/dev", "/dev/tty"), nil},
		{handling().AllowReadWrite("/dev/tty").Allow(FSIoctlDev, "/"), nil},
		{handling().Allow(rw, name).AllowFile(rw|FSIoctlDev, terminal), nil},
		{handling().AllowReadWrite("/dev").Allow(FSIoctlDev, linked), nil},
		{handling().AllowReadWrite("/dev").Allow(FSIoctlDev, "/dev/pts"), nil},
		{handling().AllowReadWrite("/dev/../dev/").Allow(rw|FSIoctlDev, "//dev/tty"), nil},
		{handling().AllowReadWrite("/dev").Allow(FSIoctlDev, "/dev/ptmx", "/dev/zero"), []string{"/dev"}},
		{handling().AllowReadWrite("/dev/pts").Allow(FSIoctlDev, "/dev/tty"), []string{"/dev/pts"}},
		{handling().Allow(rw, "/dev/tty").Allow(FSIoctlDev, "/dev/pts"), []string{"/dev/tty"}},
		// Of everything nobody asks whether terminals are in it.
		{handling().AllowRead("/"), nil},
		{handling().AllowReadWrite("/", "//", "/dev/.."), nil},
		{handling().AllowReadWrite("/dev/tty").AllowOptional(FSIoctlDev, "/dev/nonexistent").AllowIf(FSIoctlDev, absent, "/dev/tty"), []string{"/dev/tty"}},
		{handling().AllowReadWrite("/dev/ptmx").Allow(FSIoctlDev, "/dev/pts"), []string{"/dev/ptmx"}},
		{handling().AllowReadWrite("/dev/tty").Quiet(FSIoctlDev, "/dev/tty").BestEffort(V1), []string{"/dev/tty"}},
		// What opens no device, or one that nobody controls.
		{handling().Allow(rw, "/dev/null", "/dev/zero", "/dev/full").AllowRead("/dev/random", "/dev/urandom"), nil},
		{handling().Allow(FSReadDir, "/dev").Allow(FSExecute, "/"), nil},
		{handling().AllowReadWrite("/tmp", "/dev/../usr", linked), nil},
		{handling().AllowOptional(FSRead, "/dev/nonexistent"), nil},
		// What restricts no ioctl.
		{NewHandling(Rights{FS: FSReadWrite}).AllowReadWrite("/dev"), nil},
	} {
		report, err := test.r.DryRun()
		if err != nil || fmt.Sprint(report.NoIoctl) != fmt.Sprint(test.want) {
			t.Errorf("%v: %q, %v, want %q", test.r, report.NoIoctl, err, test.want)
		}
		if complete := report.Complete(); complete == report.MissingQuiet {
			t.Errorf("%v: complete is %v", test.r, complete)
		}
	}
	sandbox, err := handling().AllowReadWrite("/dev").Prepare()
	if err != nil {
		t.Fatal(err)
	}
	defer sandbox.Close()
	sandbox.Report().NoIoctl[0] = "changed"
	if got := sandbox.Report().NoIoctl; fmt.Sprint(got) != "[/dev]" {
		t.Errorf("a sandbox's report: %q", got)
	}
}

// /dev/shm is a file system of its own, and keeps files.
func TestNoIoctlShm(t *testing.T) {
	needABI(t, V5)
	var shm, dev unix.Stat_t
	if unix.Stat("/dev/shm", &shm) != nil || unix.Stat("/dev", &dev) != nil || shm.Dev == dev.Dev {
		t.Skip("needs a file system on /dev/shm")
	}
	report, err := New(V5).AllowReadWrite("/dev/shm").DryRun()
	if err != nil || report.NoIoctl != nil {
		t.Errorf("%q, %v", report.NoIoctl, err)
	}
}

// Other rules cost no system call: their files are not looked at.
func TestNoIoctlLooksAtDevicesAlone(t *testing.T) {
	p := &plan{handled: V5.Rights()}
	for _, path := range []string{"/usr", "dev", "", "/proc/self/fd/0", "./dev"} {
		if _, err := p.opensDevices(&wantedRule{Rule: Rule{Path: path}}, -1, FSReadWrite); err != nil {
			t.Errorf("%q is looked at: %v", path, err)
		}
	}
	if _, err := p.opensDevices(&wantedRule{Rule: Rule{Path: "/dev/x"}}, -1, FSReadWrite); err == nil {
		t.Error("a file that cannot be looked at is passed over")
	}
}

// The kernel says the same of a terminal.
func TestNoIoctlIsTheKernels(t *testing.T) {
	needABI(t, V5)
	controls := func() error {
		master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			return err
		}
		defer master.Close()
		_, err = unix.IoctlGetTermios(int(master.Fd()), unix.TCGETS)
		return err
	}
	inChild(t, nil, func(t *testing.T, _ string) {
		if err := controls(); err != nil {
			t.Skipf("needs terminals: %v", err)
		}
		mustApply(t, New(V5).AllowReadWrite("/dev").Allow(FSIoctlDev, "/dev"))
		if err := controls(); err != nil {
			t.Errorf("with FSIoctlDev: %v", err)
		}
		mustApply(t, New(V5).AllowReadWrite("/dev"))
		if err := controls(); err != unix.EACCES {
			t.Errorf("without FSIoctlDev: %v, want EACCES", err)
		}
	})
}
