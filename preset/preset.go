// Package preset has ready-made rules for [landlock.Ruleset.Use]: what Go's
// standard library and the programs of the system open without being asked.
//
//	landlock.New(landlock.V9).Use(preset.DNS, preset.Certificates, preset.Programs("git"))
//
// Each preset lists what it allows, and why. It allows no more than that:
// nothing is writable but the devices of [NullDevices], [Terminal] and
// [PseudoTerminals], and the directory of [Temp]. It asks for the rights that the ruleset handles, and
// skips what the system does not have: also where something else is in its place, such
// as a directory in that of a file. The Skipped of [landlock.Report] does not name it,
// since most of it belongs to other distributions. What
// is in a directory that this process may not search is left out, too: it could not
// open it anyway.
//
// A rule belongs to the file that is found when the ruleset is loaded, and not to
// its name. A file of /etc that is replaced later, as editors and package managers
// do it, is denied from then on; a directory keeps its rule. The files of [Programs]
// are those that are found when the preset is used.
//
// A path that an environment variable names is read when the preset is used: a
// relative one is that of the working directory of that moment. It is judged when the
// ruleset is loaded, by what is there then. A directory has to be the one that was there
// when the preset was used, and stays open for as long as the ruleset is used; one that
// did not exist may be made later. Links on the way to it have to be root's or this
// user's, in directories of theirs that others may not write, or that are sticky, as
// /tmp is. Where nothing was there when the preset was used, the directories on the way
// are held to the same. (A group counts as others, but for root's and one that has the
// number of this user.) Name no directory in one that others may write and that is not
// sticky: they can exchange it before the preset is used. The directory must be
// neither a directory of the system's nor above one: /, /bin, /boot, /dev, /etc, /home,
// /lib, /lib32, /lib64, /libx32, /opt, /proc, /root, /run, /sbin, /srv, /sys, /usr, /var.
// What root has mounted beneath it is part of it. A file has to be what the variable is
// for by its content, whichever links lead to it. All else is an error of loading the
// ruleset, a [landlock.RuleError] that names the variable. What does not exist then is
// skipped, and so is /dev/null where the rule is to read.
//
// Files of the system's are not looked for by links of other users, nor by links in
// directories that others may write: those are skipped.
package preset

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"example.com/landlock"
)

// line is what a preset allows on one path. The documentation of the preset says
// why.
type line struct {
	path   string
	access landlock.AccessFS
	is     fs.FileMode // its type; 0 is a regular file

	instead func(found *os.File) error // judges what is found, in place of judge
}

const (
	file        = landlock.FSReadFile // or all files beneath a directory, whose names are known
	directory   = landlock.FSRead     // one that is listed
	device      = landlock.FSReadFile | landlock.FSWriteFile
	controlled  = device | landlock.FSIoctlDev
	programFile = landlock.FSReadFile | landlock.FSExecute

	isDirectory = fs.ModeDir
	isDevice    = fs.ModeDevice | fs.ModeCharDevice
)

// allow adds the rules of lines, as far as the ruleset handles their rights.
func allow(r *landlock.Ruleset, lines ...line) {
	for _, l := range lines {
		access := l.access & handled(r)
		if access == 0 {
			continue
		}
		if _, err := os.Stat(l.path); errors.Is(err, fs.ErrPermission) {
			continue // nobody asked for it, and to load the rule would fail
		}
		judge := l.judge
		if l.instead != nil {
			judge = l.instead
		}
		r.AllowIf(access, judge, l.path)
	}
}

// judge has a rule skipped where something else is found than what belongs there: a
// directory in place of a file would allow all beneath, and a link of somebody else's
// on the way any file.
func (l line) judge(found *os.File) error {
	info, err := found.Stat()
	if err != nil {
		return err
	}
	w, err := follow(l.path, false)
	defer w.close(nil)
	if err != nil || info.Mode().Type() != l.is || !w.endsAt(info) {
		return fs.ErrNotExist
	}
	return nil
}

// handled returns the filesystem rights that are denied unless a rule allows them.
func handled(r *landlock.Ruleset) landlock.AccessFS {
	rights := r.Handled().FS
	if rights != 0 {
		rights |= landlock.FSRefer // whether handled or not
	}
	return rights
}

