package preset

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"example.com/landlock"
	"example.com/landlock/internal/program"
)

// named is what a preset allows on a path that an environment variable names: it may
// be anything, and where others can write, lead anywhere by the time that the ruleset
// is loaded. So it is judged then.
type named struct {
	variable, path string
	access         landlock.AccessFS
	file           func(io.ReaderAt) error // why a file with that content is refused; nil: any is
	directory      bool                    // it may be a directory
}

// allow adds the rule, as far as the ruleset handles its rights.
func (n named) allow(r *landlock.Ruleset) error {
	access := n.access & handled(r)
	if access == 0 {
		return nil
	}
	path, err := program.Absolute(n.path)
	if err != nil {
		return fmt.Errorf("%s: %w", n.variable, err)
	}
	used := found{}
	if n.directory {
		used = find(path)
	}
	if used.err != nil && !errors.Is(used.err, errUnsafe) {
		return fmt.Errorf("%s: %w", n.variable, used.err)
	}
	r.AllowIf(access, func(file *os.File) error {
		if err := n.judge(file, path, used); err != nil {
			return fmt.Errorf("%s: %w", n.variable, err)
		}
		return nil
	}, path)
	return nil
}

var errUnsafe = errors.New("others than root and this user could lead it elsewhere")

// found is where a path leads.
type found struct {
	place string   // without symbolic links
	file  *os.File // what is there, open, so that no other is taken for it; nil: nothing
	err   error
}

// find returns where a path leads by links of root's and this user's alone. What does
// not exist yet may be made later, but not as a link.
func find(path string) found {
	w, err := follow(path, false)
	f := found{place: w.place(), err: err}
	if err == nil {
		f.file = w.last()
	}
	if errors.Is(err, fs.ErrNotExist) {
		f.err = nil
	}
	w.close(f.file)
	return f
}

// judge returns why what is at the path is to have no rule. used is what was there when
// the preset was used.
func (n named) judge(file *os.File, path string, used found) error {
	info, err := file.Stat()
	switch {
	case err != nil:
		return err
	case n.access&landlock.FSWriteFile == 0 && isNull(info): // as one says that there is none
		return fs.ErrNotExist
	case info.IsDir() && n.directory:
		return n.judgeDirectory(info, path, used)
	case info.IsDir():
		return errors.New("is a directory, and a rule there would allow all beneath: name a file")
	case n.file == nil:
		return errors.New("not a directory")
	case !info.Mode().IsRegular():
		return errors.New("not a regular file")
	}
	content, err := program.Reopen(file)
	switch {
	case errors.Is(err, fs.ErrPermission): // nor could anybody in the sandbox
		return fs.ErrNotExist
	case err != nil:
		return err
	}
	defer content.Close()
	return n.file(content)
}

func isNull(info os.FileInfo) bool {
	null, err := os.Lstat(os.DevNull)
	return err == nil && null.Mode().Type() == isDevice && os.SameFile(null, info)
}

func (n named) judgeDirectory(info os.FileInfo, path string, used found) error {
	system, err := systemIn(info)
	if err != nil {
		return err
	}
	if system != "" {
		return fmt.Errorf("a rule there would allow all of %s: name another directory", system)
	}
	if used.err != nil {
		return used.err
	}
	now, err := follow(path, used.file == nil) // what was there is known by itself
	defer now.close(nil)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err != nil || !now.endsAt(info) || now.place() != used.place || !used.is(info):
		return fmt.Errorf("it was %s when the preset was used, and leads elsewhere or is another directory now: use the preset again if that is meant", used.place)
	}
	if n.access&landlock.FSWriteFile != 0 {
		return judgeWritable(now)
	}
	return nil
}

// is reports whether a file may be what was found, or made since.
func (f found) is(info os.FileInfo) bool {
	if f.file == nil {
		return true
	}
	was, err := f.file.Stat()
	return err == nil && os.SameFile(was, info)
}

