package preset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/landlocktest"
)

// somebody is another user than root, and as a rule than this one.
const somebody = 65533

// Whoever can write on the way to a directory of the environment leads it nowhere.
func TestEnvironmentOfOthers(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	mode := func(mode uint32, path string) error { return unix.Chmod(path, mode) }
	theirs := func(path string) error { return os.Lchown(path, somebody, -1) }
	mkdir := func(path string) error { return os.MkdirAll(path, 0o755) }
	link := func(to, path string) error { return os.Symlink(to, path) }
	for _, test := range []struct {
		name   string
		root   bool // it takes root to make it
		make   func() error
		change func() error // after Use
		wrong  string
	}{
		{"a directory", false, func() error { return mkdir("d/x") }, nil, ""},
		{"their directory in ours", true, func() error { return errors.Join(mkdir("d/x"), theirs("d/x")) }, nil, ""},
		{"in their directory", true, func() error { return errors.Join(mkdir("d/x"), theirs("d")) }, nil, ""},
		{"everybody's", false, func() error { return errors.Join(mkdir("d/x"), mode(0o777, "d")) }, nil, ""},
		{"a sticky one", false, func() error { return errors.Join(mkdir("d/x"), mode(0o1777, "d")) }, nil, ""},
		{"theirs in a sticky one", true, func() error { return errors.Join(mkdir("d/x"), mode(0o1777, "d"), theirs("d/x")) }, nil, ""},
		{"their sticky one", true, func() error { return errors.Join(mkdir("d/x"), mode(0o1777, "d"), theirs("d")) }, nil, ""},
		{"our group's", false, func() error { return errors.Join(mkdir("d/x"), mode(0o775, "d")) }, nil, ""},
		{"their group's", true, func() error { return errors.Join(mkdir("d/x"), mode(0o775, "d"), os.Lchown("d", -1, somebody)) }, nil, ""},
		{"our link", false, func() error { return errors.Join(mkdir("d"), link("../secret", "d/x")) }, nil, ""},
		{"their link", true, func() error { return errors.Join(mkdir("d"), link("../secret", "d/x"), theirs("d/x")) }, nil, "belongs to user 65533"},
		{"our link in a sticky one", false, func() error { return errors.Join(mkdir("d"), link("../secret", "d/x"), mode(0o1777, "d")) }, nil, ""},
		{"a link in everybody's", false, func() error { return errors.Join(mkdir("d"), link("../secret", "d/x"), mode(0o777, "d")) }, nil, "not sticky"},
		{"our link to their link", true, func() error {
			return errors.Join(mkdir("d"), link("y", "d/x"), link("../secret", "d/y"), theirs("d/y"))
		}, nil, "belongs to user 65533"},
		{"our link through everybody's", false, func() error {
			return errors.Join(mkdir("d"), mkdir("e/f"), mode(0o777, "e"), link("../e/f", "d/x"))
		}, nil, ""},
		{"a link to what is made later", false, func() error { return errors.Join(mkdir("d"), link("../e/f", "d/x")) }, func() error { return mkdir("e/f") }, ""},
		{"made later, by them", true, func() error { return errors.Join(mkdir("d"), mode(0o1777, "d")) }, func() error { return errors.Join(mkdir("d/x"), theirs("d/x")) }, "belongs to user 65533"},
		{"made later, in everybody's", false, func() error { return errors.Join(mkdir("d"), mode(0o777, "d")) }, func() error { return mkdir("d/x") }, "not sticky"},
		{"another directory", false, func() error { return errors.Join(mkdir("d/x")) },
			func() error { return errors.Join(os.Rename("d/x", "d/y"), os.Rename("secret", "d/x")) }, "another directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.root && os.Geteuid() != 0 {
				t.Skip("needs root: it makes files of another user's")
			}
			for variable, preset := range map[string]func(*landlock.Ruleset) error{"TMPDIR": Temp, "SSL_CERT_DIR": Certificates, "ZONEINFO": TimeZones} {
				dir := t.TempDir()
				t.Chdir(dir)
				if err := errors.Join(mkdir("secret"), test.make()); err != nil {
					t.Fatal(err)
				}
				noVariables(t)
				t.Setenv(variable, filepath.Join(dir, "d/x"))
				r := landlock.New(landlock.V1).Use(preset)
				if test.change != nil {
					if err := test.change(); err != nil {
						t.Fatal(err)
					}
				}
				_, err := loaded(r.Clone())
				if test.wrong == "" && err != nil || test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong) || !strings.Contains(err.Error(), variable)) {
					t.Errorf("%s: %v, want an error with %q", variable, err, test.wrong)
				}
				if err := r.Check(landlock.FSReadFile, filepath.Join(dir, "d/x/file")); (err == nil) != (test.wrong == "") {
					t.Errorf("%s: read a file in d/x: %v, want an error: %v", variable, err, test.wrong != "")
				}
			}
		})
	}
}

