// Package policy keeps rulesets as data, so that an operator can change what a program may
// do without building it anew, and tools can hand rulesets on. The format is the Landlock
// project's own, landlockconfig's: a policy that llconfig or island enforces is read here,
// and the other way round, as long as it has no words of newer kernels.
//
//	{
//	  "abi": 5,
//	  "variable": [{"name": "data", "literal": ["/srv/data", "/var/cache/service"]}],
//	  "ruleset": [{"handledAccessFs": ["abi.all"], "handledAccessNet": ["abi.all"]}],
//	  "pathBeneath": [
//	    {"allowedAccess": ["abi.read_execute"], "parent": ["/usr", "/etc/ssl/certs"]},
//	    {"allowedAccess": ["abi.read_write"], "parent": ["${data}"]}
//	  ],
//	  "netPort": [{"allowedAccess": ["bind_tcp"], "port": [8443]}]
//	}
//
// A program reads it, and adds what a policy has no words for:
//
//	d, err := policy.ReadFile("/etc/service/policy.json")
//	…
//	r, err := d.Ruleset()
//	…
//	report, err := r.BestEffort(landlock.V1).FilterSockets().Apply()
//
// # The format
//
// Handled, and so denied where no rule allows it, is what the items of "ruleset" name and
// every right that a rule uses. What is not handled is not restricted, but for refer, which
// the kernel denies together with any other right to files.
//
// The words are the kernel's, as [landlock.AccessFS], [landlock.AccessNet] and
// [landlock.Scope] print them. The groups abi.all, abi.read_execute and abi.read_write
// stand for rights of the document's own abi, and are an error without one: for files
// abi.all is all that the ABI has, abi.read_execute is execute, read_file, read_dir and,
// from ABI 2 on, refer, and abi.read_write is all but execute. For ports and scopes there
// is abi.all alone. A larger abi than this package knows counts as the newest that it
// knows, V11. landlockconfig itself has no words yet for resolve_unix, bind_udp and
// connect_send_udp.
//
// A parent is a path, which may name variables: ${data} is each of the variable's literals
// in turn, and several variables in one path make every combination. $$ is a $, and a $
// before anything else stands for itself. Literals are taken as they are. A variable
// without any makes no path: its rules vanish, and their rights stay handled. Paths lose
// repeated and trailing slashes and every "." but one in front, and what several rules
// allow for one path adds up. A relative path is that of the working directory when the
// ruleset is loaded, and an empty one is no path.
//
// Text is taken strictly: keys and words that are not known, keys that are there twice,
// empty arrays, null, numbers out of range and NUL are errors, each with its line and
// column ([Error]).
//
// # Composition
//
// [Compose] and [ReadDir] make one document of several, and the rights that the result
// handles are those that all of them handle. So a file that handles less loosens all the
// others: what it does not handle is not restricted any more. [Document.Lost] says what
// that was. The rules of all are in the result, cut down to what it handles, and the
// literals of variables are united. The order does not matter.
//
// docs/policy.md is a page for those who write policies, and for those who read TOML or
// YAML.
//
// Everything here works on any system; to load the ruleset takes Linux.
package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"example.com/landlock"
)

// The bounds of a document. One that is beyond them is an error that says so.
const (
	MaxSize  = 1 << 20 // bytes of a text, of all files of a directory together, and of what Ruleset takes, written in JSON
	MaxPaths = 1 << 16 // paths, once every combination of variables is made

	maxPath = 4095     // bytes of a path: more the kernel does not take
	maxText = 16 << 20 // bytes of all paths together
)

// Document is a policy. Its tags are the format's names, so that a decoder of JSON, TOML
// or YAML fills it. encoding/json does by way of [Parse], and so takes what Parse takes.
// What another decoder fills Ruleset and Compose check, but for what it has changed, such
// as a number that it rounds, or dropped, such as a null in a list.
//
// An array that is there and empty is an error, one that is nil is not there.
type Document struct {
	ABI          *int          `json:"abi,omitempty" toml:"abi,omitempty" yaml:"abi,omitempty"` // which ABI's rights the groups stand for, from 1 on
	Variables    []Variable    `json:"variable,omitempty" toml:"variable,omitempty" yaml:"variable,omitempty"`
	Rulesets     []Handled     `json:"ruleset,omitempty" toml:"ruleset,omitempty" yaml:"ruleset,omitempty"`
	PathsBeneath []PathBeneath `json:"pathBeneath,omitempty" toml:"path_beneath,omitempty" yaml:"pathBeneath,omitempty"`
	NetPorts     []NetPort     `json:"netPort,omitempty" toml:"net_port,omitempty" yaml:"netPort,omitempty"`

	open      []openObject // where they are in the text that it was parsed from
	inherited []openObject // and in the files that it was composed of
	lost      []Loss
	nothing   bool // composed, and nothing is left: no section at all
}

// Variable gives a name to texts for [PathBeneath].Parents.
type Variable struct {
	Name     string   `json:"name" toml:"name" yaml:"name"`                                        // a letter, and then letters, digits and _
	Literals []string `json:"literal,omitempty" toml:"literal,omitempty" yaml:"literal,omitempty"` // those of several declarations unite
}

// Handled is what is denied, unless a rule allows it. One of the three is there at least.
type Handled struct {
	AccessFS  []string `json:"handledAccessFs,omitempty" toml:"handled_access_fs,omitempty" yaml:"handledAccessFs,omitempty"`
	AccessNet []string `json:"handledAccessNet,omitempty" toml:"handled_access_net,omitempty" yaml:"handledAccessNet,omitempty"`
	Scoped    []string `json:"scoped,omitempty" toml:"scoped,omitempty" yaml:"scoped,omitempty"`
}

