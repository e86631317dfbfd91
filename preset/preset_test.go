package preset

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"example.com/landlock"
)

// ofName are the presets without arguments, by their names.
var ofName = map[string]func(*landlock.Ruleset) error{
	"DNS": DNS, "Certificates": Certificates, "TimeZones": TimeZones, "MIMETypes": MIMETypes, "Users": Users,
	"NullDevices": NullDevices, "Terminal": Terminal, "PseudoTerminals": PseudoTerminals, "Temp": Temp, "System": System, "Programs": Programs(os.Args[0]),
}

// wrong returns the mistakes of a ruleset, and nothing else that is wrong with it.
func wrong(r *landlock.Ruleset) error { return errors.Join(r.Mistakes()...) }

// A preset asks for no right that the ruleset does not handle, and makes no mistake
// of it, whichever is handled.
func TestHandled(t *testing.T) {
	all := landlock.V11.Rights()
	var rulesets []*landlock.Ruleset
	for bit := range 64 {
		for _, rights := range []landlock.Rights{{FS: all.FS & (1 << bit)}, {Net: all.Net & (1 << bit)}, {Scope: all.Scope & (1 << bit)}} {
			if rights != (landlock.Rights{}) {
				rulesets = append(rulesets, landlock.NewHandling(rights))
			}
		}
	}
	for abi := landlock.V1; abi <= landlock.V11; abi++ {
		rulesets = append(rulesets, landlock.New(abi))
	}
	for _, base := range rulesets {
		for name, preset := range ofName {
			r := base.Clone().Use(preset)
			if err := wrong(r); err != nil {
				t.Errorf("%s with %v: %v", name, base, err)
			}
			may := base.Handled()
			if may.FS != 0 {
				may.FS |= landlock.FSRefer
			}
			for rule := range r.Rules() {
				if rule.FS&^may.FS != 0 || rule.Net&^may.Net != 0 {
					t.Errorf("%s with %v: %v", name, base, rule)
				}
			}
		}
	}
	for name, preset := range ofName {
		if err := preset(nil); err != nil {
			t.Errorf("%s with nil: %v", name, err)
		}
	}
}

// No preset allows more rights than these anywhere, nor other ports.
func TestRights(t *testing.T) {
	most := map[string]landlock.AccessFS{
		"DNS":             landlock.FSReadFile | landlock.FSResolveUnix,
		"Certificates":    landlock.FSRead,
		"TimeZones":       landlock.FSRead,
		"MIMETypes":       landlock.FSReadFile,
		"Users":           landlock.FSReadFile,
		"NullDevices":     landlock.FSReadFile | landlock.FSWriteFile,
		"Terminal":        landlock.FSReadFile | landlock.FSWriteFile | landlock.FSIoctlDev,
		"PseudoTerminals": landlock.FSReadFile | landlock.FSWriteFile | landlock.FSIoctlDev,
		"Temp":            landlock.FSReadWrite,
		"System":          landlock.FSReadExecute,
		"Programs":        landlock.FSReadFile | landlock.FSExecute,
	}
	for name, preset := range ofName {
		r := landlock.New(landlock.V11).Use(preset)
		var ports []string
		for rule := range r.Rules() {
			if rule.Path == "" {
				ports = append(ports, fmt.Sprint(rule.Net, " ", rule.Port))
			}
			if rule.FS&^most[name] != 0 {
				t.Errorf("%s: %v, want %v at most", name, rule, most[name])
			}
			if rule.FS&landlock.FSWriteFile != 0 && name != "Temp" && !strings.HasPrefix(rule.Path, "/dev/") && !(name == "Terminal" && strings.HasPrefix(rule.Path, "/proc/self/fd/")) {
				t.Errorf("%s: %v", name, rule)
			}
		}
		if want := []string{"connect_tcp 53", "connect_send_udp 53", "bind_udp 0"}; name == "DNS" != (ports != nil) || name == "DNS" && !slices.Equal(ports, want) {
			t.Errorf("%s: ports %q", name, ports)
		}
	}
}

// No preset opens devices that then refuse ioctl and are of little use without.
func TestNoIoctl(t *testing.T) {
	for name, preset := range ofName {
		if report, err := landlock.New(landlock.V11).BestEffort(0).Use(preset).DryRun(); err != nil || report.NoIoctl != nil {
			t.Errorf("%s: no ioctl on %q, %v", name, report.NoIoctl, err)
		}
	}
}

// The documentation of a preset names each of its lines.
func TestDocumented(t *testing.T) {
	source, err := parser.ParseFile(token.NewFileSet(), "preset.go", nil, parser.ParseComments)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("needs the source of the package")
	}
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, declaration := range source.Decls {
		function, ok := declaration.(*ast.FuncDecl)
		if !ok || ofName[function.Name.Name] == nil || function.Name.Name == "Temp" {
			continue
		}
		seen++
		ast.Inspect(function, func(node ast.Node) bool {
			literal, ok := node.(*ast.BasicLit)
			if path := ""; ok && literal.Kind == token.STRING {
				path = strings.Trim(literal.Value, "\"")
				if strings.HasPrefix(path, "/") && !strings.Contains(function.Doc.Text(), path) {
					t.Errorf("%s does not say why it allows %s", function.Name.Name, path)
				}
			}
			return true
		})
	}
	if want := len(ofName) - 2; seen != want {
		t.Errorf("%d presets in preset.go, want %d", seen, want)
	}
}

func paths(r *landlock.Ruleset) (all []string) {
	for rule := range r.Rules() {
		if rule.Path != "" {
			all = append(all, rule.Path)
		}
	}
	return all
}
