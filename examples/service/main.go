// Service answers for files, and may look at those alone that its policy allows. The
// policy is a file beside it, or a directory of several, and an operator can change it
// without building the program anew:
//
//	echo /etc/hosts | go run ./examples/service -policy examples/service/policy.json
//
// Each line of standard input is the path of a file; the answer is its size, or why it
// is denied. The first line says what the kernel enforces of the policy. With
// -check it says what the policy is, and answers nothing.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"example.com/landlock"
	"example.com/landlock/policy"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "service:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("service", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints the mistakes, each in one line
	path := flags.String("policy", "", "")
	check := flags.Bool("check", false, "")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 || *path == "" {
		return errors.New("usage: service -policy FILE|DIRECTORY [-check]")
	}
	rules, err := readPolicy(*path)
	if err != nil {
		return err
	}
	if *check {
		fmt.Fprintln(out, rules)
		return nil
	}
	report, err := rules.Apply()
	if err != nil {
		return err
	}
	fmt.Fprintln(out, report)
	return answer(rules, in, out)
}

// readPolicy returns the ruleset of a policy, and adds what a policy has no words for:
// how old a kernel may be, and that no socket escapes the rights to ports.
func readPolicy(path string) (*landlock.Ruleset, error) {
	read := policy.ReadFile
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		read = policy.ReadDir
	}
	d, err := read(path)
	if err != nil {
		return nil, err
	}
	for _, loss := range d.Lost() {
		fmt.Fprintln(os.Stderr, "service:", loss)
	}
	rules, err := d.Ruleset()
	if err != nil {
		return nil, err
	}
	rules.BestEffort(landlock.V1)
	if rules.Handled().Net != 0 {
		rules.FilterSockets()
	}
	return rules, nil
}

// answer answers each line, which names a file.
func answer(rules *landlock.Ruleset, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		text, err := os.ReadFile(lines.Text())
		if err != nil {
			fmt.Fprintln(out, rules.Explain(err))
			continue
		}
		fmt.Fprintf(out, "%s: %d bytes\n", lines.Text(), len(text))
	}
	return lines.Err()
}
