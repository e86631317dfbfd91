//go:build linux && (amd64 || arm64) && race

package allthreads

import "runtime"

// In a binary with the race detector, coverage counts with sync/atomic, and that
// calls the detector, which takes locks that a held thread may have. Told to
// ignore this goroutine's, it takes none.

func ignoreAtomics() { runtime.RaceDisable() }

func heedAtomics() { runtime.RaceEnable() }
