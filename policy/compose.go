package policy

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"example.com/landlock"
)

// Loss is what a document lost when it was composed with others: rights that it denies
// where no rule allows them, and the result does not, so that they are not restricted any
// more.
type Loss struct {
	File   string // its path, if it is one of ReadDir's, and else empty: then the loss is that of all such
	Rights landlock.Rights
}

// String returns the loss in one line, such as
//
//	/etc/service/10.json: fs.truncate,net.bind_tcp not restricted, since another document does not handle it
func (l Loss) String() string {
	text := l.Rights.String() + " not restricted, since another document does not handle it"
	if l.File != "" {
		text = printable(l.File) + ": " + text
	}
	return text
}

// Lost returns what was lost by composing the document, by file; nil where nothing was. It
// is not in the JSON of the document. The kernel denies refer together with any other right
// to files, so that is lost with the last of them: see [Compose].
func (d *Document) Lost() []Loss {
	m, err := d.meaning()
	if err != nil {
		return nil
	}
	denied := withRefer(m.handled)
	var all []Loss
	for _, loss := range m.lost {
		if loss.Rights = minus(withRefer(loss.Rights), denied); loss.Rights != (landlock.Rights{}) {
			all = append(all, loss)
		}
	}
	return all
}

// withRefer returns what the kernel denies where a ruleset handles these rights.
func withRefer(handled landlock.Rights) landlock.Rights {
	if handled.FS != 0 {
		handled.FS |= landlock.FSRefer
	}
	return handled
}

