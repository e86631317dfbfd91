package preset

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/landlock"
	"example.com/landlock/internal/testenv"
	"example.com/landlock/landlocktest"
)

// presets are those that need no argument.
type presets = []func(*landlock.Ruleset) error

// DNS: each resolver, in a root directory and a network of its own.

const resolvConf = "nameserver " + firstServer + "\noptions timeout:2 attempts:1\n"

// configured returns the files of a resolver, and more.
func configured(more map[string]string) map[string]string {
	files := map[string]string{
		"/etc/hosts":         "127.0.0.1 localhost\n",
		"/etc/nsswitch.conf": "hosts: files dns\n",
		"/etc/resolv.conf":   resolvConf,
	}
	maps.Copy(files, more)
	return files
}

// finds returns a scenario's function that looks up a name.
func finds(name string, want ...string) func() error {
	return func() error {
		addresses, err := net.DefaultResolver.LookupHost(context.Background(), name)
		if err == nil && !slices.Equal(addresses, want) {
			err = fmt.Errorf("%s is %q, want %q", name, addresses, want)
		}
		return err
	}
}

// byBoth returns a scenario with each of the resolvers.
func byBoth(s scenario) []scenario {
	s.use, s.network = presets{DNS}, true
	pure, c := s, s
	pure.name, pure.env = s.name+", Go's resolver", []string{"GODEBUG=netdns=go"}
	c.name, c.env, c.lacks = s.name+", the C library's", []string{"GODEBUG=netdns=cgo"}, libraryLacking
	return []scenario{pure, c}
}

func byC(s scenario, lacks func() string) scenario {
	s.use, s.network, s.env, s.lacks = presets{DNS}, true, []string{"GODEBUG=netdns=cgo"}, lacks
	return s
}

func connects(path string) func() error {
	return func() error {
		conn, err := net.Dial("unix", path)
		if err == nil {
			conn.Close()
		}
		return err
	}
}

var dns = register(slices.Concat(
	byBoth(scenario{name: "a name in hosts", misses: []string{"/etc/hosts"},
		root: configured(map[string]string{"/etc/hosts": hostsAddress + " " + plainName, "/etc/resolv.conf": ""}),
		run:  inside(finds(plainName, hostsAddress))}),
	byBoth(scenario{name: "a name of the server", misses: []string{"/etc/resolv.conf", "connect_send_udp 53", "bind_udp 0"},
		root: configured(nil), run: inside(finds(plainName, plainAddress))}),
	byBoth(scenario{name: "the server before hosts", misses: []string{"/etc/nsswitch.conf"},
		root: configured(map[string]string{"/etc/hosts": hostsAddress + " " + plainName, "/etc/nsswitch.conf": "hosts: dns files\n"}),
		run:  inside(finds(plainName, plainAddress))}),
	byBoth(scenario{name: "an answer that is too long for UDP", misses: []string{"connect_tcp 53"},
		root: configured(nil), run: inside(finds(largeName, largeAddress))}),
	byBoth(scenario{name: "resolv.conf replaced", misses: []string{"/run/resolver"},
		root: configured(map[string]string{"/etc/resolv.conf": "-> ../run/resolver/resolv.conf", "/run/resolver/resolv.conf": resolvConf}),
		run: inside(func() error {
			if err := askToReplace(); err != nil {
				return err
			}
			return finds(plainName, secondAddress)()
		})}),
	[]scenario{
		byC(scenario{name: "all addresses of a name in hosts", misses: []string{"/etc/host.conf"},
			root: configured(map[string]string{"/etc/hosts": twoAddresses, "/etc/host.conf": "multi on\n"}),
			run:  inside(finds("both.test", "::1", "127.0.0.1"))}, ipv6Lacking),
		byC(scenario{name: "IPv4 before IPv6", misses: []string{"/etc/gai.conf"},
			root: configured(map[string]string{"/etc/hosts": twoAddresses, "/etc/host.conf": "multi on\n", "/etc/gai.conf": "precedence ::ffff:0:0/96 100\n"}),
			run:  inside(finds("both.test", "127.0.0.1", "::1"))}, ipv6Lacking),
		{name: "nscd", use: presets{DNS}, abi: landlock.V9, network: true, misses: []string{"/var/run/nscd"},
			root: configured(map[string]string{"/var/run": "-> ../run", "/run/nscd/": ""}), run: inside(connects("/var/run/nscd/socket"))},
		{name: "systemd-resolved", use: presets{DNS}, abi: landlock.V9, network: true, misses: []string{"/run/systemd/resolve"},
			root: configured(map[string]string{"/run/systemd/resolve/": ""}), run: inside(connects("/run/systemd/resolve/io.systemd.Resolve"))},
	})...)

const twoAddresses = "::1 both.test\n127.0.0.1 both.test\n"

func TestDNS(t *testing.T) { check(t, DNS, dns, nil) }

