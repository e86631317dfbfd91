package main

import (
	"fmt"
	"strconv"
	"strings"
)

// batch is what a guest runs of one build: the test binaries of some packages.
type batch struct {
	build    build
	packages []string // below the library's folder; its own is "."
	skip     string   // a pattern of tests that do not run
}

// A guest runs a package where that may go otherwise than in another guest. Each
// package with a reason of its own is here.
var dependsOn = map[string]func(g guest, b build) bool{
	// All that asks the kernel, which each ABI answers in its own way. How threads
	// are reached and children started is the build's.
	".":                 everywhere,
	"internal/blackbox": everywhere,
	// What a kernel tells of two threads differs as well.
	"internal/osthread": everywhere,
	// From ABI 8 on the kernel does that itself, and the library asks it to: one of
	// these kernels tells whether the package would still work.
	"internal/allthreads": func(g guest, b build) bool { return g.newest || g.abi() > 0 && g.abi() < 8 },
	// A filter for each architecture, of system calls that old kernels do not have.
	"internal/seccomp": func(g guest, b build) bool { return g.newest || g.abi() == 0 && !g.off || b.arch != "amd64" },
	// Machine code for each architecture, in an executable that knows no Landlock.
	"internal/stub": func(g guest, b build) bool { return !b.cgo && (g.newest || b.arch != "amd64") },
}

func everywhere(guest, build) bool { return true }

// knowsNoKernel is for all other packages: what they know of a kernel the library
// has told them. One kernel has all that presets and examples can use, and in one
// there is no Landlock.
func knowsNoKernel(g guest, b build) bool { return !b.cgo && (g.newest || g.off) }

// Tests of internal/blackbox that take seconds, and in which no ABI plays a part but
// the first: how children are started, and how threads are taken, given back and
// filtered.
var ofAnyABI = strings.Fields(`
	TestManyChildrenLeakNothing
	TestPdeathsig
	TestSocketFilterConcurrently
	TestSocketFilterReachesAll
	TestDescriptorsThatChange
	TestEveryPlaceOfTheSocket
	TestStartIsLikeExec
	TestThreadsAreNotShared
`)

// knowAnyABI tells where those run: the kernels that differ most, and each
// architecture.
func knowAnyABI(g guest, b build) bool { return g.newest || g.first || b.arch != "amd64" && !b.cgo }

// choose returns what a guest runs of the packages that each build has: with all,
// every one.
func (g guest) choose(packages map[build][]string, all bool) (batches []batch) {
	for _, b := range g.builds {
		next := batch{build: b}
		for _, pkg := range packages[b] {
			wanted, ok := dependsOn[pkg]
			if !ok {
				wanted = knowsNoKernel
			}
			if all || wanted(g, b) {
				next.packages = append(next.packages, pkg)
			}
		}
		if !all && !knowAnyABI(g, b) {
			next.skip = fmt.Sprintf("^(%s)$", strings.Join(ofAnyABI, "|"))
		}
		if len(next.packages) > 0 {
			batches = append(batches, next)
		}
	}
	return batches
}

// abi is the ABI that a guest should have, or 0 without Landlock.
func (g guest) abi() int {
	n, _ := strconv.Atoi(expectedABI(g.kernel.series))
	if g.off {
		return 0
	}
	return n
}
