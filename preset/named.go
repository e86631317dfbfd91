package preset

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"example.com/landlock"
	"example.com/landlock/internal/program"
)

// named is what a preset allows on a path that an environment variable names: it may
// be anything, and where others can write, lead anywhere by the time that the ruleset
// is loaded. So it is judged then.
type named struct {
	variable, path string
	access         landlock.AccessFS
	file           func(head []byte) error // why a file that begins so is refused; nil: any is
	directory      bool                    // it may be a directory
}

// allow adds the rule, as far as the ruleset handles its rights.
func (n named) allow(r *landlock.Ruleset) error {
	access := n.access & handled(r)
	if access == 0 {
		return nil
	}
	path, err := program.Absolute(n.path)
	place := ""
	if err == nil && n.directory {
		place, err = placeOf(path)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", n.variable, err)
	}
	r.AllowIf(access, func(found *os.File) error {
		if err := n.judge(found, place); err != nil {
			return fmt.Errorf("%s: %w", n.variable, err)
		}
		return nil
	}, path)
	return nil
}

// judge returns why what was found is to have no rule. place is where the path led to
// when the preset was used.
func (n named) judge(found *os.File, place string) error {
	info, err := found.Stat()
	switch {
	case err != nil:
		return err
	case info.IsDir() && n.directory:
		return judgeDirectory(info, place)
	case info.IsDir():
		return errors.New("is a directory, and a rule there would allow all beneath: name a file")
	case n.file == nil:
		return errors.New("not a directory")
	case !info.Mode().IsRegular():
		return errors.New("not a regular file")
	}
	head, err := readHead(found)
	switch {
	case errors.Is(err, fs.ErrPermission): // nor could anybody in the sandbox
		return fs.ErrNotExist
	case err != nil:
		return err
	}
	return n.file(head)
}

func judgeDirectory(info os.FileInfo, place string) error {
	system, err := systemIn(info)
	if err != nil {
		return err
	}
	if system != "" {
		return fmt.Errorf("a rule there would allow all of %s: name another directory", system)
	}
	if !isAt(info, place) {
		return fmt.Errorf("it was %s when the preset was used, and leads elsewhere now: use the preset again if that is meant", place)
	}
	return nil
}

// systemDirectories have what belongs to the system, to everybody, or to others.
var systemDirectories = []string{"/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/proc",
	"/root", "/run", "/sbin", "/srv", "/sys", "/usr", "/var"}

// systemIn returns the first of systemDirectories that a directory is, or has beneath:
// whatever it is called, and wherever it is mounted.
func systemIn(info os.FileInfo) (string, error) {
	for _, dir := range systemDirectories {
		system, err := os.Lstat(dir)
		found := err == nil && os.SameFile(system, info)
		if err == nil && system.Mode().Type() == fs.ModeSymlink {
			found, err = leadsThrough(dir, info)
		}
		if found {
			return dir, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("whether it has system directories beneath cannot be told: %w", err)
		}
	}
	return "", nil
}

// leadsThrough reports whether a directory is where a link leads to, or above that.
func leadsThrough(link string, info os.FileInfo) (bool, error) {
	path, err := filepath.EvalSymlinks(link)
	for ; err == nil && path != "/"; path = filepath.Dir(path) {
		var other os.FileInfo
		if other, err = os.Stat(path); err == nil && os.SameFile(other, info) {
			return true, nil
		}
	}
	return false, err
}

// placeOf returns the path without symbolic links. What does not exist yet, and is
// beneath what does, may be made later, but not as a link.
func placeOf(path string) (string, error) {
	place, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return place, err
	}
	path = filepath.Clean(path)
	above, err := placeOf(filepath.Dir(path))
	return filepath.Join(above, filepath.Base(path)), err
}

// readHead reads how a regular file begins that is open without the right to.
func readHead(found *os.File) ([]byte, error) {
	file, err := program.Reopen(found)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	head := make([]byte, 64<<10)
	n, err := file.ReadAt(head, 0)
	if err == io.EOF {
		err = nil
	}
	return head[:n], err
}

func certificateFile(head []byte) error {
	switch {
	case !bytes.Contains(head, []byte("-----BEGIN CERTIFICATE-----")) && !bytes.Contains(head, []byte("-----BEGIN TRUSTED CERTIFICATE-----")):
		return errors.New("has no certificate (in PEM)")
	case bytes.Contains(head, []byte("PRIVATE KEY-----")):
		return errors.New("has a private key: keep the certificates in a file of their own")
	}
	return nil
}

func zoneFile(head []byte) error {
	if !bytes.HasPrefix(head, []byte("TZif")) {
		return errors.New("not a time zone")
	}
	return nil
}

func zoneArchive(head []byte) error {
	if !bytes.HasPrefix(head, []byte("PK")) {
		return errors.New("neither a directory nor an archive (zip)")
	}
	return nil
}
