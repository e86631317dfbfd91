package landlock_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"

	"example.com/landlock"
)

func ExampleRuleset_Apply() {
	report, err := landlock.New(landlock.V9).BestEffort(landlock.V4).
		AllowRead("/usr/share").
		AllowReadWrite(os.TempDir()).
		AllowConnectTCP(443).
		Apply()
	if err != nil {
		log.Fatal(err) // not sandboxed: do not go on
	}
	log.Print(report)
}

func ExampleRuleset_Prepare() {
	sandbox, err := landlock.New(landlock.V9).BestEffort(landlock.V6).
		AllowExecute("/usr", "/bin").
		AllowOptional(landlock.FSReadExecute, "/lib", "/lib64").
		AllowReadWrite("/srv/jobs/1").
		Prepare()
	if err != nil {
		log.Fatal(err)
	}
	defer sandbox.Close()
	if err := sandbox.Run(exec.Command("convert", "/srv/jobs/1/in.png", "/srv/jobs/1/out.jpg")); err != nil {
		log.Fatal(err)
	}
}

func ExampleSandbox_Wrap() {
	sandbox, err := landlock.New(landlock.V9).BestEffort(landlock.V6).
		AllowExecute("/usr", "/bin").
		AllowOptional(landlock.FSReadExecute, "/lib", "/lib64").
		Prepare()
	if err != nil {
		log.Fatal(err)
	}
	defer sandbox.Close()

	cmd := exec.Command("server", "--stdio")
	if err := sandbox.Wrap(cmd); err != nil {
		log.Fatal(err)
	}
	start := (*exec.Cmd).Start // or any package that takes a cmd and starts it
	if err := start(cmd); err != nil {
		log.Fatal(err)
	}
}

func ExampleSandbox_Do() {
	sandbox, err := landlock.New(landlock.V3).AllowRead("/srv/templates").Prepare()
	if err != nil {
		log.Fatal(err)
	}
	defer sandbox.Close()
	name := "../../etc/passwd" // from a request
	var page []byte
	err = sandbox.Do(func() (err error) {
		page, err = os.ReadFile("/srv/templates/" + name)
		return err
	})
	switch {
	case errors.Is(err, os.ErrPermission):
		log.Print("no such page")
	case err != nil:
		log.Print(err)
	default:
		log.Printf("%d bytes", len(page))
	}
}

// No network at all, on a kernel that can restrict TCP (6.7 and newer): the filter
// refuses UDP where the kernel does not know it yet, and the sockets that Landlock
// never governs.
func ExampleRuleset_FilterSockets() {
	tcpAndUDP := landlock.Rights{Net: landlock.V10.Net()}
	report, err := landlock.NewHandling(tcpAndUDP).FilterSockets().Apply()
	if err != nil {
		log.Fatal(err)
	}
	log.Print(report)
}

// A base for all requests, and a ruleset for each.
func ExampleRuleset_Clone() {
	base := landlock.New(landlock.V9).BestEffort(landlock.V6).AllowExecute("/usr", "/bin")
	for _, job := range []string{"/srv/jobs/1", "/srv/jobs/2"} {
		fmt.Println(base.Clone().AllowReadWrite(job))
	}
	// Output:
	// ABI 9, best effort from ABI 6: read,execute beneath "/usr", "/bin"; read,write beneath "/srv/jobs/1"
	// ABI 9, best effort from ABI 6: read,execute beneath "/usr", "/bin"; read,write beneath "/srv/jobs/2"
}

// A ruleset's rules are values, to be shown, stored or compared.
func ExampleRuleset_Rules() {
	base := landlock.New(landlock.V4).AllowRead("/usr/share").AllowConnectTCP(443).
		AllowReadWrite("/var/lib/app").Allow(landlock.FSWriteFile|landlock.FSMakeReg, "/var/log/app")
	readOnly := landlock.New(landlock.V4)
	for rule := range base.Rules() {
		fmt.Println(rule)
		rule.FS &^= landlock.FSWrite
		if rule.FS != 0 || rule.Net != 0 { // else nothing is left of it, which is a mistake to add
			readOnly.Add(rule)
		}
	}
	fmt.Println(readOnly)
	// Output:
	// AllowRead("/usr/share")
	// AllowConnectTCP(443)
	// AllowReadWrite("/var/lib/app")
	// Allow(landlock.FSWriteFile|landlock.FSMakeReg, "/var/log/app")
	// ABI 4: read beneath "/usr/share"; connect_tcp on port 443; read beneath "/var/lib/app"
}

// What a ruleset would do here can be asked before anything is restricted.
func ExampleRuleset_DryRun() {
	report, err := landlock.New(landlock.V9).BestEffort(landlock.V4).AllowRead("/usr/share").DryRun()
	switch {
	case err != nil:
		log.Print("Apply would fail: ", err)
	case !report.Complete():
		log.Print("this kernel cannot do all of it: ", report)
	}
}

// A preset is a function that adds the rules for one purpose.
func ExampleRuleset_Use() {
	logs := func(r *landlock.Ruleset) error {
		r.Allow(landlock.FSWriteFile|landlock.FSMakeReg, "/var/log/app")
		return nil
	}
	fmt.Println(landlock.New(landlock.V3).AllowRead("/usr/share").Use(logs))
	// Output: ABI 3: read beneath "/usr/share"; write_file,make_reg beneath "/var/log/app"
}

func ExampleProbe() {
	kernel, err := landlock.Probe()
	switch {
	case errors.Is(err, landlock.ErrDisabled):
		log.Print("ask the administrator: ", err)
	case err != nil:
		log.Print("no sandbox here: ", err)
	default:
		log.Print("this kernel can restrict ", kernel.ABI.Rights())
	}
}

func ExampleAccessFS_String() {
	fmt.Println(landlock.FSRead, landlock.V3.FS()&^landlock.V1.FS())
	// Output: read_file,read_dir refer,truncate
}

// What is wrong with a ruleset can be asked before it is used, as in a test of the
// program that makes it.
func ExampleRuleset_Mistakes() {
	for _, mistake := range landlock.New(landlock.V9).AllowRead("").AllowSendUDP(53).Mistakes() {
		fmt.Println(mistake)
	}
	// Output:
	// landlock: AllowRead(""): empty path
	// landlock: AllowSendUDP(53): the ruleset does not handle this, so it is allowed everywhere: handle it (New does from V10 on), or leave the rule out
}

// Every mistake is reported at once, when the ruleset is used.
func ExampleRuleError() {
	_, err := landlock.New(landlock.V1).AllowRead("").AllowNet(0, 443).Apply()
	fmt.Println(err)
	// Output:
	// landlock: AllowRead(""): empty path
	// landlock: AllowNet(0, 443): no access right given
}

// Each rule that is wrong can be told in the words of the program that was given it.
func ExampleAll() {
	_, err := landlock.New(landlock.V9).AllowRead("").AllowSendUDP(53).Apply()
	for _, wrong := range landlock.All[*landlock.RuleError](err) {
		fmt.Printf("path %q, port %d: %v\n", wrong.Path, wrong.Port, wrong.Err)
	}
	// Output:
	// path "", port -1: empty path
	// path "", port 53: the ruleset does not handle this, so it is allowed everywhere: handle it (New does from V10 on), or leave the rule out
}
