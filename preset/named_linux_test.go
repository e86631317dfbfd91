package preset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/landlocktest"
)

// loaded returns the report and the error of loading a ruleset.
func loaded(r *landlock.Ruleset) (landlock.Report, error) { return r.BestEffort(landlock.V1).DryRun() }

// noVariables unsets what presets look at.
func noVariables(t *testing.T) {
	for _, variable := range []string{"TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "ZONEINFO", "TZ"} {
		t.Setenv(variable, "")
	}
}

const certificate = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"

// What the environment names is allowed if it is what the variable is for, and not
// all there is.
func TestEnvironment(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := func(to, name string) string {
		path := filepath.Join(dir, name)
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pem, key, zone, archive := write("a.pem", certificate), write("key.pem", certificate+"-----BEGIN EC PRIVATE KEY-----\n"), write("zone", zone()), write("zones.zip", "PK\x03\x04")
	secret := write("secret", "secret")
	sub := filepath.Dir(write("sub/file", ""))
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o666); err != nil {
		t.Fatal(err)
	}
	toRoot, toEtc, toSub := link("/", "to root"), link("/etc", "to etc"), link(sub, "to sub")
	missing := filepath.Join(dir, "missing")
	t.Chdir(dir)
	up := strings.Repeat("../", 30)
	const everything, noFile = "would allow all", "not a regular file"
	for _, test := range []struct {
		preset, variable, value string
		want                    []string // the paths that it adds
		wrong                   string
	}{
		{"Temp", "TMPDIR", "", []string{"/tmp"}, ""},
		{"Temp", "TMPDIR", dir, []string{dir}, ""},
		{"Temp", "TMPDIR", "sub", []string{sub}, ""},
		{"Temp", "TMPDIR", "./sub", []string{sub}, ""},
		{"Temp", "TMPDIR", toSub, []string{toSub}, ""},
		{"Temp", "TMPDIR", missing, []string{missing}, ""},
		{"Temp", "TMPDIR", secret, nil, "not a directory"},
		{"Temp", "TMPDIR", fifo, nil, "not a directory"},
		{"Temp", "TMPDIR", "/dev/null", nil, "not a directory"},
		{"Temp", "TMPDIR", "/", nil, "all of /: "},
		{"Temp", "TMPDIR", "//../.", nil, everything},
		{"Temp", "TMPDIR", up, nil, everything},
		{"Temp", "TMPDIR", "/proc/self/root", nil, everything},
		{"Temp", "TMPDIR", "/proc/self/root/", nil, everything},
		{"Temp", "TMPDIR", "/proc/1/root/.", nil, "TMPDIR"}, // where this user may look there
		{"Temp", "TMPDIR", toRoot, nil, everything},
		{"Temp", "TMPDIR", toRoot + "/usr/..", nil, everything},
		{"Temp", "TMPDIR", toEtc, nil, "all of /etc"},
		{"Temp", "TMPDIR", "/var", nil, "all of /var"},
		{"Temp", "TMPDIR", "/usr/bin/..", nil, everything},
		{"Certificates", "SSL_CERT_FILE", pem, []string{pem}, ""},
		{"Certificates", "SSL_CERT_FILE", "a.pem", []string{pem}, ""},
		{"Certificates", "SSL_CERT_FILE", missing, []string{missing}, ""},
		{"Certificates", "SSL_CERT_FILE", key, nil, "private key"},
		{"Certificates", "SSL_CERT_FILE", secret, nil, "no certificate"},
		{"Certificates", "SSL_CERT_FILE", dir, nil, "is a directory"},
		{"Certificates", "SSL_CERT_FILE", toRoot, nil, "is a directory"},
		{"Certificates", "SSL_CERT_FILE", fifo, nil, noFile},
		{"Certificates", "SSL_CERT_FILE", "/dev/zero", nil, noFile},
		{"Certificates", "SSL_CERT_DIR", "", nil, ""},
		{"Certificates", "SSL_CERT_DIR", ":::", nil, ""},
		{"Certificates", "SSL_CERT_DIR", ":sub::" + dir + ":", []string{sub, dir}, ""},
		{"Certificates", "SSL_CERT_DIR", dir + ":/", nil, everything},
		{"Certificates", "SSL_CERT_DIR", pem, nil, "not a directory"},
		{"TimeZones", "ZONEINFO", dir, []string{dir}, ""},
		{"TimeZones", "ZONEINFO", archive, []string{archive}, ""},
		{"TimeZones", "ZONEINFO", secret, nil, "archive"},
		{"TimeZones", "ZONEINFO", "/", nil, everything},
		{"TimeZones", "ZONEINFO", fifo, nil, noFile},
		{"TimeZones", "TZ", "Europe/Berlin", nil, ""},
		{"TimeZones", "TZ", ":" + zone, []string{zone}, ""},
		{"TimeZones", "TZ", secret, nil, "not a time zone"},
		{"TimeZones", "TZ", dir, nil, "is a directory"},
		{"TimeZones", "TZ", "/", nil, "is a directory"},
	} {
		t.Run(fmt.Sprintf("%s=%s", test.variable, test.value), func(t *testing.T) {
			if _, err := os.Stat("/var"); err != nil && test.value == "/var" {
				t.Skip("needs a directory /var")
			}
			noVariables(t)
			var without []string
			if test.preset != "Temp" {
				without = paths(landlock.New(landlock.V3).Use(ofName[test.preset]))
			}
			t.Setenv(test.variable, test.value)
			r := landlock.New(landlock.V3).Use(ofName[test.preset])
			_, err := loaded(r)
			if test.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), test.wrong) || !strings.Contains(err.Error(), test.variable) {
					t.Errorf("%v, want an error with %q", err, test.wrong)
				}
				return
			}
			got := paths(r)
			if len(got) < len(without) || !slices.Equal(got[len(without):], test.want) || err != nil {
				t.Errorf("%q, %v, want %q besides %d", got, err, test.want, len(without))
			}
			// An archive cannot be listed, and a rule that says so would fail.
			if _, err := loaded(landlock.NewHandling(landlock.Rights{FS: landlock.FSReadDir}).Use(ofName[test.preset])); err != nil {
				t.Error(err)
			}
			// A ruleset without files has no mistake of it.
			if err := wrong(landlock.NewHandling(landlock.Rights{Scope: landlock.ScopeSignal}).Use(ofName[test.preset])); err != nil {
				t.Error(err)
			}
		})
	}
}

