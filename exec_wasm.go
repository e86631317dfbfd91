package landlock

import "errors"

// WebAssembly has no processes.
func execve(argv0 string, argv, envv []string) error { return errors.ErrUnsupported }
