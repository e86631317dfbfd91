package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// file is an entry of an initramfs.
type file struct {
	name   string      // without a leading slash
	mode   fs.FileMode // a directory, a symbolic link or a regular file
	text   string      // of a link: where it leads
	source string      // the file to copy instead
}

// writeInitramfs writes files as the kernel wants them: a cpio archive of the
// newc kind. Directories have to come before what is in them. It is not
// compressed, since an emulated processor takes seconds to undo that.
func writeInitramfs(w io.Writer, files []file) error {
	for i, f := range slices.Concat(files, []file{{name: "TRAILER!!!"}}) {
		content := []byte(f.text)
		if f.source != "" {
			var err error
			if content, err = os.ReadFile(f.source); err != nil {
				return fmt.Errorf("pack %s: %w", f.name, err)
			}
		}
		// inode, mode, user, group, links, time, size, four device numbers,
		// the length of the name with its NUL, no checksum
		header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
			i+1, unixMode(f.mode), 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(f.name)+1, 0)
		if _, err := io.WriteString(w, padded(header+f.name+"\x00")+padded(string(content))); err != nil {
			return err
		}
	}
	return nil
}

// padded fills up to four bytes, as each part of the archive is.
func padded(s string) string { return s + "\x00\x00\x00"[:(4-len(s)%4)%4] }

func unixMode(mode fs.FileMode) uint32 {
	kind := uint32(unix.S_IFREG)
	switch mode.Type() {
	case fs.ModeDir:
		kind = unix.S_IFDIR
	case fs.ModeSymlink:
		kind = unix.S_IFLNK
	}
	return kind | uint32(mode.Perm())
}
