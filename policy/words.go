package policy

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"example.com/landlock"
)

// mask is rights of one kind.
type mask interface {
	~uint64
	fmt.Stringer
}

// vocabulary is the words for one kind of rights.
type vocabulary[M mask] struct {
	kind   string
	words  []string // of each bit, lowest first
	groups []group[M]
}

// group is a word for what an ABI has.
type group[M any] struct {
	word string
	of   func(landlock.ABI) M
}

// newest stands for the newest ABI that the library knows.
const newest = landlock.ABI(math.MaxInt32)

var (
	fsWords = vocabulary[landlock.AccessFS]{"a filesystem access right", wordsOf(newest.FS()), []group[landlock.AccessFS]{
		{"abi.all", landlock.ABI.FS},
		{"abi.read_execute", func(abi landlock.ABI) landlock.AccessFS {
			return abi.FS() & (landlock.FSReadExecute | landlock.FSRefer)
		}},
		{"abi.read_write", func(abi landlock.ABI) landlock.AccessFS { return abi.FS() &^ landlock.FSExecute }},
	}}
	netWords   = vocabulary[landlock.AccessNet]{"a network access right", wordsOf(newest.Net()), []group[landlock.AccessNet]{{"abi.all", landlock.ABI.Net}}}
	scopeWords = vocabulary[landlock.Scope]{"a scope", wordsOf(newest.Scopes()), []group[landlock.Scope]{{"abi.all", landlock.ABI.Scopes}}}
)

// wordsOf returns the word of each right, nil for none.
func wordsOf[M mask](rights M) []string {
	if rights == 0 {
		return nil
	}
	return strings.Split(rights.String(), ",")
}

// mask returns the rights that words stand for, or which word is wrong, and why.
func (v vocabulary[M]) mask(words []string, abi *int) (all M, wrong int, err error) {
	for i, word := range words {
		if bit := slices.Index(v.words, word); bit >= 0 {
			all |= 1 << bit
			continue
		}
		g := slices.IndexFunc(v.groups, func(g group[M]) bool { return g.word == word })
		switch {
		case g < 0:
			return 0, i, v.unknown(word)
		case abi == nil:
			return 0, i, fmt.Errorf("%q stands for rights of the document's abi, and it has none: add the key abi, or name the rights", word)
		}
		all |= v.groups[g].of(landlock.ABI(*abi))
	}
	return all, 0, nil
}

// unknown says what a word is, if it is one of another kind, and which there are.
func (v vocabulary[M]) unknown(word string) error {
	is := "is not"
	if kind := kindOf(word); kind != "" {
		is = "is " + kind + ", and not"
	}
	return fmt.Errorf("%s %s %s: known are %s", quote(word), is, v.kind, strings.Join(v.known(), ", "))
}

// kindOf returns what a word is; empty for none.
func kindOf(word string) string {
	switch {
	case slices.Contains(fsWords.known(), word):
		return fsWords.kind
	case slices.Contains(netWords.known(), word):
		return netWords.kind
	case slices.Contains(scopeWords.known(), word):
		return scopeWords.kind
	}
	return ""
}

// known returns all words of the kind.
func (v vocabulary[M]) known() []string {
	var all []string
	for _, g := range v.groups {
		all = append(all, g.word)
	}
	return append(all, v.words...)
}
