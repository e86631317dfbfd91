// Kerneltest runs the tests of the library on many kernels, each in a virtual
// machine, and prints a table of what came of it. It fails where anything does.
//
//	go run -C internal/kerneltest . [-all] [-only PATTERN] [-run PATTERN] [-kernel FILE] [-markdown FILE]
//
// Each kernel is booted once, and runs the test binaries of each build, one after
// the other: those that may go otherwise there than on another kernel, see
// selection.go, or with -all every one, at full length.
//
// The kernels are Debian's, fetched with the machine's apt. The program is also
// the first process in each machine, see guest.go.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	nativeArch  = runtime.GOARCH
	otherSeries = "6.12"
	fewestABIs  = 6
	// How long a machine may say nothing, though it is to say every few seconds that
	// it is there, and for how long a test may print nothing, at full length too. The
	// tests' own limits are some minutes. All are for what hangs: no emulator is so
	// slow.
	machineSilence  = 5 * time.Minute
	testSilence     = 10 * time.Minute
	longTestSilence = time.Hour
)

type options struct {
	cache, kernel, only, run, markdown string
	parallel                           int
	all, fetch, verbose                bool
}

func main() {
	if os.Getpid() == 1 {
		beGuest()
		return
	}
	var o options
	flag.BoolVar(&o.all, "all", false, "all packages in each build on each kernel, at full length")
	flag.StringVar(&o.cache, "cache", "", "`folder` for kernels (default landlock-kerneltest in the user's cache folder)")
	flag.BoolVar(&o.fetch, "fetch", false, "fetch what the guests need, and boot none")
	flag.StringVar(&o.kernel, "kernel", "", "boot this `file` and no other kernel")
	flag.StringVar(&o.only, "only", "", "only the guests whose name matches `pattern`, such as 7.3 or arm64")
	flag.StringVar(&o.run, "run", "", "only the tests that match `pattern`, as for go test")
	flag.StringVar(&o.markdown, "markdown", "", "write the table to `file` too")
	flag.IntVar(&o.parallel, "parallel", runtime.NumCPU()+1, "virtual machines at a time") // tests wait, too
	flag.BoolVar(&o.verbose, "v", false, "print what every test prints")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "kerneltest:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	start := time.Now()
	module, err := moduleFolder()
	if err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "kerneltest-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	guests, tools, err := o.plan()
	if err != nil {
		return err
	}
	if len(guests) == 0 {
		return fmt.Errorf("no guest matches %q", o.only)
	}
	fmt.Printf("%d guests to boot (%.0fs)\n", len(guests), time.Since(start).Seconds())
	if o.fetch {
		return fetched(guests)
	}
	if err := o.prepare(module, scratch, guests, tools); err != nil {
		return err
	}
	fmt.Printf("their test binaries are built (%.0fs)\n", time.Since(start).Seconds())
	results, err := o.boot(guests)
	if err != nil {
		return err
	}
	return o.report(results, time.Since(start))
}

// fetched returns why kernels are not there that Debian has.
func fetched(guests []guest) error {
	var errs []error
	for _, g := range guests {
		if !errors.Is(g.kernel.err, errNoPackage) {
			errs = append(errs, g.kernel.err)
		}
	}
	return errors.Join(errs...)
}

// check fills in what was not given, and returns what is wrong with the rest.
func (o *options) check() error {
	if o.cache == "" {
		folder, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("%w: give a folder with -cache", err)
		}
		o.cache = filepath.Join(folder, "landlock-kerneltest")
	}
	for _, path := range []*string{&o.cache, &o.kernel, &o.markdown} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(os.Getenv("PWD"), *path) // go run -C has changed the folder, and not this
		}
	}
	if o.parallel < 1 {
		return fmt.Errorf("-parallel %d: at least one virtual machine has to run", o.parallel)
	}
	if _, err := regexp.Compile(o.only); err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	return nil
}

