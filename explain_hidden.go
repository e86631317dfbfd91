package landlock

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"

	"example.com/landlock/internal/place"
)

// Some errors name what was wanted and not what was refused on the way. Then it is
// looked at whether the ruleset lets through what it takes, for which there are presets.

// hiddenOperation returns what failed where the error does not say it, or nil.
func hiddenOperation(err error) operation {
	if lookup := findNamed(err, "net", "DNSError"); lookup.IsValid() {
		return dnsOperation(lookup)
	}
	for _, name := range []string{"UnknownUserError", "UnknownUserIdError"} {
		if findNamed(err, "os/user", name).IsValid() {
			return (*checker).findingUser
		}
	}
	for _, name := range []string{"UnknownGroupError", "UnknownGroupIdError"} {
		if findNamed(err, "os/user", name).IsValid() {
			return (*checker).findingGroup
		}
	}
	if text := lookupText(err); strings.HasPrefix(text, "user: lookup user") {
		return (*checker).readingUsers
	} else if text != "" {
		return (*checker).readingGroups
	}
	if exit := find[*exec.ExitError](err); exit != nil && exit.ProcessState != nil {
		return exitOperation(exit)
	}
	return nil
}

// lookupText returns what package os/user says, in a binary with cgo, where the C
// library was denied something, or "".
func lookupText(err error) (text string) {
	walk(err, func(err error) bool {
		if t := reflect.TypeOf(err); t.Kind() != reflect.Pointer || t.Elem().PkgPath() != "fmt" && t.Elem().PkgPath() != "errors" {
			return false
		}
		if said := err.Error(); strings.HasPrefix(said, "user: lookup ") && strings.HasSuffix(said, ": "+syscall.EACCES.Error()) {
			text = said
		}
		return text != ""
	})
	return text
}

// findNamed returns the first error of a type in err's tree, or the zero Value. Packages
// net and os/user are too big to import for that.
func findNamed(err error, path, name string) (found reflect.Value) {
	walk(err, func(err error) bool {
		value := reflect.ValueOf(err)
		if value.Kind() == reflect.Pointer {
			value = value.Elem() // not valid where it is nil
		}
		if value.IsValid() && value.Type().PkgPath() == path && value.Type().Name() == name {
			found = value
		}
		return found.IsValid()
	})
	return found
}

// lacking returns why something fails that takes rights on the first of these paths which
// there is and which is denied, and names the preset for it.
func (c *checker) lacking(preset string, access AccessFS, paths ...string) []error {
	for _, path := range paths {
		if reasons := c.using(path, access, place.ModeRead); len(reasons) > 0 {
			return suggestCall(reasons, "Use(preset."+preset+")")
		}
	}
	return nil
}

// suggestCall has reasons name a call in place of a rule.
func suggestCall(reasons []error, call string) []error {
	for _, reason := range reasons {
		if denied, ok := reason.(*DeniedError); ok {
			denied.suggestText(call)
		}
	}
	return reasons
}

func (c *checker) readingUsers() []error {
	return c.lacking(usersPreset, FSReadFile, "/etc/passwd")
}

func (c *checker) readingGroups() []error {
	return c.lacking(usersPreset, FSReadFile, "/etc/group")
}

func (c *checker) findingUser() []error {
	return guess(c.readingUsers(), "or there is none of that name")
}

func (c *checker) findingGroup() []error {
	return guess(c.readingGroups(), "or there is none of that name")
}

// findingPort returns why a port may not have been found by its name. Those that are in
// the table of package net are found without a file.
func (c *checker) findingPort() []error {
	return guess(c.using("/etc/services", FSReadFile, place.ModeRead), "or there is no such service")
}

// dnsOperation returns what a lookup takes. Where resolv.conf cannot be read,
// resolvers ask this machine, and say that nobody answers there. A server that is another
// one was read somewhere, and what then fails is to reach it.
func dnsOperation(e reflect.Value) operation {
	server, text := e.FieldByName("Server").String(), e.FieldByName("Err").String()
	switch {
	case text == "unknown port":
		return (*checker).findingPort
	case isNoQuestion(text), strings.Contains(text, "canceled"): // by whoever asked
		return nil
	}
	notFound := e.FieldByName("IsNotFound").Bool()
	local := server == "" || server == "127.0.0.1:53" || server == "[::1]:53"
	return func(c *checker) []error {
		if ports := c.reachingServer(text); ports != nil {
			return ports
		}
		if !local && !notFound {
			return nil
		}
		reasons := c.lacking(dnsPreset, FSReadFile, "/etc/resolv.conf")
		switch {
		case local && len(reasons) > 0 && nobodyAnswers(server, text):
			return reasons
		case !local || len(reasons) == 0:
			reasons = c.lacking(dnsPreset, FSReadFile, "/etc/hosts", "/etc/nsswitch.conf")
		}
		return guess(reasons, "or the name does not exist, or nobody answers")
	}
}

// isNoQuestion reports whether a DNSError with this text is about what was asked for, which
// nobody was asked then.
func isNoQuestion(text string) bool {
	for _, about := range []string{"unknown network", "unrecognized address", "invalid address"} {
		if strings.HasPrefix(text, about) {
			return true
		}
	}
	return false
}

// nobodyAnswers reports whether the text of an error says that there is no server at all: of
// Go's resolver, which asks this machine where it may not read who is to be asked, and of
// the C library's, which names none. A Dial of the program's own may have asked another.
func nobodyAnswers(server, text string) bool {
	if server == "" {
		return strings.Contains(text, "Temporary failure in name resolution") || strings.Contains(text, syscall.EACCES.Error())
	}
	return strings.Contains(text, "connection refused") && (!strings.Contains(text, ":") || strings.Contains(text, server+":"))
}

