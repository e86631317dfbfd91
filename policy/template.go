package policy

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
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
		if e.paths+len(made)*len(texts) > MaxPaths {
			return nil, fmt.Errorf("%s: the document makes more than %d paths with it, which is the most that one may have", quote(t.String()), MaxPaths)
		}
		next := make([]string, 0, len(made)*len(texts))
		bytes := e.bytes
		for _, before := range made {
			for _, text := range texts {
				path := before + text
				if bytes += len(path); len(path) > maxPath || bytes > maxText {
					return nil, e.tooLong(t, len(path))
				}
				next = append(next, path)
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

func (e *expansion) tooLong(t template, length int) error {
	if length > maxPath {
		return fmt.Errorf("%s makes a path of more than %d bytes, which is the most that the kernel takes", quote(t.String()), maxPath)
	}
	return fmt.Errorf("%s: the paths of the document have more than %d bytes with it, which is the most that they may have together", quote(t.String()), maxText)
}

// alternatives returns the texts that the parts of a template have, without any where it
// makes no path. What has no choice is one text with what is before it: so each list but
// every second doubles the paths at least, and there are few.
func (e *expansion) alternatives(t template) (all [][]string, err error) {
	none := false
	for _, part := range t {
		texts := []string{part.text}
		if part.variable {
			var declared bool
			if texts, declared = e.variables[part.text]; !declared {
				return nil, e.undeclared(t, part.text)
			}
		}
		switch last := len(all) - 1; {
		case len(texts) == 0:
			none = true
		case len(texts) == 1 && last >= 0 && len(all[last]) == 1:
			if all[last][0] += texts[0]; len(all[last][0]) > maxPath {
				return nil, e.tooLong(t, len(all[last][0]))
			}
		default:
			all = append(all, texts)
		}
	}
	if none {
		return [][]string{nil}, nil
	}
	return all, nil
}

func (e *expansion) undeclared(t template, name string) error {
	names := slices.Sorted(maps.Keys(e.variables))
	err := fmt.Errorf("%s: no variable %q is declared", quote(t.String()), name)
	switch {
	case len(names) == 0:
		return fmt.Errorf("%w, nor any other", err)
	case len(names) > 20:
		names = append(names[:20], "…")
	}
	return fmt.Errorf("%w: there are %s", err, strings.Join(names, ", "))
}

// quote quotes a text for an error, of a long one its beginning.
func quote(text string) string {
	const most = 200
	if len(text) <= most {
		return fmt.Sprintf("%q", text)
	}
	return fmt.Sprintf("%q…", strings.ToValidUTF8(text[:most], ""))
}

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
			return nil, &Error{Err: err, about: text}
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
			if port > math.MaxUint16 {
				return nil, &Error{Err: fmt.Errorf("port %d: must be 0 to %d", port, math.MaxUint16), about: port}
			}
			r.AllowNet(access, uint16(port))
		}
	}
	if mistakes := r.Mistakes(); len(mistakes) > 0 {
		return nil, &Error{Err: errors.Join(mistakes...)}
	}
	return r, nil
}
