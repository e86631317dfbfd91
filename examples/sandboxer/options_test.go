package main

import (
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"

	"example.com/landlock"
)

func TestSplitList(t *testing.T) {
	tests := map[string][]string{
		"a":         {"a"},
		"a,b,c":     {"a", "b", "c"},
		`a\,b,c`:    {"a,b", "c"},
		`\,`:        {","},
		`a\b`:       {`a\b`},
		`a\\,b`:     {`a\,b`},
		" a , b ":   {" a ", " b "},
		"":          nil,
		",":         nil,
		"a,":        nil,
		",a":        nil,
		`a\,b,,c\,`: nil,
	}
	for text, want := range tests {
		if got, err := splitList(text); !slices.Equal(got, want) || (err == nil) != (want != nil) {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
}

func FuzzSplitList(f *testing.F) {
	for _, text := range []string{"", "a", "a,b", `a\,b,c`, `\\,`, ",,", "A=1,B", "A=1,EXAMPLE_UNSET", "=", "\x00,"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o := &options{env: make(map[string]string)}
		o.addEnv(text)
		list, err := splitList(text)
		if err != nil || strings.Contains(text, "\x00") {
			return
		}
		for i, element := range list {
			if element == "" {
				t.Errorf("%q has an empty element", list)
			}
			list[i] = strings.ReplaceAll(element, ",", `\,`)
		}
		if back := strings.Join(list, ","); back != text {
			t.Errorf("%q became %q", text, back)
		}
	})
}

func TestAddEnv(t *testing.T) {
	t.Setenv("EXAMPLE_SET", "of the caller, with a comma")
	tests := map[string]struct {
		texts []string
		want  []string
		err   string
	}{
		"nothing":             {nil, nil, ""},
		"a name":              {[]string{"EXAMPLE_SET"}, []string{"EXAMPLE_SET=of the caller, with a comma"}, ""},
		"a name that is none": {[]string{"EXAMPLE_UNSET"}, nil, ""},
		"names":               {[]string{"EXAMPLE_UNSET,EXAMPLE_SET"}, []string{"EXAMPLE_SET=of the caller, with a comma"}, ""},
		"a value":             {[]string{"A=1"}, []string{"A=1"}, ""},
		"an empty value":      {[]string{"A="}, []string{"A="}, ""},
		"a value with =":      {[]string{"A=b=c"}, []string{"A=b=c"}, ""},
		"values":              {[]string{"B=2,A=1", "C=3"}, []string{"A=1", "B=2", "C=3"}, ""},
		"the last one counts": {[]string{"A=1,A=2", "EXAMPLE_SET", "EXAMPLE_SET=3"}, []string{"A=2", "EXAMPLE_SET=3"}, ""},
		"both":                {[]string{"A=1,EXAMPLE_SET"}, []string{"A=1", "EXAMPLE_SET=of the caller, with a comma"}, ""},
		"a comma in a value":  {[]string{`A=1\,2`}, []string{"A=1,2"}, ""},
		"half a value":        {[]string{"A=1,EXAMPLE_UNSET"}, nil, `"EXAMPLE_UNSET": not set`},
		"no name":             {[]string{"=1"}, nil, `"=1": no name`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			o := &options{env: make(map[string]string)}
			var err error
			for _, text := range test.texts {
				err = errors.Join(err, o.addEnv(text))
			}
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%v, want %q", err, test.err)
				}
			} else if got := o.environ(); err != nil || !slices.Equal(got, test.want) {
				t.Errorf("%q, %v, want %q", got, err, test.want)
			}
		})
	}
}

