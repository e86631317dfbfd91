package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Parse reads a document in JSON, the whole of data and nothing more. Whatever is wrong in
// it is an [Error] with its line and column: syntax, a key or a word that is not known
// (also where its case alone is another), a key that is there twice, a value of another
// kind, null, an empty array, a number out of range, a NUL, text that is not Unicode, a
// group without an abi, and a document with nothing but an abi. Of several faults it names
// one. More than MaxSize bytes are an error, too.
//
// A variable that is not declared is no fault yet, since another document may declare it
// (see [Compose]), and neither is a port above 65535. [Document.Ruleset] refuses them, with
// their line and column here.
func Parse(data []byte) (*Document, error) {
	if len(data) > MaxSize {
		return nil, &Error{Err: errTooLarge}
	}
	p := parser{data: data, at: nowhere}
	if err := p.checkSyntax(); err != nil {
		return nil, err
	}
	d := new(Document)
	if err := p.document(d); err != nil {
		return nil, err
	}
	m, err := d.meaning()
	if wrong, ok := errors.AsType[*Error](err); ok {
		wrong.Line, wrong.Column = p.find(wrong.at)
		return nil, wrong
	}
	d.open = p.locate(m.open)
	return d, nil
}

// UnmarshalJSON is [Parse], so that encoding/json is as strict where a document is a part
// of a larger text. Lines and columns are then those of the part.
func (d *Document) UnmarshalJSON(data []byte) error {
	parsed, err := Parse(data)
	if err == nil {
		*d = *parsed
	}
	return err
}

// parser reads a text whose syntax is right. (encoding/json decodes into structs by itself,
// and then takes keys in any case, the last of several, null, and what is not Unicode.)
type parser struct {
	data   []byte
	tokens *json.Decoder
	at     place         // the value that comes next
	values []parsedValue // all so far

	counted      int // the offset whose line and column these are
	line, column int // less one
}

type parsedValue struct {
	at     place
	offset int
}

// checkSyntax returns what is not JSON.
func (p *parser) checkSyntax() error {
	for at := 0; at < len(p.data); {
		char, size := utf8.DecodeRune(p.data[at:])
		if char == utf8.RuneError && size == 1 {
			return p.wrong(at, errors.New("the text is not UTF-8"))
		}
		at += size
	}
	var whole json.RawMessage
	err := json.Unmarshal(p.data, &whole)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		at := max(0, min(int(syntax.Offset-offsetOfFirst()), len(p.data)-1))
		for at > 0 && !utf8.RuneStart(p.data[at]) {
			at--
		}
		return p.wrong(at, err)
	}
	return err
}

// offsetOfFirst is what encoding/json calls the offset of a first byte that is wrong: 1,
// or 0 in its second version.
func offsetOfFirst() int64 {
	syntax, _ := errors.AsType[*json.SyntaxError](json.Unmarshal([]byte("?"), new(any)))
	return syntax.Offset
}

// wrong returns an error about what begins at an offset.
func (p *parser) wrong(offset int, err error) error {
	line, column := p.position(offset)
	return &Error{Line: line, Column: column, Where: p.at.String(), Err: err}
}

// position returns the line and the column of an offset, which is not before the last one.
func (p *parser) position(offset int) (line, column int) {
	for _, char := range string(p.data[p.counted:offset]) {
		if p.column++; char == '\n' {
			p.line, p.column = p.line+1, 0
		}
	}
	p.counted = offset
	return 1 + p.line, 1 + p.column
}

// find returns the line and the column of a value.
func (p *parser) find(at place) (line, column int) {
	i := slices.IndexFunc(p.values, func(v parsedValue) bool { return v.at == at })
	return p.position(p.values[i].offset)
}

// locate returns objects with their lines and columns, in the order of the text.
func (p *parser) locate(objects []openObject) (located []openObject) {
	at := map[place]openObject{}
	for _, o := range objects {
		at[o.at] = o
	}
	for _, v := range p.values {
		if o, ok := at[v.at]; ok {
			o.line, o.column = p.position(v.offset)
			located = append(located, o)
		}
	}
	return located
}

func (p *parser) document(d *Document) error {
	p.tokens = json.NewDecoder(bytes.NewReader(p.data))
	p.tokens.UseNumber()
	return p.object(
		field{"abi", func() error { return p.abi(&d.ABI) }},
		field{"variable", func() error { return array(p, &d.Variables, p.variable) }},
		field{"ruleset", func() error { return array(p, &d.Rulesets, p.ruleset) }},
		field{"pathBeneath", func() error { return array(p, &d.PathsBeneath, p.pathBeneath) }},
		field{"netPort", func() error { return array(p, &d.NetPorts, p.netPort) }},
	)
}

func (p *parser) variable(v *Variable) error {
	return p.object(
		field{"name", func() error { return p.text(&v.Name) }},
		field{"literal", func() error { return array(p, &v.Literals, p.text) }},
	)
}

func (p *parser) ruleset(h *Handled) error {
	return p.object(
		field{"handledAccessFs", func() error { return array(p, &h.AccessFS, p.text) }},
		field{"handledAccessNet", func() error { return array(p, &h.AccessNet, p.text) }},
		field{"scoped", func() error { return array(p, &h.Scoped, p.text) }},
	)
}

func (p *parser) pathBeneath(b *PathBeneath) error {
	return p.object(
		field{"allowedAccess", func() error { return array(p, &b.AllowedAccess, p.text) }},
		field{"parent", func() error { return array(p, &b.Parents, p.text) }},
	)
}