// Each variable that is wrong is named, and not the first alone.
func TestEveryMistake(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	noVariables(t)
	t.Setenv("SSL_CERT_FILE", "/")
	t.Setenv("SSL_CERT_DIR", "/")
	_, err := loaded(landlock.New(landlock.V3).Use(Certificates))
	for _, variable := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if err == nil || !strings.Contains(err.Error(), variable) {
			t.Errorf("%v, want a mistake with %s", err, variable)
		}
	}
}

// A path of the environment is that of the working directory in which the preset was
// used, and judged by what is there when the ruleset is loaded.
func TestEnvironmentChangesBeforeLoad(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	for _, test := range []struct {
		preset, variable, value string
		access                  landlock.AccessFS
		make                    func(path string) error // what is there when the preset is used
		wrong                   string
		change                  func(path string) error // what is there when the ruleset is loaded
	}{
		{"Temp", "TMPDIR", ".", landlock.FSWriteFile, nil, "", nil},
		{"Temp", "TMPDIR", "x", landlock.FSWriteFile, nil, "all of /", linkTo("/")},
		{"Temp", "TMPDIR", "x", landlock.FSWriteFile, nil, "elsewhere", linkTo("secret")},
		{"Temp", "TMPDIR", "x/y/../z", landlock.FSWriteFile, nil, "all of /", func(path string) error {
			return errors.Join(os.MkdirAll("x/y", 0o755), os.Symlink("/", "x/z"))
		}},
		{"Temp", "TMPDIR", "x/y", landlock.FSWriteFile, nil, "elsewhere", func(path string) error {
			return errors.Join(os.Mkdir("secret/y", 0o755), os.Symlink("secret", "x"))
		}},
		{"Temp", "TMPDIR", "x", landlock.FSWriteFile, makeDirectory, "elsewhere", linkTo("secret")},
		{"Temp", "TMPDIR", "x", landlock.FSWriteFile, linkTo("other"), "elsewhere", linkTo("secret")},
		{"Temp", "TMPDIR", "x", landlock.FSWriteFile, linkTo("missing"), "elsewhere", func(path string) error {
			return errors.Join(os.Symlink("missing", path), os.Symlink("secret", "missing"))
		}},
		{"Temp", "TMPDIR", "x", landlock.FSWriteFile, nil, "not a directory", linkTo("secret/file")},
		{"Temp", "TMPDIR", "x", landlock.FSWriteFile, linkTo("other"), "", nil},
		{"Temp", "TMPDIR", "x", landlock.FSWriteFile, nil, "", makeDirectory},
		{"Certificates", "SSL_CERT_FILE", "x", landlock.FSReadFile, nil, "is a directory", linkTo("/")},
		{"Certificates", "SSL_CERT_FILE", "x", landlock.FSReadFile, nil, "no certificate", linkTo("secret/file")},
		{"Certificates", "SSL_CERT_FILE", "x", landlock.FSReadFile, linkTo("other/pem"), "no certificate", linkTo("secret/file")},
		{"Certificates", "SSL_CERT_FILE", "x", landlock.FSReadFile, nil, "", linkTo("other/pem")}, // as a secret of Kubernetes is renewed
		{"Certificates", "SSL_CERT_DIR", "y:x", landlock.FSReadFile, nil, "all of /", linkTo("/")},
		{"Certificates", "SSL_CERT_DIR", "y:x", landlock.FSReadFile, nil, "elsewhere", linkTo("secret")},
		{"TimeZones", "ZONEINFO", "x", landlock.FSReadFile, nil, "all of /", linkTo("/")},
		{"TimeZones", "ZONEINFO", "x", landlock.FSReadFile, makeDirectory, "elsewhere", linkTo("secret")},
		{"TimeZones", "ZONEINFO", "x", landlock.FSReadFile, nil, "archive", linkTo("secret/file")},
		{"TimeZones", "TZ", "$PWD/x", landlock.FSReadFile, nil, "is a directory", linkTo("/")},
		{"TimeZones", "TZ", "$PWD/x", landlock.FSReadFile, nil, "not a time zone", linkTo("secret/file")},
	} {
		t.Run(test.variable+"="+test.value+" "+test.wrong, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			if err := errors.Join(os.Mkdir("secret", 0o755), os.Mkdir("other", 0o755), os.WriteFile("secret/file", []byte("secret"), 0o644), os.WriteFile("other/pem", []byte(certificate), 0o644)); err != nil {
				t.Fatal(err)
			}
			if test.make != nil {
				if err := test.make("x"); err != nil {
					t.Fatal(err)
				}
			}
			noVariables(t)
			t.Setenv(test.variable, strings.ReplaceAll(test.value, "$PWD", dir))
			r := landlock.New(landlock.V1).Use(ofName[test.preset])
			if test.change == nil {
				t.Chdir("/")
			} else if err := errors.Join(os.RemoveAll("x"), test.change("x")); err != nil {
				t.Fatal(err)
			}
			_, err := loaded(r.Clone())
			if test.wrong == "" && err != nil || test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong) || !strings.Contains(err.Error(), test.variable)) {
				t.Errorf("%v, want an error with %q", err, test.wrong)
			}
			for _, path := range []string{"/", "/etc/shadow", filepath.Join(dir, "secret/file")} {
				if test.value != "." && r.Check(test.access, path) == nil || test.value == "." && path == "/" && r.Check(test.access, path) == nil {
					t.Errorf("%s may be accessed", path)
				}
			}
			if test.value == "." && r.Check(test.access, filepath.Join(dir, "new")) != nil {
				t.Errorf("what is in %s may not be written", dir)
			}
		})
	}
}

