package policy_test

import (
	"encoding/json"
	"fmt"
	"log"
	"sync/atomic"

	"example.com/landlock"
	"example.com/landlock/policy"
)

func ExampleParse() {
	d, err := policy.Parse([]byte(`{
		"abi": 4,
		"variable": [{"name": "data", "literal": ["/srv/data", "/var/cache"]}],
		"ruleset": [{"handledAccessFs": ["abi.all"]}],
		"pathBeneath": [{"allowedAccess": ["read_file", "read_dir"], "parent": ["${data}/public"]}],
		"netPort": [{"allowedAccess": ["bind_tcp"], "port": [8443]}]
	}`))
	if err != nil {
		log.Fatal(err)
	}
	rules, err := d.Ruleset()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(rules.BestEffort(landlock.V1).FilterSockets())

	_, err = policy.Parse([]byte("{\n  \"abi\": 4,\n  \"Ruleset\": []\n}"))
	fmt.Println(err)
	// Output:
	// handling all filesystem rights but ioctl_dev,resolve_unix, bind_tcp, best effort from ABI 1, sockets filtered: read beneath "/srv/data/public" (optional), "/var/cache/public" (optional); bind_tcp on port 8443
	// policy: line 3, column 3: unknown key "Ruleset": known are abi, variable, ruleset, pathBeneath, netPort
}

// One file handles less, and so all that is restricted is what it handles.
func ExampleCompose() {
	base, _ := policy.Parse([]byte(`{"ruleset": [{"handledAccessFs": ["write_file", "truncate"], "scoped": ["signal"]}]}`))
	more, _ := policy.Parse([]byte(`{"pathBeneath": [{"allowedAccess": ["write_file"], "parent": ["/srv"]}]}`))
	d, err := policy.Compose(base, more)
	if err != nil {
		log.Fatal(err)
	}
	for _, loss := range d.Lost() {
		fmt.Println(loss)
	}
	text, _ := json.Marshal(d)
	fmt.Println(string(text))
	// Output:
	// fs.truncate,scope.signal not restricted, since another document does not handle it
	// {"ruleset":[{"handledAccessFs":["write_file"]}],"pathBeneath":[{"allowedAccess":["write_file"],"parent":["/srv"]}]}
}

func ExampleOf() {
	rules := landlock.NewHandling(landlock.Rights{FS: landlock.FSReadFile}).AllowRead("/srv/$data")
	d, err := policy.Of(rules)
	if err != nil {
		log.Fatal(err)
	}
	text, _ := json.Marshal(d)
	fmt.Println(string(text))
	_, err = policy.Of(rules.FilterSockets())
	fmt.Println(err != nil)
	// Output:
	// {"ruleset":[{"handledAccessFs":["read_file"]}],"pathBeneath":[{"allowedAccess":["read_file"],"parent":["/srv/$$data"]}]}
	// true
}

func restrict(path string) error {
	d, err := policy.ReadFile(path)
	if err != nil {
		return err
	}
	rules, err := d.Ruleset()
	if err != nil {
		return err
	}
	rules.BestEffort(landlock.V1)
	if rules.Handled().Net != 0 {
		rules.FilterSockets() // no way around the rights to ports
	}
	report, err := rules.Apply()
	if err != nil {
		return err
	}
	log.Print(report)
	log.Printf("skipped: %q", report.Skipped)
	return nil
}

var current atomic.Pointer[landlock.Sandbox]

func reload(path string) error {
	d, err := policy.ReadFile(path)
	if err != nil {
		return err // the old policy stays
	}
	rules, err := d.Ruleset()
	if err != nil {
		return err
	}
	sandbox, err := rules.BestEffort(landlock.V1).Prepare()
	if err != nil {
		return err
	}
	current.Store(sandbox) // the old one is closed once nothing uses it
	return nil
}
