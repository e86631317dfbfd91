// Package policyformats tries policies in TOML and YAML, read by decoders that the
// library does not depend on: it is a module of its own, so that importers never see
// them. The functions are those of docs/policy.md.
package policyformats

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"go.yaml.in/yaml/v3"

	"example.com/landlock/policy"
)

var wrongInKey = regexp.MustCompile(`[^a-z_.]`)

func parseTOML(text string) (*policy.Document, error) {
	d := new(policy.Document)
	meta, err := toml.Decode(text, d)
	if err != nil {
		return nil, err
	}
	unknown := meta.Undecoded()
	for _, key := range meta.Keys() {
		if wrongInKey.MatchString(key.String()) { // the decoder takes keys in any case, and ſ for an s
			unknown = append(unknown, key)
		}
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("unknown keys %v", unknown)
	}
	return d, nil
}

var number = regexp.MustCompile(`^(0|[1-9][0-9]*)$`)

func parseYAML(text []byte) (*policy.Document, error) {
	var tree yaml.Node
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return nil, err
	}
	if err := onlyPlain(&tree); err != nil {
		return nil, err
	}
	d := new(policy.Document)
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(d); err != nil {
		return nil, err
	}
	if decoder.Decode(new(any)) != io.EOF {
		return nil, errors.New("more than one document")
	}
	return d, nil
}

// onlyPlain refuses what the decoder would change, such as 80.9, or drop, such as null,
// and aliases, by which a small text becomes a large one.
func onlyPlain(node *yaml.Node) error {
	if node.Kind == yaml.AliasNode || node.Kind == yaml.ScalarNode && node.ShortTag() != "!!str" && !number.MatchString(node.Value) {
		return fmt.Errorf("line %d, column %d: %q is no text, and no whole number", node.Line, node.Column, node.Value)
	}
	for _, part := range node.Content {
		if err := onlyPlain(part); err != nil {
			return err
		}
	}
	return nil
}

const inTOML = `
abi = 5

[[variable]]
name = "data"
literal = ["/srv/data", "/var/cache/service"]

[[ruleset]]
handled_access_fs = ["abi.all"]
handled_access_net = ["abi.all"]
scoped = ["signal"]

[[path_beneath]]
allowed_access = ["abi.read_execute"]
parent = ["/usr", "/etc/ssl/certs"]

[[path_beneath]]
allowed_access = ["abi.read_write"]
parent = ["${data}"]

[[net_port]]
allowed_access = ["bind_tcp"]
port = [80, 8443]
`

const inYAML = `
abi: 5
variable:
  - name: data
    literal: [/srv/data, /var/cache/service]
ruleset:
  - handledAccessFs: [abi.all]
    handledAccessNet: [abi.all]
    scoped: [signal]
pathBeneath:
  - allowedAccess: [abi.read_execute]
    parent: [/usr, /etc/ssl/certs]
  - allowedAccess: [abi.read_write]
    parent: ["${data}"]
netPort:
  - allowedAccess: [bind_tcp]
    port: [80, 8443]
`

const inJSON = `{
  "abi": 5,
  "variable": [{"name": "data", "literal": ["/srv/data", "/var/cache/service"]}],
  "ruleset": [{"handledAccessFs": ["abi.all"], "handledAccessNet": ["abi.all"], "scoped": ["signal"]}],
  "pathBeneath": [{"allowedAccess": ["abi.read_execute"], "parent": ["/usr", "/etc/ssl/certs"]}, {"allowedAccess": ["abi.read_write"], "parent": ["${data}"]}],
  "netPort": [{"allowedAccess": ["bind_tcp"], "port": [80, 8443]}]
}`

// docs/policy.md shows these functions.
func TestShown(t *testing.T) {
	source, err := os.ReadFile("formats_test.go")
	page, pageErr := os.ReadFile("../../docs/policy.md")
	if err := errors.Join(err, pageErr); err != nil {
		t.Fatal(err)
	}
	for first, last := range map[string]string{"var wrongInKey": "func parseTOML", "var number": "func onlyPlain"} {
		_, rest, _ := strings.Cut(string(source), "\n"+first)
		before, rest, _ := strings.Cut(rest, "\n"+last)
		body, _, _ := strings.Cut(rest, "\n}\n")
		shown := strings.ReplaceAll("\n"+first+before+"\n"+last+body+"\n}\n", "\n", "\n    ")
		if want := strings.TrimSuffix(strings.ReplaceAll(shown, "\n    \n", "\n\n"), "    "); !strings.Contains(string(page), want) {
			t.Errorf("docs/policy.md does not show %s", want)
		}
	}
}

