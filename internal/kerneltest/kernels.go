package main

import (
	"archive/tar"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The first series of each ABI: 5.13 has ABI 1, 5.19 ABI 2, and so on.
var firstSeries = strings.Fields("5.13 5.19 6.2 6.7 6.10 6.12 6.15 7.0 7.1 7.2 7.3")

// expectedABI returns the ABI of a series, which is the newest one that is known
// for a series that came later.
func expectedABI(series string) string {
	abi := 0
	for abi < len(firstSeries) && compareVersions(series, firstSeries[abi]) >= 0 {
		abi++
	}
	if abi == 0 {
		return notBuilt
	}
	return strconv.Itoa(abi)
}

// What to fetch: of each group the newest that Debian has, and every series
// after the last.
var wanted = [][]string{{"5.10"}, {"6.1"}, {"6.12"}, {"6.16", "6.17", "6.18", "6.19"}, {"7.0"}, {"7.1"}, {"7.2"}, {"7.3"}}

// kernel is what a guest boots.
type kernel struct {
	series  string // "6.12"
	arch    string // "amd64" or "arm64"
	version string // "6.12.117+deb13"
	pkg     string // the package that holds it
	image   string // the file, or empty
	err     error  // why there is no file
}

// errNoPackage is why there is no kernel where a series has left Debian, or is
// not there yet. Everything else that keeps one away is a failure.
var errNoPackage = errors.New("no package of this series in any suite")

// seriesOf returns the first two numbers of a version.
func seriesOf(version string) string {
	return regexp.MustCompile(`^\d+\.\d+`).FindString(version)
}

// compareVersions compares the numbers in two versions, from left to right.
func compareVersions(a, b string) int {
	numbers := func(version string) (all []int) {
		for _, digits := range regexp.MustCompile(`\d+`).FindAllString(version, -1) {
			n, _ := strconv.Atoi(digits)
			all = append(all, n)
		}
		return all
	}
	return slices.Compare(numbers(a), numbers(b))
}

// The packages of kernels: those of newer ones have the image in a package of
// its own.
const kernelPackages = `^linux-(image|binary)-.*-cloud-(amd64|arm64)$`

var kernelPackage = regexp.MustCompile(`(?m)^(linux-(image|binary)-(\d+\.\d+\S*)-cloud-(amd64|arm64)) - `)

// newestKernels returns the newest kernel of each series and architecture in
// the output of apt-cache search, the oldest series first.
func newestKernels(search string) []kernel {
	type key struct{ series, arch string }
	newest := map[key]kernel{}
	for _, found := range kernelPackage.FindAllStringSubmatch(search, -1) {
		k := kernel{series: seriesOf(found[3]), arch: found[4], version: found[3], pkg: found[1]}
		old := newest[key{k.series, k.arch}]
		// Of two packages of one version it is the binary one that holds the image.
		if order := compareVersions(k.version, old.version); order > 0 || order == 0 && found[2] == "binary" {
			newest[key{k.series, k.arch}] = k
		}
	}
	var all []kernel
	for _, k := range newest {
		if compareVersions(k.series, wanted[0][0]) >= 0 && strings.Contains(k.version[len(k.series):], ".") {
			all = append(all, k)
		}
	}
	slices.SortFunc(all, func(a, b kernel) int {
		return cmp.Or(compareVersions(a.series, b.series), cmp.Compare(a.arch, b.arch))
	})
	return all
}

// selectKernels returns the newest kernel found of each group that is wanted, or
// one that says that there is none, and all that are newer.
func selectKernels(found []kernel, arch string) []kernel {
	var selected []kernel
	for _, group := range wanted {
		k := kernel{series: group[0], arch: arch, err: errNoPackage}
		for _, f := range found {
			if f.arch == arch && slices.Contains(group, f.series) {
				k = f
			}
		}
		selected = append(selected, k)
	}
	newest := wanted[len(wanted)-1][0]
	for _, f := range found {
		if f.arch == arch && compareVersions(f.series, newest) > 0 {
			selected = append(selected, f)
		}
	}
	return selected
}

// archive gets packages from Debian with the machine's apt, whose state for
// this is all in one folder.
type archive struct{ folder string }

// openArchive makes the folder, and brings it up to date.
func openArchive(folder string) (*archive, error) {
	a := &archive{folder}
	for _, sub := range []string{"lists/partial", "cache/archives/partial", "files"} {
		if err := os.MkdirAll(filepath.Join(folder, sub), 0o755); err != nil {
			return nil, err
		}
	}
	osRelease, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return nil, err
	}
	all, err := readSources("/etc/apt")
	if err != nil {
		return nil, err
	}
	list, err := kernelSources(all, codename(string(osRelease)))
	if err != nil {
		return nil, err
	}
	return a, a.update(list)
}

// update reads the lists of the sources anew, unless they were read in the last
// hours. The stamp that says so goes before the sources change, so that it never
// speaks of others.
func (a *archive) update(sources string) error {
	name, stamp := filepath.Join(a.folder, "sources.list"), filepath.Join(a.folder, "updated")
	if old, _ := os.ReadFile(name); string(old) != sources {
		os.Remove(stamp)
		if err := os.WriteFile(name, []byte(sources), 0o644); err != nil {
			return err
		}
	}
	if info, err := os.Stat(stamp); err == nil && time.Since(info.ModTime()) < 12*time.Hour {
		return nil
	}
	err := retried("update the lists of packages", func() error {
		_, err := a.apt(a.folder, "apt-get", "update", "-q", "--error-on=any")
		return err
	})
	if err != nil {
		return err
	}
	return os.WriteFile(stamp, nil, 0o644)
}

