package landlocktest_test

import (
	"os"
	"path/filepath"
	"testing"

	"example.com/landlock"
	"example.com/landlock/landlocktest"
)

// rulesOf is the program's own: what it applies when it starts.
func rulesOf(data string) *landlock.Ruleset {
	return landlock.New(landlock.V9).BestEffort(landlock.V3).AllowReadWrite(data)
}

// What the sandbox of a program lets through, and what it does not.
func ExampleRun() {
	testSandbox := func(t *testing.T) { // TestSandbox, in a file of tests
		landlocktest.NeedABI(t, landlock.V3)
		data, secret := t.TempDir(), filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		landlocktest.Run(t, rulesOf(data), func(t *testing.T) { // in a process of its own
			landlocktest.Allowed(t, os.WriteFile(filepath.Join(data, "file"), nil, 0o600))
			_, err := os.ReadFile(secret)
			landlocktest.Denied(t, err)
		})
	}
	_ = testSandbox
}
