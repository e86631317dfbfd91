// Package cthreads starts threads that the Go runtime does not know, for the
// tests of package allthreads. It is of no other use.
package cthreads