func makeDirectory(path string) error { return os.Mkdir(path, 0o755) }

func linkTo(target string) func(string) error {
	return func(path string) error { return os.Symlink(target, path) }
}

// What is missing when the preset is used and when the ruleset is loaded is skipped.
func TestEnvironmentMissing(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	noVariables(t)
	missing := filepath.Join(t.TempDir(), "missing", "too")
	t.Setenv("TMPDIR", missing)
	r := landlock.New(landlock.V1)
	if err := Temp(r); err != nil { // not by Use, so that what it skips is reported
		t.Fatal(err)
	}
	report, err := loaded(r)
	if err != nil || !slices.Equal(report.Skipped, []string{missing}) {
		t.Errorf("%+v, %v", report, err)
	}
	if report, err := loaded(landlock.New(landlock.V1).Use(Temp)); err != nil || len(report.Skipped) > 0 {
		t.Errorf("by Use: %+v, %v", report, err)
	}
}

// The root directory is told by what it is, wherever it is mounted.
func TestEnvironmentMounts(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	s := mounted[0]
	s.needs(t)
	if out, code := s.start(t, ""); code != 0 {
		t.Errorf("status %d: %s", code, out)
	}
}

var mounted = register(scenario{name: "system directories mounted elsewhere", root: map[string]string{"/mnt/": "", "/etc/file": "", "/tmp/x/": "", "/deep/home/": "", "/home": "-> deep/home"},
	run: func(*landlock.Ruleset) error {
		var errs []error
		for from, allowed := range map[string]bool{"/": false, "/etc": false, "/deep": false, "/deep/home": false, "/tmp": true, "/tmp/x": true} {
			if err := unix.Mount(from, "/mnt", "", unix.MS_BIND, ""); err != nil {
				return err
			}
			os.Setenv("TMPDIR", "/mnt")
			if _, err := loaded(landlock.New(landlock.V1).Use(Temp)); (err == nil) != allowed {
				errs = append(errs, fmt.Errorf("%s mounted elsewhere: %v, want it allowed: %v", from, err, allowed))
			}
			if err := unix.Unmount("/mnt", unix.MNT_DETACH); err != nil {
				return err
			}
		}
		return errors.Join(errs...)
	}})

