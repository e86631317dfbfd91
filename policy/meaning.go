package policy

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"example.com/landlock"
)

// meaning is what a document says, however it is written: two documents that say the same
// have the same.
type meaning struct {
	file      string // of the document, if it is one of ReadDir's
	abi       int    // 0 for none
	handled   landlock.Rights
	variables map[string]set
	paths     map[string]landlock.AccessFS // by the text of a template
	ports     map[uint64]landlock.AccessNet
	lost      []Loss
	open      []openObject // each with the first place for the same rights
	inherited []openObject // in the files that it was composed of
}

type set map[string]struct{}

// place is a value in a document.
type place struct {
	section string // the key of the document
	item    int    // which of the section's; -1 for the section itself
	key     string // of the item; empty for the item itself
	index   int    // which of those; -1 for all of them
}

// nowhere is the document itself.
var nowhere = place{item: -1, index: -1}

// String returns the place as JSON names it, such as pathBeneath[0].parent[2].
func (p place) String() string {
	text := p.section
	if p.item >= 0 {
		text += fmt.Sprintf("[%d]", p.item)
	}
	if p.key != "" {
		text += "." + p.key
	}
	if p.index >= 0 {
		text += fmt.Sprintf("[%d]", p.index)
	}
	return text
}

// at returns a place in an item.
func (p place) at(key string, index int) place {
	p.key, p.index = key, index
	return p
}

// meaning returns what a document says, or what is wrong in it.
func (d *Document) meaning() (meaning, error) {
	if d == nil {
		return meaning{}, &Error{Err: errors.New("nil Document")}
	}
	r := reading{abi: d.ABI, met: map[openObject]bool{}, meaning: meaning{
		variables: map[string]set{}, paths: map[string]landlock.AccessFS{}, ports: map[uint64]landlock.AccessNet{},
		lost: d.lost, inherited: d.inherited,
	}}
	if d.ABI != nil {
		if r.meaning.abi = *d.ABI; *d.ABI < 1 || *d.ABI > math.MaxInt32 {
			r.fail(place{"abi", -1, "", -1}, badABI(fmt.Sprint(*d.ABI)))
		}
	}
	if d.Variables == nil && d.Rulesets == nil && d.PathsBeneath == nil && d.NetPorts == nil && !d.nothing {
		r.fail(nowhere, errors.New("the document says nothing: needs one of the keys variable, ruleset, pathBeneath and netPort"))
	}
	section(&r, "variable", d.Variables, r.variable)
	section(&r, "ruleset", d.Rulesets, r.ruleset)
	section(&r, "pathBeneath", d.PathsBeneath, r.pathBeneath)
	section(&r, "netPort", d.NetPorts, r.netPort)
	if r.wrong != nil {
		return meaning{}, r.wrong
	}
	r.open = slices.DeleteFunc(r.open, func(o openObject) bool { return !r.isOpen(o.object) })
	r.locate(d.open)
	return r.meaning, nil
}

// openObject is a parent with a variable that is not declared, or a port above 65535.
// Ruleset refuses it, but composition may still declare the one, and take the rules of the
// other away.
type openObject struct {
	object       any             // the text of the parent's template, or the port
	rights       landlock.Rights // that the rule allows
	at           place
	file         string // and where that is in a text that was parsed
	line, column int
}

// compare puts objects in the order of the texts.
func (o openObject) compare(other openObject) int {
	if c := cmp.Or(cmp.Compare(o.file, other.file), cmp.Compare(o.line, other.line), cmp.Compare(o.column, other.column)); c != 0 || o == other {
		return c
	}
	return cmp.Compare(fmt.Sprint(o), fmt.Sprint(other)) // a file that was read twice, and has changed
}

// isOpen reports whether an object that was open still is.
func (m *meaning) isOpen(object any) bool {
	text, isParent := object.(string)
	_, missing := m.undeclared(text)
	return missing || !isParent
}

// mayBeOpen keeps the first place of an object with these rights.
func (r *reading) mayBeOpen(object any, rights landlock.Rights, at place) {
	if key := (openObject{object: object, rights: rights}); !r.met[key] {
		r.met[key] = true
		r.open = append(r.open, openObject{object: object, rights: rights, at: at})
	}
}

