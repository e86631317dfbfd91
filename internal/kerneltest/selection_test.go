package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What is on each guest, and that nothing is on none.
func TestChoose(t *testing.T) {
	guests := plannedGuests(newestKernels(search + "linux-image-7.2.4+deb13-cloud-amd64 - Linux\nlinux-image-6.12.4+deb13-cloud-amd64 - Linux\n"))
	known := map[build][]string{}
	for _, g := range guests {
		for _, b := range g.builds {
			var err error
			if known[b], _, err = b.packagesWithTests("../.."); err != nil {
				t.Fatal(err)
			}
		}
	}
	packages := known[build{arch: "amd64"}]
	rest := slices.DeleteFunc(slices.Clone(packages), func(pkg string) bool { return dependsOn[pkg] != nil })
	if len(rest) == 0 || len(rest)+len(dependsOn) != len(packages) {
		t.Fatalf("%d packages have a reason of their own, of %q", len(dependsOn), packages)
	}
	want := map[string]string{
		"5.10 pure Go":       ". internal/blackbox internal/osthread internal/seccomp",
		"5.10 cgo":           ". internal/blackbox internal/osthread internal/seccomp",
		"6.1 pure Go":        ". internal/blackbox internal/osthread internal/allthreads",
		"6.12 cgo":           ". internal/blackbox internal/osthread internal/allthreads",
		"6.12 386":           ". internal/blackbox internal/osthread internal/seccomp internal/stub", // which has no allthreads
		"7.2 pure Go":        ". internal/blackbox internal/osthread",
		"7.2 cgo":            ". internal/blackbox internal/osthread",
		"7.3 pure Go":        ". internal/blackbox internal/osthread",
		"7.10 pure Go":       strings.Join(packages, " "),
		"7.10 cgo":           ". internal/blackbox internal/osthread internal/allthreads internal/seccomp",
		"7.10 off pure Go":   ". internal/blackbox internal/osthread " + strings.Join(rest, " "),
		"6.12 arm64 pure Go": ". internal/blackbox internal/osthread internal/allthreads internal/seccomp internal/stub",
		"6.12 arm64 cgo":     ". internal/blackbox internal/osthread internal/allthreads internal/seccomp",
	}
	for _, g := range guests {
		for _, b := range g.choose(known, false) {
			name := fmt.Sprint(g, " ", b.build)
			got := slices.Clone(b.packages)
			slices.Sort(got)
			expected := strings.Fields(want[name])
			slices.Sort(expected)
			if want[name] != "" && !slices.Equal(got, expected) {
				t.Errorf("%s runs %q, want %q", name, got, expected)
			}
			whole := []string{"6.1 pure Go", "6.1 cgo", "6.12 386", "7.10 pure Go", "7.10 cgo", "6.12 arm64 pure Go"}
			if (b.skip == "") != slices.Contains(whole, name) {
				t.Errorf("%s skips %q", name, b.skip)
			}
			delete(want, name)
		}
		for _, b := range g.choose(known, true) {
			if !slices.Equal(b.packages, known[b.build]) || b.skip != "" {
				t.Errorf("%s runs %q of all %q, without %q", g, b.packages, known[b.build], b.skip)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("no guest runs %v", want)
	}
	sources, err := filepath.Glob("../blackbox/*_linux_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, name := range sources {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(content)
	}
	for _, name := range ofAnyABI {
		if !strings.Contains(text.String(), "\nfunc "+name+"(") {
			t.Errorf("there is no %s", name)
		}
	}
}
