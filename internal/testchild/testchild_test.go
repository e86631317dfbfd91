package testchild

import "testing"

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