// Certificates: a request to a server whose authority is in one of the places.

// authority is that of httptest's servers, which all have the same.
func authority() string {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

// requests gets a page by TLS, from a server that this process runs.
func requests(r *landlock.Ruleset) error {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") }))
	server.Config.ErrorLog = nil
	if _, err := r.AllowConnectTCP(uint16(server.Listener.Addr().(*net.TCPAddr).Port)).Apply(); err != nil {
		return err
	}
	response, err := http.Get(server.URL)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return nil
}

func trusted(misses string, root map[string]string, env ...string) scenario {
	return scenario{name: "TLS, authority in " + misses, use: presets{Certificates}, misses: []string{misses}, root: root, env: env, run: requests}
}

// linked are the files of an authority that is found under one name, and is elsewhere.
func linked(path string) map[string]string {
	return map[string]string{path: "-> /authority", "/authority": authority()}
}

var certificates = register(
	trusted("/etc/ssl/certs/ca-certificates.crt", linked("/etc/ssl/certs/ca-certificates.crt")),
	trusted("/etc/pki/tls/certs/ca-bundle.crt", linked("/etc/pki/tls/certs/ca-bundle.crt")),
	trusted("/etc/ssl/ca-bundle.pem", linked("/etc/ssl/ca-bundle.pem")),
	trusted("/etc/pki/tls/cacert.pem", linked("/etc/pki/tls/cacert.pem")),
	trusted("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", linked("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem")),
	trusted("/etc/ssl/cert.pem", linked("/etc/ssl/cert.pem")),
	trusted("/etc/ssl/certs", map[string]string{"/etc/ssl/certs/a.pem": authority()}),
	trusted("/etc/pki/tls/certs", map[string]string{"/etc/pki/tls/certs/a.pem": authority()}),
	trusted("/usr/share/ca-certificates", map[string]string{"/etc/ssl/certs/a.pem": "-> /usr/share/ca-certificates/a.crt", "/usr/share/ca-certificates/a.crt": authority()}),
	trusted("/usr/local/share/ca-certificates", map[string]string{"/etc/ssl/certs/a.pem": "-> /usr/local/share/ca-certificates/a.crt", "/usr/local/share/ca-certificates/a.crt": authority()}),
	trusted("/a.pem", map[string]string{"/a.pem": authority()}, "SSL_CERT_FILE=/a.pem"),
	trusted("/first", map[string]string{"/first/a.pem": authority(), "/second/": ""}, "SSL_CERT_DIR=/first:/second"),
	trusted("/second", map[string]string{"/second/a.pem": authority()}, "SSL_CERT_DIR=:/first::/second:"),
)

func TestCertificates(t *testing.T) { check(t, Certificates, certificates, nil) }

// Time zones: one that no system has, in each of the places.

// zone is a time zone, as zic writes it, of one offset.
func zone() string {
	const offset = 4321
	header := append([]byte("TZif"), make([]byte, 40)...)
	header[39] = 1                // one kind of time
	header[43] = byte(len("TST")) // and its name
	header[43]++                  // with a NUL
	text := append(header, 0, 0, offset>>8, offset&0xff, 0, 0)
	return string(append(text, "TST\x00"...))
}

func isZone(at time.Time, err error) error {
	if name, offset := at.Zone(); err == nil && (name != "TST" || offset != 4321) {
		err = fmt.Errorf("zone %s, %d seconds east", name, offset)
	}
	return err
}

func zoned(misses, path string, env ...string) scenario {
	return scenario{name: "zone in " + misses, use: presets{TimeZones}, misses: []string{misses}, root: map[string]string{path: zone()}, env: env,
		run: inside(func() error {
			location, err := time.LoadLocation("Test/Zone")
			if err != nil {
				return err
			}
			return isZone(time.Unix(0, 0).In(location), nil)
		})}
}

func local(misses string, root map[string]string, env ...string) scenario {
	return scenario{name: "local zone in " + misses, use: presets{TimeZones}, misses: []string{misses}, root: root, env: env,
		run: inside(func() error { return isZone(time.Unix(0, 0), nil) })}
}

var timeZones = register(
	zoned("/usr/share/zoneinfo", "/usr/share/zoneinfo/Test/Zone"),
	zoned("/usr/share/lib/zoneinfo", "/usr/share/lib/zoneinfo/Test/Zone"),
	zoned("/usr/lib/locale/TZ", "/usr/lib/locale/TZ/Test/Zone"),
	zoned("/etc/zoneinfo", "/etc/zoneinfo/Test/Zone"),
	zoned("/zones", "/zones/Test/Zone", "ZONEINFO=/zones"),
	local("/etc/localtime", map[string]string{"/etc/localtime": zone()}),
	local("/usr/share/zoneinfo", map[string]string{"/usr/share/zoneinfo/Test/Zone": zone()}, "TZ=:Test/Zone"),
	local("/zone", map[string]string{"/zone": zone()}, "TZ=:/zone"),
)

func TestTimeZones(t *testing.T) { check(t, TimeZones, timeZones, nil) }

// Content types, in each of the tables.

func typed(path, text string) scenario {
	return scenario{name: "types in " + path, use: presets{MIMETypes}, misses: []string{path}, root: map[string]string{path: text},
		run: inside(func() error {
			if got := mime.TypeByExtension(".test"); got != "application/x-test" {
				return fmt.Errorf("%q", got)
			}
			return nil
		})}
}

const globs, table = "50:application/x-test:*.test\n", "application/x-test test\n"

var mimeTypes = register(
	typed("/usr/local/share/mime/globs2", globs),
	typed("/usr/share/mime/globs2", globs),
	typed("/etc/mime.types", table),
	typed("/etc/apache2/mime.types", table),
	typed("/etc/apache/mime.types", table),
	typed("/etc/httpd/conf/mime.types", table),
)

func TestMIMETypes(t *testing.T) { check(t, MIMETypes, mimeTypes, nil) }

// Users and groups, by Go's own code and the C library's, whichever this binary has.

var users = register(
	scenario{name: "a user", use: presets{Users}, misses: []string{"/etc/passwd"},
		root: map[string]string{"/etc/passwd": "tester:x:4321:4321::/home/tester:/bin/sh\n"},
		run: inside(func() error {
			u, err := user.Lookup("tester")
			if err == nil && u.Uid != "4321" {
				err = fmt.Errorf("%+v", u)
			}
			return err
		})},
	scenario{name: "a group", use: presets{Users}, misses: []string{"/etc/group"},
		root: map[string]string{"/etc/group": "testers:x:4321:\n"},
		run: inside(func() error {
			g, err := user.LookupGroupId("4321")
			if err == nil && g.Name != "testers" {
				err = fmt.Errorf("%+v", g)
			}
			return err
		})},
	scenario{name: "users that are not in files", use: presets{Users}, misses: []string{"/etc/nsswitch.conf"}, lacks: libraryLacking,
		root: map[string]string{"/etc/passwd": "tester:x:4321:4321::/home/tester:/bin/sh\n", "/etc/nsswitch.conf": "passwd: elsewhere\n"},
		run: inside(func() error {
			if u, err := user.Lookup("tester"); err == nil {
				return fmt.Errorf("%+v is found where it is not to be looked for", u)
			}
			return nil
		})},
)

func TestUsers(t *testing.T) { check(t, Users, users, nil) }

// Devices.

func openedFor(flags int, want error, paths ...string) func() error {
	return func() error {
		for _, path := range paths {
			device, err := os.OpenFile(path, flags, 0)
			if err != nil {
				return err
			}
			defer device.Close()
			if flags != os.O_RDONLY {
				if _, err := device.Write([]byte("x")); !errors.Is(err, want) {
					return fmt.Errorf("write: %v, want %v", err, want)
				}
				continue
			}
			if _, err := device.Read(make([]byte, 1)); err != nil {
				return err
			}
		}
		return nil
	}
}

var nullDevices = register(
	// As a shell opens it, and os/exec.
	scenario{name: "null", use: presets{NullDevices}, misses: []string{"/dev/null"},
		run: inside(openedFor(os.O_WRONLY|os.O_CREATE|os.O_TRUNC, nil, "/dev/null"))},
	scenario{name: "zero", use: presets{NullDevices}, misses: []string{"/dev/zero"}, run: inside(openedFor(os.O_RDONLY, nil, "/dev/zero"))},
	scenario{name: "zero, to map", use: presets{NullDevices}, misses: []string{"/dev/zero"}, run: inside(openedFor(os.O_RDWR, nil, "/dev/zero"))},
	scenario{name: "full", use: presets{NullDevices}, misses: []string{"/dev/full"}, run: inside(openedFor(os.O_RDWR, unix.ENOSPC, "/dev/full"))},
	scenario{name: "random", use: presets{NullDevices}, misses: []string{"/dev/random"}, run: inside(openedFor(os.O_RDONLY, nil, "/dev/random"))},
	scenario{name: "urandom", use: presets{NullDevices}, misses: []string{"/dev/urandom"}, run: inside(openedFor(os.O_RDONLY, nil, "/dev/urandom"))},
	scenario{name: "sh with null", use: presets{Programs("sh"), NullDevices}, misses: []string{"/dev/null"}, lacks: programsLacking("sh"),
		run: runs("fine", "sh", "-c", "echo lost > /dev/null && echo fine")},
)

func TestNullDevices(t *testing.T) { check(t, NullDevices, nullDevices, nil) }

func readsPassword() error {
	terminal, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer terminal.Close()
	settings, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		return fmt.Errorf("ioctl: %w", err)
	}
	settings.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(int(terminal.Fd()), unix.TCSETS, settings); err != nil {
		return fmt.Errorf("ioctl: %w", err)
	}
	if _, err := terminal.WriteString("password: "); err != nil {
		return err
	}
	line := make([]byte, 100)
	n, err := terminal.Read(line)
	if err == nil && string(line[:n]) != "secret\n" {
		err = fmt.Errorf("read %q", line[:n])
	}
	return err
}

