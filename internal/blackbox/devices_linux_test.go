package blackbox

import (
	"fmt"
	"io/fs"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/internal/testenv"
)

// Which rules open devices that refuse ioctl, by the Report.
func TestNoIoctl(t *testing.T) {
	testenv.NeedABI(t, landlock.V5)
	master, terminal := openTerminal(t)
	name := terminal.Name()
	linked := testenv.Scratch(t) + "/link"
	if err := os.Symlink("/dev", linked); err != nil {
		t.Fatal(err)
	}
	handling := func() *landlock.Ruleset {
		return landlock.NewHandling(landlock.Rights{FS: landlock.FSReadWrite | landlock.FSExecute | landlock.FSIoctlDev})
	}
	absent := func(*os.File) error { return fs.ErrNotExist }
	const rw = landlock.FSReadFile | landlock.FSWriteFile
	for _, test := range []struct {
		r    *landlock.Ruleset
		want []string
	}{
		{handling().AllowReadWrite("/dev"), []string{"/dev"}},
		{handling().AllowReadWrite("/dev").AllowRead("/dev"), []string{"/dev"}},
		{handling().AllowRead("/dev/pts/", "/dev/../dev/.", "//dev"), []string{"/dev/pts/", "/dev/../dev/.", "//dev"}},
		{handling().Allow(rw, "/dev/tty", "/dev/ptmx", name), []string{"/dev/tty", "/dev/ptmx", name}},
		{handling().AllowFile(rw, terminal, master), []string{name, master.Name()}},
		{handling().AllowIf(rw, func(*os.File) error { return nil }, name), []string{name}},
		// Granted by this rule, another for the path, or one above it.
		{handling().Allow(rw|landlock.FSIoctlDev, "/dev"), nil},
		{handling().AllowReadWrite("/dev/pts").Allow(landlock.FSIoctlDev, "/dev/pts"), nil},
		{handling().Allow(landlock.FSIoctlDev, "/dev/").AllowReadWrite("/dev", "/dev/tty"), nil},
		{handling().AllowReadWrite("/dev/tty").Allow(landlock.FSIoctlDev, "/"), nil},
		{handling().Allow(rw, name).AllowFile(rw|landlock.FSIoctlDev, terminal), nil},
		{handling().AllowReadWrite("/dev").Allow(landlock.FSIoctlDev, linked), nil},
		{handling().AllowReadWrite("/dev").Allow(landlock.FSIoctlDev, "/dev/pts"), nil},
		{handling().AllowReadWrite("/dev/../dev/").Allow(rw|landlock.FSIoctlDev, "//dev/tty"), nil},
		{handling().AllowReadWrite("/dev").Allow(landlock.FSIoctlDev, "/dev/ptmx", "/dev/zero"), []string{"/dev"}},
		{handling().AllowReadWrite("/dev/pts").Allow(landlock.FSIoctlDev, "/dev/tty"), []string{"/dev/pts"}},
		{handling().Allow(rw, "/dev/tty").Allow(landlock.FSIoctlDev, "/dev/pts"), []string{"/dev/tty"}},
		// Of everything nobody asks whether terminals are in it.
		{handling().AllowRead("/"), nil},
		{handling().AllowReadWrite("/", "//", "/dev/.."), nil},
		{handling().AllowReadWrite("/dev/tty").AllowOptional(landlock.FSIoctlDev, "/dev/nonexistent").AllowIf(landlock.FSIoctlDev, absent, "/dev/tty"), []string{"/dev/tty"}},
		{handling().AllowReadWrite("/dev/ptmx").Allow(landlock.FSIoctlDev, "/dev/pts"), []string{"/dev/ptmx"}},
		{handling().AllowReadWrite("/dev/tty").Quiet(landlock.FSIoctlDev, "/dev/tty").BestEffort(landlock.V1), []string{"/dev/tty"}},
		// What opens no device, or one that nobody controls.
		{handling().Allow(rw, "/dev/null", "/dev/zero", "/dev/full").AllowRead("/dev/random", "/dev/urandom"), nil},
		{handling().Allow(landlock.FSReadDir, "/dev").Allow(landlock.FSExecute, "/"), nil},
		{handling().AllowReadWrite("/tmp", "/dev/../usr", linked), nil},
		{handling().AllowOptional(landlock.FSRead, "/dev/nonexistent"), nil},
		// What restricts no ioctl.
		{landlock.NewHandling(landlock.Rights{FS: landlock.FSReadWrite}).AllowReadWrite("/dev"), nil},
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
	testenv.NeedABI(t, landlock.V5)
	var shm, dev unix.Stat_t
	if unix.Stat("/dev/shm", &shm) != nil || unix.Stat("/dev", &dev) != nil || shm.Dev == dev.Dev {
		t.Skip("needs a file system on /dev/shm")
	}
	report, err := landlock.New(landlock.V5).AllowReadWrite("/dev/shm").DryRun()
	if err != nil || report.NoIoctl != nil {
		t.Errorf("%q, %v", report.NoIoctl, err)
	}
}

// The kernel says the same of a terminal.
func TestNoIoctlIsTheKernels(t *testing.T) {
	testenv.NeedABI(t, landlock.V5)
	controls := func() error {
		master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			return err
		}
		defer master.Close()
		_, err = unix.IoctlGetTermios(int(master.Fd()), unix.TCGETS)
		return err
	}
	testenv.InChild(t, nil, func(t *testing.T, _ string) {
		if err := controls(); err != nil {
			t.Skipf("needs terminals: %v", err)
		}
		testenv.MustApply(t, landlock.New(landlock.V5).AllowReadWrite("/dev").Allow(landlock.FSIoctlDev, "/dev"))
		if err := controls(); err != nil {
			t.Errorf("with FSIoctlDev: %v", err)
		}
		testenv.MustApply(t, landlock.New(landlock.V5).AllowReadWrite("/dev"))
		if err := controls(); err != unix.EACCES {
			t.Errorf("without FSIoctlDev: %v, want EACCES", err)
		}
	})
}
