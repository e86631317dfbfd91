package policy_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"reflect"
	"slices"
	"testing"

	"example.com/landlock/policy"
)

// seeds are documents that between them have everything.
var seeds = []string{
	`{"abi": 5, "variable": [{"name": "a", "literal": ["/x", "/y"]}, {"name": "b"}],
	  "ruleset": [{"handledAccessFs": ["abi.all"], "handledAccessNet": ["abi.all"], "scoped": ["signal"]}],
	  "pathBeneath": [{"allowedAccess": ["abi.read_execute", "refer"], "parent": ["/usr", "${a}/$$/${b}", "$"]}],
	  "netPort": [{"allowedAccess": ["bind_tcp"], "port": [80, 65536]}]}`,
	`{"ruleset": [{"handledAccessFs": ["read_file"], "scoped": ["abstract_unix_socket"]}], "variable": [{"name": "b", "literal": ["z", ""]}]}`,
	`{"abi": 11, "pathBeneath": [{"allowedAccess": ["abi.read_write"], "parent": ["${a}", "/\u00fc/./\ud83d\ude00"]}], "netPort": [{"allowedAccess": ["abi.all"], "port": [0]}]}`,
	`{"abi": 1, "ruleset": [{"handledAccessFs": ["abi.read_write"]}]}`,
	`{"abi": 4, "abi": 4}`,
}

// Any text is a document or an error with its place, and what a ruleset is made of says
// the same once it has been written down.
func FuzzParse(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := policy.Parse(text)
		if err != nil {
			if wrong, ok := errors.AsType[*policy.Error](err); !ok || wrong.Line < 1 || wrong.Column < 1 || wrong.Line > 1+len(text) || d != nil || !errors.Is(err, fs.ErrInvalid) {
				t.Fatalf("%v, %#v", d, err)
			}
			return
		}
		if !json.Valid(text) {
			t.Fatal("it is no JSON")
		}
		written, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		again, err := policy.Parse(written)
		if err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		checkLaws(t, d)
		checkLaws(t, d, again)
		r, err := d.Ruleset()
		if err != nil {
			return
		}
		if !reflect.DeepEqual(again, d) {
			t.Fatalf("%s is another", written)
		}
		of, err := policy.Of(r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := of.Ruleset()
		if err != nil || says(back) != says(r) {
			t.Fatalf("%v\n%s\nis by Of\n%s", err, says(r), says(back))
		}
		if composed, err := must(policy.Compose(d)).Ruleset(); err != nil || says(composed) != says(r) {
			t.Fatalf("%v\n%s\nis by Compose\n%s", err, says(r), says(composed))
		}
	})
}

// Composition is commutative, associative and idempotent, also in what it cannot do.
func FuzzCompose(f *testing.F) {
	for i, a := range seeds[:4] {
		for _, b := range seeds[:4] {
			f.Add([]byte(a), []byte(b), []byte(seeds[i%3]))
		}
	}
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		var documents []*policy.Document
		for _, text := range [][]byte{a, b, c} {
			if d, err := policy.Parse(text); err == nil {
				documents = append(documents, d)
			}
		}
		if len(documents) == 0 {
			return
		}
		checkLaws(t, documents...)
		whole := must(policy.Compose(documents...))
		for _, d := range documents {
			all := handled(d)
			for _, word := range handled(whole) {
				if !slices.Contains(all, word) {
					t.Errorf("%v is handled, where one handles %v", word, all)
				}
			}
		}
	})
}