func described(dir string) scenario {
	return scenario{name: "terminals in " + dir, use: presets{Terminal}, misses: []string{dir},
		root: map[string]string{dir + "/x/xterm": "description"}, run: inside(readable(dir + "/x/xterm"))}
}

var terminal = register(
	scenario{name: "password", use: presets{Terminal}, misses: []string{"/dev/tty"}, tty: true, run: inside(readsPassword)},
	opensAgain(0, "/dev/stdin"), opensAgain(1, "/dev/stdout"), opensAgain(2, "/dev/stderr"),
	scenario{name: "programs on a terminal", use: presets{Terminal, NullDevices, Programs("sh", "stty", "tty")}, misses: []string{"/proc/self/fd/0"},
		tty: true, lacks: programsLacking("sh", "stty", "tty"),
		run: onTerminal("fine", "sh", "-c", "stty -F /dev/stdin raw -echo && exec 3<>$(tty) && stty sane <&3 && echo fine")},
	described("/etc/terminfo"), described("/lib/terminfo"), described("/usr/lib/terminfo"), described("/usr/share/terminfo"),
)

func TestTerminal(t *testing.T) { check(t, Terminal, terminal, nil) }

// onStream makes a file a standard stream of this process.
func onStream(stream int, file *os.File) error { return unix.Dup3(int(file.Fd()), stream, 0) }

