package policy

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"example.com/landlock"
)

// template is a parent: texts, and variables between them.
type template []part

type part struct {
	text     string
	variable bool // the text is the name of one
}

// parseTemplate parses a parent.
func parseTemplate(parent string) (t template, err error) {
	if err := checkText(parent); err != nil {
		return nil, err
	}
	var text strings.Builder
	for rest := parent; rest != ""; {
		before, after, dollar := strings.Cut(rest, "$")
		text.WriteString(before)
		rest = after
		switch {
		case !dollar:
		case strings.HasPrefix(after, "$"):
			text.WriteByte('$')
			rest = after[1:]
		case strings.HasPrefix(after, "{"):
			name, after, closed := strings.Cut(after[1:], "}")
			if !closed {
				return nil, fmt.Errorf("%s has a ${ without a }: a $ itself is $$", quote(parent))
			}
			if err := checkName(name); err != nil {
				return nil, fmt.Errorf("%s: %w: a $ itself is $$", quote(parent), err)
			}
			t = append(t.withText(&text), part{name, true})
			rest = after
		default:
			text.WriteByte('$')
		}
	}
	return t.withText(&text), nil
}

func (t template) hasVariables() bool {
	return slices.ContainsFunc(t, func(p part) bool { return p.variable })
}

// withText returns t with the text that has come together after it.
func (t template) withText(text *strings.Builder) template {
	if text.Len() == 0 {
		return t
	}
	defer text.Reset()
	return append(t, part{text.String(), false})
}

// String returns the one text of all that mean the same.
func (t template) String() string {
	var all strings.Builder
	for _, part := range t {
		if part.variable {
			all.WriteString("${" + part.text + "}")
		} else {
			all.WriteString(escape(part.text))
		}
	}
	return all.String()
}

// escape returns a parent that is just this path.
func escape(path string) string { return strings.ReplaceAll(path, "$", "$$") }

// checkName checks the name of a variable.
func checkName(name string) error {
	for i, c := range []byte(name) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return badName(name)
		}
	}
	if name == "" {
		return badName(name)
	}
	return nil
}

func badName(name string) error {
	return fmt.Errorf("%s is no name of a variable, which is a letter, and then letters, digits and _", quote(name))
}

// checkText checks what becomes a path, or a part of one.
func checkText(text string) error {
	switch {
	case strings.IndexByte(text, 0) >= 0:
		return fmt.Errorf("%s has a NUL, which no path has", quote(text))
	case !utf8.ValidString(text):
		return fmt.Errorf("%s is not UTF-8, and the format has no words for other paths", quote(text))
	}
	return nil
}

// normal returns a path without what does not matter in it, so that paths can be compared.
func normal(path string) string {
	var parts []string
	for i, part := range strings.Split(path, "/") {
		if part == "" && i > 0 || part == "." && i > 0 {
			continue
		}
		parts = append(parts, part)
	}
	if len(parts) == 1 && parts[0] == "" && path != "" {
		return "/"
	}
	return strings.Join(parts, "/")
}

// expansion makes paths of templates, within the bounds.
type expansion struct {
	variables    map[string][]string
	paths, bytes int // so far
}

// expand returns the paths that a template makes, each with no more in it than matters.
func (e *expansion) expand(t template) ([]string, error) {
	alternatives, err := e.alternatives(t)
	if err != nil {
		return nil, err
	}
	made := []string{""}
	for _, texts := range alternatives {
		if len(texts) > (MaxPaths-e.paths)/len(made) { // by division, since the product may not fit into an int
			return nil, fmt.Errorf("%s: the document makes more than %d paths with it, which is the most that one may have", quote(t.String()), MaxPaths)
		}
		next := make([]string, 0, len(made)*len(texts))
		bytes := e.bytes
		for _, before := range made {
			for _, text := range texts {
				if bytes += len(before) + len(text); bytes > maxText {
					return nil, fmt.Errorf("%s: the paths of the document have more than %d bytes with it, which is the most that they may have together", quote(t.String()), maxText)
				}
				if len(before)+len(text) > maxPath {
					return nil, errLongPath(t)
				}
				next = append(next, before+text)
			}
		}
		made = next
	}
	for i, path := range made {
		e.bytes += len(path)
		made[i] = normal(path)
	}
	e.paths += len(made)
	return made, nil
}

