package system

import "errors"

// Exec is an error: WebAssembly has no processes.
func Exec(argv0 string, argv, envv []string) error { return errors.ErrUnsupported }