// raw has a terminal in raw mode, as golang.org/x/term does, and takes it back.
func raw(terminal *os.File) error {
	fd := int(terminal.Fd())
	was, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return fmt.Errorf("ioctl: %w", err)
	}
	settings := *was
	settings.Lflag &^= unix.ECHO | unix.ICANON | unix.ISIG | unix.IEXTEN
	_, err = unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	return errors.Join(err, unix.IoctlSetTermios(fd, unix.TCSETS, &settings), unix.IoctlSetTermios(fd, unix.TCSETS, was))
}

// opensAgain is a scenario that opens the terminal of a stream again, by each of its
// names, and has it in raw mode.
func opensAgain(stream int, name string) scenario {
	byNumber := fmt.Sprint("/proc/self/fd/", stream)
	return scenario{name: "the terminal by " + name, use: presets{Terminal}, misses: []string{byNumber}, tty: true, run: func(r *landlock.Ruleset) error {
		if stream != 0 {
			null, err := os.Open(os.DevNull)
			if err := errors.Join(err, onStream(stream, os.Stdin), onStream(0, null)); err != nil {
				return err
			}
		}
		return inside(func() error {
			ttyname, err := os.Readlink(byNumber)
			if err != nil || !strings.HasPrefix(ttyname, "/dev/pts/") {
				return fmt.Errorf("the terminal is called %q: %v", ttyname, err)
			}
			for _, path := range []string{name, byNumber, ttyname} {
				terminal, err := os.OpenFile(path, os.O_RDWR, 0)
				if err != nil {
					return err
				}
				defer terminal.Close()
				if err := raw(terminal); err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
			}
			return nil
		})(r)
	}}
}

// onTerminal is runs, with the terminal.
func onTerminal(want, name string, args ...string) func(*landlock.Ruleset) error {
	return func(r *landlock.Ruleset) error {
		cmd := exec.Command(name, args...)
		cmd.Stdin = os.Stdin
		out, err := outputOf(r, cmd)
		if err == nil && !strings.Contains(out, want) {
			err = fmt.Errorf("%q, want %q", out, want)
		}
		return err
	}
}

// isDenied returns an error unless opening a path is denied.
func isDenied(path string) error {
	if file, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0); !errors.Is(err, unix.EACCES) {
		return fmt.Errorf("open %s: %v, %v, want EACCES", path, file, err)
	}
	return nil
}

// otherStream is a scenario in which the standard input is not a terminal of the
// process's own, and so has no rule.
func otherStream(name string, open func() (*os.File, error)) scenario {
	return scenario{name: "standard input is " + name, use: presets{Terminal}, run: func(r *landlock.Ruleset) error {
		file, err := open()
		if err != nil {
			return err
		}
		if err := onStream(0, file); err != nil {
			return err
		}
		return inside(func() error { return errors.Join(isDenied("/proc/self/fd/0"), isDenied(file.Name())) })(r)
	}}
}

