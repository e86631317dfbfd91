package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
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

// machine is the architecture of the kernel.
func (b build) machine() string {
	if b.arch == "386" {
		return "amd64"
	}
	return b.arch
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

// compile builds the guest's program and the test binary of every package of
// the library into a folder.
func (b build) compile(module, folder string) error {
	pure := build{arch: b.arch}
	if err := pure.run(module, "build", "-ldflags=-s -w", "-o", filepath.Join(folder, "init"), "."); err != nil {
		return err
	}
	ldflags, tags := "-s -w", ""
	if b.cgo { // static: there are few libraries in the guest
		ldflags, tags = ldflags+" -linkmode external -extldflags -static", "netgo,osusergo"
	}
	return b.run(filepath.Join(module, "../.."), "test", "-c", "-o", filepath.Join(folder, testsFolder)+"/", "-tags="+tags, "-ldflags="+ldflags, "./...")
}

// run runs the go command for this build in a folder.
func (b build) run(folder string, args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+b.arch, "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if b.cgo {
		cmd.Env = append(cmd.Env, "CGO_ENABLED=1")
		if b.arch != nativeArch {
			cmd.Env = append(cmd.Env, "CC="+machines[b.arch].compiler)
		}
	}
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build for %s, %v: go %s: %w\n%s", b.arch, b, strings.Join(args, " "), err, output)
	}
	return nil
}

// initramfs is what a guest starts with.
type initramfs struct {
	path     string
	binaries int // how many test binaries it has
}

// pack writes the initramfs of what compile has made, and the system around it.
func (b build) pack(folder string, tools []file, s settings) (packed initramfs, err error) {
	text, err := json.Marshal(s)
	if err != nil {
		return initramfs{}, err
	}
	files := []file{
		{name: "init", mode: 0o755, source: filepath.Join(folder, "init")},
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
	binaries, err := filepath.Glob(filepath.Join(folder, testsFolder, "*.test"))
	if err != nil || len(binaries) == 0 {
		return initramfs{}, errors.Join(err, fmt.Errorf("no test binary in %s", folder))
	}
	for _, binary := range binaries {
		files = append(files, file{name: testsFolder + "/" + filepath.Base(binary), mode: 0o755, source: binary})
	}
	image, err := os.Create(filepath.Join(folder, "initramfs"))
	if err != nil {
		return initramfs{}, err
	}
	return initramfs{image.Name(), len(binaries)}, errors.Join(writeInitramfs(image, files), image.Close())
}
