// Package uring opens files by io_uring, for the tests of what a restriction
// does to a ring. It is of no other use.
package uring
