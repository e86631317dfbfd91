// Count reads the output of go test -json, prints what failed and what was
// skipped and why, and how many tests ran. It fails where none did.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

type event struct{ Action, Package, Test, Output string }

func main() {
	counts := map[string]int{}
	outputs := map[string]*strings.Builder{}
	decoder := json.NewDecoder(os.Stdin)
	for {
		var e event
		if err := decoder.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			fmt.Fprintln(os.Stderr, "count: not the output of go test -json:", err)
			os.Exit(1)
		}
		name := e.Package + " " + e.Test
		if outputs[name] == nil {
			outputs[name] = new(strings.Builder)
		}
		outputs[name].WriteString(e.Output)
		if e.Test != "" {
			counts[e.Action]++
		}
		switch e.Action {
		case "fail", "skip":
			if e.Test != "" || e.Action == "fail" {
				fmt.Printf("%s: %s\n%s", e.Action, name, outputs[name])
			}
			fallthrough
		case "pass":
			delete(outputs, name)
		}
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", counts["pass"], counts["fail"], counts["skip"])
	if counts["pass"] == 0 || counts["fail"] > 0 {
		os.Exit(1)
	}
}