// What is in the place of a file of the system's and is none is skipped.
func TestOtherThanAFile(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	s := otherThanAFile[0]
	s.needs(t)
	if out, code := s.start(t, ""); code != 0 {
		t.Errorf("status %d: %s", code, out)
	}
}

var otherThanAFile = register(scenario{name: "links where files belong", run: func(*landlock.Ruleset) error {
	r := landlock.New(landlock.V1)
	var errs []error
	for _, preset := range []func(*landlock.Ruleset) error{DNS, Certificates, TimeZones, MIMETypes, Users, System, NullDevices} {
		errs = append(errs, preset(r)) // not by Use, so that what it skips is reported
	}
	report, err := loaded(r.Clone())
	if err != nil {
		return err
	}
	for _, path := range []string{"/etc/resolv.conf", "/etc/hosts", "/etc/localtime", "/etc/passwd", "/etc/mime.types", "/etc/ssl/cert.pem", "/dev/null", "/lib", "/etc/ld-musl-x.path"} {
		if !slices.Contains(report.Skipped, path) {
			errs = append(errs, fmt.Errorf("%s is not skipped", path))
		}
	}
	if err := r.Check(landlock.FSReadFile, "/secret"); !errors.Is(err, fs.ErrPermission) {
		errs = append(errs, fmt.Errorf("read /secret: %v", err))
	}
	return errors.Join(errs...)
}, root: map[string]string{"/secret": "", "/etc/resolv.conf": "-> /", "/etc/hosts": "-> /", "/etc/localtime": "-> ..", "/etc/passwd/": "", "/etc/mime.types": "-> /",
	"/etc/ssl/cert.pem": "-> /", "/dev/null": "-> /", "/lib": "-> /secret", "/etc/ld-musl-x.path": "-> /"}})
