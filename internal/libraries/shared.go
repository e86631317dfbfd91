package libraries

import (
	"os"
	"runtime"
	"sync"
	"weak"
)

// open are the files of this package that somebody uses, by their names: a file that
// many programs need, or many rulesets, is open once. It closes itself when nobody
// uses it any more. No system call is made while it is locked: a file system that does
// not answer holds up those alone who ask it.
var open struct {
	sync.Mutex
	files map[string]openFile
}

// openFile is what is known of an open file. Open, it keeps its number: no other file
// can have that.
type openFile struct {
	weak.Pointer[os.File]
	info os.FileInfo
}

// share returns the open file of the same name that is the same file, if there is
// one. It closes the one that it is given if that is not the one, or on an error.
// Nobody may close what it returns.
func share(file *os.File) (*os.File, error) {
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, err
	}
	shared := shareAs(file, info)
	if shared != file {
		file.Close()
	}
	return shared, nil
}

func shareAs(file *os.File, info os.FileInfo) *os.File {
	open.Lock()
	defer open.Unlock()
	name := file.Name()
	before := open.files[name]
	if known := before.Value(); known != nil && os.SameFile(before.info, info) {
		return known
	}
	if open.files == nil {
		open.files = make(map[string]openFile)
	}
	open.files[name] = openFile{weak.Make(file), info}
	runtime.AddCleanup(file, forget, name)
	return file
}

// forget removes a file that nobody uses.
func forget(name string) {
	open.Lock()
	defer open.Unlock()
	if open.files[name].Value() == nil {
		delete(open.files, name)
	}
}