// DNS allows what it takes to look up names of hosts, by Go's own resolver and by
// that of the C library. Files are for reading:
//
//   - /etc/hosts: names without a server. It also has localhost.
//   - /etc/nsswitch.conf: where to look, and in which order.
//   - /etc/resolv.conf: the servers. Where it is a link into a directory beneath
//     /run, all files in there too: systemd-resolved, NetworkManager and resolvconf
//     keep it there, and replace it whenever the network changes. Not allowed are
//     /run itself, what is beneath /run/user, /run/host, /run/secrets and
//     /run/credentials, and a directory that everybody may write; then it is the file
//     alone. A link there that the service itself has made is not followed. (NetworkManager's has
//     connections with their secrets beneath, which root alone may read.)
//   - /etc/host.conf: whether a name in hosts may have several addresses ("multi
//     on"), for the C library.
//   - /etc/gai.conf: in which order it returns them.
//   - TCP to port 53, of any host: answers that are too long for UDP.
//   - UDP to port 53, and a local port that the kernel picks (0), where the ruleset
//     handles UDP (ABI 10).
//   - /var/run/nscd and /run/systemd/resolve: to connect to the sockets in there of
//     the name service cache and of systemd-resolved, where the ruleset handles
//     that (ABI 9). The C library asks them first. Both make them anew when they
//     start, hence the directories.
//
// To sort the addresses of a name, resolvers find out which can be reached, by
// connecting to them by UDP without sending: Go to port 53, the C library to 0. Where
// the ruleset handles UDP, the latter is denied, and the order is that of gai.conf
// alone. What the C library loads to ask other services (Avahi, systemd, LDAP; before
// glibc 2.34 even files and DNS) is not here: see [System]. Nor is /etc/services, which
// has names of ports: Go knows some of them itself, such as "https".
func DNS(r *landlock.Ruleset) error {
	net := r.Handled().Net
	for _, rule := range []struct {
		access landlock.AccessNet
		port   uint16
	}{{landlock.NetConnectTCP, 53}, {landlock.NetConnectSendUDP, 53}, {landlock.NetBindUDP, 0}} {
		if rule.access&net != 0 {
			r.AllowNet(rule.access, rule.port)
		}
	}
	lines := []line{
		{path: "/etc/hosts", access: file},
		{path: "/etc/nsswitch.conf", access: file},
		{path: "/etc/resolv.conf", access: file},
		{path: "/etc/gai.conf", access: file},
		{path: "/etc/host.conf", access: file},
		{path: "/var/run/nscd", access: landlock.FSResolveUnix, is: isDirectory},
		{path: "/run/systemd/resolve", access: landlock.FSResolveUnix, is: isDirectory},
	}
	allow(r, lines...)
	if access := file & handled(r); access != 0 {
		if dir := resolverDirectory(); dir != "" {
			r.AllowIf(access, func(found *os.File) error { return judgeResolver(found, dir) }, dir)
		}
	}
	return nil
}

// resolverDirectory returns the directory to which /etc/resolv.conf is a link, if
// it is one for that purpose. The file itself may be missing for now. A link of
// somebody else's in that directory leads nowhere.
func resolverDirectory() string {
	const path = "/etc/resolv.conf"
	w, err := follow(path, true)
	defer w.close(nil)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errUnsafe) || len(w.rest) > 1 {
		return ""
	}
	dir := filepath.Dir(w.place())
	if !strings.HasPrefix(dir, "/run/") {
		return ""
	}
	// Files of users and services, and in a container of the host.
	for _, other := range []string{"/run/user/", "/run/host/", "/run/secrets/", "/run/credentials/"} {
		if strings.HasPrefix(dir+"/", other) {
			return ""
		}
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() || everybodys(info) {
		return ""
	}
	return dir
}

func everybodys(info os.FileInfo) bool { return info.Mode().Perm()&0o002 != 0 }