// What another user exchanges again and again leads nowhere.
func TestEnvironmentExchanged(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	dir := t.TempDir()
	tmp, secret := filepath.Join(dir, "d/tmp"), filepath.Join(dir, "secret")
	if err := errors.Join(os.MkdirAll(tmp, 0o755), os.Mkdir(secret, 0o700), os.Chmod(filepath.Dir(tmp), 0o777)); err != nil {
		t.Fatal(err)
	}
	noVariables(t)
	t.Setenv("TMPDIR", tmp)
	hostile{dir: dir}.exchanging(t, tmp, secret, func() {
		for range 200 {
			if err := landlock.New(landlock.V1).Use(Temp).Check(landlock.FSWriteFile, filepath.Join(secret, "file")); err == nil {
				t.Error("what the link leads to may be written")
				return
			}
		}
	})
}

// Nobody keeps temporary files among the system's.
func TestTempBeneathSystem(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	noVariables(t)
	for path, wrong := range map[string]string{"/etc/ssl": "write in /etc", "/proc/self": "write in /proc", "/proc/1": "write in /proc", "/sys/kernel": "write in /sys", "/dev/pts": "write in /dev", "/dev/shm": ""} {
		if _, err := os.Stat(path); err != nil {
			t.Logf("%s: %v", path, err)
			continue
		}
		t.Setenv("TMPDIR", path)
		_, err := loaded(landlock.New(landlock.V1).Use(Temp))
		if wrong == "" && err != nil || wrong != "" && (err == nil || !strings.Contains(err.Error(), wrong)) {
			t.Errorf("TMPDIR=%s: %v, want an error with %q", path, err, wrong)
		}
	}
}

// "None" is no mistake.
func TestEnvironmentNull(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	noVariables(t)
	for _, variable := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR", "ZONEINFO", "TZ"} {
		t.Setenv(variable, os.DevNull)
	}
	r := landlock.New(landlock.V1).Use(Certificates, TimeZones)
	if _, err := loaded(r.Clone()); err != nil {
		t.Error(err)
	}
	if err := r.Check(landlock.FSReadFile, os.DevNull); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("read %s: %v, want it denied", os.DevNull, err)
	}
}

func TestCertificateFile(t *testing.T) {
	const end, der = "-----\n", "MAA=\n-----END "
	block := func(kind string) string { return "-----BEGIN " + kind + end + der + kind + end }
	for name, test := range map[string]struct{ text, wrong string }{
		"one":              {certificate, ""},
		"several":          {certificate + block("TRUSTED CERTIFICATE") + block("X509 CRL"), ""},
		"curl's":           {"##\n## Bundle of CA Root Certificates\n##\n\nGTS Root R1\n===========\n" + certificate, ""},
		"openssl -text":    {"Certificate:\n    Data:\n            X509v3 Private Key Usage Period: \n" + certificate, ""},
		"Windows":          {strings.ReplaceAll(certificate, "\n", "\r\n"), ""},
		"none":             {"text", "no certificate"},
		"empty":            {"", "no certificate"},
		"a revocation":     {block("X509 CRL"), "no certificate"},
		"a key":            {certificate + block("EC PRIVATE KEY"), "private key"},
		"a key, far":       {certificate + strings.Repeat("#\n", 40000) + block("RSA PRIVATE KEY"), "private key"},
		"OpenVPN":          {certificate + block("OpenVPN Static key V1"), "OpenVPN"},
		"PGP":              {certificate + block("PGP PRIVATE KEY BLOCK"), "private key"},
		"SSH2":             {certificate + "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n", "private key"},
		"PuTTY":            {certificate + "PuTTY-User-Key-File-3: ssh-ed25519\n", "private key"},
		"a public key":     {certificate + block("PUBLIC KEY"), "PUBLIC KEY"},
		"a beginning":      {"-----BEGIN CERTIFICATE-----\n", "broken"},
		"within a line":    {"GET /-----BEGIN CERTIFICATE-----\n" + certificate, "broken"},
		"a broken one too": {certificate + "-----BEGIN SECRET-----\nx\n", "broken"},
		"no text":          {certificate + "\x00", "not a text"},
		"too much":         {certificate + strings.Repeat("#\n", maxCertificates/2), "8 MiB"},
	} {
		err := certificateFile(strings.NewReader(test.text))
		if test.wrong == "" && err != nil || test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong)) {
			t.Errorf("%s: %v, want an error with %q", name, err, test.wrong)
		}
	}
}

