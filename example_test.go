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

// Every mistake is reported at once, when the ruleset is used.
func ExampleRuleError() {
	_, err := landlock.New(landlock.V1).AllowRead("").AllowNet(0, 443).Apply()
	fmt.Println(err)
	// Output:
	// landlock: rule read_file,read_dir on "": empty path
	// landlock: rule none on port 443: no access right given
}