// The three forms are one document.
func TestSame(t *testing.T) {
	want, err := policy.Parse([]byte(inJSON))
	if err != nil {
		t.Fatal(err)
	}
	for form, parse := range map[string]func() (*policy.Document, error){
		"TOML": func() (*policy.Document, error) { return parseTOML(inTOML) },
		"YAML": func() (*policy.Document, error) { return parseYAML([]byte(inYAML)) },
	} {
		d, err := parse()
		if err != nil || !reflect.DeepEqual(d, want) {
			t.Errorf("%s: %v, %+v\nwant %+v", form, err, d, want)
			continue
		}
		if _, err := d.Ruleset(); err != nil {
			t.Errorf("%s: %v", form, err)
		}
	}
	var text bytes.Buffer
	if err := toml.NewEncoder(&text).Encode(want); err != nil {
		t.Fatal(err)
	}
	if d, err := parseTOML(text.String()); err != nil || !reflect.DeepEqual(d, want) {
		t.Errorf("TOML written: %v\n%s", err, text.String())
	}
	written, err := yaml.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if d, err := parseYAML(written); err != nil || !reflect.DeepEqual(d, want) {
		t.Errorf("YAML written: %v\n%s", err, written)
	}
}

// What is wrong is an error, of the decoder or of the document.
func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		"abi = 0\n[[ruleset]]\nscoped = ['signal']":  "abi: 0 is no ABI",
		"abi = -1\n[[ruleset]]\nscoped = ['signal']": "abi: -1 is no ABI",
		"abi = '4'":                        "incompatible types",
		"abi = 4\nabi = 4":                 "already been defined",
		"[[ruleset]]\nscope = ['signal']":  "unknown keys [ruleset.scope",
		"[[Ruleset]]\nscoped = ['signal']": "unknown keys [Ruleset",
		"[[ruleset]]\nscoped = ['signal']\nSCOPED = ['abstract_unix_socket']": "unknown keys [ruleset.SCOPED",
		"[[pathBeneath]]\nallowed_access = ['execute']\nparent = ['/']":       "unknown keys [pathBeneath",
		"[[ruleset]]\nscoped = []":                                                "ruleset[0].scoped: an empty array",
		"[[ruleset]]\nhandled_access_fs = ['abi.all']":                            `ruleset[0].handledAccessFs[0]: "abi.all" stands for`,
		"[[ruleset]]\nhandled_access_fs = ['signal']":                             `"signal" is a scope`,
		"variable = []\n[[ruleset]]\nscoped = ['signal']":                         "variable: an empty array",
		"[[net_port]]\nallowed_access = ['bind_tcp']\nport = [-1]":                "must be 0 to 65535",
		"[[net_port]]\nallowed_access = ['bind_tcp']\nport = [65536]":             "netPort[0].port[0]: 65536 is no port",
		"[[net_port]]\nallowed_access = ['bind_tcp']\nport = [80.5]":              "incompatible types",
		"[[ruleset]]\nscoped = ['signal']\n'ſcoped' = ['abstract_unix_socket']":   "unknown keys",
		"[[path_beneath]]\nallowed_access = ['execute']\nparent = ['/${x}']":      `no variable "x"`,
		"[[path_beneath]]\nallowed_access = ['execute']\nparent = [\"/\\u0000\"]": "has a NUL",
		"[[path_beneath]]\nallowed_access = ['execute']":                          `the key "parent" is missing`,
		"": "the document says nothing",
	} {
		d, err := parseTOML(text)
		if err == nil {
			_, err = d.Ruleset()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n%v, want %s", text, err, want)
		}
	}
	for text, want := range map[string]string{
		"abi: 0\nruleset: [{scoped: [signal]}]":                                "abi: 0 is no ABI",
		"abi: 5.5\nruleset: [{scoped: [signal]}]":                              `line 1, column 6: "5.5" is no text`,
		"abi: 4\nabi: 4":                                                       "already defined",
		"Ruleset: [{scoped: [signal]}]":                                        "field Ruleset not found",
		"ruleset: [{scoped: []}]":                                              "ruleset[0].scoped: an empty array",
		"ruleset: [null, {scoped: [signal]}]":                                  `"null" is no text`,
		"ruleset: [{scoped: [signal]}]\n---\nruleset: []":                      "more than one document",
		"netPort: [{allowedAccess: [bind_tcp], port: [-1]}]":                   `"-1" is no text`,
		"netPort: [{allowedAccess: [bind_tcp], port: [80.00000000000000001]}]": `"80.00000000000000001" is no text`,
		"netPort: [{allowedAccess: [bind_tcp], port: [0443]}]":                 `"0443" is no text`,
		"netPort: [{allowedAccess: [bind_tcp], port: ['80']}]":                 "cannot unmarshal !!str",
		"pathBeneath: [{allowedAccess: [execute], parent: [~]}]":               `"~" is no text`,
		"pathBeneath: [{allowedAccess: [execute], parent: [2001-01-01]}]":      `"2001-01-01" is no text`,
		"pathBeneath: [{allowedAccess: [execute], parent: [!!binary /w==]}]":   `"/w==" is no text`,
		"pathBeneath: [{allowedAccess: &a [execute], parent: *a}]":             `"a" is no text`,
		"ruleset: null": `"null" is no text`,
		"":              "EOF",
	} {
		d, err := parseYAML([]byte(text))
		if err == nil {
			_, err = d.Ruleset()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n%v, want %s", text, err, want)
		}
	}
}
