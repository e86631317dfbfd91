package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// source is a place that the machine gets packages from.
type source struct {
	uri        string
	suites     []string
	components []string
	keyring    string // who must have signed it: a file, or empty for apt's own
}

// readSources returns the sources in a folder such as /etc/apt, in both formats.
func readSources(etc string) ([]source, error) {
	var all []source
	for _, pattern := range []string{"sources.list", "sources.list.d/*.list", "sources.list.d/*.sources"} {
		paths, err := filepath.Glob(filepath.Join(etc, pattern))
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			if filepath.Ext(path) == ".sources" {
				all = append(all, parseStanzas(string(text))...)
			} else {
				all = append(all, parseLines(string(text))...)
			}
		}
	}
	return all, nil
}

// parseLines reads the format of sources.list: deb [signed-by=FILE] URI SUITE COMPONENT...
func parseLines(text string) []source {
	var all []source
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		kind, line, _ := strings.Cut(strings.TrimSpace(strings.ReplaceAll(line, "\t", " ")), " ")
		if kind != "deb" {
			continue
		}
		var s source
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			var options string
			options, line, _ = strings.Cut(line[1:], "]")
			for option := range strings.FieldsSeq(options) {
				if value, ok := strings.CutPrefix(option, "signed-by="); ok {
					s.keyring = keyringFile(value)
				}
			}
		}
		if fields := strings.Fields(line); len(fields) >= 3 {
			s.uri, s.suites, s.components = fields[0], fields[1:2], fields[2:]
			all = append(all, s)
		}
	}
	return all
}

// parseStanzas reads the format of *.sources files: paragraphs of fields.
func parseStanzas(text string) []source {
	var all []source
	fields := map[string]string{}
	last := ""
	end := func() {
		enabled := !strings.EqualFold(fields["enabled"], "no")
		if enabled && slices.Contains(strings.Fields(fields["types"]), "deb") {
			for uri := range strings.FieldsSeq(fields["uris"]) {
				all = append(all, source{uri, strings.Fields(fields["suites"]), strings.Fields(fields["components"]), keyringFile(fields["signed-by"])})
			}
		}
		clear(fields)
	}
	for line := range strings.Lines(text) {
		switch {
		case strings.TrimSpace(line) == "":
			end()
		case line[0] == '#':
		case line[0] == ' ' || line[0] == '\t':
			fields[last] += "\n" + line
		default:
			name, value, _ := strings.Cut(line, ":")
			last = strings.ToLower(name)
			fields[last] = strings.TrimSpace(value)
		}
	}
	end()
	return all
}

// keyringFile returns the file that a signed-by option names. It may hold a key
// instead; Debian's own keyring has that one too.
func keyringFile(value string) string {
	if fields := strings.Fields(value); len(fields) > 0 && filepath.IsAbs(fields[0]) {
		return fields[0]
	}
	return ""
}

const debianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// The releases of Debian with kernels to test.
var releases = []struct {
	name      string
	backports bool
}{{name: "bullseye"}, {name: "bookworm"}, {name: "trixie", backports: true}}

// kernelSources returns a sources.list of all releases that have kernels, from
// where this machine gets its own release, which is codename.
func kernelSources(all []source, codename string) (string, error) {
	find := func(suites ...string) *source {
		for i, s := range all {
			if slices.Contains(s.components, "main") && slices.ContainsFunc(s.suites, func(suite string) bool {
				return slices.Contains(suites, suite)
			}) {
				return &all[i]
			}
		}
		return nil
	}
	archive, security := find(codename, codename+"-updates"), find(codename+"-security")
	if archive == nil {
		return "", fmt.Errorf("no source of Debian %s in the machine's apt sources: add one, or give kernels by hand with -kernel", codename)
	}
	var list strings.Builder
	add := func(s *source, suite string) {
		keyring := s.keyring
		if _, err := os.Stat(debianKeyring); keyring == "" && err == nil {
			keyring = debianKeyring
		}
		options := "arch=amd64,arm64 target=Packages"
		if keyring != "" {
			options += " signed-by=" + keyring
		}
		fmt.Fprintf(&list, "deb [%s] %s %s main\n", options, s.uri, suite)
	}
	for _, release := range releases {
		add(archive, release.name)
		if release.backports {
			add(archive, release.name+"-backports")
		}
		if security != nil {
			add(security, release.name+"-security")
		}
	}
	return list.String(), nil
}

// codename returns the name of this machine's release.
func codename(osRelease string) string {
	for line := range strings.Lines(osRelease) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok {
			return strings.Trim(name, `"'`)
		}
	}
	return ""
}