// apt runs a command of apt in a folder. It verifies the signatures of the lists
// and by their checksums the packages.
func (a *archive) apt(folder, command string, args ...string) (string, error) {
	in := func(name string) string { return filepath.Join(a.folder, name) }
	for name, value := range map[string]string{
		"Dir::State":                 a.folder,
		"Dir::State::Lists":          in("lists"),
		"Dir::State::status":         "/dev/null",
		"Dir::Etc::SourceList":       in("sources.list"),
		"Dir::Etc::SourceParts":      "/dev/null",
		"Dir::Etc::Preferences":      "/dev/null",
		"Dir::Etc::PreferencesParts": "/dev/null",
		"Dir::Cache":                 in("cache"),
		"Dir::Cache::pkgcache":       "pkgcache.bin",
		"Dir::Cache::srcpkgcache":    "srcpkgcache.bin",
		"APT::Architectures":         "amd64,arm64",
		"APT::Sandbox::User":         "root", // the folder may be one that only this user can enter
		"Acquire::Languages":         "none",
	} {
		args = append(args, "-o", name+"="+value)
	}
	cmd := exec.Command(command, args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	output, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%s: %w: %s", command, err, strings.TrimSpace(string(exit.Stderr)))
	}
	return string(output), err
}

// retryAfter is how long to wait before each further attempt to fetch something.
var retryAfter = []time.Duration{5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute}

// retried calls f until it works, a few times: networks and archives now and then
// do not.
func retried(what string, f func() error) error {
	for attempt, wait := range retryAfter {
		err := f()
		if err == nil {
			return nil
		}
		fmt.Printf("%s, attempt %d: %v; once more in %v\n", what, attempt+1, err, wait)
		time.Sleep(wait)
	}
	if err := f(); err != nil {
		return fmt.Errorf("%s, attempt %d and the last: %w", what, len(retryAfter)+1, err)
	}
	return nil
}

// kernels returns the newest kernel of each series.
func (a *archive) kernels() ([]kernel, error) {
	search, err := a.apt(a.folder, "apt-cache", "search", "--names-only", kernelPackages)
	return newestKernels(search), err
}

// The programs of the system that tests start: busybox, but for a shell that is
// linked dynamically.
var programs = strings.Fields(`
	[ basename cat chmod chown cp cut date dd dirname echo env expr false find grep head id kill ln ls mkdir mkfifo mknod mv nc
	printf ps pwd readlink rm rmdir sed seq sleep sort stat tail tee test touch tr true uname uniq wc wget which xargs yes`)

// tools returns those programs and their libraries, as files of an initramfs.
func (a *archive) tools(arch string) ([]file, error) {
	libraries, loader := "usr/lib/x86_64-linux-gnu", "usr/lib64/ld-linux-x86-64.so.2"
	if arch == "arm64" {
		libraries, loader = "usr/lib/aarch64-linux-gnu", "usr/lib/ld-linux-aarch64.so.1"
	}
	files := []file{{name: libraries, mode: fs.ModeDir | 0o755}}
	for _, from := range []struct{ pkg, pattern, name string }{
		{"busybox-static", "bin/busybox", "bin/busybox"},
		{"dash", "bin/dash", "bin/sh"},
		{"libc6", "lib/*/libc.so.6", libraries + "/libc.so.6"},
		{"libc6", "lib/*/" + path.Base(loader), loader},
	} {
		// Older releases have no /usr before it.
		source, err := a.fetch(from.pkg, arch, "./"+from.pattern, "./usr/"+from.pattern)
		if err != nil {
			return nil, err
		}
		files = append(files, file{name: from.name, mode: 0o755, source: source})
	}
	for _, program := range programs {
		files = append(files, file{name: "bin/" + program, mode: fs.ModeSymlink | 0o777, text: "busybox"})
	}
	return files, nil
}

// fetch returns the first file in a package whose path matches one of the
// patterns, from the folder if it was fetched before: a kernel's package has
// its version in its name, and of the other programs any version will do.
func (a *archive) fetch(pkg, arch string, patterns ...string) (string, error) {
	what := strings.Trim(path.Base(patterns[0]), "-*")
	file := filepath.Join(a.folder, "files", pkg+"-"+arch+"-"+what)
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	folder, err := os.MkdirTemp(a.folder, "download-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(folder)
	err = retried("fetch "+pkg, func() error {
		_, err := a.apt(folder, "apt-get", "download", "-q", pkg+":"+arch)
		return err
	})
	if err != nil {
		return "", err
	}
	debs, err := filepath.Glob(filepath.Join(folder, "*.deb"))
	if err != nil || len(debs) != 1 {
		return "", fmt.Errorf("apt-get download %s:%s: it left %q, want one package", pkg, arch, debs)
	}
	return file, unpack(debs[0], file, patterns)
}

// unpack takes one file out of a package.
func unpack(deb, to string, patterns []string) error {
	cmd := exec.Command("dpkg-deb", "--fsys-tarfile", deb)
	output, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer cmd.Wait()
	defer cmd.Process.Kill() // the rest of the package is not needed
	packed := tar.NewReader(output)
	for {
		header, err := packed.Next()
		if err != nil {
			return fmt.Errorf("%s has none of %q: %w", filepath.Base(deb), patterns, err)
		}
		if slices.ContainsFunc(patterns, func(pattern string) bool {
			ok, _ := path.Match(pattern, header.Name)
			return ok && header.Typeflag == tar.TypeReg
		}) {
			return writeFile(to, packed)
		}
	}
}

// writeFile makes a file that is whole, or not there.
func writeFile(name string, content io.Reader) error {
	file, err := os.CreateTemp(filepath.Dir(name), "new-")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = io.Copy(file, content)
	if err := errors.Join(err, file.Chmod(0o755), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), name)
}