// locate says of open objects where they are in the text, if they are still at the same
// place in the document.
func (m *meaning) locate(parsed []openObject) {
	known := map[openObject]openObject{}
	for _, o := range parsed {
		known[openObject{object: o.object, rights: o.rights, at: o.at}] = o
	}
	for i, o := range m.open {
		if k, ok := known[o]; ok {
			m.open[i] = k
		}
	}
}

func badABI(value string) error {
	return fmt.Errorf("%s is no ABI: must be a whole number from 1 to %d", value, math.MaxInt32)
}

// reading reads a document, up to the first thing that is wrong in it: what comes after
// that does not matter any more.
type reading struct {
	meaning
	abi   *int
	met   map[openObject]bool // objects that may be open, without their places
	wrong *Error
}

func (r *reading) fail(at place, err error) {
	if r.wrong == nil {
		r.wrong = &Error{Where: at.String(), Err: err, at: at}
	}
}

var errEmptyArray = errors.New("an empty array: leave it out, or put something in")

// section reads the items of a section.
func section[T any](r *reading, key string, items []T, read func(*T, place)) {
	optional(r, items, place{key, -1, "", -1})
	for i := range items {
		read(&items[i], place{key, i, "", -1})
	}
}

// optional checks an array that need not be there.
func optional[T any](r *reading, values []T, at place) {
	if values != nil && len(values) == 0 {
		r.fail(at, errEmptyArray)
	}
}

// needed checks an array of an item that has to be there.
func needed[T any](r *reading, values []T, item place, key string) {
	if values == nil {
		r.fail(item, fmt.Errorf("the key %q is missing", key))
	}
	optional(r, values, item.at(key, -1))
}

func (r *reading) variable(v *Variable, at place) {
	if v.Name == "" {
		r.fail(at, errors.New(`the key "name" is missing, or empty`))
	} else if err := checkName(v.Name); err != nil {
		r.fail(at.at("name", -1), err)
	}
	optional(r, v.Literals, at.at("literal", -1))
	if r.variables[v.Name] == nil {
		r.variables[v.Name] = set{}
	}
	for i, text := range v.Literals {
		if err := checkText(text); err != nil {
			r.fail(at.at("literal", i), err)
		}
		r.variables[v.Name][text] = struct{}{}
	}
}

func (r *reading) ruleset(h *Handled, at place) {
	if h.AccessFS == nil && h.AccessNet == nil && h.Scoped == nil {
		r.fail(at, errors.New("nothing is handled: needs one of the keys handledAccessFs, handledAccessNet and scoped"))
	}
	optional(r, h.AccessFS, at.at("handledAccessFs", -1))
	optional(r, h.AccessNet, at.at("handledAccessNet", -1))
	optional(r, h.Scoped, at.at("scoped", -1))
	r.handled.FS |= rights(r, fsWords, h.AccessFS, at, "handledAccessFs")
	r.handled.Net |= rights(r, netWords, h.AccessNet, at, "handledAccessNet")
	r.handled.Scope |= rights(r, scopeWords, h.Scoped, at, "scoped")
}

func (r *reading) pathBeneath(p *PathBeneath, at place) {
	needed(r, p.AllowedAccess, at, "allowedAccess")
	needed(r, p.Parents, at, "parent")
	access := rights(r, fsWords, p.AllowedAccess, at, "allowedAccess")
	r.handled.FS |= access
	for i, parent := range p.Parents {
		t, err := parseTemplate(parent)
		if err != nil {
			r.fail(at.at("parent", i), err)
			continue
		}
		text := t.String()
		if r.paths[text] |= access; t.hasVariables() {
			r.mayBeOpen(text, landlock.Rights{FS: access}, at.at("parent", i))
		}
	}
}

func (r *reading) netPort(p *NetPort, at place) {
	needed(r, p.AllowedAccess, at, "allowedAccess")
	needed(r, p.Ports, at, "port")
	access := rights(r, netWords, p.AllowedAccess, at, "allowedAccess")
	r.handled.Net |= access
	for i, port := range p.Ports {
		if access == 0 {
			continue // a group that its ABI has nothing of: there is no rule
		}
		if r.ports[port] |= access; port > math.MaxUint16 {
			r.mayBeOpen(port, landlock.Rights{Net: access}, at.at("port", i))
		}
	}
}

// rights returns what the words of an array stand for.
func rights[M mask](r *reading, v vocabulary[M], words []string, item place, key string) M {
	all, wrong, err := v.mask(words, r.abi)
	if err != nil {
		r.fail(item.at(key, wrong), err)
	}
	return all
}