func errLongPath(t template) error {
	return fmt.Errorf("%s makes a path of more than %d bytes, which is the most that the kernel takes", quote(t.String()), maxPath)
}

// alternatives returns the texts that each part of a template has, and one part without
// any where the template makes no path. Neighbours with one text each are joined, so that
// thousands of them are a single step.
func (e *expansion) alternatives(t template) (all [][]string, err error) {
	joins := false // the last of all is one text
	for _, part := range t {
		texts := []string{part.text}
		if part.variable {
			texts = e.variables[part.text]
		}
		switch {
		case len(texts) == 0:
			return [][]string{nil}, nil
		case joins && len(texts) == 1:
			joined := all[len(all)-1][0] + texts[0]
			if len(joined) > maxPath {
				return nil, errLongPath(t)
			}
			all[len(all)-1] = []string{joined} // a list of its own: the other may be a variable's
		default:
			all = append(all, texts)
			joins = len(texts) == 1
		}
	}
	return all, nil
}

// shortened returns a text for an error, of a long one its beginning.
func shortened(text string) string {
	const most = 200
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// quote quotes a text for an error.
func quote(text string) string { return strconv.Quote(shortened(text)) }

// expand returns the paths of a document, and what is allowed beneath each.
func (m *meaning) expand() (map[string]landlock.AccessFS, error) {
	e := expansion{variables: map[string][]string{}}
	for name, literals := range m.variables {
		e.variables[name] = slices.Sorted(maps.Keys(literals))
	}
	paths := map[string]landlock.AccessFS{}
	for _, text := range slices.Sorted(maps.Keys(m.paths)) {
		t, err := parseTemplate(text)
		if err != nil {
			return nil, &Error{Err: err}
		}
		made, err := e.expand(t)
		if err != nil {
			return nil, &Error{Err: err}
		}
		for _, path := range made {
			if path != "" {
				paths[path] |= m.paths[text]
			}
		}
	}
	return paths, nil
}

// ruleset returns the ruleset of a document.
func (m *meaning) ruleset() (*landlock.Ruleset, error) {
	if m.handled == (landlock.Rights{}) {
		return nil, &Error{Err: errors.New("the document handles no right at all, so it would restrict nothing")}
	}
	if err := m.checkOpen(); err != nil {
		return nil, err
	}
	paths, err := m.expand()
	if err != nil {
		return nil, err
	}
	r := landlock.NewHandling(m.handled)
	for access, beneath := range byAccess(paths) {
		r.AllowOptional(access, beneath...)
	}
	for access, ports := range byAccess(m.ports) {
		for _, port := range ports {
			r.AllowNet(access, uint16(port)) // which it is: checkOpen has seen it
		}
	}
	return r, nil
}

// checkOpen returns the first thing that is still open.
func (m *meaning) checkOpen() error {
	if len(m.open) == 0 {
		return nil
	}
	o := m.open[0]
	if i := slices.IndexFunc(m.inherited, func(other openObject) bool { return other.object == o.object }); i >= 0 {
		o = m.inherited[i]
	}
	wrong := &Error{Name: o.file, Line: o.line, Column: o.column, Where: o.at.String()}
	switch object := o.object.(type) {
	case uint64:
		wrong.Err = fmt.Errorf("%d is no port: must be 0 to %d", object, math.MaxUint16)
	case string:
		name, _ := m.undeclared(object)
		wrong.Err = fmt.Errorf("%s: no variable %s is declared%s", quote(object), quote(name), m.declared())
	}
	return wrong
}

// undeclared returns a variable of a template that is not declared.
func (m *meaning) undeclared(text string) (name string, missing bool) {
	t, _ := parseTemplate(text)
	for _, part := range t {
		if part.variable && m.variables[part.text] == nil {
			return part.text, true
		}
	}
	return "", false
}

// declared lists the variables for an error, of many the first.
func (m *meaning) declared() string {
	const most = 20
	names := slices.Sorted(maps.Keys(m.variables))
	if len(names) == 0 {
		return ", nor any other"
	}
	text := ": there are "
	for i, name := range names {
		if i == most {
			return text + ", …"
		}
		if i > 0 {
			text += ", "
		}
		text += shortened(name)
	}
	return text
}
