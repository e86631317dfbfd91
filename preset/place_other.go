//go:build !linux

package preset

import "os"

// isAt is asked where a ruleset is loaded, and nowhere else.
func isAt(os.FileInfo, string) bool { return false }
