// Extract unpacks an archive (.zip, .tar, .tar.gz or .tgz) that nobody has
// looked at into a directory, and can write nowhere else:
//
//	go run ./examples/extract ARCHIVE DIR
//
// Entries that lead out of DIR are refused, one line for each, and the others
// unpacked. With -unsafe there is no sandbox, and they overwrite what they like.
package main

import (
	"archive/tar"
	"archive/zip"
	"cmp"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"example.com/landlock"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "extract:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("extract", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints the mistakes, each in one line
	unsafe := flags.Bool("unsafe", false, "")
	if err := flags.Parse(args); err != nil || flags.NArg() != 2 {
		return errors.New("usage: extract [-unsafe] ARCHIVE DIR")
	}
	name, dir := flags.Arg(0), flags.Arg(1)

	// The archive stays readable because it is open before the restriction.
	archive, err := os.Open(name)
	if err != nil {
		return err
	}
	defer archive.Close()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if *unsafe {
		fmt.Println("no sandbox")
	} else if err := restrict(dir); err != nil {
		return err
	}

	failed := 0
	err = eachEntry(archive, func(e entry) {
		if err := e.extract(dir); err != nil {
			failed++
			// The name is the archive's. Quoted, it cannot play tricks on a
			// terminal; the error has it once more, so print its cause.
			fmt.Fprintf(os.Stderr, "extract: %q: %v\n", e.name, cmp.Or(errors.Unwrap(err), err))
		}
	})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if failed > 0 {
		return fmt.Errorf("%s: entries not extracted: %d", name, failed)
	}
	return nil
}

// restrict leaves this process nothing but to write beneath dir and to use
// what is open: it cannot even read.
func restrict(dir string) error {
	report, err := landlock.New(landlock.V11).BestEffort(landlock.V1).Allow(landlock.FSWrite, dir).Apply()
	if err != nil {
		return err
	}
	fmt.Println("sandbox:", report)
	return nil
}

// entry is what zip and tar have in common.
type entry struct {
	name     string
	mode     fs.FileMode
	hardLink string // the name of another entry, or empty
	open     func() (io.ReadCloser, error)
}

// extract trusts the archive in everything, which is the point of this program:
// there is not one check of names and links here. Never do that without a
// sandbox. In it, a link that leads out of dir can be made, but nothing is
// written through it.
//
// No Landlock ABI restricts chmod, chown and the setting of times. A program
// that does one of these needs checks of its own.
func (e entry) extract(dir string) error {
	target := filepath.Join(dir, e.name)
	if e.mode.IsDir() {
		return os.MkdirAll(target, 0o777)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o777); err != nil {
		return err
	}
	if e.hardLink != "" {
		return os.Link(filepath.Join(dir, e.hardLink), target)
	}
	content, err := e.open()
	if err != nil {
		return err
	}
	defer content.Close()
	switch e.mode.Type() {
	case 0:
		file, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, e.mode.Perm())
		if err != nil {
			return err
		}
		_, err = io.Copy(file, content)
		return cmp.Or(err, file.Close())
	case fs.ModeSymlink:
		to, err := io.ReadAll(content)
		if err != nil {
			return err
		}
		return os.Symlink(string(to), target)
	}
	return fmt.Errorf("neither file, directory nor link: %v", e.mode)
}

// eachEntry calls do for each entry of the archive. Parsing what a stranger
// wrote is a risk as well: it happens in the sandbox.
func eachEntry(archive *os.File, do func(entry)) error {
	switch name := archive.Name(); {
	case strings.HasSuffix(name, ".zip"):
		return eachZip(archive, do)
	case strings.HasSuffix(name, ".tar"):
		return eachTar(archive, do)
	case strings.HasSuffix(name, ".tar.gz"), strings.HasSuffix(name, ".tgz"):
		plain, err := gzip.NewReader(archive)
		if err != nil {
			return err
		}
		return eachTar(plain, do)
	}
	return errors.New("not a .zip, .tar, .tar.gz or .tgz")
}

func eachZip(archive *os.File, do func(entry)) error {
	info, err := archive.Stat()
	if err != nil {
		return err
	}
	files, err := zip.NewReader(archive, info.Size())
	if err != nil {
		return err
	}
	for _, f := range files.File {
		do(entry{name: f.Name, mode: f.Mode(), open: f.Open})
	}
	return nil
}

func eachTar(archive io.Reader, do func(entry)) error {
	files := tar.NewReader(archive)
	for {
		header, err := files.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		e := entry{name: header.Name, mode: header.FileInfo().Mode()}
		content := io.Reader(files)
		switch header.Typeflag {
		case tar.TypeXGlobalHeader:
			continue // git writes one, and it is no file
		case tar.TypeLink:
			e.hardLink = header.Linkname
		case tar.TypeSymlink:
			content = strings.NewReader(header.Linkname) // as zip has it
		}
		e.open = func() (io.ReadCloser, error) { return io.NopCloser(content), nil }
		do(e)
	}
}
