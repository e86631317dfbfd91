package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// build is a way to link the test binaries.
type build struct {
	arch string // "amd64", "arm64", or "386" on an amd64 kernel
	cgo  bool
}

func (b build) String() string {
	switch {
	case b.cgo:
		return "cgo"
	case b.arch == "386":
		return "386"
	}
	return "pure Go"
}

// moduleFolder returns the folder of this module, which lies two below the
// library's.
func moduleFolder() (string, error) {
	output, err := exec.Command("go", "env", "GOMOD").Output()
	folder := filepath.Dir(strings.TrimSpace(string(output)))
	if err != nil || !strings.HasSuffix(folder, filepath.FromSlash("internal/kerneltest")) {
		return "", fmt.Errorf("started in %q, not in its module: use go run -C internal/kerneltest . at the library's root", folder)
	}
	return folder, nil
}

// packagesWithTests returns the packages of the library that have tests in this
// build, as folders below its own, and the path of its module.
func (b build) packagesWithTests(library string) (packages []string, module string, err error) {
	const format = "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Module.Path}}{{end}}"
	output, err := b.run(library, "list", "-f", format, "./...")
	if err != nil {
		return nil, "", err
	}
	for line := range strings.Lines(output) {
		var importPath string
		importPath, module, _ = strings.Cut(strings.TrimSpace(line), " ")
		folder := strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
		packages = append(packages, cmp.Or(folder, "."))
	}
	if !slices.Contains(packages, ".") {
		return nil, "", fmt.Errorf("no tests in %s", library)
	}
	return packages, module, nil
}

// compile builds the test binaries of packages into a folder.
func (b build) compile(library, folder string, packages []string) error {
	ldflags, tags := "-s -w", ""
	if b.cgo { // static: there are few libraries in the guest
		ldflags, tags = ldflags+" -linkmode external -extldflags -static", "netgo,osusergo"
	}
	args := []string{"test", "-c", "-o", folder + "/", "-tags=" + tags, "-ldflags=" + ldflags}
	for _, pkg := range packages {
		args = append(args, "./"+pkg)
	}
	_, err := b.run(library, args...)
	return err
}

// run runs the go command for this build in a folder, and returns what it prints.
func (b build) run(folder string, args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+b.arch, "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if b.cgo {
		cmd.Env = append(cmd.Env, "CGO_ENABLED=1")
		if b.arch != nativeArch {
			cmd.Env = append(cmd.Env, "CC="+machines[b.arch].compiler)
		}
	}
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build for %s, %v: go %s: %w\n%s%s", b.arch, b, strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// compileInit builds the guest's first process, which is this program.
func (b build) compileInit(module, file string) error {
	_, err := b.run(module, "build", "-ldflags=-s -w", "-o", file, ".")
	return err
}

// pack writes an initramfs: this program, what the settings say that it runs, and
// the system around it.
func pack(image, init string, tools []file, s settings) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	files := []file{
		{name: "init", mode: 0o755, source: init},
		{name: settingsFile, mode: 0o644, text: string(text)},
	}
	for _, name := range strings.Fields("bin dev etc proc root sys tmp usr usr/bin usr/lib usr/lib64 " + testsFolder) {
		files = append(files, file{name: name, mode: fs.ModeDir | 0o755})
	}
	for _, name := range []string{"lib", "lib64"} {
		files = append(files, file{name: name, mode: fs.ModeSymlink | 0o777, text: "usr/" + name})
	}
	for name, text := range map[string]string{
		"passwd": "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
		"group":  "root:x:0:\nnogroup:x:65534:\n",
		"hosts":  "127.0.0.1 localhost\n::1 localhost\n",
	} {
		files = append(files, file{name: "etc/" + name, mode: 0o644, text: text})
	}
	files = append(files, tools...)
	for _, t := range s.Tests {
		files = append(files, file{name: t.path(), mode: 0o755, source: t.source})
	}
	out, err := os.Create(image)
	if err != nil {
		return err
	}
	return errors.Join(writeInitramfs(out, files), out.Close())
}