// plan returns the guests to boot, and the programs for each architecture.
func (o options) plan() ([]guest, map[string][]file, error) {
	a, err := openArchive(o.cache)
	if err != nil {
		return nil, nil, fmt.Errorf("nothing can be fetched: %w", err)
	}
	var guests []guest
	if o.kernel != "" {
		guests, err = o.givenKernel()
	} else {
		guests, err = o.allKernels(a)
	}
	if err != nil {
		return nil, nil, err
	}
	tools := map[string][]file{}
	for _, g := range guests {
		if arch := g.kernel.arch; tools[arch] == nil {
			if tools[arch], err = a.tools(arch); err != nil {
				return nil, nil, fmt.Errorf("fetch the programs of the guests: %w", err)
			}
		}
	}
	return guests, tools, nil
}

// givenKernel returns the guest of the kernel that was given by hand.
func (o options) givenKernel() ([]guest, error) {
	image, err := os.ReadFile(o.kernel)
	if err != nil {
		return nil, err
	}
	arch := imageArch(image)
	if arch == "" {
		return nil, fmt.Errorf("%s: not a kernel for amd64 (bzImage) or arm64 (Image)", o.kernel)
	}
	g := newGuest(kernel{arch: arch, image: o.kernel})
	g.newest = true // for all that is known of it
	return o.filter([]guest{g}), nil
}

// newGuest returns the guest of a kernel, with the builds that differ there.
func newGuest(k kernel) guest {
	return guest{kernel: k, builds: []build{{arch: k.arch}, {arch: k.arch, cgo: true}}}
}

// imageArch tells whose kernel an image is, by the magic numbers of the two
// boot protocols.
func imageArch(image []byte) string {
	magic := func(at int, text string) bool {
		return len(image) >= at+len(text) && string(image[at:at+len(text)]) == text
	}
	switch {
	case magic(0x202, "HdrS"):
		return "amd64"
	case magic(0x38, "ARM\x64"):
		return "arm64"
	}
	return ""
}

// allKernels fetches the newest kernel of each series, and returns its guests.
func (o options) allKernels(a *archive) ([]guest, error) {
	found, err := a.kernels()
	if err != nil {
		return nil, err
	}
	guests := plannedGuests(found)
	guests = o.filter(guests)
	for i := range guests {
		if k := &guests[i].kernel; k.err == nil {
			k.image, k.err = a.fetch(k.pkg, k.arch, "./boot/vmlinuz-*", "./usr/lib/modules/*/vmlinuz", "./lib/modules/*/vmlinuz")
		}
	}
	return guests, nil
}

// plannedGuests returns a guest for each series of kernels that were found, and
// those of another architecture, of 32-bit binaries and without Landlock.
func plannedGuests(found []kernel) (guests []guest) {
	for _, k := range selectKernels(found, "amd64") {
		g := newGuest(k)
		if k.series == otherSeries {
			g.builds = append(g.builds, build{arch: "386"})
		}
		guests = append(guests, g)
	}
	newest := 0
	for i, g := range guests {
		if g.kernel.err == nil && g.abi() > 0 {
			guests[i].first = newest == 0
			newest = i
		}
	}
	guests[newest].newest = true
	guests = append(guests, guest{kernel: guests[newest].kernel, builds: guests[newest].builds[:1], off: true})
	for _, k := range selectKernels(found, "arm64") {
		if k.series == otherSeries {
			guests = append(guests, newGuest(k))
		}
	}
	return guests
}

func (o options) filter(guests []guest) (kept []guest) {
	only := regexp.MustCompile(o.only)
	for _, g := range guests {
		if only.MatchString(g.String()) {
			kept = append(kept, g)
		}
	}
	return kept
}