// judgeResolver has the directory skipped that is not the one any more which
// resolverDirectory has returned.
func judgeResolver(found *os.File, dir string) error {
	info, err := found.Stat()
	if err != nil {
		return err
	}
	w, err := follow(dir, true)
	defer w.close(nil)
	if err != nil || !info.IsDir() || everybodys(info) || w.place() != dir || !w.endsAt(info) {
		return fs.ErrNotExist
	}
	return nil
}

// Certificates allows what it takes to verify the certificates of servers: the
// authorities that [crypto/x509.SystemCertPool] and OpenSSL trust. Private keys have
// other places. Each is read where it exists:
//
//   - /etc/ssl/certs/ca-certificates.crt (Debian, Arch, Gentoo),
//     /etc/pki/tls/certs/ca-bundle.crt (Fedora), /etc/ssl/ca-bundle.pem (openSUSE),
//     /etc/pki/tls/cacert.pem (OpenELEC),
//     /etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem (CentOS),
//     /etc/ssl/cert.pem (Alpine): the files in which Go looks for all of them.
//   - /etc/ssl/certs, /etc/pki/tls/certs: the directories that Go lists, and in
//     which OpenSSL looks for one of them.
//   - /usr/share/ca-certificates, /usr/local/share/ca-certificates: where the links
//     in /etc/ssl/certs lead on Debian.
//   - the file in SSL_CERT_FILE, the directories in SSL_CERT_DIR. The file must have
//     at most 8 MiB, a certificate in PEM, nothing else in PEM but revocations, and no
//     private key of SSH2 or PuTTY. The text around is not looked at: a log passes into
//     which somebody has written a certificate.
//
// Without, every connection by TLS fails: "certificate signed by unknown authority",
// or "permission denied" where Go finds no authority at all. It reads them once, at
// the first connection.
func Certificates(r *landlock.Ruleset) error {
	lines := []line{
		{path: "/etc/ssl/certs/ca-certificates.crt", access: file},
		{path: "/etc/pki/tls/certs/ca-bundle.crt", access: file},
		{path: "/etc/ssl/ca-bundle.pem", access: file},
		{path: "/etc/pki/tls/cacert.pem", access: file},
		{path: "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", access: file},
		{path: "/etc/ssl/cert.pem", access: file},
		{path: "/etc/ssl/certs", access: directory, is: isDirectory},
		{path: "/etc/pki/tls/certs", access: directory, is: isDirectory},
		{path: "/usr/share/ca-certificates", access: file, is: isDirectory},
		{path: "/usr/local/share/ca-certificates", access: file, is: isDirectory},
	}
	allow(r, lines...)
	var errs []error
	if path := os.Getenv("SSL_CERT_FILE"); path != "" {
		errs = append(errs, named{variable: "SSL_CERT_FILE", path: path, access: file, file: certificateFile}.allow(r))
	}
	for dir := range strings.SplitSeq(os.Getenv("SSL_CERT_DIR"), ":") {
		if dir != "" {
			errs = append(errs, named{variable: "SSL_CERT_DIR", path: dir, access: directory, directory: true}.allow(r))
		}
	}
	return errors.Join(errs...)
}

// TimeZones allows what it takes to know time zones, for [time.LoadLocation] and
// for [time.Local]. All is for reading:
//
//   - /etc/localtime: the zone of this machine. (A link to one of those below, or a
//     file of its own.)
//   - /usr/share/zoneinfo, /usr/share/lib/zoneinfo, /usr/lib/locale/TZ,
//     /etc/zoneinfo: the zones, in the places where Go looks.
//   - the directory or archive (zip) in ZONEINFO, where Go looks first, and the file
//     in TZ, if that is an absolute path, and a time zone.
//
// Without, LoadLocation fails, and time.Local is UTC without a word. Go finds out
// the local zone at its first use: a program that does so before it is restricted
// needs nothing for it.
//
// The archive of zones in GOROOT is not among them. For a system that has no zones,
// import [time/tzdata].
func TimeZones(r *landlock.Ruleset) error {
	lines := []line{
		{path: "/etc/localtime", access: file},
		{path: "/usr/share/zoneinfo", access: file, is: isDirectory},
		{path: "/usr/share/lib/zoneinfo", access: file, is: isDirectory},
		{path: "/usr/lib/locale/TZ", access: file, is: isDirectory},
		{path: "/etc/zoneinfo", access: file, is: isDirectory},
	}
	allow(r, lines...)
	var errs []error
	if path := os.Getenv("ZONEINFO"); path != "" {
		errs = append(errs, named{variable: "ZONEINFO", path: path, access: file, file: zoneArchive, directory: true}.allow(r))
	}
	if path := strings.TrimPrefix(os.Getenv("TZ"), ":"); filepath.IsAbs(path) {
		errs = append(errs, named{variable: "TZ", path: path, access: file, file: zoneFile}.allow(r))
	}
	return errors.Join(errs...)
}

