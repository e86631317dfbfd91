package libraries

import (
	"os"
	"runtime"
	"sync"
	"weak"
)

// open are the files of this package that somebody uses, by their names: a file that
// many programs need, or many rulesets, is open once. It closes itself when nobody
// uses it any more.
var open struct {
	sync.Mutex
	files map[string]weak.Pointer[os.File]
}

// share returns the open file of the same name that is the same file, if there is
// one, and closes the one that it is given. Nobody may close what it returns.
func share(file *os.File) (*os.File, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	open.Lock()
	defer open.Unlock()
	name := file.Name()
	if known := open.files[name].Value(); known != nil {
		// Open, it keeps its number: no other file can have that.
		if before, err := known.Stat(); err == nil && os.SameFile(before, info) {
			file.Close()
			return known, nil
		}
	}
	if open.files == nil {
		open.files = make(map[string]weak.Pointer[os.File])
	}
	open.files[name] = weak.Make(file)
	runtime.AddCleanup(file, forget, name)
	return file, nil
}

// forget removes a file that nobody uses.
func forget(name string) {
	open.Lock()
	defer open.Unlock()
	if open.files[name].Value() == nil {
		delete(open.files, name)
	}
}