// PathBeneath allows access to files beneath directories, or to files.
type PathBeneath struct {
	AllowedAccess []string `json:"allowedAccess" toml:"allowed_access" yaml:"allowedAccess"`
	Parents       []string `json:"parent" toml:"parent" yaml:"parent"` // paths, with variables
}

// NetPort allows access on ports.
type NetPort struct {
	AllowedAccess []string `json:"allowedAccess" toml:"allowed_access" yaml:"allowedAccess"`
	Ports         []uint64 `json:"port" toml:"port" yaml:"port"` // 0 to 65535: more is an error of Ruleset
}

// Error says where a document is wrong, and why. It Is [fs.ErrInvalid].
type Error struct {
	Name         string // the file; of Compose, which document; else empty
	Line, Column int    // in the text, in characters from 1 on; 0 for what Parse did not read
	Where        string // in the document, by the names of JSON, such as pathBeneath[0].parent[2]; may be empty
	Err          error  // why

	at place
}

// Error returns the place and the cause, such as
//
//	policy: /etc/service.json:3:14: unknown key "Ruleset": known are abi, variable, …
func (e *Error) Error() string {
	text := "policy: "
	switch {
	case e.Line > 0 && e.Name != "":
		text += fmt.Sprintf("%s:%d:%d: ", printable(e.Name), e.Line, e.Column)
	case e.Line > 0:
		text += fmt.Sprintf("line %d, column %d: ", e.Line, e.Column)
	case e.Name != "":
		text += printable(e.Name) + ": "
	}
	if e.Line == 0 && e.Where != "" {
		text += e.Where + ": "
	}
	return text + fmt.Sprint(e.Err)
}

// printable returns the name of a file for a line of text, quoted if it would not be one.
func printable(name string) string {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, func(char rune) bool { return !strconv.IsPrint(char) }) {
		return strconv.Quote(name)
	}
	return name
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is [fs.ErrInvalid].
func (e *Error) Is(target error) bool { return target == fs.ErrInvalid }

// named gives errors the name of what they are about.
func named(name string, err error) error {
	if wrong, ok := errors.AsType[*Error](err); ok {
		wrong.Name = name
		return wrong
	}
	return err
}

// ReadFile reads a document in JSON, as [Parse] does. Of a file with more than MaxSize
// bytes it reads no more than that. What cannot be read is a [fs.PathError], and what is
// wrong in it an [Error] with the path in it.
func ReadFile(path string) (*Document, error) {
	d, _, err := readFile(path, MaxSize)
	return d, err
}

// readFile is ReadFile for a file of at most limit bytes. It returns how many there were.
func readFile(path string, limit int) (*Document, int, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, fmt.Errorf("policy: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, int64(limit)+1))
	if err != nil {
		return nil, 0, fmt.Errorf("policy: %w", err)
	}
	if len(data) > limit {
		return nil, 0, &Error{Name: path, Err: errTooLarge}
	}
	d, err := Parse(data)
	if err != nil {
		return nil, len(data), named(path, err)
	}
	for i := range d.open {
		d.open[i].file = path
	}
	return d, len(data), nil
}

var errTooLarge = fmt.Errorf("more than %d bytes, which is what a document, or all files of a directory, may have", MaxSize)

// ReadDir composes the documents of a directory, as [Compose] does: all files whose names
// end in .json, but for hidden ones, whose names begin with a dot. Only regular files
// count: directories and links in it are passed over, as landlockconfig passes over them.
// (So files of a Kubernetes ConfigMap, which are links, take ReadFile.) A directory
// without any is an error; errors of several files are joined. The files together may have
// MaxSize bytes.
//
// The rights that the result handles are those that all files handle: [Document.Lost]
// names the files that handle more, and what they lost.
func ReadDir(path string) (*Document, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	var all []meaning
	var errs []error
	left := MaxSize
	for _, entry := range entries {
		if name := entry.Name(); !entry.Type().IsRegular() || name[0] == '.' || !strings.HasSuffix(name, ".json") {
			continue
		}
		file := filepath.Join(path, entry.Name())
		d, size, err := readFile(file, left)
		var m meaning
		if err == nil {
			m, err = d.meaning()
		}
		left -= size
		if err != nil {
			errs = append(errs, err)
			if errors.Is(err, errTooLarge) {
				break // the others would be, too
			}
			continue
		}
		m.file = file
		all = append(all, m)
	}
	if len(all) == 0 && len(errs) == 0 {
		return nil, &Error{Name: path, Err: errors.New("no policy here: no regular file whose name ends in .json, and does not begin with a dot")}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return compose(all), nil
}

// Ruleset returns a ruleset of what the document says: it handles what the document
// handles, and allows what its rules allow. It is strict about kernels: one that lacks any
// of these rights is a [landlock.UnsupportedError] when the ruleset is loaded, and nothing
// is restricted. The format has no words for [landlock.Ruleset.BestEffort], FilterSockets,
// Log and their like: call them on what is returned.
//
// A path that does not exist when the ruleset is loaded is skipped, and named in
// [landlock.Report].Skipped, as by AllowOptional. So is a file where only directories can
// have what the rule allows. Any other failure to open a path is an error then.
//
// A variable that is not declared, a port above 65535, more than the bounds ([MaxSize]),
// and a document that handles nothing are errors, as is all else that is wrong in it: see
// [Error].
func (d *Document) Ruleset() (*landlock.Ruleset, error) {
	m, err := d.meaning()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(d)
	if err == nil && len(text) > MaxSize {
		err = fmt.Errorf("the document has %d bytes in JSON, and may have %d", len(text), MaxSize)
	}
	if err != nil {
		return nil, &Error{Err: err}
	}
	return m.ruleset()
}