// MIMETypes allows to read the tables of content types by file name: those in
// which [mime.TypeByExtension] looks, and with it [net/http.FileServer].
//
//   - /usr/local/share/mime/globs2, /usr/share/mime/globs2: the database of
//     freedesktop.org, the first of them that there is.
//   - /etc/mime.types, /etc/apache2/mime.types, /etc/apache/mime.types,
//     /etc/httpd/conf/mime.types: without it, all of these.
//
// Without them Go knows some twenty types, and the others are "" without a word:
// a browser is told to guess. It reads them once, at the first question.
func MIMETypes(r *landlock.Ruleset) error {
	allow(r,
		line{path: "/usr/local/share/mime/globs2", access: file},
		line{path: "/usr/share/mime/globs2", access: file},
		line{path: "/etc/mime.types", access: file},
		line{path: "/etc/apache2/mime.types", access: file},
		line{path: "/etc/apache/mime.types", access: file},
		line{path: "/etc/httpd/conf/mime.types", access: file},
	)
	return nil
}

// Users allows to read what [os/user] and programs such as ls and git look up
// users and groups in. No passwords are there.
//
//   - /etc/passwd: users, their home directories and shells.
//   - /etc/group: groups and their members.
//   - /etc/nsswitch.conf: where else the C library is to look.
//
// What is kept elsewhere (LDAP, systemd) needs the libraries and sockets of that
// service as well.
func Users(r *landlock.Ruleset) error {
	allow(r,
		line{path: "/etc/passwd", access: file},
		line{path: "/etc/group", access: file},
		line{path: "/etc/nsswitch.conf", access: file},
	)
	return nil
}

// NullDevices allows the devices that keep nothing and belong to nobody:
//
//   - /dev/null, to read and write: shells and [os/exec] open it for streams that
//     are not wanted.
//   - /dev/zero and /dev/full, to read and write: memory that is all zeros, and a
//     disk that is always full.
//   - /dev/random and /dev/urandom, to read: random numbers, for what does not ask
//     the kernel directly, as Go does.
func NullDevices(r *landlock.Ruleset) error {
	allow(r,
		line{path: "/dev/null", access: device, is: isDevice},
		line{path: "/dev/zero", access: device, is: isDevice},
		line{path: "/dev/full", access: device, is: isDevice},
		line{path: "/dev/random", access: file, is: isDevice},
		line{path: "/dev/urandom", access: file, is: isDevice},
	)
	return nil
}

// Terminal allows what a program needs that asks its user something, draws, or has
// the terminal in raw mode. Terminals are for reading, writing and control (ioctl):
//
//   - /dev/tty: the terminal of the session that the program is in, whatever its
//     streams are. Passwords are read there. It is none where the session has none.
//   - /proc/self/fd/0, /proc/self/fd/1, /proc/self/fd/2: the terminal that is a
//     standard stream of this process when the ruleset is loaded. Programs open it
//     again by /dev/stdin, or by the name that ttyname(3) returns (/dev/pts/0, /dev/tty1),
//     as "stty -F /dev/stdin", "echo > /dev/stderr" and less do. One that is no terminal has no rule,
//     nor one by way of /dev/console, /dev/tty0 or another name for several.
//   - /etc/terminfo, /lib/terminfo, /usr/lib/terminfo, /usr/share/terminfo, to read:
//     what which terminal understands.
//
// It is no other terminal: programs that make some need [PseudoTerminals]. Streams that
// are open already need no rule.
//
// A program that shares a terminal may read what is typed there, and by ioctl type
// into it itself: see "Children" in the README before you give it to one that is
// not trusted. A child with a terminal of its own, or without any, can open this
// process's by this preset, in a session of its own too: allow it /dev/tty alone, by
// [landlock.Ruleset.Allow], and its terminal by [landlock.Ruleset.AllowFile].
func Terminal(r *landlock.Ruleset) error {
	allow(r,
		line{path: "/dev/tty", access: controlled, is: isDevice},
		line{path: "/proc/self/fd/0", access: controlled, instead: terminalOf(0)},
		line{path: "/proc/self/fd/1", access: controlled, instead: terminalOf(1)},
		line{path: "/proc/self/fd/2", access: controlled, instead: terminalOf(2)},
		line{path: "/etc/terminfo", access: file, is: isDirectory},
		line{path: "/lib/terminfo", access: file, is: isDirectory},
		line{path: "/usr/lib/terminfo", access: file, is: isDirectory},
		line{path: "/usr/share/terminfo", access: file, is: isDirectory},
	)
	return nil
}

