// Floors holds the files of the root package to the order that CONTRIBUTING.md
// lists them in, from the ground up: no file uses what is declared in one after
// it, fields and methods included. It prints each use that does, and each file
// that is not in both places.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const list = "CONTRIBUTING.md"

// systems have all files between them: one with all that Linux has, one that
// restricts threads and starts children by other means, and one without Landlock.
var systems = []string{"linux/amd64", "linux/riscv64", "darwin/arm64"}

func main() {
	wrong, err := check()
	for _, line := range wrong {
		fmt.Println(line)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "floors:", err)
	}
	if len(wrong) > 0 || err != nil {
		os.Exit(1)
	}
}

// check returns what does not keep to the order, each once.
func check() (wrong []string, err error) {
	order, err := listed()
	if err != nil {
		return nil, err
	}
	if wrong, err = compare(order); err != nil || len(wrong) > 0 {
		return wrong, err
	}
	for _, system := range systems {
		up, err := arrows(system, order)
		if err != nil {
			return wrong, fmt.Errorf("%s: %w", system, err)
		}
		for _, arrow := range up {
			if !slices.Contains(wrong, arrow) {
				wrong = append(wrong, arrow)
			}
		}
	}
	return wrong, nil
}

// compare returns which files are listed and not there, there and not listed, or
// listed twice.
func compare(order []string) (wrong []string, err error) {
	there, err := filepath.Glob("*.go")
	if err != nil {
		return nil, err
	}
	for i, file := range order {
		if !slices.Contains(there, file) {
			wrong = append(wrong, fmt.Sprintf("%s is listed in %s, and is not there", file, list))
		}
		if slices.Contains(order[:i], file) {
			wrong = append(wrong, fmt.Sprintf("%s is listed in %s twice", file, list))
		}
	}
	for _, file := range there {
		if !strings.HasSuffix(file, "_test.go") && !slices.Contains(order, file) {
			wrong = append(wrong, fmt.Sprintf("%s is not listed in %s", file, list))
		}
	}
	return wrong, nil
}

// listed returns the files that begin the indented lines, in their order.
func listed() (files []string, err error) {
	text, err := os.ReadFile(list)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "    ") {
			continue
		}
		for _, word := range strings.Fields(line) {
			if !strings.HasSuffix(word, ".go") {
				break
			}
			files = append(files, word)
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s has no line that is indented and begins with a file", list)
	}
	return files, nil
}

// arrows returns the uses of what is declared above, as this system compiles them.
func arrows(system string, order []string) (up []string, err error) {
	goos, goarch, _ := strings.Cut(system, "/")
	names, exports, err := compiled(goos, goarch)
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	config := types.Config{
		Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }),
		Sizes:    types.SizesFor("gc", goarch),
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	root, err := config.Check("root", fset, files, info)
	if err != nil {
		return nil, err
	}
	for name, object := range info.Uses {
		if object.Pkg() != root {
			continue
		}
		use, declared := fset.Position(name.Pos()), fset.Position(object.Pos())
		if slices.Index(order, use.Filename) < slices.Index(order, declared.Filename) {
			up = append(up, fmt.Sprintf("%s:%d uses %s, declared in %s", use.Filename, use.Line, name.Name, declared.Filename))
		}
	}
	slices.Sort(up)
	return up, nil
}

// compiled returns the files of the root package that a system compiles, and by
// import path where the compiler's export data of all that they import is.
func compiled(goos, goarch string) (files []string, exports map[string]string, err error) {
	command := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Export,DepOnly,GoFiles", ".")
	command.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0")
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("%v: %w", command, err)
	}
	exports = map[string]string{}
	decoder := json.NewDecoder(bytes.NewReader(out))
	for {
		var p struct {
			ImportPath, Export string
			DepOnly            bool
			GoFiles            []string
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return files, exports, nil
		} else if err != nil {
			return nil, nil, err
		}
		exports[p.ImportPath] = p.Export
		if !p.DepOnly {
			files = p.GoFiles
		}
	}
}