var noTerminals = register(
	otherStream("a file", func() (*os.File, error) { return os.CreateTemp("", "") }),
	otherStream("the null device", func() (*os.File, error) { return os.OpenFile(os.DevNull, os.O_RDWR, 0) }),
	otherStream("what makes terminals", func() (*os.File, error) { return os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0) }),
	scenario{name: "other terminals", use: presets{Terminal}, tty: true, run: func(r *landlock.Ruleset) error {
		controller, terminal, err := makeTerminal()
		if err != nil {
			return err
		}
		defer controller.Close()
		defer terminal.Close()
		if err := terminalOf(0)(terminal); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("a terminal that is found in place of the stream's: %v", err)
		}
		return inside(func() error { return errors.Join(isDenied(terminal.Name()), isDenied("/dev/ptmx")) })(r)
	}},
	scenario{name: "a stream is another terminal by now", use: presets{Terminal}, tty: true, run: func(r *landlock.Ruleset) error {
		controller, terminal, err := makeTerminal()
		if err != nil {
			return err
		}
		defer controller.Close()
		was, err := os.Readlink("/proc/self/fd/0")
		if err := errors.Join(err, onStream(0, terminal)); err != nil {
			return err
		}
		return inside(func() error {
			again, err := os.OpenFile("/dev/stdin", os.O_RDWR|unix.O_NOCTTY, 0)
			if err == nil {
				err = errors.Join(raw(again), again.Close())
			}
			return errors.Join(err, isDenied(was))
		})(r)
	}},
)

func TestNoOtherTerminal(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	for _, s := range noTerminals {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			if out, code := s.start(t, ""); code != 0 {
				t.Errorf("status %d: %s", code, out)
			}
		})
	}
}

