package testchild

import (
	"reflect"
	"testing"
)

func TestChildPattern(t *testing.T) {
	for _, test := range []struct{ name, pattern, want string }{
		{"TestX/sandboxed", "", "^TestX$/^sandboxed$"},
		{"TestX/sandboxed", "X", "^TestX$/^sandboxed$"},
		{"TestX/sandboxed", "X/sand", "^TestX$/^sandboxed$"},
		{"TestX/sandboxed", "X/sand/sub/deep", "^TestX$/^sandboxed$/sub/deep"},
		{"TestX/sandboxed", "X//sub", "^TestX$/^sandboxed$/sub"},
		{"TestX/sandboxed", "X/s/a|X/s/b|Y/s/c|X/t/d", "^TestX$/^sandboxed$/a|^TestX$/^sandboxed$/b"},
		{"TestX/sandboxed", "X/s/(a|b/c)", "^TestX$/^sandboxed$/(a|b/c)"},
		{"TestX/sandboxed", "X/s/[a|/]b|Y", "^TestX$/^sandboxed$/[a|/]b"},
		{"TestX/sandboxed", `X/s/a\|b\/c`, `^TestX$/^sandboxed$/a\|b\/c`},
		{"TestX/a_b/sandboxed", "X/a b/s/c d", "^TestX$/^a_b$/^sandboxed$/c d"},
		{"TestX/a.(b|c)#01/sandboxed", "X", `^TestX$/^a\.\(b\|c\)#01$/^sandboxed$`},
		{"TestX/sandboxed", "Y", "^TestX$/^sandboxed$"},
	} {
		if got := childPattern(test.name, test.pattern); got != test.want {
			t.Errorf("the child of %s, by %q, is started with %q, want %q", test.name, test.pattern, got, test.want)
		}
	}
}

// A release of Go with another package testing is noticed.
func TestFailedAbove(t *testing.T) {
	type other struct{ parent *int }
	type retyped struct {
		parent *retyped
		failed int
	}
	type around struct {
		parent *around
		failed bool
	}
	for _, test := range []struct {
		what      string
		t         any
		is, known bool
	}{
		{"passes", t, false, true},
		{"passes, as it is now", &around{parent: &around{parent: &around{}}}, false, true},
		{"its own failure", &around{failed: true, parent: &around{}}, false, true},
		{"the one around failed", &around{parent: &around{failed: true, parent: &around{}}}, true, true},
		{"one above failed", &around{parent: &around{parent: &around{failed: true}}}, true, true},
		{"none around", &around{}, false, false},
		{"no such field", &struct{ outer *around }{}, false, false},
		{"an embedded one", &struct{ around }{around{parent: &around{failed: true}}}, true, true},
		{"no pointer", &struct{ parent around }{}, false, false},
		{"to no struct", &other{new(int)}, false, false},
		{"no bool", &retyped{parent: &retyped{failed: 1}}, false, false},
		{"no failed", &struct{ parent *struct{} }{&struct{}{}}, false, false},
	} {
		if is, known := failedAbove(reflect.ValueOf(test.t)); is != test.is || known != test.known {
			t.Errorf("%s: %t, %t, want %t, %t", test.what, is, known, test.is, test.known)
		}
	}
}
