package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/landlock"
	"example.com/landlock/internal/testchild"
	"example.com/landlock/internal/testenv"
	"example.com/landlock/landlocktest"
)

func TestMain(m *testing.M) { testchild.Main(m, main) }

// service runs the program in dir, and returns what it prints.
func service(t *testing.T, dir, input string, args ...string) (out, errs string, err error) {
	t.Helper()
	cmd := testchild.Program(t, dir, args...)
	var stdout, stderr strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &stdout, &stderr
	err = cmd.Run()
	return stdout.String(), stderr.String(), err
}

// files makes a directory with these files.
func files(t *testing.T, texts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range texts {
		testenv.Write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func TestService(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	dir := files(t, map[string]string{
		"data/file": "inside", "secret": "outside",
		"policy.json": `{"ruleset": [{"handledAccessFs": ["read_file"]}], "pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["data", "none"]}]}`,
	})
	secret := filepath.Join(dir, "secret")
	out, errs, err := service(t, dir, "data/file\n"+secret+"\n", "-policy", "policy.json")
	lines := strings.Split(out, "\n")
	if err != nil || errs != "" || len(lines) != 4 || !strings.HasPrefix(lines[0], "enforced on ABI ") || !strings.HasSuffix(lines[0], `; skipped: ["none"]`) ||
		lines[1] != "data/file: 6 bytes" || !strings.HasPrefix(lines[2], "open "+secret+": permission denied: landlock: no rule for read_file: AllowRead(") {
		t.Errorf("%v\n%s%s", err, out, errs)
	}
	if text, err := os.ReadFile(secret); err != nil || string(text) != "outside" {
		t.Errorf("this process: %v", err)
	}
}

// Policies of a directory are composed, and what that loses is said.
func TestDirectory(t *testing.T) {
	dir := files(t, map[string]string{
		"policy.d/10.json": `{"ruleset": [{"handledAccessFs": ["read_file", "truncate"]}], "pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["${data}"]}]}`,
		"policy.d/20.json": `{"ruleset": [{"handledAccessFs": ["read_file"]}], "variable": [{"name": "data", "literal": ["/a", "/b"]}]}`,
	})
	out, errs, err := service(t, dir, "", "-policy", "policy.d", "-check")
	if err != nil || !strings.HasSuffix(out, `read_file beneath "/a" (optional), "/b" (optional)`+"\n") ||
		errs != "service: policy.d/10.json: fs.truncate not restricted, since another document does not handle it\n" {
		t.Errorf("%v\n%s%s", err, out, errs)
	}
}

func TestMistakes(t *testing.T) {
	dir := files(t, map[string]string{"bad.json": "{\n\"Ruleset\": []}", "nothing.json": `{"variable": [{"name": "a"}]}`})
	for args, want := range map[string]string{
		"": "usage: ", "-policy": "usage: ", "-policy x y": "usage: ",
		"-policy none.json":    "service: policy: open none.json: ",
		"-policy bad.json":     `service: policy: bad.json:2:1: unknown key "Ruleset": known are abi`,
		"-policy nothing.json": "service: policy: the document handles no right at all",
	} {
		out, errs, err := service(t, dir, "", strings.Fields(args)...)
		if err == nil || out != "" || !strings.Contains(errs, want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: %v\n%s%s", args, err, out, errs)
		}
	}
}

// The policy beside the program is the one that the documentation shows.
func TestPolicyInDocumentation(t *testing.T) {
	text, err := os.ReadFile("policy.json")
	page, pageErr := os.ReadFile("../../docs/policy.md")
	if err != nil || pageErr != nil {
		t.Skip("needs the source of the package: ", err, pageErr)
	}
	if !json.Valid(text) || !strings.Contains(string(page), strings.TrimSuffix("    "+strings.ReplaceAll(string(text), "\n", "\n    "), "    ")) {
		t.Error("docs/policy.md shows another policy")
	}
	if _, _, err := service(t, ".", "", "-policy", "policy.json", "-check"); err != nil {
		t.Error(err)
	}
}