// makeTerminal returns the two ends of a new terminal.
func makeTerminal() (controller, terminal *os.File, err error) {
	controller, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	number, err := unix.IoctlGetInt(int(controller.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(controller.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		terminal, err = os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		controller.Close()
		return nil, nil, err
	}
	return controller, terminal, nil
}

var pseudoTerminals = register(
	scenario{name: "a terminal that is made", use: presets{PseudoTerminals}, misses: []string{"/dev/pts"}, lacks: terminalsLacking, run: inside(makesTerminal)},
	scenario{name: "a device that makes terminals", use: presets{PseudoTerminals}, misses: []string{"/dev/ptmx"}, lacks: ownDeviceLacking, run: inside(makesTerminal)},
	scenario{name: "script", use: presets{PseudoTerminals, System, NullDevices}, misses: []string{"/dev/pts"}, lacks: programsLacking("script", "sh"),
		run: runs("fine", "script", "-qec", "echo fine", "/dev/null"), env: []string{"SHELL=/bin/sh"}},
)

func makesTerminal() error {
	controller, terminal, err := makeTerminal()
	if err != nil {
		return err
	}
	defer controller.Close()
	defer terminal.Close()
	if _, err := terminal.WriteString("x"); err != nil {
		return err
	}
	return errors.Join(raw(controller), raw(terminal))
}

func terminalsLacking() string {
	if err := makesTerminal(); err != nil {
		return "terminals: " + err.Error()
	}
	return ""
}

// ownDeviceLacking says that the device is a file of /dev/pts here, which has a rule
// itself.
func ownDeviceLacking() string {
	var ptmx, pts unix.Stat_t
	if unix.Stat("/dev/ptmx", &ptmx) == nil && unix.Stat("/dev/pts", &pts) == nil && ptmx.Dev == pts.Dev {
		return "/dev/ptmx outside of /dev/pts"
	}
	return terminalsLacking()
}

func TestPseudoTerminals(t *testing.T) { check(t, PseudoTerminals, pseudoTerminals, nil) }

// Temporary files.

var temp = register(scenario{name: "temporary files", use: presets{Temp}, misses: []string{"/tmp"}, root: map[string]string{"/elsewhere/": ""}, run: inside(func() error {
	file, err := os.CreateTemp("", "")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		return err
	}
	inDir := filepath.Join(dir, "file")
	_, err = file.WriteString("text")
	if err := errors.Join(err, file.Truncate(1), file.Close(), os.Rename(file.Name(), inDir), os.Remove(inDir), os.Remove(dir)); err != nil {
		return err
	}
	if file, err := os.CreateTemp("/elsewhere", ""); !errors.Is(err, unix.EACCES) {
		return fmt.Errorf("elsewhere: %v, %v, want EACCES", file, err)
	}
	return nil
})})

func TestTemp(t *testing.T) {
	t.Setenv("TMPDIR", "/tmp")
	check(t, Temp, temp, nil)
}

// Programs of the system.

// executable checks that a file may be executed, and not whether it is a program.
func executable(path string) func() error {
	return func() error {
		if err := unix.Exec(path, []string{path}, nil); err != unix.ENOEXEC {
			return fmt.Errorf("execute %s: %w", path, err)
		}
		_, err := os.ReadDir(filepath.Dir(path))
		return err
	}
}

func programIn(dir string) scenario {
	return scenario{name: "a program in " + dir, use: presets{System}, misses: []string{dir},
		root: map[string]string{dir + "/sub/program": "no program, really"}, run: inside(executable(dir + "/sub/program"))}
}

func readByLoader(path string) scenario {
	return scenario{name: "the loader's " + path, use: presets{System}, misses: []string{path}, root: map[string]string{path: "text"}, run: inside(readable(path))}
}

func systemProgram(want, name string, args ...string) scenario {
	return scenario{name: "the system's " + name, use: presets{System, NullDevices}, lacks: programsLacking(name), run: runs(want, name, args...)}
}

var system = register(
	programIn("/usr"), programIn("/bin"), programIn("/sbin"), programIn("/lib"), programIn("/lib32"), programIn("/lib64"), programIn("/libx32"),
	readByLoader("/etc/ld.so.cache"), readByLoader("/etc/ld.so.preload"), readByLoader("/etc/ld-musl-x86_64.path"),
	systemProgram("[1, 2]", "/usr/bin/python3", "-I", "-c", "import json, ssl, sqlite3; print(json.loads('[1,2]'))"),
	systemProgram("1970", "/usr/bin/perl", "-MPOSIX", "-e", "print 1970"),
	systemProgram("usage: git", "/usr/bin/git", "-h"),
)

func TestSystem(t *testing.T) {
	exceptions := map[string]string{}
	for _, path := range musl() {
		exceptions[path] = "musl's loader, which is tested with a file of another name"
	}
	check(t, System, system, exceptions)
}

// musl returns the configurations of musl that this system has.
func musl() []string {
	found, _ := filepath.Glob("/etc/ld-musl-*.path")
	return slices.DeleteFunc(found, func(path string) bool { return path == "/etc/ld-musl-x86_64.path" })
}

// Which directory is allowed for the sake of a link to resolv.conf in it.
var links = register(
	linkedResolver("", map[string]string{"/etc/resolv.conf": "nameserver ::1"}),
	linkedResolver("", nil),
	linkedResolver("", map[string]string{"/etc/resolv.conf": "-> other", "/etc/other": ""}),
	linkedResolver("", map[string]string{"/etc/resolv.conf": "-> /", "/run/": ""}),
	linkedResolver("", map[string]string{"/etc/resolv.conf": "-> /run/resolv.conf", "/run/resolv.conf": ""}),
	linkedResolver("", map[string]string{"/etc/resolv.conf": "-> /run/a/../resolv.conf", "/run/a/": "", "/run/resolv.conf": ""}),
	linkedResolver("", map[string]string{"/etc/resolv.conf": "-> /run/a/resolv.conf", "/run/a": "-> /home", "/home/resolv.conf": ""}),
	linkedResolver("", map[string]string{"/etc/resolv.conf": "-> /run/a/resolv.conf", "/run/a/resolv.conf": "-> /home/resolv.conf", "/home/resolv.conf": ""}),
	linkedResolver("", map[string]string{"/etc/resolv.conf": "-> /runner/resolv.conf", "/runner/resolv.conf": ""}),
	linkedResolver("", map[string]string{"/etc/resolv.conf": "-> /run/everybodys/resolv.conf", "/run/everybodys/resolv.conf": ""}),
	linkedResolver("", map[string]string{"/etc/resolv.conf": "-> /run/user/1000/resolv.conf", "/run/user/1000/resolv.conf": ""}),
	linkedResolver("", map[string]string{"/etc/resolv.conf": "-> /run/host/etc/resolv.conf", "/run/host/etc/resolv.conf": ""}),
	linkedResolver("", map[string]string{"/etc/resolv.conf": "-> /run/host/resolv.conf", "/run/host/resolv.conf": ""}),
	linkedResolver("", map[string]string{"/etc/resolv.conf": "-> resolv.conf"}),
	linkedResolver("/run/a", map[string]string{"/etc/resolv.conf": "-> /run/a/resolv.conf", "/run/a/resolv.conf": ""}),
	linkedResolver("/run/a", map[string]string{"/etc/resolv.conf": "-> ../var/run/a/resolv.conf", "/run/a/resolv.conf": "", "/var/run": "-> ../run"}),
	linkedResolver("/run/a", map[string]string{"/etc/resolv.conf": "-> link", "/etc/link": "-> /run/a/resolv.conf", "/run/a/resolv.conf": ""}),
	linkedResolver("/run/a/b", map[string]string{"/etc/resolv.conf": "-> /run/a/b/not-yet", "/run/a/b/": ""}),
)

func linkedResolver(want string, root map[string]string) scenario {
	if root == nil {
		root = map[string]string{}
	}
	return scenario{name: fmt.Sprintf("resolv.conf %v", root), use: presets{DNS}, root: root, run: func(*landlock.Ruleset) error {
		os.Chmod("/run/everybodys", 0o777)
		if got := resolverDirectory(); got != want {
			return fmt.Errorf("%q, want %q", got, want)
		}
		return nil
	}}
}

func TestResolverDirectory(t *testing.T) {
	for _, s := range links {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.needs(t)
			if out, code := s.start(t, ""); code != 0 {
				t.Errorf("status %d: %s", code, out)
			}
		})
	}
}