func TestParse(t *testing.T) {
	o, err := parse([]string{"-ro", "/a,/b", "--ro=/c", "--rw", "/d", "-bind-tcp=0,65535", "--log-enable-subprocesses",
		"-log-disable-subdomains", "--log-disable-originating", "--log-disable-subdomains=false", "cat", "--ro", "/x", "--", "-y"})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"cat", "--ro", "/x", "--", "-y"}; !slices.Equal(o.command, want) {
		t.Errorf("command %q, want %q", o.command, want)
	}
	paths := []pathRule{
		{option: "--ro", path: "/a", access: landlock.FSRead},
		{option: "--ro", path: "/b", access: landlock.FSRead},
		{option: "--ro", path: "/c", access: landlock.FSRead},
		{option: "--rw", path: "/d", access: landlock.FSReadWrite | landlock.FSIoctlDev},
	}
	if !slices.Equal(o.paths, paths) {
		t.Errorf("paths %v, want %v", o.paths, paths)
	}
	ports := []portRule{{"--bind-tcp", 0, landlock.NetBindTCP}, {"--bind-tcp", 65535, landlock.NetBindTCP}}
	if !slices.Equal(o.ports, ports) {
		t.Errorf("ports %v, want %v", o.ports, ports)
	}
	if want := landlock.LogNewExecOn | landlock.LogSameExecOff; o.logFlags != want {
		t.Errorf("log flags %v, want %v", o.logFlags, want)
	}
	if o, err := parse([]string{"--", "--ro"}); err != nil || !slices.Equal(o.command, []string{"--ro"}) {
		t.Errorf("after --: %v, %v", o, err)
	}
	if _, err := parse([]string{"--ro", "/", "-h"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
}

// An option for what is not restricted does nothing: not even its path is looked
// at, or printed.
func TestUselessOptions(t *testing.T) {
	rules := []string{"--ro", "/a", "--unix", "/b", "--add-exec", "--ldd", "--bind-tcp", "1", "--connect-udp", "2", "cat"}
	for option, want := range map[string]struct {
		paths, ports int
		program      bool
	}{
		"--unrestricted-scoped":     {2, 2, true},
		"--unrestricted-filesystem": {0, 2, false},
		"--unrestricted-network":    {2, 0, true},
	} {
		o, err := parse(append([]string{option}, rules...))
		if err != nil || len(o.paths) != want.paths || len(o.ports) != want.ports || o.addExec != want.program || o.ldd != want.program {
			t.Errorf("%s: %+v, %v", option, o, err)
		}
	}
}

// What each option allows and each switch leaves unrestricted.
func TestOptionRights(t *testing.T) {
	device := landlock.FSMakeChar | landlock.FSMakeBlock
	write := landlock.FSWrite | landlock.FSIoctlDev
	for option, want := range map[string]landlock.AccessFS{
		"--ro":   landlock.FSRead,
		"--rox":  landlock.FSRead | landlock.FSExecute,
		"--rw":   landlock.FSRead | write,
		"--rwx":  landlock.FSRead | write | landlock.FSExecute,
		"--unix": landlock.FSResolveUnix,
	} {
		o, err := parse([]string{option, "/", "cat"})
		if err != nil || len(o.paths) != 1 || o.paths[0].access != want || o.paths[0].access&device != 0 {
			t.Errorf("%s: %v, %v, want %v", option, o.paths, err, want)
		}
	}
	for option, want := range map[string]landlock.AccessNet{
		"--bind-tcp":    landlock.NetBindTCP,
		"--connect-tcp": landlock.NetConnectTCP,
		"--bind-udp":    landlock.NetBindUDP,
		"--connect-udp": landlock.NetConnectSendUDP,
	} {
		o, err := parse([]string{option, "1", "cat"})
		if err != nil || len(o.ports) != 1 || o.ports[0].access != want {
			t.Errorf("%s: %v, %v, want %v", option, o.ports, err, want)
		}
	}
	all := landlock.V11.Rights()
	for option, want := range map[string]landlock.Rights{
		"--ldd":                     all,
		"--unrestricted-filesystem": {Net: all.Net, Scope: all.Scope},
		"--unrestricted-network":    {FS: all.FS, Scope: all.Scope},
		"--unrestricted-scoped":     {FS: all.FS, Net: all.Net},
	} {
		if o, err := parse([]string{option, "cat"}); err != nil || o.handled() != want {
			t.Errorf("%s: %v, %v, want %v", option, o.handled(), err, want)
		}
	}
}