// PseudoTerminals allows to make terminals, as script, tmux, ssh servers and
// programs that run others on a terminal do: to read, write and control (ioctl)
//
//   - /dev/ptmx, which makes one each time it is opened. (It may be a link to
//     /dev/pts/ptmx, or that file.)
//   - /dev/pts: the terminals themselves. A rule cannot name one that does not
//     exist yet.
//
// So it opens every pseudo-terminal that this user may open, those of its other shells
// and of this process too, and for root everybody's: a program reads what is typed
// there, passwords too, writes what looks like another program's question, and
// changes the settings. With CAP_SYS_ADMIN it types commands into them (TIOCSTI). Give it to a
// program that is not trusted only with a devpts of its own, or as a user of
// its own. For a child on one terminal make that here, without this preset: the child
// gets it as its streams, and by [landlock.Ruleset.AllowFile].
func PseudoTerminals(r *landlock.Ruleset) error {
	allow(r,
		line{path: "/dev/ptmx", access: controlled, is: isDevice},
		line{path: "/dev/pts", access: controlled, is: isDirectory},
	)
	return nil
}

// Temp allows to read and write the directory of temporary files and all beneath,
// which is [os.TempDir]: that in TMPDIR, or /tmp. One beneath /boot, /dev (but for
// /dev/shm), /etc, /proc or /sys is an error. Uploads that exceed the memory
// meant for them go there (mime/multipart). So do SQLite's temporary files once data
// grows, but only where TMPDIR is set: else it takes /var/tmp, and fails.
//
// /tmp is everybody's: other programs of the same user keep files there, and wait
// for what others put there. Make a directory for the program alone, and name
// it in TMPDIR, where you can.
func Temp(r *landlock.Ruleset) error {
	return named{variable: "TMPDIR", path: os.TempDir(), access: landlock.FSReadWrite, directory: true}.allow(r)
}

// System allows to run any program of the system, and to read what belongs to it:
//
//   - /usr, /bin, /sbin, /lib, /lib32, /lib64, /libx32, to read, list and execute:
//     programs, libraries, plug-ins, modules of Python and Perl. On most systems
//     the others are links into /usr.
//   - /etc/ld.so.cache, /etc/ld.so.preload, to read: where glibc's loader finds
//     libraries, and what it loads into every program.
//   - the files /etc/ld-musl-*.path, to read: where musl's looks for them.
//
// The settings of programs, which are in the rest of /etc, are not among them, nor
// are [NullDevices] and [Temp], which most programs want. (/etc/ld.so.conf is
// read by nothing but ldconfig.) For programs that are known, [Programs] allows
// less.
func System(r *landlock.Ruleset) error {
	lines := []line{
		{path: "/etc/ld.so.cache", access: file},
		{path: "/etc/ld.so.preload", access: file},
	}
	for _, path := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"} {
		lines = append(lines, line{path: path, access: landlock.FSReadExecute, is: isDirectory})
	}
	configs, _ := filepath.Glob("/etc/ld-musl-*.path")
	for _, path := range configs {
		lines = append(lines, line{path: path, access: file})
	}
	allow(r, lines...)
	return nil
}
