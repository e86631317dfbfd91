//go:build !cgo || netgo

package preset

const cLibrary = false
