package place

import "strings"

// Landlock lets nobody trace a process outside the sandbox, whatever its rules are, and
// the kernel asks whether one may trace a process before it shows much of what is
// in /proc of it.

// guardedFiles are those files of a process in /proc.
var guardedFiles = map[string]bool{
	"auxv": true, "cwd": true, "environ": true, "exe": true, "fd": true, "fdinfo": true, "io": true, "map_files": true, "maps": true, "mem": true,
	"ns": true, "numa_maps": true, "pagemap": true, "personality": true, "root": true, "smaps": true, "smaps_rollup": true, "stack": true,
	"syscall": true, "timerslack_ns": true,
}

// Guarded returns the directory in /proc of the process that a path goes through, and
// whether it is one of its guarded files that it goes through. Links are not followed.
func Guarded(path string) (dir string, ok bool) {
	names := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	if len(names) < 3 || names[0] != "proc" || !isNumber(names[1]) {
		return "", false
	}
	dir, names = "/proc/"+names[1], names[2:]
	if len(names) > 2 && names[0] == "task" && isNumber(names[1]) {
		dir, names = dir+"/task/"+names[1], names[2:]
	}
	return dir, guardedFiles[names[0]]
}

func isNumber(name string) bool { return name != "" && strings.Trim(name, "0123456789") == "" }

// Sight is what the kernel lets this thread see of a process.
type Sight int

const (
	SightUnknown Sight = iota // it is gone, another user's, or one of this process's threads
	SightGranted
	SightDoubted // refused, which it may be without a sandbox too
	SightRefused // though this user may
)