// Nothing is writable but the null devices, terminals and Temp.
var everyPreset = presets{DNS, Certificates, TimeZones, MIMETypes, Users, NullDevices, Terminal, PseudoTerminals, Temp, System, Programs("sh")}

var writing = register(scenario{name: "writing", use: everyPreset, lacks: programsLacking("sh"), run: func(r *landlock.Ruleset) error {
	if _, err := r.Apply(); err != nil {
		return err
	}
	writable := map[string]bool{"/dev/null": true, "/dev/zero": true, "/dev/full": true, "/dev/tty": true, "/dev/ptmx": true, os.TempDir(): true}
	var errs []error
	tried := 0
	for _, path := range paths(r) {
		info, err := os.Stat(path)
		if err != nil || path == "/dev/tty" || strings.HasPrefix(path, "/proc/self/fd/") {
			continue
		}
		tried++
		if info.IsDir() {
			made := filepath.Join(path, fmt.Sprint("preset-test-", os.Getpid()))
			if err = os.Mkdir(made, 0o700); err == nil {
				os.Remove(made)
			}
		} else {
			var opened *os.File
			if opened, err = os.OpenFile(path, os.O_WRONLY, 0); err == nil {
				opened.Close()
			}
		}
		if (err == nil) != writable[path] || err != nil && os.Getuid() == 0 && !errors.Is(err, unix.EACCES) && !errors.Is(err, syscall.ETXTBSY) {
			errs = append(errs, fmt.Errorf("write to %s: %v", path, err))
		}
	}
	if tried < 10 {
		errs = append(errs, fmt.Errorf("only %d paths tried", tried))
	}
	return errors.Join(errs...)
}})

func TestNothingWritable(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	s := writing[0]
	s.needs(t)
	if out, code := s.start(t, ""); code != 0 {
		t.Errorf("status %d: %s", code, out)
	}
}

// SQLite makes a journal beside the database, and temporary files once data grows.
func TestSQLite(t *testing.T) {
	const python = "/usr/bin/python3"
	if lacking := programsLacking(python)(); lacking != "" {
		t.Skip("needs " + lacking)
	}
	landlocktest.NeedABI(t, landlock.V1)
	dir := t.TempDir()
	t.Setenv("TMPDIR", t.TempDir())
	database := filepath.Join(dir, "data")
	const (
		create = "c.execute('create table t(a)')"
		insert = "c.execute('insert into t values (1)'); c.commit()"
		sort   = "c.execute('pragma cache_size=10'); c.execute('with recursive n(i) as (select 1 union all select i+1 from n where i<100000) select hex(randomblob(50)) a from n order by a').fetchone()"
	)
	query := func(statements string, rules *landlock.Ruleset) error {
		_, err := outputOf(rules, exec.Command(python, "-I", "-c", "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "+statements, database))
		return err
	}
	base := everything().Use(System, NullDevices)
	for _, test := range []struct {
		name, statements string
		rules            *landlock.Ruleset
		works            bool
	}{
		{"make the database", create, base.Clone().AllowReadWrite(dir), true},
		{"insert", insert, base.Clone().AllowReadWrite(dir), true},
		{"insert, with the file alone", insert, base.Clone().AllowReadWrite(database), false},
		{"sort, without Temp", sort, base.Clone().AllowReadWrite(dir), false},
		{"sort", sort, base.Clone().AllowReadWrite(dir).Use(Temp), true},
	} {
		if err := query(test.statements, test.rules); (err == nil) != test.works {
			t.Errorf("%s: %v, want it to work: %v", test.name, err, test.works)
		}
	}
}

// What it takes to build a program of Go.
func TestGoBuild(t *testing.T) {
	if !testenv.LongTests() {
		t.Skip("builds binaries, which takes long: set LANDLOCK_LONG_TESTS")
	}
	if lacking := programsLacking("go")(); lacking != "" {
		t.Skip("needs " + lacking)
	}
	landlocktest.NeedABI(t, landlock.V1)
	settings, err := exec.Command("go", "env", "GOROOT", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	root, cache, _ := strings.Cut(strings.TrimSpace(string(settings)), "\n")
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module example.org/program\n", "main.go": "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println() }\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	build := func(uses presets, writable ...string) error {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "program"))
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOTELEMETRY=off", "GOFLAGS=-mod=mod", "GOWORK=off", "GOTOOLCHAIN=local", "CGO_ENABLED=0")
		_, err := outputOf(everything().Use(uses...).AllowExecute(root).AllowReadWrite(writable...), cmd)
		return err
	}
	all := presets{System, NullDevices, Temp}
	if err := build(all, dir, cache); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"NullDevices": build(presets{System, Temp}, dir, cache),
		"Temp":        build(presets{System, NullDevices}, dir, cache),
		"GOCACHE":     build(all, dir),
		"its folder":  build(all, cache),
	} {
		if err == nil {
			t.Errorf("without %s it works as well", name)
		}
	}
}

