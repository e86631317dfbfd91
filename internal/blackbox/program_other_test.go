//go:build !linux

package blackbox

func tryAll([]string) {}
