// Package blackbox has the tests that know the library by its exported API alone, and
// hold it against the running kernel: what an attacker may try in a sandbox, what the
// documentation says of the kernel, how children are started, what sockets there are,
// and whether Check and Explain agree with the kernel on files and rules at random.
//
// A test of what is inside one file of the library is beside that file. What both need
// of a machine is in package testenv.
package blackbox
