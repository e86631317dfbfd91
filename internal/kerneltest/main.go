// Kerneltest runs all tests of the library on many kernels, each in a virtual
// machine, and prints a table of what came of it. It fails where anything does.
//
//	go run -C internal/kerneltest . [-only PATTERN] [-run PATTERN] [-kernel FILE] [-markdown FILE]
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
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	nativeArch   = runtime.GOARCH
	arm64Series  = "6.12"
	fewestABIs   = 6
	testLimit    = 3 * time.Minute
	machineLimit = 6 * time.Minute
)

type options struct {
	cache, kernel, only, run, markdown string
	parallel                           int
	short, verbose                     bool
}

func main() {
	if os.Getpid() == 1 {
		beGuest()
		return
	}
	var o options
	flag.StringVar(&o.cache, "cache", "", "`folder` for kernels (default landlock-kerneltest in the user's cache folder)")
	flag.StringVar(&o.kernel, "kernel", "", "boot this `file` and no other kernel")
	flag.StringVar(&o.only, "only", "", "only the guests whose name matches `pattern`, such as 7.3, arm64 or cgo")
	flag.StringVar(&o.run, "run", "", "only the tests that match `pattern`, as for go test")
	flag.StringVar(&o.markdown, "markdown", "", "write the table to `file` too")
	flag.IntVar(&o.parallel, "parallel", runtime.NumCPU()+1, "virtual machines at a time") // tests wait, too
	flag.BoolVar(&o.short, "short", true, "run the tests with -short")
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
	if o.cache == "" {
		folder, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("%w: give a folder with -cache", err)
		}
		o.cache = filepath.Join(folder, "landlock-kerneltest")
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
	binaries, err := o.prepare(module, scratch, guests, tools)
	if err != nil {
		return err
	}
	fmt.Printf("%d test binaries in each (%.0fs)\n", binaries, time.Since(start).Seconds())
	results, err := o.boot(guests, binaries)
	if err != nil {
		return err
	}
	return o.report(results, time.Since(start))
}

// plan returns the guests to boot, and the programs for each architecture.
func (o options) plan() ([]guest, map[string][]file, error) {
	a, archiveErr := openArchive(o.cache)
	if archiveErr != nil {
		fmt.Fprintln(os.Stderr, "kerneltest: nothing can be fetched:", archiveErr)
	}
	var guests []guest
	if o.kernel != "" {
		var err error
		if guests, err = o.givenKernel(); err != nil {
			return nil, nil, err
		}
	} else {
		guests = o.allKernels(a, archiveErr)
	}
	tools := map[string][]file{}
	for _, g := range guests {
		arch := g.kernel.arch
		if _, ok := tools[arch]; ok || archiveErr != nil {
			continue
		}
		files, err := a.tools(arch)
		if err != nil {
			fmt.Fprintln(os.Stderr, "kerneltest: go on without a shell in the guests:", err)
		}
		tools[arch] = files
	}
	return guests, tools, nil
}

// givenKernel returns the guests of the kernel that was given by hand.
func (o options) givenKernel() ([]guest, error) {
	file, err := filepath.Abs(o.kernel)
	if err != nil {
		return nil, err
	}
	image, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	k := kernel{arch: imageArch(image), image: file}
	return o.filter([]guest{{kernel: k, build: build{arch: k.arch}}, {kernel: k, build: build{k.arch, true}}}), nil
}

// imageArch tells by its first bytes whose kernel an image is.
func imageArch(image []byte) string {
	if len(image) > 0x206 && string(image[0x202:0x206]) == "HdrS" {
		return "amd64"
	}
	return "arm64"
}

// allKernels returns the guests of the newest kernel of each series, fetched
// unless the archive could not be opened.
func (o options) allKernels(a *archive, err error) []guest {
	var found []kernel
	if err == nil {
		found, err = a.kernels()
	}
	var guests []guest
	kernels := selectKernels(found, "amd64")
	for _, k := range kernels {
		guests = append(guests, guest{kernel: k, build: build{arch: k.arch}}, guest{kernel: k, build: build{k.arch, true}})
	}
	newest := kernels[len(kernels)-1]
	guests = append(guests, guest{kernel: newest, build: build{arch: newest.arch}, off: true})
	for _, k := range selectKernels(found, "arm64") {
		if k.series == arm64Series {
			guests = append(guests, guest{kernel: k, build: build{arch: k.arch}}, guest{kernel: k, build: build{k.arch, true}})
		}
	}
	guests = o.filter(guests)
	for i := range guests {
		k := &guests[i].kernel
		if err != nil {
			k.err = err
		} else if k.err == nil {
			k.image, k.err = a.fetch(k.pkg, k.arch, "./boot/vmlinuz-*", "./usr/lib/modules/*/vmlinuz", "./lib/modules/*/vmlinuz")
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

// prepare builds and packs what the guests need, and returns how many test
// binaries each of them has.
func (o options) prepare(module, scratch string, guests []guest, tools map[string][]file) (binaries int, err error) {
	packed := map[build]string{}
	for i := range guests {
		b := guests[i].build
		if packed[b] == "" {
			folder := filepath.Join(scratch, fmt.Sprintf("%s-%v", b.arch, b.cgo))
			if err := b.compile(module, folder); err != nil {
				return 0, err
			}
			args := []string{"-test.v=test2json", "-test.timeout=" + testLimit.String(), "-test.run=" + o.run}
			if o.short {
				args = append(args, "-test.short")
			}
			s := settings{Results: machines[b.arch].results, Args: args, Limit: testLimit + 10*time.Second}
			if packed[b], err = b.pack(folder, tools[b.arch], s); err != nil {
				return 0, err
			}
			all, _ := filepath.Glob(filepath.Join(folder, testsFolder, "*.test"))
			binaries = len(all)
		}
		guests[i].initramfs = packed[b]
	}
	return binaries, nil
}

// boot runs the guests, some at a time, and prints how it goes.
func (o options) boot(guests []guest, binaries int) ([]result, error) {
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
			results[i] = g.run(machineLimit, strings.TrimSpace(string(tool)), o.verbose)
			results[i].judge(binaries, o.run != "")
			results[i].printProblems()
		})
	}
	running.Wait()
	return results, nil
}

// report prints the table, and returns an error where anything has failed.
func (o options) report(results []result, took time.Duration) error {
	failures := 0
	for _, r := range results {
		failures += len(r.problems)
	}
	var table strings.Builder
	writeTable(&table, results)
	fmt.Printf("\n%s\n%d guests in %.0fs\n", &table, len(results), took.Seconds())
	var errs []error
	if o.markdown != "" {
		errs = append(errs, os.WriteFile(o.markdown, []byte(table.String()), 0o644))
	}
	if failures > 0 {
		errs = append(errs, fmt.Errorf("%d failures", failures))
	}
	if n := differentABIs(results); n < fewestABIs && cmp.Or(o.kernel, o.only) == "" {
		errs = append(errs, fmt.Errorf("tests have run on %d different ABIs, want at least %d", n, fewestABIs))
	}
	return errors.Join(errs...)
}
