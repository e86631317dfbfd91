// Importcost tells by how many bytes a program grows that calls Apply. It fails where
// they are more than the limit, and says which packages they are of, or where something
// is linked in that Apply has no use for, and says by which way.
// It is run in the module's root.
package main

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// limit is for linux/amd64, stripped.
const limit = 250_000

const module = "example.com/landlock"

// The programs that are compared.
const (
	hello = `package main

import "fmt"

func main() { fmt.Println("hello") }
`
	apply = `package main

import (
	"fmt"

	"example.com/landlock"
)

func main() {
	fmt.Println("hello")
	fmt.Println(landlock.New(landlock.V5).BestEffort(landlock.V1).AllowRead("/usr").Apply())
}
`
)

// unwanted has functions that Apply alone is linked without, and tells what brings each
// in most easily.
var unwanted = map[string]string{
	"time.Time.appendFormat": "also by os.FileInfo, which holds a time",
	"os.ReadFile":            "make the system calls",
	"os.ReadDir":             "make the system calls",
	"os.(*File).readdir":     "also by os.Getwd",
	module + "/internal/seccomp.Sockets.write":  "for FilterSockets alone: see filter.go",
	module + "/internal/seccomp.compareFilters": "for FilterSockets alone: see filter.go",
}

// all is linked with everything that is unwanted, so that a name which Go or this module
// gives up is noticed.
const all = `package main

import (
	"fmt"
	"os"
	"time"

	"example.com/landlock"
)

func main() {
	fmt.Println(os.ReadFile("/"))
	fmt.Println(os.ReadDir("/"))
	fmt.Println(time.Now().Format(time.RFC3339))
	fmt.Println(landlock.New(landlock.V5).FilterSockets().Apply())
}
`

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "importcost:", err)
		os.Exit(1)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "importcost")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	m, err := newImporter(dir)
	if err != nil {
		return err
	}
	before, err := m.build(hello)
	if err != nil {
		return err
	}
	after, err := m.build(apply)
	if err != nil {
		return err
	}
	cost := after.size - before.size
	fmt.Printf("hello-world has %d bytes, and %d more with Apply: at most %d are to be\n", before.size, cost, limit)
	var over error
	if cost > limit {
		printByPackage(before, after)
		over = fmt.Errorf("%d bytes more than are to be", cost-limit)
	}
	return errors.Join(over, m.findUnwanted(after))
}

// importer is a module that imports this one.
type importer struct{ dir string }

func newImporter(dir string) (*importer, error) {
	root, err := filepath.Abs(".")
	if err != nil {
		return nil, err
	}
	sums, err := os.ReadFile("go.sum")
	if err != nil {
		return nil, err
	}
	mod := fmt.Sprintf("module importer\n\nrequire %s v0.0.0\n\nreplace %[1]s => %s\n", module, strconv.Quote(root))
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod), 0o666); err != nil {
		return nil, err
	}
	return &importer{dir}, os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o666)
}

// program is a program that was built.
type program struct {
	size    int64            // stripped
	symbols map[string]int64 // the size of each that takes room in the file
}

func (m *importer) build(source string) (*program, error) {
	if err := os.WriteFile(filepath.Join(m.dir, "main.go"), []byte(source), 0o666); err != nil {
		return nil, err
	}
	if _, err := m.link("stripped", "-s -w"); err != nil {
		return nil, err
	}
	info, err := os.Stat(filepath.Join(m.dir, "stripped"))
	if err != nil {
		return nil, err
	}
	if _, err := m.link("named", ""); err != nil {
		return nil, err
	}
	symbols, err := readSymbols(filepath.Join(m.dir, "named"))
	return &program{info.Size(), symbols}, err
}

func readSymbols(path string) (map[string]int64, error) {
	file, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	all, err := file.Symbols()
	if err != nil {
		return nil, err
	}
	symbols := make(map[string]int64)
	for _, symbol := range all {
		if i := int(symbol.Section); i < len(file.Sections) && file.Sections[i].Type != elf.SHT_NOBITS {
			symbols[symbol.Name] += int64(symbol.Size)
		}
	}
	return symbols, nil
}

