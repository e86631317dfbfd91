//go:build linux && (amd64 || arm64) && !race

package allthreads

func ignoreAtomics() {}

func heedAtomics() {}