// reachingServer returns why a server of names was not reached, where the text of an
// error is about that.
func (c *checker) reachingServer(text string) []error {
	if !strings.Contains(text, syscall.EACCES.Error()) {
		return nil
	}
	denied := c.port(NetConnectSendUDP, 53)
	if denied == nil {
		denied = c.port(NetBindUDP, 0)
	}
	if strings.Contains(text, "tcp") {
		denied = c.port(NetConnectTCP, 53)
	}
	if denied == nil {
		return nil
	}
	denied.suggestText("Use(preset." + dnsPreset + ")")
	c.withAllUDP(denied)
	return []error{denied}
}

// errnoOperation returns what may have failed with a bare errno: time.LoadLocation
// returns that, and nothing else in the standard library that is often met.
func errnoOperation(err error) operation {
	for {
		if err == syscall.EACCES {
			return (*checker).findingTimeZone
		}
		// Somebody else's errors may say more than is seen here.
		switch t := reflect.TypeOf(err); {
		case t == nil || t.Kind() != reflect.Pointer || t.Elem().PkgPath() != "fmt":
			return nil
		}
		err = errors.Unwrap(err)
	}
}

func (c *checker) findingTimeZone() []error {
	paths := []string{"/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/usr/lib/locale/TZ", "/etc/zoneinfo"}
	if path := os.Getenv("ZONEINFO"); filepath.IsAbs(path) {
		paths = append([]string{path}, paths...)
	}
	return guess(c.lacking(timeZonesPreset, FSReadFile, paths...), "if it is time.LoadLocation that failed: an errno alone names no operation")
}

// Of a program that has ended it is known how, and sometimes what it wrote to
// standard error: see [exec.Cmd.Output].
const (
	exitDenied   = 126 // a shell may not execute a program
	exitNotFound = 127 // a shell does not find it, or a loader a library
)

// libraryIn returns the library that a loader complains of, as those of glibc and musl
// have it, or "".
func libraryIn(text string) string {
	for _, before := range []string{"error while loading shared libraries: ", "Error loading shared library "} {
		if _, rest, found := strings.Cut(text, before); found {
			name, _, _ := strings.Cut(rest, ":")
			return name
		}
	}
	return ""
}

// programIn returns the program that may not be executed, as shells and env have it,
// or "".
func programIn(text string) string {
	for line := range strings.Lines(text) {
		line, found := strings.CutSuffix(strings.TrimSpace(line), ": Permission denied")
		if found {
			name := line[strings.LastIndex(line, ": ")+1:]
			return strings.Trim(name, " '\"‘’")
		}
	}
	return ""
}

func exitOperation(e *exec.ExitError) operation {
	status, text := e.ExitCode(), string(e.Stderr)
	nullDevice := strings.Contains(text, os.DevNull+": Permission denied")
	if status != exitDenied && status != exitNotFound && !nullDevice {
		return nil
	}
	return func(c *checker) []error {
		switch {
		case nullDevice:
			return c.openingNull()
		case status == exitDenied:
			return c.startingAnother(text)
		}
		return c.loading(text)
	}
}

func (c *checker) openingNull() []error {
	return c.lacking(nullPreset, FSReadFile|FSWriteFile, os.DevNull)
}

// startingAnother returns why a program may not have started another.
func (c *checker) startingAnother(text string) []error {
	if path, err := exec.LookPath(programIn(text)); err == nil && filepath.IsAbs(path) {
		return c.executing(path)
	}
	return c.guessPrograms(FSExecute|FSReadFile, programDirectories())
}

// loading returns why a loader may not have found a library.
func (c *checker) loading(text string) []error {
	if library := libraryIn(text); library != "" {
		for _, dir := range libraryDirectories() {
			if reasons := c.using(filepath.Join(dir, library), FSReadFile, place.ModeRead); len(reasons) > 0 {
				return suggestPrograms(reasons)
			}
		}
	}
	return c.guessPrograms(FSReadFile, libraryDirectories())
}

// guessPrograms returns the guess that what lies in one of these directories was needed.
func (c *checker) guessPrograms(access AccessFS, directories []string) []error {
	for _, dir := range directories {
		if reasons := c.using(dir, access, place.ModeRead); len(reasons) > 0 {
			return guess(suggestPrograms(reasons), "a program or library there may have been needed: the exit status does not say")
		}
	}
	return nil
}

// suggestPrograms names the preset for a program whose name is not known.
func suggestPrograms(reasons []error) []error {
	return suggestCall(reasons, `Use(preset.Programs("NAME")) with the program's name`)
}

// libraryDirectories returns those of the loaders' own, where the C library is.
func libraryDirectories() []string {
	var directories []string
	for _, machine := range []string{"x86_64-linux-gnu", "aarch64-linux-gnu", "i386-linux-gnu", "arm-linux-gnueabihf",
		"loongarch64-linux-gnu", "mips64el-linux-gnuabi64", "powerpc64le-linux-gnu", "riscv64-linux-gnu", "s390x-linux-gnu"} {
		directories = append(directories, "/lib/"+machine, "/usr/lib/"+machine)
	}
	return append(directories, "/lib64", "/usr/lib64", "/lib", "/usr/lib")
}

func programDirectories() []string {
	var absolute []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if filepath.IsAbs(dir) {
			absolute = append(absolute, dir)
		}
	}
	return absolute
}