// Links of other users lead to nothing that the system's settings are in.
func TestLinksOfOthers(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes files of another user's")
	}
	for _, s := range linksOfOthers {
		if out, code := s.start(t, ""); code != 0 {
			t.Errorf("%s: status %d: %s", s.name, code, out)
		}
	}
}

var linksOfOthers = register(
	linkOfOthers("their link to a secret", "-> /etc/shadow", somebody, false, "/run/resolver"),
	linkOfOthers("their link to a secret in /run", "-> /run/other/key", somebody, false, "/run/resolver"),
	linkOfOthers("root's link in their directory", "-> /etc/shadow", 0, false, "/run/resolver"),
	linkOfOthers("their file", "nameserver ::1", somebody, true, "/run/resolver"),
	scenario{name: "resolv.conf among secrets", run: func(*landlock.Ruleset) error {
		if dir := resolverDirectory(); dir != "" {
			return fmt.Errorf("%s is allowed", dir)
		}
		return nil
	}, root: map[string]string{"/etc/resolv.conf": "-> /run/secrets/resolv.conf", "/run/secrets/resolv.conf": ""}},
)

func linkOfOthers(name, text string, owner int, allowed bool, dir string) scenario {
	return scenario{name: "resolv.conf: " + name, run: func(*landlock.Ruleset) error {
		const path = "/run/resolver/resolv.conf"
		if err := errors.Join(os.Lchown(path, owner, 0), os.Chown("/run/resolver", somebody, somebody)); err != nil {
			return err
		}
		r := landlock.New(landlock.V1).Use(DNS)
		if _, err := loaded(r.Clone()); err != nil {
			return err
		}
		var errs []error
		for _, secret := range []string{"/etc/shadow", "/run/other/key", "/run/other/more"} {
			if err := r.Check(landlock.FSReadFile, secret); !errors.Is(err, fs.ErrPermission) {
				errs = append(errs, fmt.Errorf("read %s: %v", secret, err))
			}
		}
		if err := r.Check(landlock.FSReadFile, "/etc/resolv.conf"); (err == nil) != allowed {
			errs = append(errs, fmt.Errorf("read resolv.conf: %v, want it allowed: %v", err, allowed))
		}
		if got := resolverDirectory(); got != dir {
			errs = append(errs, fmt.Errorf("the directory is %q, want %q", got, dir))
		}
		return errors.Join(errs...)
	}, root: map[string]string{"/etc/resolv.conf": "-> ../run/resolver/resolv.conf", "/run/resolver/resolv.conf": text,
		"/etc/shadow": "secret", "/run/other/key": "secret", "/run/other/more": "secret"}}
}

// A link of the system's that leads nowhere, or where this user may not look, costs no
// other directory its rule.
func TestSystemLinks(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	s := systemLinks[0]
	s.needs(t)
	if out, code := s.start(t, ""); code != 0 {
		t.Errorf("status %d: %s", code, out)
	}
}

var systemLinks = register(scenario{name: "system directories that are links", run: func(*landlock.Ruleset) error {
	errs := []error{os.Chmod("/closed", 0)}
	defer os.Chmod("/closed", 0o755) // or its user cannot remove it
	runtime.LockOSThread()
	defer unix.Setfsuid(os.Geteuid())
	unix.Setfsuid(somebody) // fails in a user namespace, whose root may search all
	for path, allowed := range map[string]bool{"/tmp": true, "/deep": false} {
		os.Setenv("TMPDIR", path)
		if _, err := loaded(landlock.New(landlock.V1).Use(Temp)); (err == nil) != allowed {
			errs = append(errs, fmt.Errorf("%s: %v, want it allowed: %v", path, err, allowed))
		}
	}
	return errors.Join(errs...)
}, root: map[string]string{"/srv": "-> /srv", "/opt": "-> /file/x", "/file": "", "/home": "-> /closed/a/home", "/closed/a/home/": "", "/root": "-> /deep/x/root", "/deep/x/root/": ""}})