// Compose makes one document of several, whatever their order. It handles the rights that
// all of them handle: so one that handles less loosens all the others, and one that
// declares variables alone, and handles nothing, leaves nothing restricted. [Document.Lost]
// of the result says which rights that were.
//
// Refer is the exception. A document that does not handle it takes it from the rules of the
// others, and files cannot be moved or linked to other directories any more, since the
// kernel denies that together with any other right to files.
//
// The result has the rules of all, cut down to the rights that it handles, and those that
// allow nothing then are left out. Variables are united by their names, before any is put
// into a path: so one document can declare what another uses, and one can add to the paths
// of another. Its abi is the lowest of those that have one. Groups are resolved, each by
// the abi of its own document, so the result has the kernel's words alone.
//
// To have all of several documents enforced, do not compose them: Apply the ruleset of
// each, as a layer of its own. What any layer denies is denied. Where one handles rights to
// files, a layer that does not handle refer denies it, too.
//
// Where the documents handle no right in common the result handles none, and its Ruleset
// is an error. No document at all, and one that is wrong, are errors; those of several are
// joined, each an [Error] that says which.
func Compose(documents ...*Document) (*Document, error) {
	if len(documents) == 0 {
		return nil, &Error{Err: errors.New("compose: no document")}
	}
	all := make([]meaning, len(documents))
	var errs []error
	for i, d := range documents {
		var err error
		if all[i], err = d.meaning(); err != nil {
			errs = append(errs, named(fmt.Sprint("document ", i+1), err))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return compose(all), nil
}

// compose composes documents, of which there is one at least.
func compose(all []meaning) *Document {
	result := meaning{
		handled: all[0].handled, variables: map[string]set{}, paths: map[string]landlock.AccessFS{}, ports: map[uint64]landlock.AccessNet{},
	}
	for _, m := range all {
		result.handled = intersect(result.handled, m.handled)
		if m.abi != 0 && (result.abi == 0 || m.abi < result.abi) {
			result.abi = m.abi
		}
	}
	lost := map[string]landlock.Rights{}
	for _, m := range all {
		result.add(m)
	}
	for _, m := range all {
		result.inherit(m.open)
		result.inherit(m.inherited)
		lost[m.file] = union(lost[m.file], minus(m.handled, result.handled))
		for _, earlier := range m.lost {
			lost[earlier.File] = union(lost[earlier.File], earlier.Rights)
		}
	}
	for _, file := range slices.Sorted(maps.Keys(lost)) {
		if lost[file] != (landlock.Rights{}) {
			result.lost = append(result.lost, Loss{file, lost[file]})
		}
	}
	slices.SortFunc(result.inherited, openObject.compare)
	result.inherited = slices.Compact(result.inherited)
	return result.document()
}

// add adds the variables and rules of a document, as far as their rights are handled.
func (m *meaning) add(other meaning) {
	for name, literals := range other.variables {
		if m.variables[name] == nil {
			m.variables[name] = set{}
		}
		maps.Copy(m.variables[name], literals)
	}
	for path, access := range other.paths {
		if access &= m.handled.FS; access != 0 {
			m.paths[path] |= access
		}
	}
	for port, access := range other.ports {
		if access &= m.handled.Net; access != 0 {
			m.ports[port] |= access
		}
	}
}

// inherit keeps where objects are in files, as long as they are open, and their rules are
// there.
func (m *meaning) inherit(objects []openObject) {
	for _, o := range objects {
		if o.rights = intersect(o.rights, m.handled); o.file != "" && o.rights != (landlock.Rights{}) && m.isOpen(o.object) {
			m.inherited = append(m.inherited, o)
		}
	}
}

func intersect(a, b landlock.Rights) landlock.Rights {
	return landlock.Rights{FS: a.FS & b.FS, Net: a.Net & b.Net, Scope: a.Scope & b.Scope}
}

func union(a, b landlock.Rights) landlock.Rights {
	return landlock.Rights{FS: a.FS | b.FS, Net: a.Net | b.Net, Scope: a.Scope | b.Scope}
}

func minus(a, b landlock.Rights) landlock.Rights {
	return landlock.Rights{FS: a.FS &^ b.FS, Net: a.Net &^ b.Net, Scope: a.Scope &^ b.Scope}
}

// document writes down what a document says: the same for all that say the same.
func (m *meaning) document() *Document {
	d := &Document{lost: m.lost, inherited: m.inherited}
	if m.abi != 0 {
		d.ABI = new(m.abi)
	}
	for _, name := range slices.Sorted(maps.Keys(m.variables)) {
		d.Variables = append(d.Variables, Variable{name, slices.Sorted(maps.Keys(m.variables[name]))})
	}
	if m.handled != (landlock.Rights{}) {
		d.Rulesets = []Handled{{wordsOf(m.handled.FS), wordsOf(m.handled.Net), wordsOf(m.handled.Scope)}}
	}
	for access, parents := range byAccess(m.paths) {
		d.PathsBeneath = append(d.PathsBeneath, PathBeneath{wordsOf(access), parents})
	}
	for access, ports := range byAccess(m.ports) {
		d.NetPorts = append(d.NetPorts, NetPort{wordsOf(access), ports})
	}
	d.nothing = d.Variables == nil && d.Rulesets == nil // without rights there are no rules
	return d
}

// byAccess yields the objects that each set of rights is allowed on, in order.
func byAccess[K cmp.Ordered, M mask](allowed map[K]M) iter.Seq2[M, []K] {
	return func(yield func(M, []K) bool) {
		objects := map[M][]K{}
		for _, object := range slices.Sorted(maps.Keys(allowed)) {
			objects[allowed[object]] = append(objects[allowed[object]], object)
		}
		for _, access := range slices.Sorted(maps.Keys(objects)) {
			if !yield(access, objects[access]) {
				return
			}
		}
	}
}

// Of returns the document of a ruleset, so that it can be stored, shown and handed on. Its
// Ruleset handles the same rights, and refer too where a rule allows that; and it allows the
// same.
//
// What the format has no words for is an error that names it, and all of that is named:
// the options (BestEffort, AllowNewPrivs, FilterSockets, Log, QuietScope), so call them
// after Of, or on a [landlock.Ruleset.Clone]; rules for open files, judged ones, which
// presets have, and quiet ones; and paths that are not UTF-8. The mistakes of a ruleset
// are errors, too, and so is more than a document may have. Each of these Is
// [fs.ErrInvalid].
//
// Two things are not told. The format skips paths, as AllowOptional does, and so do the
// rules of a document where those of Allow are errors; and a slash at the end of a path,
// which only a directory may have, is dropped. And the format has rights and no target: the
// document of New(V8), which adds none to ABI 6, is one for ABI 6.
//
// A $ in a path is written as $$.
func Of(r *landlock.Ruleset) (*Document, error) {
	if r == nil {
		return nil, &Error{Err: errors.New("nil Ruleset")}
	}
	var wrong []error
	fail := func(err error) { wrong = append(wrong, &Error{Err: err}) }
	for _, err := range r.Mistakes() {
		fail(err)
	}
	for _, option := range optionsOf(r.Options()) {
		fail(fmt.Errorf("the format has no words for %s: call it on what Document.Ruleset returns", option))
	}
	m := meaning{handled: r.Handled(), paths: map[string]landlock.AccessFS{}, ports: map[uint64]landlock.AccessNet{}}
	for rule := range r.Rules() {
		switch {
		case rule.Open || rule.Judged || rule.Quiet:
			fail(fmt.Errorf("the format has no words for the rule %v", rule))
		case rule.Port >= 0:
			m.ports[uint64(rule.Port)] |= rule.Net & m.handled.Net
		default:
			if err := checkText(rule.Path); err != nil {
				fail(fmt.Errorf("the rule %v: %w", rule, err))
			}
			handled := m.handled.FS | landlock.FSRefer // which the kernel handles with any other
			m.paths[escape(normal(rule.Path))] |= rule.FS & handled
		}
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	d := m.document()
	if _, err := d.Ruleset(); err != nil { // it is too large
		return nil, err
	}
	return d, nil
}

// optionsOf names the options that were chosen, by their calls.
func optionsOf(o landlock.Options) []string {
	var all []string
	if o.BestEffort {
		all = append(all, fmt.Sprintf("BestEffort(%d)", int(o.Floor)))
	}
	if o.NewPrivs {
		all = append(all, "AllowNewPrivs()")
	}
	if o.FilterSockets {
		all = append(all, "FilterSockets()")
	}
	if o.Log != 0 {
		all = append(all, fmt.Sprintf("Log(%v)", o.Log))
	}
	if o.QuietScope != 0 {
		all = append(all, fmt.Sprintf("QuietScope(%v)", o.QuietScope))
	}
	return all
}