// prepare builds and packs what the guests need.
func (o options) prepare(module, scratch string, guests []guest, tools map[string][]file) error {
	folder := func(b build) string { return filepath.Join(scratch, b.arch+" "+b.String()) }
	name, err := o.compile(filepath.Join(module, "../.."), folder, guests)
	if err != nil {
		return err
	}
	for i := range guests {
		g := &guests[i]
		arch := g.kernel.arch
		init := filepath.Join(scratch, "init-"+arch)
		if err := (build{arch: arch}).compileInit(module, init); err != nil { // the second time it is up to date
			return err
		}
		s := o.settings(arch)
		for _, b := range g.batches {
			for _, pkg := range b.packages {
				binary := path.Base(path.Join(name, pkg))
				s.Tests = append(s.Tests, test{b.build.String(), binary, b.skip, filepath.Join(folder(b.build), binary+".test")})
			}
		}
		g.initramfs = filepath.Join(scratch, "initramfs-"+strings.ReplaceAll(g.String(), " ", "-"))
		if err := pack(g.initramfs, init, tools[arch], s); err != nil {
			return err
		}
	}
	return nil
}

// compile chooses what each guest runs, builds that into a folder for each build,
// and returns the name of the library's module.
func (o options) compile(library string, folder func(build) string, guests []guest) (module string, err error) {
	known := map[build][]string{} // the packages with tests
	wanted := map[build][]string{}
	for i := range guests {
		g := &guests[i]
		for _, b := range g.builds {
			if known[b] == nil {
				if known[b], module, err = b.packagesWithTests(library); err != nil {
					return "", err
				}
			}
		}
		g.batches = g.choose(known, o.all)
		for i := range g.batches {
			b := &g.batches[i]
			if o.run != "" {
				b.skip = "" // they are asked for
			}
			wanted[b.build] = append(wanted[b.build], b.packages...)
		}
	}
	for b, packages := range wanted {
		slices.Sort(packages)
		if err := b.compile(library, folder(b), slices.Compact(packages)); err != nil {
			return "", err
		}
	}
	return module, nil
}

// settings are those of a guest, without its tests.
func (o options) settings(arch string) settings {
	s := settings{Results: machines[arch].results, Silence: testSilence}
	s.Args = []string{"-test.v=test2json", "-test.timeout=6h", "-test.run=" + o.run}
	if o.all {
		s.Env, s.Silence = []string{"LANDLOCK_LONG_TESTS=1"}, longTestSilence
	} else {
		s.Args = append(s.Args, "-test.short")
	}
	return s
}

// boot runs the guests, some at a time, and prints how it goes.
func (o options) boot(guests []guest) ([]result, error) {
	tool, err := exec.Command("go", "tool", "-n", "test2json").Output()
	if err != nil {
		return nil, fmt.Errorf("go tool -n test2json: %w", err)
	}
	results := make([]result, len(guests))
	turn := make(chan bool, o.parallel)
	var running sync.WaitGroup
	for i, g := range slices.Backward(guests) { // the last ones are of another architecture, and the slowest
		turn <- true
		running.Go(func() {
			defer func() { <-turn }()
			results[i] = g.runTwice(machineSilence, strings.TrimSpace(string(tool)), o.verbose)
			r := &results[i]
			r.judge(o.run != "")
			r.printProblems()
			fmt.Printf("%-10s done in %.0fs, %.0fs of processor time\n", g, r.took.Seconds(), r.processor.Seconds())
		})
	}
	running.Wait()
	return results, nil
}

// report prints the table, and returns an error where anything has failed.
func (o options) report(results []result, took time.Duration) error {
	failures, passed, processor := 0, 0, time.Duration(0)
	for _, r := range results {
		failures += len(r.problems)
		passed += r.passed()
		processor += r.processor
	}
	text := table(results)
	fmt.Printf("\n%s\nSkipped, and why:\n\n%s\n%d guests in %.0fs, %.0fs of processor time\n", text, skipList(results), len(results), took.Seconds(), processor.Seconds())
	var errs []error
	if o.markdown != "" {
		errs = append(errs, os.WriteFile(o.markdown, []byte(text), 0o644))
	}
	if failures > 0 {
		errs = append(errs, fmt.Errorf("%d failures", failures))
	}
	if passed == 0 {
		errs = append(errs, errors.New("no test has passed"))
	}
	if n := differentABIs(results); n < fewestABIs && cmp.Or(o.kernel, o.only) == "" {
		errs = append(errs, fmt.Errorf("tests have run on %d different ABIs, want at least %d", n, fewestABIs))
	}
	return errors.Join(errs...)
}
