package policy_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/landlock"
	"example.com/landlock/landlocktest"
)

// What docs/policy.md shows of a program is what is tried here.
func TestShown(t *testing.T) {
	source, err := os.ReadFile("example_test.go")
	page, pageErr := os.ReadFile("../docs/policy.md")
	if err != nil || pageErr != nil {
		t.Skip("needs the source of the package: ", err, pageErr)
	}
	for begin, indent := range map[string]string{"func restrict": "", "var current": "", "	for _, loss": "	"} {
		_, shown, _ := strings.Cut(string(source), "\n"+begin)
		shown, _, _ = strings.Cut(begin+shown, "\n"+indent+"}\n")
		lines := strings.Split(shown+"\n"+indent+"}", "\n")
		for i, line := range lines {
			if line != "" {
				lines[i] = "    " + strings.TrimPrefix(line, indent)
			}
		}
		if want := "\n" + strings.Join(lines, "\n") + "\n"; !strings.Contains(string(page), want) {
			t.Errorf("docs/policy.md shows another program, not\n%s", want)
		}
	}
}

// A reload gives the next child the new policy, and one that is wrong changes nothing.
func TestReload(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	dir := t.TempDir()
	path := filepath.Join(dir, "policy.json")
	skipped := func() []string { return current.Load().Report().Skipped }
	for _, test := range []struct{ text, want string }{
		{`{"pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["/nonexistent/1"]}]}`, "/nonexistent/1"},
		{`{"pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["/nonexistent/2"]}]}`, "/nonexistent/2"},
		{`{"pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["${x}"]}]}`, "/nonexistent/2"},
		{`{`, "/nonexistent/2"},
	} {
		write(t, dir, map[string]string{"policy.json": test.text})
		err := reload(path)
		if good := strings.Contains(test.text, test.want); good != (err == nil) || !slices.Equal(skipped(), []string{test.want}) {
			t.Errorf("%s: %v, and then %q", test.text, err, skipped())
		}
	}
}