// link builds main.go, and returns what the linker prints.
func (m *importer) link(name, flags string) ([]byte, error) {
	cmd := exec.Command("go", "build", "-mod=mod", "-trimpath", "-ldflags", flags, "-o", name, ".")
	cmd.Dir = m.dir
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	output, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%v: %w\n%s", cmd, err, output)
	}
	return output, nil
}

func printByPackage(before, after *program) {
	cost := make(map[string]int64)
	var total int64
	for name, size := range after.symbols {
		cost[packageOf(name)] += size
		total += size
	}
	for name, size := range before.symbols {
		cost[packageOf(name)] -= size
		total -= size
	}
	names := slices.SortedFunc(maps.Keys(cost), func(a, b string) int {
		return cmp.Or(cmp.Compare(cost[b], cost[a]), strings.Compare(a, b))
	})
	for _, name := range names {
		if cost[name] != 0 {
			fmt.Printf("%8d %s\n", cost[name], name)
		}
	}
	fmt.Printf("%8d in all, by the code and the data that have names\n", total)
	fmt.Printf("%8d of tables that go with them, for types, lines and stacks\n", after.size-before.size-total)
}

// packageOf returns the package of a symbol, such as golang.org/x/sys/unix of
// golang.org/x/sys/unix.(*mmapper).Mmap. What the linker makes is of type: and go:.
func packageOf(symbol string) string {
	if kind, _, ok := strings.Cut(symbol, ":"); ok && (kind == "type" || kind == "go") {
		return kind + ":"
	}
	path, _, _ := strings.Cut(symbol, "[") // type arguments
	last := strings.LastIndexByte(path, '/') + 1
	name, _, _ := strings.Cut(path[last:], ".")
	return path[:last] + name
}

// findUnwanted returns an error that names what of unwanted is in a program, which was
// the last one to be built.
func (m *importer) findUnwanted(p *program) error {
	var found []string
	for _, name := range slices.Sorted(maps.Keys(unwanted)) {
		if _, linked := p.symbols[name]; linked {
			found = append(found, name)
		}
	}
	if found == nil {
		return m.findAll()
	}
	refers, err := m.references()
	if err != nil {
		return err
	}
	for _, name := range found {
		fmt.Printf("%s is linked in: %s\n  %s\n", name, unwanted[name], strings.Join(way(refers, name), "\n  "))
	}
	return fmt.Errorf("linked with %s", strings.Join(found, ", "))
}

// findAll returns an error that names what of unwanted is not even in the program that
// has all of it.
func (m *importer) findAll() error {
	p, err := m.build(all)
	if err != nil {
		return err
	}
	for name := range unwanted {
		if _, linked := p.symbols[name]; !linked {
			return fmt.Errorf("%s is linked into no program: what is it called now?", name)
		}
	}
	return nil
}

// references returns what each symbol of the last program refers to, as the linker sees it.
func (m *importer) references() (map[string][]string, error) {
	output, err := m.link("named", "-dumpdep")
	if err != nil {
		return nil, err
	}
	refers := make(map[string][]string)
	for line := range strings.Lines(string(output)) {
		if from, to, ok := strings.Cut(strings.TrimSpace(line), " -> "); ok {
			from, _, _ := strings.Cut(from, " <") // <UsedInIface> and the like
			to, _, _ := strings.Cut(to, " <")
			refers[from] = append(refers[from], to)
		}
	}
	return refers, nil
}

// way returns a shortest way by which the main function refers to a symbol.
func way(refers map[string][]string, symbol string) []string {
	ways := map[string][]string{"main.main": {"main.main"}}
	for next := []string{"main.main"}; len(next) > 0 && ways[symbol] == nil; next = next[1:] {
		for _, to := range refers[next[0]] {
			if ways[to] == nil {
				ways[to] = append(slices.Clip(ways[next[0]]), to)
				next = append(next, to)
			}
		}
	}
	return ways[symbol]
}