func (p *parser) netPort(n *NetPort) error {
	return p.object(
		field{"allowedAccess", func() error { return array(p, &n.AllowedAccess, p.text) }},
		field{"port", func() error { return array(p, &n.Ports, p.port) }},
	)
}

// field is a key of an object, and what reads its value.
type field struct {
	key  string
	read func() error
}

// object reads an object.
func (p *parser) object(fields ...field) error {
	if err := p.open('{', "an object"); err != nil {
		return err
	}
	at := p.at
	seen := map[string]bool{}
	for p.tokens.More() {
		p.at = at
		start := p.start()
		token, err := p.tokens.Token()
		if err != nil {
			return err
		}
		key := token.(string) // as the syntax has it
		i := slices.IndexFunc(fields, func(f field) bool { return f.key == key })
		switch {
		case i < 0:
			return p.wrong(start, unknownKey(key, fields))
		case seen[key]:
			return p.wrong(start, fmt.Errorf("the key %q is there twice", key))
		}
		seen[key] = true
		p.at = at.under(key)
		if err := fields[i].read(); err != nil {
			return err
		}
	}
	p.at = at
	_, err := p.tokens.Token()
	return err
}

func unknownKey(key string, fields []field) error {
	var known []string
	for _, f := range fields {
		known = append(known, f.key)
	}
	return fmt.Errorf("unknown key %s: known are %s", quote(key), strings.Join(known, ", "))
}

// array reads an array.
func array[T any](p *parser, values *[]T, read func(*T) error) error {
	if err := p.open('[', "an array"); err != nil {
		return err
	}
	at := p.at
	*values = []T{} // which is there, if it is empty
	for p.tokens.More() {
		p.at = at.element(len(*values))
		var value T
		if err := read(&value); err != nil {
			return err
		}
		*values = append(*values, value)
	}
	p.at = at
	_, err := p.tokens.Token()
	return err
}

// under returns the place of a key's value.
func (p place) under(key string) place {
	if p.section == "" {
		p.section = key
	} else {
		p.key = key
	}
	return p
}

// element returns the place of an element.
func (p place) element(i int) place {
	if p.key == "" {
		p.item = i
	} else {
		p.index = i
	}
	return p
}

// start returns the offset of the next token.
func (p *parser) start() int {
	at := int(p.tokens.InputOffset())
	for at < len(p.data) && strings.IndexByte(" \t\r\n,:", p.data[at]) >= 0 {
		at++
	}
	return at
}

// open reads the beginning of an object or an array.
func (p *parser) open(delim json.Delim, kind string) error {
	token, start, err := p.value()
	if err == nil && token != delim {
		err = p.wrongKind(start, token, kind)
	}
	return err
}

// value reads the first token of a value.
func (p *parser) value() (token json.Token, start int, err error) {
	start = p.start()
	p.values = append(p.values, parsedValue{p.at, start})
	token, err = p.tokens.Token()
	return token, start, err
}

func (p *parser) wrongKind(start int, token json.Token, want string) error {
	is := "null"
	switch token := token.(type) {
	case string:
		is = "the text " + quote(token)
	case json.Number:
		is = "the number " + shortened(token.String())
	case bool:
		is = strconv.FormatBool(token)
	case json.Delim:
		is = map[json.Delim]string{'{': "an object", '[': "an array"}[token]
	}
	return p.wrong(start, fmt.Errorf("%s, where %s has to be", is, want))
}

// scalar reads a text or a number.
func scalar[T string | json.Number](p *parser, kind string) (value T, start int, err error) {
	token, start, err := p.value()
	value, ok := token.(T)
	if err == nil && !ok {
		err = p.wrongKind(start, token, kind)
	}
	return value, start, err
}

func (p *parser) text(text *string) error {
	value, start, err := scalar[string](p, "a text")
	if err != nil {
		return err
	}
	if hasLoneSurrogate(p.data[start:p.tokens.InputOffset()]) {
		return p.wrong(start, errors.New("the text has half of a surrogate pair, which is no character"))
	}
	*text = value
	return nil
}

// hasLoneSurrogate reports whether a text in JSON has one, for which encoding/json puts
// U+FFFD.
func hasLoneSurrogate(text []byte) bool {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		i++
		if text[i] != 'u' {
			continue
		}
		first := escaped(text[i+1:])
		i += 4
		if !utf16.IsSurrogate(first) {
			continue
		}
		if !bytes.HasPrefix(text[i+1:], []byte(`\u`)) || utf16.DecodeRune(first, escaped(text[i+3:])) == utf8.RuneError {
			return true
		}
		i += 6
	}
	return false
}

// escaped returns the value of four hexadecimal digits.
func escaped(digits []byte) rune {
	value, _ := strconv.ParseUint(string(digits[:4]), 16, 16)
	return rune(value)
}

// number reads a whole number.
func (p *parser) number(is string, parse func(string) error) error {
	number, start, err := scalar[json.Number](p, is)
	if err != nil {
		return err
	}
	if err := parse(number.String()); err != nil {
		return p.wrong(start, err)
	}
	return nil
}

func (p *parser) abi(abi **int) error {
	return p.number("the number of an ABI", func(text string) error {
		value, err := strconv.ParseInt(text, 10, 32)
		if err != nil || value < 1 {
			return badABI(quote(text))
		}
		*abi = new(int(value))
		return nil
	})
}

func (p *parser) port(port *uint64) error {
	return p.number("the number of a port", func(text string) (err error) {
		if *port, err = strconv.ParseUint(text, 10, 64); err != nil {
			return fmt.Errorf("%s is no port: must be a whole number from 0 to 65535", quote(text))
		}
		return nil
	})
}
