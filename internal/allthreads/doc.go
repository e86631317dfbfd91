// Package allthreads is a placeholder doc
package allthreads
