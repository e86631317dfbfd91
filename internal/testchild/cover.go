package testchild

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// coverFolder is where a child writes what it has covered.
const coverFolder = "cover"

// addCounters puts what a child has covered where this process, at its end, adds
// up all that it finds. A test binary that was started by hand has no such place.
func addCounters(from string) error {
	to := value("test.gocoverdir")
	if to == "" {
		return nil
	}
	files, err := os.ReadDir(from)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // there is none of a child that ended early
		return err
	}
	for _, file := range files {
		if !file.Type().IsRegular() {
			continue // no link that the function has made is followed
		}
		data, err := os.ReadFile(filepath.Join(from, file.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, file.Name()), data, 0o666)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
