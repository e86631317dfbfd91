package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// message is what the guest tells the host: one JSON object a line, on a serial
// port that nothing else writes to.
type message struct {
	Kernel  *kernelFacts `json:",omitempty"` // the first message
	Alive   bool         `json:",omitempty"` // nothing else is new
	Build   string       `json:",omitempty"` // the test binary that the rest is about
	Binary  string       `json:",omitempty"`
	Output  []byte       `json:",omitempty"`
	Ended   bool         `json:",omitempty"`
	Failure string       `json:",omitempty"` // how it ended, unless with status 0
	Done    bool         `json:",omitempty"` // the last message
}

// kernelFacts is what the guest's kernel says of itself.
type kernelFacts struct {
	Release string
	ABI     string // a number, notBuilt, switchedOff, or an unexpected error
	Errata  int
}

const (
	notBuilt    = "none"
	switchedOff = "off"
)

// readMessages calls f for each message up to the last, which must be there.
func readMessages(r io.Reader, f func(message) error) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("the guest ended without saying so: %w", err)
		}
		var m message
		if err := json.Unmarshal(line, &m); err != nil {
			return fmt.Errorf("not a message of the guest: %q: %w", line, err)
		}
		if m.Done {
			return nil
		}
		if err := f(m); err != nil {
			return err
		}
	}
}

// outcome is how one test ended.
type outcome struct {
	name   string
	action string // pass, fail, skip, or empty where it did not end
	output string
}

// parseTests reads what a test binary printed, in the format of
// -test.v=test2json, by the tool that comes with Go.
func parseTests(test2json string, output []byte) ([]outcome, error) {
	cmd := exec.Command(test2json)
	cmd.Stdin = bytes.NewReader(output)
	events, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("test2json: %w", err)
	}
	return collect(events)
}

// collect makes one outcome of all events of a test.
func collect(events []byte) ([]outcome, error) {
	var all []*outcome
	byName := map[string]*outcome{}
	decoder := json.NewDecoder(bytes.NewReader(events))
	for {
		var e struct{ Action, Test, Output string }
		if err := decoder.Decode(&e); err == io.EOF {
			break
		} else if err != nil {
			return nil, fmt.Errorf("test2json: %w", err)
		}
		if e.Test == "" {
			continue
		}
		test := byName[e.Test]
		if test == nil {
			test = &outcome{name: e.Test}
			byName[e.Test], all = test, append(all, test)
		}
		test.output += e.Output
		switch e.Action {
		case "pass", "fail", "skip":
			test.action = e.Action
		}
	}
	outcomes := make([]outcome, len(all))
	for i, test := range all {
		outcomes[i] = *test
	}
	return outcomes, nil
}

// reason returns what a test that was skipped says of it: its last line, less
// the file and the number.
func (o outcome) reason() string {
	reason := "no reason"
	for line := range strings.Lines(o.output) {
		if strings.HasPrefix(line, "=== ") || strings.HasPrefix(strings.TrimSpace(line), "--- ") {
			continue
		}
		if _, text, ok := strings.Cut(strings.TrimSpace(line), ".go:"); ok {
			_, line, _ = strings.Cut(text, ": ")
		}
		reason = strings.TrimSpace(line)
	}
	return reason
}