// What is in a directory that this process may not search, as that of a web server's
// settings may be, costs it no other rule.
func TestMayNotSearch(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(dir, 0); err != nil {
		t.Fatal(err)
	}
	closed, open := filepath.Join(dir, "file"), os.DevNull
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if uid := os.Geteuid(); uid == 0 { // which may search all
		if err := unix.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		defer unix.Setfsuid(uid)
	}
	if _, err := os.Stat(closed); !errors.Is(err, fs.ErrPermission) {
		t.Skipf("needs a user who may not search all directories: %v", err)
	}
	r := landlock.New(landlock.V1)
	if allow(r, line{path: closed, access: file}, line{path: open, access: device, is: isDevice}); !slices.Equal(paths(r), []string{open}) {
		t.Errorf("%q, want a rule for %s alone", paths(r), open)
	}
	// What the environment names is meant: it fails, and says so.
	r = landlock.New(landlock.V1)
	if err := (named{variable: "SSL_CERT_FILE", path: closed, access: file, file: certificateFile}).allow(r); err != nil || !slices.Equal(paths(r), []string{closed}) {
		t.Errorf("%q, %v, want a rule for %s", paths(r), err, closed)
	}
	err := named{variable: "TMPDIR", path: closed, access: file, directory: true}.allow(r)
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "TMPDIR") {
		t.Errorf("a directory that cannot be looked at: %v", err)
	}
}

// Of a device Explain names a preset, and has as the rule what that gives the device.
func TestExplainedDevices(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V5)
	for path, test := range map[string]struct {
		name   string
		preset func(*landlock.Ruleset) error
	}{
		"/dev/null":    {"NullDevices", NullDevices},
		"/dev/zero":    {"NullDevices", NullDevices},
		"/dev/full":    {"NullDevices", NullDevices},
		"/dev/random":  {"NullDevices", NullDevices},
		"/dev/urandom": {"NullDevices", NullDevices},
		"/dev/tty":     {"Terminal", Terminal},
		"/dev/ptmx":    {"PseudoTerminals", PseudoTerminals},
	} {
		err := landlock.New(landlock.V5).Explain(&fs.PathError{Op: "open", Path: path, Err: syscall.EACCES})
		denied := landlock.All[*landlock.DeniedError](err)
		if len(denied) != 1 || !strings.Contains(err.Error(), "Use(preset."+test.name+") would allow it") {
			t.Errorf("%s: %v", path, err)
			continue
		}
		for rule := range landlock.New(landlock.V5).Use(test.preset).Rules() {
			if rule.Path == path && rule.FS != denied[0].Rule.FS {
				t.Errorf("%s: the preset has %v, the refusal %v", path, rule, denied[0].Rule)
			}
		}
	}
	// What the preset does not allow it is not advised for.
	denied := &fs.PathError{Op: "open", Path: "/dev/urandom", Err: syscall.EACCES}
	err := landlock.New(landlock.V5).AllowRead("/dev/urandom").Explain(denied)
	if !strings.Contains(err.Error(), `AllowReadWrite("/dev/urandom") would allow it`) {
		t.Error(err)
	}
}

// A ruleset with presets is made again from its rules: without those that have a file or
// a judge, which come with the presets.
func TestAddAgain(t *testing.T) {
	presets := []func(*landlock.Ruleset) error{DNS, Certificates, TimeZones, MIMETypes, Users, NullDevices, Terminal, PseudoTerminals, Temp, System, Programs("sh")}
	file, err := os.Open("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	other := landlock.New(landlock.V11).AllowRead("/usr/share").AllowConnectTCP(443).AllowFile(landlock.FSReadFile, file).Quiet(landlock.FSRead, "/home").Use(presets...)
	again := landlock.New(landlock.V11)
	for rule := range other.Rules() {
		if !rule.Open && !rule.Judged {
			again.Add(rule)
		}
	}
	again.Use(presets...).AllowFile(landlock.FSReadFile, file)
	if mistakes := slices.Concat(other.Mistakes(), again.Mistakes()); len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	count := func(r *landlock.Ruleset) map[landlock.Rule]bool {
		rules := make(map[landlock.Rule]bool)
		for rule := range r.Rules() {
			rules[rule] = true
		}
		return rules
	}
	if got, want := count(again), count(other); !maps.Equal(got, want) {
		t.Errorf("%v\nwant %v", again, other)
	}
	for i, preset := range presets {
		lost := slices.ContainsFunc(slices.Collect(landlock.New(landlock.V11).Use(preset).Rules()), func(rule landlock.Rule) bool { return rule.Open || rule.Judged })
		if !lost {
			t.Errorf("preset %d can be added as it is", i)
		}
	}
}
