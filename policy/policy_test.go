package policy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"example.com/landlock"
	"example.com/landlock/internal/testenv"
	"example.com/landlock/policy"
)

func mustParse(t testing.TB, text string) *policy.Document {
	t.Helper()
	d, err := policy.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mustRuleset(t testing.TB, d *policy.Document) *landlock.Ruleset {
	t.Helper()
	r, err := d.Ruleset()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// says is what a ruleset says, in a form that can be compared.
func says(r *landlock.Ruleset) string {
	all := []string{r.Handled().String()}
	for rule := range r.Rules() {
		if rule.Port >= 0 {
			all = append(all, fmt.Sprintf("%d: %v", rule.Port, rule.Net))
			continue
		}
		all = append(all, fmt.Sprintf("%s: %v", rule.Path, rule.FS))
		if !rule.Optional {
			all = append(all, "which has to exist")
		}
	}
	slices.Sort(all[1:])
	return strings.Join(all, "\n")
}

func document(t testing.TB, text string) string { return says(mustRuleset(t, mustParse(t, text))) }

func lines(all ...string) string { return strings.Join(all, "\n") }

func TestDocument(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"what is handled, and what rules use": {
			`{"ruleset": [{"handledAccessFs": ["execute", "execute"]}, {"handledAccessFs": ["read_dir"], "scoped": ["signal"]}],
			  "pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["/usr"]}],
			  "netPort": [{"allowedAccess": ["bind_tcp", "connect_send_udp"], "port": [0, 65535]}]}`,
			lines("fs.execute,fs.read_file,fs.read_dir,net.bind_tcp,net.connect_send_udp,scope.signal",
				"/usr: read_file", "0: bind_tcp,connect_send_udp", "65535: bind_tcp,connect_send_udp"),
		},
		"rules add up, paths as far as they matter": {
			`{"pathBeneath": [
			  {"allowedAccess": ["read_file"], "parent": ["/usr//lib/./", "/", "//", "./a", "a", "a/..", ""]},
			  {"allowedAccess": ["read_dir"], "parent": ["/usr/lib", "/.", "./a/.", "a//", ".//", "a/../."]}],
			  "netPort": [{"allowedAccess": ["bind_tcp"], "port": [80, 80]}, {"allowedAccess": ["connect_tcp"], "port": [80]}]}`,
			lines("fs.read_file,fs.read_dir,net.bind_tcp,net.connect_tcp",
				"./a: read_file,read_dir", ".: read_dir", "/: read_file,read_dir", "/usr/lib: read_file,read_dir",
				"80: bind_tcp,connect_tcp", "a/..: read_file,read_dir", "a: read_file,read_dir"),
		},
		"variables": {
			`{"variable": [{"name": "a", "literal": ["/x", "/y"]}, {"name": "b_1", "literal": ["1", "2"]}, {"name": "a", "literal": ["/z", "/x"]},
			    {"name": "Dollar", "literal": ["$$/${a}"]}, {"name": "nothing", "literal": [""]}],
			  "pathBeneath": [
			    {"allowedAccess": ["read_file"], "parent": ["${a}/${b_1}", "$$${b_1}$", "$x$", "${nothing}", "${nothing}/", "/${Dollar}"]}]}`,
			lines("fs.read_file", "$1$: read_file", "$2$: read_file", "$x$: read_file", "/$$/${a}: read_file", "/: read_file", "/x/1: read_file", "/x/2: read_file",
				"/y/1: read_file", "/y/2: read_file", "/z/1: read_file", "/z/2: read_file"),
		},
		"a variable with one literal, in several paths": {
			`{"variable": [{"name": "home", "literal": ["/srv"]}, {"name": "root", "literal": ["/"]}], "pathBeneath": [
			    {"allowedAccess": ["read_file"], "parent": ["${home}/1", "${home}/2", "/x${home}", "${root}etc", "${root}usr"]},
			    {"allowedAccess": ["write_file"], "parent": ["${home}/../shared", "${home}/data", "${home}"]}]}`,
			lines("fs.write_file,fs.read_file", "/etc: read_file", "/srv/../shared: write_file", "/srv/1: read_file", "/srv/2: read_file",
				"/srv/data: write_file", "/srv: write_file", "/usr: read_file", "/x/srv: read_file"),
		},
		"no path": {
			`{"variable": [{"name": "nothing", "literal": [""]}], "pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["", "${nothing}", "${nothing}${nothing}"]}]}`,
			"fs.read_file",
		},
		"the same parent, and groups beside words": {
			`{"abi": 2, "ruleset": [{"scoped": ["signal"]}, {"handledAccessFs": ["truncate", "abi.read_execute"], "scoped": ["abstract_unix_socket"]}, {"handledAccessNet": ["bind_tcp"]}, {"handledAccessNet": ["bind_udp"]}],
			  "pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["/a"]}, {"allowedAccess": ["execute"], "parent": ["/a"]}]}`,
			lines("fs.execute,fs.read_file,fs.read_dir,fs.refer,fs.truncate,net.bind_tcp,net.bind_udp,scope.abstract_unix_socket,scope.signal", "/a: execute,read_file"),
		},
		"a variable without literals": {
			`{"variable": [{"name": "none"}], "pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["/etc/${none}/x"]}, {"allowedAccess": ["execute"], "parent": ["/usr"]}]}`,
			lines("fs.execute,fs.read_file", "/usr: execute"),
		},
		"rules that the ABI has no rights for": {
			`{"abi": 3, "ruleset": [{"handledAccessFs": ["execute"], "handledAccessNet": ["abi.all"], "scoped": ["abi.all"]}], "netPort": [{"allowedAccess": ["abi.all"], "port": [80]}]}`,
			"fs.execute",
		},
		"words that the ABI does not have": {
			`{"abi": 1, "ruleset": [{"handledAccessFs": ["truncate"], "handledAccessNet": ["bind_udp"], "scoped": ["signal"]}], "netPort": [{"allowedAccess": ["bind_tcp"], "port": [80]}]}`,
			lines("fs.truncate,net.bind_tcp,net.bind_udp,scope.signal", "80: bind_tcp"),
		},
		"words by other means": {
			`{"\u0061bi": 1, "ruleset": [{"handledAccessFs": ["\u0072ead_file"]}], "pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["/\ud83d\ude00", "/\u00fc"]}]}`,
			lines("fs.read_file", "/ü: read_file", "/😀: read_file"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := document(t, test.text); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// The groups are those of the document's ABI.
func TestGroups(t *testing.T) {
	execute := landlock.FSExecute | landlock.FSReadFile | landlock.FSReadDir
	for abi := 1; abi <= 13; abi++ {
		v := landlock.ABI(abi)
		var refer landlock.AccessFS
		if abi >= 2 {
			refer = landlock.FSRefer
		}
		text := func(group string) string {
			return fmt.Sprintf(`{"abi": %d, "ruleset": [{"handledAccessFs": [%q]}]}`, abi, group)
		}
		for group, want := range map[string]landlock.AccessFS{
			"abi.all": v.FS(), "abi.read_execute": execute | refer, "abi.read_write": v.FS() &^ landlock.FSExecute,
		} {
			if got := mustRuleset(t, mustParse(t, text(group))).Handled(); got != (landlock.Rights{FS: want}) {
				t.Errorf("%s of ABI %d: %v, want %v", group, abi, got, want)
			}
		}
		all := fmt.Sprintf(`{"abi": %d, "ruleset": [{"handledAccessFs": ["abi.all"], "handledAccessNet": ["abi.all"], "scoped": ["abi.all"]}]}`, abi)
		if got := mustRuleset(t, mustParse(t, all)).Handled(); got != v.Rights() {
			t.Errorf("all of ABI %d: %v, want %v", abi, got, v.Rights())
		}
	}
	large := `{"abi": 2147483647, "ruleset": [{"handledAccessFs": ["abi.all"]}]}`
	if got := mustRuleset(t, mustParse(t, large)).Handled().FS; got != landlock.V11.FS() {
		t.Errorf("the largest ABI has %v", got)
	}
}

// Every right of the newest ABI has a word, and each word is taken for its own kind alone.
func TestWords(t *testing.T) {
	newest := landlock.V11.Rights()
	kinds := map[string][]string{
		"handledAccessFs": strings.Split(newest.FS.String(), ","), "handledAccessNet": strings.Split(newest.Net.String(), ","),
		"scoped": strings.Split(newest.Scope.String(), ","),
	}
	for kind := range kinds {
		for of, words := range kinds {
			for _, word := range words {
				d, err := policy.Parse(fmt.Appendf(nil, `{"ruleset": [{%q: [%q]}]}`, kind, word))
				switch {
				case kind != of && err == nil:
					t.Errorf("%s takes %s", kind, word)
				case kind == of && err != nil:
					t.Error(err)
				case kind == of:
					if got := mustRuleset(t, d).Handled().String(); !strings.HasSuffix(got, "."+word) || strings.Contains(got, ",") {
						t.Errorf("%s: %s", word, got)
					}
				}
			}
		}
	}
}

// What is wrong in a text is an error that says where, and what is right.
func TestParseErrors(t *testing.T) {
	const words = "known are abi.all, abi.read_execute, abi.read_write, execute, write_file, read_file, read_dir, remove_dir, remove_file, make_char, make_dir, make_reg, " +
		"make_sock, make_fifo, make_block, make_sym, refer, truncate, ioctl_dev, resolve_unix"
	for text, want := range map[string]string{
		"":                     "line 1, column 1: unexpected end of JSON input",
		"null":                 "line 1, column 1: null, where an object has to be",
		"[]":                   "line 1, column 1: an array, where an object has to be",
		"{}":                   "line 1, column 1: the document says nothing: needs one of the keys variable, ruleset, pathBeneath and netPort",
		"\n {\"abi\": 4}":      "line 2, column 2: the document says nothing",
		"{\"abi\": 4,}":        "line 1, column 11: invalid character '}'",
		"{\"abi\": 4} x":       "line 1, column 12: invalid character 'x' after top-level value",
		"{\"abi\": 4} {}":      "line 1, column 12: invalid character '{' after top-level value",
		"{\"abi\"":             "line 1, column 6: unexpected end of JSON input",
		`{"Abi": 4}`:           `line 1, column 2: unknown key "Abi": known are abi, variable, ruleset, pathBeneath, netPort`,
		`{"path_beneath": []}`: `line 1, column 2: unknown key "path_beneath"`,
		`{"abi": 0}`:           `line 1, column 9: "0" is no ABI: must be a whole number from 1 to 2147483647`,
		`{"abi": -1}`:          `line 1, column 9: "-1" is no ABI`,
		`{"abi": 2147483648, "variable": [{"name": "a"}]}`: "line 1, column 9: ",
		`{"abi": 1.0}`:                                 `line 1, column 9: "1.0" is no ABI`,
		`{"abi": 1e1}`:                                 `line 1, column 9: "1e1" is no ABI`,
		`{"abi": 1e999999999}`:                         `line 1, column 9: `,
		`{"abi": "4"}`:                                 `line 1, column 9: the text "4", where the number of an ABI has to be`,
		`{"abi": null}`:                                `line 1, column 9: null, where the number of an ABI has to be`,
		`{"abi": true}`:                                `line 1, column 9: true, where`,
		`{"abi": [4]}`:                                 `line 1, column 9: an array, where`,
		`{"abi": 4, "abi": 4}`:                         `line 1, column 12: the key "abi" is there twice`,
		`{"abi": 4, "a\u0062i": 4}`:                    `line 1, column 12: the key "abi" is there twice`,
		`{"ruleset": null}`:                            "line 1, column 13: null, where an array has to be",
		`{"ruleset": {}}`:                              "line 1, column 13: an object, where an array has to be",
		`{"ruleset": []}`:                              "line 1, column 13: an empty array",
		`{"ruleset": [null]}`:                          "line 1, column 14: null, where an object has to be",
		`{"ruleset": [{}]}`:                            "line 1, column 14: nothing is handled: needs one of the keys handledAccessFs, handledAccessNet and scoped",
		`{"ruleset": [{"handledAccessFs": []}]}`:       "line 1, column 34: an empty array",
		`{"ruleset": [{"handledAccessFs": ["read"]}]}`: `line 1, column 35: "read" is not a filesystem access right: ` + words,
		`{"ruleset": [{"handledAccessFs": ["read_file", "READ_FILE"]}]}`:                     `line 1, column 48: "READ_FILE" is not`,
		`{"ruleset": [{"handledAccessFs": ["read_file,execute"]}]}`:                          `line 1, column 35: "read_file,execute" is not`,
		`{"ruleset": [{"handledAccessFs": ["none"]}]}`:                                       `line 1, column 35: "none" is not`,
		`{"ruleset": [{"handledAccessFs": [""]}]}`:                                           `line 1, column 35: "" is not`,
		`{"ruleset": [{"handledAccessFs": [1]}]}`:                                            "line 1, column 35: the number 1, where a text has to be",
		`{"ruleset": [{"handledAccessFs": ["bind_tcp"]}]}`:                                   `line 1, column 35: "bind_tcp" is a network access right, and not a filesystem access right: known are`,
		`{"ruleset": [{"handledAccessNet": ["execute"]}]}`:                                   `line 1, column 36: "execute" is a filesystem access right, and not a network access right: known are abi.all, bind_tcp, connect_tcp, bind_udp, connect_send_udp`,
		`{"ruleset": [{"handledAccessNet": ["abi.read_write"]}]}`:                            `line 1, column 36: "abi.read_write" is a filesystem access right`,
		`{"ruleset": [{"scoped": ["signals"]}]}`:                                             `line 1, column 26: "signals" is not a scope: known are abi.all, abstract_unix_socket, signal`,
		`{"ruleset": [{"scoped": ["abi.all"]}]}`:                                             `line 1, column 26: "abi.all" stands for rights of the document's abi, and it has none`,
		`{"ruleset": [{"Scoped": ["signal"]}]}`:                                              `line 1, column 15: unknown key "Scoped": known are handledAccessFs, handledAccessNet, scoped`,
		`{"pathBeneath": [{"parent": ["/"]}]}`:                                               `line 1, column 18: the key "allowedAccess" is missing`,
		`{"pathBeneath": [{"allowedAccess": ["read_file"]}]}`:                                `line 1, column 18: the key "parent" is missing`,
		`{"pathBeneath": [{"allowedAccess": ["read_file"], "parent": []}]}`:                  `line 1, column 61: an empty array`,
		`{"pathBeneath": [{"allowedAccess": ["read_file"], "parent": "/"}]}`:                 `line 1, column 61: the text "/", where an array has to be`,
		`{"pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["/", null]}]}`:         `line 1, column 67: null, where a text has to be`,
		`{"pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["/\u0000x"]}]}`:        `line 1, column 62: "/\x00x" has a NUL`,
		`{"pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["${a"]}]}`:             `line 1, column 62: "${a" has a ${ without a }`,
		`{"pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["x${}"]}]}`:            `line 1, column 62: "x${}": "" is no name of a variable`,
		`{"pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["${1a}"]}]}`:           `line 1, column 62: "${1a}": "1a" is no name`,
		`{"pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["${a-b}"]}]}`:          `line 1, column 62: "${a-b}": "a-b" is no name`,
		`{"pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["/\ud800"]}]}`:         `line 1, column 62: the text has half of a surrogate pair`,
		`{"pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["/\ude00\ud83d"]}]}`:   `line 1, column 62: the text has half`,
		`{"pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["/\ud83d\u0041"]}]}`:   `line 1, column 62: the text has half`,
		"{\"pathBeneath\": [{\"allowedAccess\": [\"read_file\"], \"parent\": [\"/\xff\"]}]}": `line 1, column 64: the text is not UTF-8`,
		`{"netPort": [{"allowedAccess": ["bind_tcp"], "port": [-1]}]}`:                       `line 1, column 55: "-1" is no port`,
		`{"netPort": [{"allowedAccess": ["bind_tcp"], "port": [80, 1.5]}]}`:                  `line 1, column 59: "1.5" is no port`,
		`{"netPort": [{"allowedAccess": ["bind_tcp"], "port": ["80"]}]}`:                     `line 1, column 55: the text "80", where the number of a port has to be`,
		`{"netPort": [{"allowedAccess": ["bind_tcp"], "port": [18446744073709551616]}]}`:     `line 1, column 55: "18446744073709551616" is no port`,
		`{"netPort": [{"allowedAccess": ["bind_tcp"], "ports": [80]}]}`:                      `line 1, column 46: unknown key "ports": known are allowedAccess, port`,
		`{"variable": [{"literal": ["x"]}]}`:                                                 `line 1, column 15: the key "name" is missing, or empty`,
		"{\"abi\":\r\n\t0}":                                                                  `line 2, column 2: "0" is no ABI`,
		`{"abi": 99999999999}`:                                                               `line 1, column 9: "99999999999" is no ABI`,
		"{\"abi\": 4,\r\n\t\"ruleset\": [\r\n{\"scoped\": [\r\n  \"x\"]}]}":                  `line 4, column 3: "x" is not a scope`,
		"\ufeff{}": `line 1, column 1: invalid character`,
		`{"ü`:      `line 1, column 3: unexpected end`,
		`{"abi`:    `line 1, column 5: unexpected end`,
		`{"variable": [{"name": "a", "literal": ["\ud83d\ude00\ud800"]}]}`:              `line 1, column 41: the text has half of a surrogate pair`,
		"{\"variable\": [{\"name\": \"\ufffd\xff\"}]}":                                  `line 1, column 26: the text is not UTF-8`,
		`{"ruleset": [{"scoped": ["x"], "handledAccessFs": ["y"]}, {"scoped": ["z"]}]}`: `line 1, column 52: "y" is not`,
		`{"variable": [{"name": "ä"}]}`:                                                 `line 1, column 24: "ä" is no name`,
		`{"variable": [{"name": "a", "literal": []}]}`:                                  `line 1, column 40: an empty array`,
		`{"variable": [{"name": "a", "literal": ["ü", "\u0000"]}]}`:                     `line 1, column 46: "\x00" has a NUL`,
		"{\"abi\":\n\t4,\n\t\"ruleset\": [\n\t\t{\"scoped\": [\"ü\", \"x\"]}\n\t]\n}":   `line 4, column 15: "ü" is not a scope`,
	} {
		_, err := policy.Parse([]byte(text))
		wrong, ok := errors.AsType[*policy.Error](err)
		switch {
		case err == nil || !strings.HasPrefix(err.Error(), "policy: "+want):
			t.Errorf("%s\n%v, want\n%s", text, err, want)
		case !ok || wrong.Line == 0 || wrong.Column == 0 || !errors.Is(err, fs.ErrInvalid):
			t.Errorf("%s\n%#v", text, err)
		case json.Unmarshal([]byte(text), new(policy.Document)) == nil:
			t.Errorf("encoding/json takes %s", text)
		}
	}
	for text, want := range map[string]string{
		`{"abi": 4,}`: "", `{"abi": 4, "x": 1}`: "", `{"variable": [{"name": "a", "foo": 1}]}`: "variable[0]", `{"ruleset": [{"scoped": ["signal"], "scoped": 1}]}`: "ruleset[0]",
		`{"ruleset": [{"scoped": ["x"]}]}`: "ruleset[0].scoped[0]", `{"ruleset": [{"scoped": ["signal", 1]}]}`: "ruleset[0].scoped[1]", `{"netPort": 1}`: "netPort", `[]`: "",
	} {
		_, err := policy.Parse([]byte(text))
		if wrong, ok := errors.AsType[*policy.Error](err); !ok || wrong.Where != want {
			t.Errorf("%s is wrong at %q, want %q", text, wrong.Where, want)
		}
	}
}

// What Parse takes, and cannot be a ruleset.
func TestRulesetErrors(t *testing.T) {
	for text, want := range map[string]string{
		`{"variable": [{"name": "a", "literal": ["x"]}]}`:                                                                                               "the document handles no right at all",
		`{"abi": 3, "ruleset": [{"scoped": ["abi.all"]}]}`:                                                                                              "the document handles no right at all",
		`{"pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["/${home}"]}]}`:                                                                   `line 1, column 62: "/${home}": no variable "home" is declared, nor any other`,
		`{"variable": [{"name": "b"}, {"name": "a", "literal": ["x"]}], "pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["${b}/${home}"]}]}`: `line 1, column 124: "${b}/${home}": no variable "home" is declared: there are a, b`,
		"{\"pathBeneath\": [{\"allowedAccess\": [\"read_file\"],\n\t\"parent\": [\"ü\", \"/./${a}\", \"$${a}${b}\"]}]}":                                 `line 2, column 18: "/./${a}": no variable "a"`,
		`{"netPort": [{"allowedAccess": ["bind_tcp"], "port": [80, 65536]}]}`:                                                                           "line 1, column 59: 65536 is no port: must be 0 to 65535",
	} {
		r, err := mustParse(t, text).Ruleset()
		if err == nil || r != nil || !strings.Contains(err.Error(), want) || !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s\n%v, %v, want %s", text, r, err, want)
		}
	}
}

// An error of Ruleset names a place where the fault is now.
func TestPlaces(t *testing.T) {
	refused := func(want string, d *policy.Document) {
		t.Helper()
		if _, err := d.Ruleset(); err == nil || !strings.HasPrefix(err.Error(), "policy: "+want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"a.json": "{\"ruleset\": [{\"handledAccessNet\": [\"bind_tcp\"]}],\n \"netPort\": [{\"allowedAccess\": [\"bind_tcp\"], \"port\": [70000]}, {\"allowedAccess\": [\"connect_tcp\"], \"port\": [70000]}]}",
		"b.json": "{\"ruleset\": [{\"handledAccessNet\": [\"bind_tcp\"]}],\n\n \"netPort\": [{\"allowedAccess\": [\"connect_tcp\"], \"port\": [70000]}]}",
	})
	read := func(name string) *policy.Document { return must(policy.ReadFile(filepath.Join(dir, name))) }
	a := filepath.Join(dir, "a.json")
	refused(a+":2:55: 70000 is no port", read("a.json"))
	refused(a+":2:55: 70000 is no port", must(policy.Compose(read("b.json"), read("a.json"))))
	refused(a+":2:108: 70000 is no port", must(policy.Compose(read("a.json"), mustParse(t, `{"ruleset": [{"handledAccessNet": ["connect_tcp"]}]}`))))
	mended := read("a.json")
	mended.NetPorts[0].Ports[0] = 80
	refused(a+":2:108: 70000 is no port", mended)
	mended.NetPorts[1].Ports[0] = 80
	mustRuleset(t, mended)
	refused(filepath.Join(dir, "b.json")+":3:58: 70000 is no port", must(policy.Compose(read("b.json"), mended)))
	moved := read("b.json")
	moved.NetPorts = append([]policy.NetPort{{AllowedAccess: []string{"bind_tcp"}, Ports: []uint64{1}}}, moved.NetPorts...)
	refused("netPort[1].port[0]: 70000 is no port", moved)

	write(t, dir, map[string]string{
		"c.json": "{\"pathBeneath\": [{\"allowedAccess\": [\"read_file\"],\n \"parent\": [\"${x}\", \"${y}\"]}]}", "d.json": `{"ruleset": [{"handledAccessFs": ["read_file"]}], "variable": [{"name": "x"}]}`,
		"e.json": `{"ruleset": [{"handledAccessFs": ["read_file"]}], "variable": [{"name": "y"}]}`,
	})
	refused(filepath.Join(dir, "c.json")+`:2:21: "${y}"`, must(policy.Compose(must(policy.Compose(read("c.json"), read("d.json"))), read("d.json"))))
	checkLaws(t, read("c.json"), read("d.json"))
	checkLaws(t, read("c.json"), read("d.json"), read("e.json"))
	checkLaws(t, read("a.json"), read("b.json"), read("c.json"))

	// Of several documents without a name it is the place in what they make.
	first := mustParse(t, `{"pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["${x}"]}]}`)
	second := mustParse(t, `{"ruleset": [{"handledAccessFs": ["read_file"]}], "pathBeneath": [{"allowedAccess": ["execute"], "parent": ["/usr"]}]}`)
	third := mustParse(t, `{"ruleset": [{"handledAccessFs": ["read_file", "execute"]}]}`)
	refused(`line 1, column 62: "${x}"`, first)
	refused(`pathBeneath[0].parent[0]: "${x}"`, must(policy.Compose(first, second)))
	first.Rulesets = third.Rulesets
	refused(`pathBeneath[1].parent[0]: "${x}"`, must(policy.Compose(first, second)))
}

// A Document that is not parsed is held to the same, by the place in it.
func TestDocumentErrors(t *testing.T) {
	rule := policy.PathBeneath{AllowedAccess: []string{"read_file"}, Parents: []string{"/"}}
	large := math.MaxInt32
	large++ // or the lowest, where an int has 32 bits
	for want, d := range map[string]*policy.Document{
		"policy: nil Document":                                        nil,
		"policy: the document says nothing: needs":                    {},
		fmt.Sprintf("policy: abi: %d is no ABI", large):               {ABI: new(large), PathsBeneath: []policy.PathBeneath{rule}},
		"policy: ruleset[0].handledAccessNet: an empty array":         {Rulesets: []policy.Handled{{AccessNet: []string{}}}},
		"policy: ruleset[0].scoped: an empty array":                   {Rulesets: []policy.Handled{{Scoped: []string{}}}},
		"policy: netPort[0]: the key \"port\" is missing":             {NetPorts: []policy.NetPort{{AllowedAccess: []string{"bind_tcp"}}}},
		"policy: netPort[0].port: an empty array":                     {NetPorts: []policy.NetPort{{AllowedAccess: []string{"bind_tcp"}, Ports: []uint64{}}}},
		"policy: pathBeneath[0].parent: an empty array":               {PathsBeneath: []policy.PathBeneath{{AllowedAccess: []string{"execute"}, Parents: []string{}}}},
		"policy: variable[0].name: \"1\" is no name":                  {Variables: []policy.Variable{{Name: "1"}, {Name: "2"}}},
		"policy: variable[0].literal[1]: \"\\xff\" is not UTF-8":      {Variables: []policy.Variable{{Name: "zZ9_", Literals: []string{"", "\xff"}}}},
		"policy: abi: 0 is no ABI":                                    {ABI: new(0), PathsBeneath: []policy.PathBeneath{rule}},
		"policy: abi: -5 is no ABI":                                   {ABI: new(-5), PathsBeneath: []policy.PathBeneath{rule}},
		"policy: netPort: an empty array":                             {NetPorts: []policy.NetPort{}, PathsBeneath: []policy.PathBeneath{rule}},
		"policy: variable[0].literal: an empty":                       {Variables: []policy.Variable{{Name: "a", Literals: []string{}}}},
		"policy: variable[1]: the key \"name\" is missing, or empty":  {Variables: []policy.Variable{{Name: "a"}, {}}},
		"policy: ruleset[0]: nothing is handled":                      {Rulesets: []policy.Handled{{}}},
		"policy: pathBeneath[1]: the key \"parent\" is missing":       {PathsBeneath: []policy.PathBeneath{rule, {AllowedAccess: []string{"execute"}}}},
		"policy: pathBeneath[0].parent[1]: \"/\\xff\" is not UTF-8":   {PathsBeneath: []policy.PathBeneath{{AllowedAccess: []string{"execute"}, Parents: []string{"/", "/\xff"}}}},
		"policy: pathBeneath[0].allowedAccess[0]: \"x\" is not":       {PathsBeneath: []policy.PathBeneath{{AllowedAccess: []string{"x"}, Parents: []string{"/"}}}},
		"policy: pathBeneath[0].parent[0]: \"\\x00\" has a NUL":       {PathsBeneath: []policy.PathBeneath{{AllowedAccess: []string{"execute"}, Parents: []string{"\x00"}}}},
		"policy: netPort[0]: the key \"allowedAccess\" is missing":    {NetPorts: []policy.NetPort{{Ports: []uint64{80}}}},
		"policy: ruleset[0].scoped[0]: \"abi.all\" stands for rights": {Rulesets: []policy.Handled{{Scoped: []string{"abi.all"}}}},
		"policy: pathBeneath[0].parent[1]: \"${a}\": no variable":     {PathsBeneath: []policy.PathBeneath{{AllowedAccess: []string{"execute"}, Parents: []string{"/", "${a}"}}}},
		"policy: netPort[0].port[1]: 70000 is no port: must be":       {NetPorts: []policy.NetPort{{AllowedAccess: []string{"bind_tcp"}, Ports: []uint64{80, 70000}}}},
	} {
		if r, err := d.Ruleset(); r != nil || err == nil || !strings.HasPrefix(err.Error(), want) || !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%v, want %s", err, want)
		}
		_, err := policy.Compose(d)
		if open := strings.Contains(want, "no variable") || strings.Contains(want, "70000"); open != (err == nil) {
			t.Errorf("Compose: %v, want %s", err, want)
		}
	}
}

// A small text makes no large ruleset.
func TestBounds(t *testing.T) {
	variable := func(name string, literals int, length int) string {
		var all []string
		for i := range literals {
			all = append(all, fmt.Sprintf("%q", strings.Repeat("x", length)+fmt.Sprint(i)))
		}
		return fmt.Sprintf(`{"name": %q, "literal": [%s]}`, name, strings.Join(all, ","))
	}
	document := func(parent string, variables ...string) string {
		variables = append(variables, `{"name": "unused"}`)
		return fmt.Sprintf(`{"variable": [%s], "pathBeneath": [{"allowedAccess": ["read_file"], "parent": [%s]}]}`, strings.Join(variables, ","), parent)
	}
	many := fmt.Sprintf("more than %d paths", policy.MaxPaths)
	for name, test := range map[string]struct{ text, want string }{
		"a million":               {document(`"/${a}${a}${a}${a}${a}${a}"`, variable("a", 10, 0)), many},
		"more than fits":          {document(`"/`+strings.Repeat("${a}", 1000)+`"`, variable("a", 10, 0)), many},
		"by more than an int has": {document(`"/${a}${a}${b}"`, variable("a", 256, 0), variable("b", 32_768, 0)), many},
		"a byte too long":         {document(`"/` + strings.Repeat("x", 4095) + `"`), "more than 4095 bytes"},
		"a byte too long, by one": {document(`"/${a}"`, variable("a", 1, 4094)), "more than 4095 bytes"},
		"a byte too long, by two": {document(`"/${a}"`, variable("a", 2, 4094)), "more than 4095 bytes"},
		"much, by two":            {document(`"/1${a}${a}${b}","/2${a}${a}${b}"`, variable("a", 60, 0), variable("b", 1, 4000)), "more than 16777216 bytes"},
		"several parents":         {document(`"/1${a}${a}","/2${a}${a}"`, variable("a", 200, 0)), many},
		"long":                    {document(`"/`+strings.Repeat("${a}", 500)+`"`, variable("a", 1, 10)), "more than 4095 bytes"},
		"long, by two":            {document(`"/`+strings.Repeat("${a}", 5)+`"`, variable("a", 2, 1000)), "more than 4095 bytes"},
		"much":                    {document(`"/${a}${a}${b}"`, variable("a", 200, 0), variable("b", 1, 4000)), "more than 16777216 bytes"},
	} {
		r, err := mustParse(t, test.text).Ruleset()
		if err == nil || r != nil || !strings.Contains(err.Error(), test.want) || len(err.Error()) > 1000 {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
	for name, text := range map[string]string{
		"as many as may be":         document(`"/${a}${a}"`, variable("a", 256, 0)),
		"as long as may be":         document(`"/` + strings.Repeat("x", 4094) + `"`),
		"as long as may be, by one": document(`"/${a}"`, variable("a", 1, 4093)),
		"as long as may be, by two": document(`"/${a}"`, variable("a", 2, 4093)),
		"much":                      document(`"/1${a}${a}${b}"`, variable("a", 60, 0), variable("b", 1, 4000)),
		"many empty ones":           document(`"/${a}${a}`+strings.Repeat("${b}", 200_000)+`"`, variable("a", 256, 0), `{"name": "b", "literal": [""]}`),
		"nothing of a million":      document(`"${none}${a}${a}${a}${a}${a}${a}"`, variable("a", 10, 0), `{"name": "none"}`),
	} {
		if _, err := mustParse(t, text).Ruleset(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	full := `{"ruleset": [{"scoped": ["signal"]}]}`
	full += strings.Repeat(" ", policy.MaxSize-len(full))
	if _, err := mustParse(t, full).Ruleset(); err != nil {
		t.Errorf("a text as large as may be: %v", err)
	}
	large := full + " "
	if _, err := policy.Parse([]byte(large)); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("more than %d bytes", policy.MaxSize)) {
		t.Errorf("a large text: %v", err)
	}
	names := variable("v0", 1, 0)
	for i := range 100 {
		names += "," + variable(fmt.Sprint("v", i, strings.Repeat("x", 1000)), 1, 0)
	}
	number := `{"ruleset": [{"scoped": [1` + strings.Repeat("0", 100_000) + `]}]}`
	_, numberErr := policy.Parse([]byte(number))
	_, nameErr := mustParse(t, document(`"${`+strings.Repeat("n", 100_000)+`}"`, names)).Ruleset()
	for _, err := range []error{numberErr, nameErr} {
		if err == nil || len(err.Error()) > 8000 {
			t.Errorf("an error of %d bytes", len(fmt.Sprint(err)))
		}
	}
	deep := strings.Repeat(`{"ruleset":[`, 100_000)
	if _, err := policy.Parse([]byte(deep)); err == nil {
		t.Error("a deep text is taken")
	}
}

func TestOf(t *testing.T) {
	for _, r := range []*landlock.Ruleset{
		landlock.New(landlock.V11).AllowOptional(landlock.FSReadExecute, "/usr", "/bin", "$HOME/${x}", "rel/./ative//", "/"),
		landlock.New(landlock.V4).AllowNet(landlock.NetBindTCP|landlock.NetConnectTCP, 443).AllowBindTCP(80, 0, 65535).AllowConnectTCP(443),
		landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).AllowOptional(landlock.FSReadFile, "/etc").AllowOptional(landlock.FSReadFile, "/etc/"),
		landlock.NewHandling(landlock.Rights{Scope: landlock.ScopeSignal}),
		landlock.NewHandling(landlock.Rights{Net: landlock.NetBindTCP}).AllowNet(landlock.NetBindTCP|landlock.NetConnectTCP, 80),
	} {
		d, err := policy.Of(r)
		if err != nil {
			t.Errorf("%v: %v", r, err)
			continue
		}
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		again := mustParse(t, string(text))
		if !reflect.DeepEqual(again, d) {
			t.Errorf("%s is another document", text)
		}
		back := mustRuleset(t, again)
		if back.Handled() != r.Handled() {
			t.Errorf("%v: handled is %v", r, back.Handled())
		}
		if of, err := policy.Of(back); err != nil || !reflect.DeepEqual(of, d) {
			t.Errorf("%s: of its ruleset: %v, %v", text, of, err)
		}
	}
	ports := must(policy.Of(landlock.New(landlock.V4).AllowConnectTCP(443).AllowBindTCP(443, 80))).NetPorts
	if want := []policy.NetPort{{AllowedAccess: []string{"bind_tcp"}, Ports: []uint64{80}}, {AllowedAccess: []string{"bind_tcp", "connect_tcp"}, Ports: []uint64{443}}}; !reflect.DeepEqual(ports, want) {
		t.Errorf("ports: %v, want %v", ports, want)
	}
	d := must(policy.Of(landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).
		AllowReadWrite("/a$b", "/${c}").Allow(landlock.FSReadFile, "/a$b//").AllowExecute("d/./")))
	got := document(t, string(must(json.Marshal(d))))
	want := lines("fs.read_file,fs.refer", "/${c}: read_file,refer", "/a$b: read_file,refer", "d: read_file")
	if got != want {
		t.Errorf("what is not handled: got\n%s\nwant\n%s", got, want)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// What the format has no words for is named, all of it.
func TestOfErrors(t *testing.T) {
	file, err := os.Open(".")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	judge := func(*os.File) error { return nil }
	r := landlock.New(landlock.V10).BestEffort(4).FilterSockets().Log(landlock.LogNewExecOn).QuietScope(landlock.ScopeSignal).AllowNewPrivs().
		AllowFile(landlock.FSRead, file).AllowIf(landlock.FSRead, judge, "/judged").Quiet(landlock.FSRead, "/quiet").QuietNet(landlock.NetBindTCP, 81).
		AllowRead("/\xff", "/fine")
	_, err = policy.Of(r)
	for _, want := range []string{"BestEffort(4)", "FilterSockets()", "Log(log_new_exec_on)", "QuietScope(signal)", "AllowNewPrivs()",
		`AllowFile(landlock.FSRead, ".")`, `"/judged"`, `Quiet(landlock.FSRead, "/quiet")`, "QuietNet(landlock.NetBindTCP, 81)", `"/\xff"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	if err == nil || strings.Contains(err.Error(), "/fine") || len(landlock.All[*policy.Error](err)) != 10 || !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("%v", err)
	}
	for _, r := range []*landlock.Ruleset{nil, landlock.New(0), new(landlock.Ruleset), landlock.New(landlock.V1).AllowRead("")} {
		if d, err := policy.Of(r); err == nil || d != nil || !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%v: %v, %v", r, d, err)
		}
	}
	many, wide := landlock.New(landlock.V1), landlock.New(landlock.V1)
	for i := range policy.MaxPaths + 1 {
		many.AllowRead(fmt.Sprint(i))
		if i < 50 {
			wide.AllowRead(strings.Repeat("<", 4000) + fmt.Sprint(i)) // which JSON escapes
		}
	}
	for want, r := range map[string]*landlock.Ruleset{
		"more than 65536 paths": many, "bytes in JSON, and may have 1048576": wide,
		"more than 4095 bytes": landlock.New(landlock.V1).AllowRead("/" + strings.Repeat("x", 4095)),
	} {
		if d, err := policy.Of(r); d != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		testenv.Write(t, filepath.Join(dir, name), text)
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"good.json": `{"ruleset": [{"scoped": ["signal"]}]}`, "bad.json": "{\n \"x\": 1}", "large.json": strings.Repeat(" ", policy.MaxSize+1),
	})
	d, err := policy.ReadFile(filepath.Join(dir, "good.json"))
	if err != nil || mustRuleset(t, d).Handled().Scope != landlock.ScopeSignal {
		t.Errorf("%v, %v", d, err)
	}
	bad := filepath.Join(dir, "bad.json")
	_, err = policy.ReadFile(bad)
	if wrong, ok := errors.AsType[*policy.Error](err); !ok || wrong.Name != bad || wrong.Line != 2 || wrong.Column != 2 ||
		!strings.HasPrefix(err.Error(), "policy: "+bad+`:2:2: unknown key "x"`) {
		t.Errorf("%v", err)
	}
	if _, err = policy.ReadFile(filepath.Join(dir, "large.json")); err == nil || !strings.Contains(err.Error(), "large.json: more than 1048576 bytes") {
		t.Errorf("%v", err)
	}
	if _, err = policy.ReadFile(filepath.Join(dir, "none.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err = policy.ReadFile(dir); err == nil {
		t.Error("a directory is a file")
	}
}

func TestReadDir(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"10.json":      `{"abi": 5, "ruleset": [{"handledAccessFs": ["abi.all"]}], "pathBeneath": [{"allowedAccess": ["abi.read_write"], "parent": ["/srv/${name}"]}]}`,
		"20.json":      `{"abi": 3, "ruleset": [{"handledAccessFs": ["abi.all"]}], "variable": [{"name": "name", "literal": ["a", "b"]}]}`,
		".hidden.json": "x", "notes.txt": "x", "10.json~": "x", "policy.toml": "x", ".json": "x",
	})
	if err := os.Mkdir(filepath.Join(dir, "directory.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	os.Symlink("notes.txt", filepath.Join(dir, "link.json"))
	d, err := policy.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	rw := landlock.V3.FS() &^ landlock.FSExecute
	handled := landlock.Rights{FS: landlock.V3.FS()}
	if got, want := says(mustRuleset(t, d)), lines(handled.String(), "/srv/a: "+rw.String(), "/srv/b: "+rw.String()); got != want || *d.ABI != 3 {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	lost := d.Lost()
	if d.Lost()[0].File = ""; len(lost) != 1 || lost[0] != (policy.Loss{File: filepath.Join(dir, "10.json"), Rights: landlock.Rights{FS: landlock.FSIoctlDev}}) ||
		lost[0].String() != lost[0].File+": fs.ioctl_dev not restricted, since another document does not handle it" {
		t.Errorf("lost: %v", lost)
	}
	write(t, dir, map[string]string{"40.json": "{\"ruleset\": [{\"handledAccessFs\": [\"execute\"]}],\n \"pathBeneath\": [{\"allowedAccess\": [\"execute\"], \"parent\": [\"${name}\", \"${none}\"]}]}"})
	d, err = policy.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Ruleset(); err == nil || err.Error() != "policy: "+filepath.Join(dir, "40.json")+`:2:71: "${none}": no variable "none" is declared: there are name` {
		t.Errorf("a variable that no file declares: %v", err)
	}
	write(t, dir, map[string]string{"05.json": "{", "30.json": "{}"})
	_, err = policy.ReadDir(dir)
	if all := landlock.All[*policy.Error](err); len(all) != 2 || all[0].Name != filepath.Join(dir, "05.json") || all[1].Name != filepath.Join(dir, "30.json") {
		t.Errorf("%v", err)
	}
	if _, err := policy.ReadDir(t.TempDir()); err == nil || !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("an empty directory: %v", err)
	}
	large := t.TempDir()
	write(t, large, map[string]string{"1.json": strings.Repeat(" ", policy.MaxSize+1)})
	if _, err := policy.ReadDir(large); err == nil || !strings.Contains(err.Error(), "1.json: more than 1048576 bytes") {
		t.Errorf("one that is too large: %v", err)
	}
	bad := t.TempDir()
	write(t, bad, map[string]string{"1.json": "{"})
	if _, err := policy.ReadDir(bad); err == nil || !strings.Contains(err.Error(), "1.json:1:1: unexpected end") {
		t.Errorf("one that is wrong: %v", err)
	}
	if _, err := policy.ReadDir(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	wrong := t.TempDir()
	write(t, wrong, map[string]string{"1.json": strings.Repeat(" ", policy.MaxSize/2+1) + "x", "2.json": strings.Repeat(" ", policy.MaxSize/2), "3.json": "x"})
	if _, err := policy.ReadDir(wrong); len(landlock.All[*policy.Error](err)) != 2 || !strings.Contains(err.Error(), "2.json: more than 1048576 bytes") {
		t.Errorf("more than there may be, and wrong: %v", err)
	}
	many := t.TempDir()
	write(t, many, map[string]string{"1.json": strings.Repeat(" ", policy.MaxSize/2) + `{"ruleset": [{"scoped": ["signal"]}]}`, "2.json": strings.Repeat(" ", policy.MaxSize/2) + "x", "3.json": "x"})
	if _, err := policy.ReadDir(many); len(landlock.All[*policy.Error](err)) != 1 || !strings.Contains(err.Error(), "2.json: more than 1048576 bytes") {
		t.Errorf("more than there may be: %v", err)
	}
}

func TestCompose(t *testing.T) {
	for name, test := range map[string]struct {
		documents []string
		want      string
		lost      landlock.Rights
	}{
		"ABIs": {[]string{
			`{"abi": 4, "ruleset": [{"handledAccessFs": ["abi.all"], "handledAccessNet": ["abi.all"], "scoped": ["abi.all"]}]}`,
			`{"abi": 6, "pathBeneath": [{"allowedAccess": ["abi.all"], "parent": ["a"]}], "netPort": [{"allowedAccess": ["abi.all"], "port": [1]}]}`},
			lines(landlock.V4.Rights().String(), "1: bind_tcp,connect_tcp", "a: "+landlock.V4.FS().String()), landlock.Rights{FS: landlock.FSIoctlDev}},
		"what one does not handle is free": {[]string{
			`{"ruleset": [{"handledAccessFs": ["read_file"]}], "pathBeneath": [{"allowedAccess": ["execute"], "parent": ["a"]}]}`,
			`{"pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["a", "b"]}]}`},
			lines("fs.read_file", "a: read_file", "b: read_file"), landlock.Rights{FS: landlock.FSExecute}},
		"variables of each other": {[]string{
			`{"ruleset": [{"handledAccessFs": ["read_file"]}], "variable": [{"name": "x", "literal": ["a", "b"]}], "pathBeneath": [{"allowedAccess": ["execute"], "parent": ["${x}"]}]}`,
			`{"ruleset": [{"handledAccessFs": ["execute"]}], "variable": [{"name": "x"}], "pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["${x}", "$${x}/${x}"]}]}`},
			lines("fs.execute,fs.read_file", "${x}/a: read_file", "${x}/b: read_file", "a: execute,read_file", "b: execute,read_file"), landlock.Rights{}},
		"refer, as long as other rights are handled": {[]string{
			`{"abi": 3, "ruleset": [{"handledAccessFs": ["abi.all"]}], "pathBeneath": [{"allowedAccess": ["refer", "read_file"], "parent": ["a"]}]}`,
			`{"ruleset": [{"handledAccessFs": ["read_file"]}]}`},
			lines("fs.read_file", "a: read_file"), landlock.Rights{FS: landlock.V3.FS() &^ (landlock.FSReadFile | landlock.FSRefer)}},
		"a variable that another declares": {[]string{
			`{"pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["${x}/a"]}]}`,
			`{"ruleset": [{"handledAccessFs": ["read_file"]}], "variable": [{"name": "x", "literal": ["/y", "/z"]}]}`},
			lines("fs.read_file", "/y/a: read_file", "/z/a: read_file"), landlock.Rights{}},
		"what no ruleset could have, and that is not handled": {[]string{
			`{"ruleset": [{"scoped": ["signal"]}], "netPort": [{"allowedAccess": ["bind_tcp"], "port": [70000]}], "pathBeneath": [{"allowedAccess": ["execute"], "parent": ["${x}"]}]}`,
			`{"ruleset": [{"scoped": ["signal"]}]}`},
			"scope.signal", landlock.Rights{FS: landlock.FSExecute | landlock.FSRefer, Net: landlock.NetBindTCP}},
		"refer, of one that does not name it": {[]string{
			`{"ruleset": [{"handledAccessFs": ["read_dir"], "handledAccessNet": ["bind_tcp"]}]}`, `{"ruleset": [{"handledAccessNet": ["bind_tcp"]}]}`},
			"net.bind_tcp", landlock.Rights{FS: landlock.FSReadDir | landlock.FSRefer}},
		"refer, once no right is": {[]string{
			`{"ruleset": [{"handledAccessFs": ["read_file", "refer"], "scoped": ["signal"]}]}`, `{"ruleset": [{"handledAccessFs": ["read_file"], "scoped": ["signal"]}]}`,
			`{"ruleset": [{"scoped": ["signal"]}]}`},
			"scope.signal", landlock.Rights{FS: landlock.FSReadFile | landlock.FSRefer}},
		"of three": {[]string{
			`{"abi": 1, "ruleset": [{"handledAccessFs": ["abi.all"]}]}`, `{"ruleset": [{"handledAccessFs": ["execute", "read_file"], "scoped": ["signal"]}]}`,
			`{"abi": 2, "ruleset": [{"handledAccessFs": ["abi.read_execute"]}], "netPort": [{"allowedAccess": ["bind_tcp"], "port": [80]}]}`},
			"fs.execute,fs.read_file",
			landlock.Rights{FS: landlock.V1.FS() &^ (landlock.FSExecute | landlock.FSReadFile), Net: landlock.NetBindTCP, Scope: landlock.ScopeSignal}},
	} {
		t.Run(name, func(t *testing.T) {
			var documents []*policy.Document
			for _, text := range test.documents {
				documents = append(documents, mustParse(t, text))
			}
			d, err := policy.Compose(documents...)
			if err != nil {
				t.Fatal(err)
			}
			if got := says(mustRuleset(t, d)); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
			var lost landlock.Rights
			for _, loss := range d.Lost() {
				lost = loss.Rights
			}
			if lost != test.lost {
				t.Errorf("lost %v, want %v", lost, test.lost)
			}
			checkLaws(t, documents...)
		})
	}
}

func TestComposeErrors(t *testing.T) {
	if d, err := policy.Compose(); err == nil || d != nil {
		t.Errorf("nothing: %v, %v", d, err)
	}
	good := mustParse(t, `{"ruleset": [{"scoped": ["signal"]}]}`)
	_, err := policy.Compose(good, nil, &policy.Document{Rulesets: []policy.Handled{{}}})
	if all := landlock.All[*policy.Error](err); len(all) != 2 || err.Error() != "policy: document 2: nil Document\npolicy: document 3: ruleset[0]: nothing is handled: "+
		"needs one of the keys handledAccessFs, handledAccessNet and scoped" {
		t.Errorf("%v", err)
	}
	checkLaws(t, good, mustParse(t, `{"ruleset": [{"handledAccessFs": ["execute"]}]}`))
	checkLaws(t, mustParse(t, `{"abi": 3, "ruleset": [{"scoped": ["abi.all"]}]}`))
	nothing, err := policy.Compose(good, mustParse(t, `{"variable": [{"name": "a", "literal": ["x"]}]}`))
	if err != nil || len(nothing.Lost()) != 1 {
		t.Errorf("%v, %v", nothing, err)
	}
	if _, err := nothing.Ruleset(); err == nil || !strings.Contains(err.Error(), "handles no right at all") {
		t.Errorf("a ruleset of nothing: %v", err)
	}
}

// handled returns the words of all rights that a document handles.
func handled(d *policy.Document) (words []string) {
	for _, h := range must(policy.Compose(d)).Rulesets {
		words = slices.Concat(h.AccessFS, h.AccessNet, h.Scoped)
	}
	return words
}

// The name of a file makes no second line.
func TestNames(t *testing.T) {
	name := "a\nb"
	for want, text := range map[string]string{
		`policy: "a\x9b": x`:    (&policy.Error{Name: "a\x9b", Err: errors.New("x")}).Error(),
		`policy: "a\nb": x`:     (&policy.Error{Name: name, Err: errors.New("x")}).Error(),
		`policy: "a\nb":1:2: x`: (&policy.Error{Name: name, Line: 1, Column: 2, Where: "abi", Err: errors.New("x")}).Error(),
		`"a\nb": fs.execute not restricted, since another document does not handle it`: policy.Loss{File: name, Rights: landlock.Rights{FS: landlock.FSExecute}}.String(),
	} {
		if text != want {
			t.Errorf("%s, want %s", text, want)
		}
	}
}

// checkLaws checks that composition does not depend on order, nor on how it is done.
func checkLaws(t *testing.T, documents ...*policy.Document) {
	t.Helper()
	whole := must(policy.Compose(documents...))
	same := func(what string, d *policy.Document) {
		t.Helper()
		if !reflect.DeepEqual(d, whole) {
			t.Errorf("%s: %s\nwant %s", what, must(json.Marshal(d)), must(json.Marshal(whole)))
		}
	}
	reversed := slices.Clone(documents)
	slices.Reverse(reversed)
	same("reversed", must(policy.Compose(reversed...)))
	same("with itself", must(policy.Compose(whole, whole)))
	same("twice", must(policy.Compose(append(reversed, documents...)...)))
	first, last := documents[0], documents[0]
	for i := range documents {
		first = must(policy.Compose(first, documents[i]))
		last = must(policy.Compose(documents[len(documents)-1-i], last))
	}
	same("from the first", first)
	same("from the last", last)
	if text := must(json.Marshal(whole)); len(whole.Rulesets) > 0 {
		again := mustParse(t, string(text))
		if _, err := whole.Ruleset(); err == nil && whole.Lost() == nil && !reflect.DeepEqual(again, whole) {
			t.Errorf("%s: read from JSON it is not the same", text)
		}
		if must(json.Marshal(again)); !reflect.DeepEqual(must(policy.Compose(again)).Rulesets, whole.Rulesets) || string(must(json.Marshal(again))) != string(text) {
			t.Errorf("%s: by way of JSON it is another", text)
		}
	}
}

// randomDocument returns a document that is right, of few words and paths, so that
// several have some in common.
func randomDocument(random *rand.Rand) *policy.Document {
	pick := func(all ...string) []string {
		var some []string
		for range 1 + random.IntN(3) {
			some = append(some, all[random.IntN(len(all))])
		}
		return some
	}
	fsWords := []string{"read_file", "read_dir", "execute", "truncate", "resolve_unix", "abi.all", "abi.read_write", "abi.read_execute"}
	netWords := []string{"bind_tcp", "connect_tcp", "bind_udp", "abi.all"}
	d := &policy.Document{ABI: new(1 + random.IntN(12))}
	if random.IntN(3) == 0 { // without an ABI there are no groups
		d.ABI, fsWords, netWords = nil, fsWords[:5], netWords[:3]
	}
	for range random.IntN(3) {
		d.Variables = append(d.Variables, policy.Variable{Name: pick("a", "b", "c")[0], Literals: pick("", "/", "x", "/y", "$", "${a}", "z/.")})
	}
	d.Variables = append(d.Variables, policy.Variable{Name: "a"}, policy.Variable{Name: "b", Literals: []string{"b", "."}}, policy.Variable{Name: "c"})
	for range random.IntN(3) {
		d.Rulesets = append(d.Rulesets, policy.Handled{AccessFS: pick(fsWords...), AccessNet: pick(netWords...), Scoped: pick("signal", "abstract_unix_socket")})
	}
	for range random.IntN(4) {
		d.PathsBeneath = append(d.PathsBeneath, policy.PathBeneath{AllowedAccess: pick(fsWords...),
			Parents: pick("/", "/x", "/x/.", "${a}", "${a}/1", "${a}2", "${b}/", "${b}${c}", "${c}${b}/${a}x", "$${a}", "/$", "/$$", "$$$${c}$", "./${a}/${b}", "", "a")})
	}
	for range random.IntN(3) {
		d.NetPorts = append(d.NetPorts, policy.NetPort{AllowedAccess: pick(netWords...), Ports: []uint64{uint64(random.IntN(3)), 80}})
	}
	return d
}

// naive is what a document says, read in the plainest way: each path by itself, and a
// variable at a time.
func naive(d *policy.Document) string {
	var all landlock.Rights
	abi := landlock.ABI(0)
	if d.ABI != nil {
		abi = landlock.ABI(*d.ABI)
	}
	fsOf := func(words []string) (access landlock.AccessFS) {
		groups := map[string]landlock.AccessFS{"abi.all": abi.FS(), "abi.read_write": abi.FS() &^ landlock.FSExecute,
			"abi.read_execute": abi.FS() & (landlock.FSExecute | landlock.FSReadFile | landlock.FSReadDir | landlock.FSRefer)}
		for _, word := range words {
			right, isGroup := groups[word]
			if !isGroup {
				must(0, right.UnmarshalText([]byte(word)))
			}
			access |= right
		}
		all.FS |= access
		return access
	}
	netOf := func(words []string) (access landlock.AccessNet) {
		for _, word := range words {
			right := abi.Net()
			if word != "abi.all" {
				must(0, right.UnmarshalText([]byte(word)))
			}
			access |= right
		}
		all.Net |= access
		return access
	}
	for _, h := range d.Rulesets {
		fsOf(h.AccessFS)
		netOf(h.AccessNet)
		for _, word := range h.Scoped {
			var scope landlock.Scope
			must(0, scope.UnmarshalText([]byte(word)))
			all.Scope |= scope
		}
	}
	paths := map[string]landlock.AccessFS{}
	for _, b := range d.PathsBeneath {
		access := fsOf(b.AllowedAccess)
		for _, parent := range b.Parents {
			for _, path := range naivePaths(d, parent) {
				if path = naiveNormal(path); path != "" {
					paths[path] |= access
				}
			}
		}
	}
	ports := map[uint64]landlock.AccessNet{}
	for _, n := range d.NetPorts {
		access := netOf(n.AllowedAccess)
		for _, port := range n.Ports {
			ports[port] |= access
		}
	}
	var rules []string
	for path, access := range paths {
		rules = append(rules, fmt.Sprintf("%s: %v", path, access))
	}
	for port, access := range ports {
		if access != 0 {
			rules = append(rules, fmt.Sprintf("%d: %v", port, access))
		}
	}
	slices.Sort(rules)
	return lines(append([]string{all.String()}, rules...)...)
}

// naivePaths returns what a parent stands for, by way of its first $.
func naivePaths(d *policy.Document, parent string) (all []string) {
	before, after, found := strings.Cut(parent, "$")
	if !found {
		return []string{parent}
	}
	starts := []string{"$"}
	if rest, ok := strings.CutPrefix(after, "$"); ok {
		after = rest
	} else if name, rest, ok := strings.Cut(after, "}"); ok && name[0] == '{' {
		starts, after = nil, rest
		for _, v := range d.Variables {
			if v.Name == name[1:] {
				starts = append(starts, v.Literals...)
			}
		}
	}
	for _, end := range naivePaths(d, after) {
		for _, start := range starts {
			all = append(all, before+start+end)
		}
	}
	return all
}

// naiveNormal takes away what does not matter in a path, one after the other.
func naiveNormal(path string) string {
	for {
		shorter := strings.ReplaceAll(strings.ReplaceAll(path, "//", "/"), "/./", "/")
		if shorter != "/" {
			shorter = strings.TrimSuffix(shorter, "/")
		}
		if rest, ok := strings.CutSuffix(shorter, "/."); ok {
			shorter = rest + "/"
		}
		if shorter == path {
			return path
		}
		path = shorter
	}
}

// Documents compose as they should, and what they say survives being written down.
func TestRandomDocuments(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	handling := 0
	for range 300 {
		documents := []*policy.Document{randomDocument(random), randomDocument(random), randomDocument(random)}
		checkLaws(t, documents...)
		d := documents[0]
		if again := mustParse(t, string(must(json.Marshal(d)))); !reflect.DeepEqual(again, d) {
			t.Fatalf("%s is read as %s", must(json.Marshal(d)), must(json.Marshal(again)))
		}
		r, err := d.Ruleset()
		if err != nil {
			if len(handled(d)) > 0 {
				t.Fatalf("%s: %v", must(json.Marshal(d)), err)
			}
			continue
		}
		handling++
		if got, want := says(r), naive(d); got != want {
			t.Fatalf("%s: got\n%s\nwant\n%s", must(json.Marshal(d)), got, want)
		}
		for what, other := range map[string]*policy.Document{"Of": must(policy.Of(r)), "Compose": must(policy.Compose(d))} {
			if got, want := says(mustRuleset(t, other)), says(r); got != want {
				t.Fatalf("%s: by %s\n%s\nwant\n%s", must(json.Marshal(d)), what, got, want)
			}
		}
	}
	if handling < 150 {
		t.Errorf("%d of 300 handle something: this shows nothing", handling)
	}
}