// judgeWritable refuses what is beneath directories in which nobody keeps files.
func judgeWritable(w *way) error {
	for _, dir := range []string{"/boot", "/dev", "/etc", "/proc", "/sys"} {
		system, err := os.Stat(dir)
		if err == nil && w.has(system) && !(dir == "/dev" && strings.HasPrefix(w.place()+"/", "/dev/shm/")) {
			return fmt.Errorf("a rule there would allow to write in %s: name another directory", dir)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("whether it is beneath a system directory cannot be told: %w", err)
		}
	}
	return nil
}

// systemDirectories have what belongs to the system, to everybody, or to others.
var systemDirectories = []string{"/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/proc",
	"/root", "/run", "/sbin", "/srv", "/sys", "/usr", "/var"}

// systemIn returns the first of systemDirectories that a directory is, or has beneath:
// whatever it is called.
func systemIn(info os.FileInfo) (string, error) {
	for _, dir := range systemDirectories {
		system, err := os.Lstat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return "", fmt.Errorf("whether it has system directories beneath cannot be told: %w", err)
		case os.SameFile(system, info), system.Mode().Type() == fs.ModeSymlink && leadsThrough(dir, info):
			return dir, nil
		}
	}
	return "", nil
}

// leadsThrough reports whether a directory is where a link leads to, or above that. What
// is behind a directory that this process may not search, it cannot name.
func leadsThrough(link string, info os.FileInfo) bool {
	w, err := follow(link, false)
	defer w.close(nil)
	// A loop, a file on the way, and what does not exist are no directory of the system's.
	return (err == nil || errors.Is(err, fs.ErrPermission) || errors.Is(err, errUnsafe)) && w.has(info)
}

// readHead reads how a file begins.
func readHead(file io.ReaderAt) ([]byte, error) {
	head := make([]byte, 4)
	n, err := file.ReadAt(head, 0)
	if err == io.EOF {
		err = nil
	}
	return head[:n], err
}

// Bundles of certificates have less than half a megabyte.
const maxCertificates = 8 << 20

// certificateFile refuses what has anything in PEM but certificates, and keys in the
// forms that are much like it. The text around is any: in real bundles it is comments,
// names, and all that openssl has to say of a certificate.
func certificateFile(file io.ReaderAt) error {
	text, err := io.ReadAll(io.NewSectionReader(file, 0, maxCertificates+1))
	switch {
	case err != nil:
		return err
	case len(text) > maxCertificates:
		return fmt.Errorf("has more than %d MiB: no file of certificates has", maxCertificates>>20)
	case bytes.IndexByte(text, 0) >= 0:
		return errors.New("not a text")
	case bytes.Contains(text, []byte("PRIVATE KEY")) || bytes.Contains(text, []byte("PuTTY-User-Key-File")):
		return errors.New("has a private key: keep the certificates in a file of their own")
	}
	begins, certificates := bytes.Count(text, []byte("-----BEGIN")), 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		begins--
		switch block.Type {
		case "CERTIFICATE", "TRUSTED CERTIFICATE", "X509 CERTIFICATE":
			certificates++
		case "X509 CRL":
		default:
			return fmt.Errorf("has a %q, and not certificates alone: keep them in a file of their own", block.Type)
		}
	}
	switch {
	case begins != 0:
		return errors.New("has broken PEM")
	case certificates == 0:
		return errors.New("has no certificate (in PEM)")
	}
	return nil
}

func zoneFile(file io.ReaderAt) error {
	head, err := readHead(file)
	if err == nil && !bytes.HasPrefix(head, []byte("TZif")) {
		err = errors.New("not a time zone")
	}
	return err
}

func zoneArchive(file io.ReaderAt) error {
	head, err := readHead(file)
	if err == nil && !bytes.HasPrefix(head, []byte("PK")) {
		err = errors.New("neither a directory nor an archive (zip)")
	}
	return err
}
