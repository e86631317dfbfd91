package policy_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"example.com/landlock"
	"example.com/landlock/landlocktest"
	"example.com/landlock/policy"
)

// What a document says is what the kernel does, and what is not there is named.
func TestEnforced(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	dir := t.TempDir()
	for _, name := range []string{"read", "write", "secret"} {
		write(t, filepath.Join(dir, name), map[string]string{"file": "text"})
	}
	text := fmt.Sprintf(`{
		"abi": 1,
		"variable": [{"name": "dir", "literal": [%q]}, {"name": "names", "literal": ["read", "none"]}],
		"pathBeneath": [
			{"allowedAccess": ["abi.read_execute"], "parent": ["${dir}/${names}/."]},
			{"allowedAccess": ["abi.read_write"], "parent": ["${dir}//write/"]}
		]
	}`, dir)
	r := mustRuleset(t, mustParse(t, text))
	report, err := r.DryRun()
	if none := filepath.Join(dir, "none"); err != nil || !slices.Equal(report.Skipped, []string{none}) {
		t.Errorf("%v: %q is not skipped: %v", report, none, err)
	}
	landlocktest.Run(t, r, func(t *testing.T) {
		_, err := os.ReadFile(filepath.Join(dir, "read", "file"))
		landlocktest.Allowed(t, err)
		landlocktest.Denied(t, os.WriteFile(filepath.Join(dir, "read", "new"), nil, 0o600))
		landlocktest.Allowed(t, os.WriteFile(filepath.Join(dir, "write", "new"), nil, 0o600))
		_, err = os.ReadFile(filepath.Join(dir, "secret", "file"))
		landlocktest.Denied(t, err)
	})
	if _, err := os.ReadFile(filepath.Join(dir, "secret", "file")); err != nil {
		t.Errorf("this process: %v", err)
	}
	if strict := mustRuleset(t, mustParse(t, `{"abi": 11, "ruleset": [{"handledAccessFs": ["abi.all"], "handledAccessNet": ["abi.all"]}]}`)); strict.Options() != (landlock.Options{}) {
		t.Errorf("a ruleset has options: %+v", strict.Options())
	}
}

// A file that handles less loosens what another denies; layers do not.
func TestComposedIsLooser(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	file := filepath.Join(t.TempDir(), "file")
	strict := mustParse(t, `{"ruleset": [{"handledAccessFs": ["read_file", "make_reg"]}]}`)
	loose := mustParse(t, `{"ruleset": [{"handledAccessFs": ["make_reg"]}]}`)
	write(t, filepath.Dir(file), map[string]string{"file": "text"})
	composed := must(policy.Compose(strict, loose))
	for name, r := range map[string]*landlock.Ruleset{"strict": mustRuleset(t, strict), "composed": mustRuleset(t, composed)} {
		t.Run(name, func(t *testing.T) {
			landlocktest.Run(t, r, func(t *testing.T) {
				_, err := os.ReadFile(file)
				if name == "strict" {
					landlocktest.Denied(t, err)
				} else {
					landlocktest.Allowed(t, err)
				}
			})
		})
	}
}

// The program of docs/policy.md restricts itself, with and without rights to ports.
func TestRestrict(t *testing.T) {
	landlocktest.NeedABI(t, landlock.V1)
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"policy.json": `{"ruleset": [{"handledAccessFs": ["read_file"]}], "pathBeneath": [{"allowedAccess": ["read_file"], "parent": ["/nonexistent"]}]}`,
		"ports.json":  `{"ruleset": [{"handledAccessFs": ["read_file"], "handledAccessNet": ["bind_tcp"]}]}`,
		"wrong.json":  `{"ruleset": [{"handledAccessFs": ["read"]}]}`,
	})
	unrestricted := landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeChar})
	for _, name := range []string{"policy.json", "ports.json", "wrong.json"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			landlocktest.Run(t, unrestricted, func(t *testing.T) {
				err := restrict(path)
				_, readErr := os.ReadFile(path)
				if name == "wrong.json" {
					if err == nil || readErr != nil {
						t.Errorf("a policy that is wrong: %v, and then %v", err, readErr)
					}
					return
				}
				if err != nil || !errors.Is(readErr, fs.ErrPermission) {
					t.Errorf("%v, and then %v", err, readErr)
				}
			})
		})
	}
}
