// Package seccomp builds and installs the filter that keeps a process from making
// sockets that Landlock's network rules do not govern.
//
// # What it holds, and what not
//
// A process under the filter, and every process that it starts, makes none of
// the sockets that [Sockets] refuses, by no system call of any ABI that the
// kernel has. The filter sees numbers alone, not what pointers point to. So it
// refuses a call where only such memory could tell: socketcall of 32-bit ABIs,
// the whole of io_uring, and TCP_ULP.
//
// It does not stop a process from using what others have made: sockets that are
// open already, that come through a Unix socket, or that are taken from another
// process with pidfd_getfd or ptrace. The last two Landlock forbids for processes
// outside the domain; on a kernel without Landlock nothing does. The thread that
// the kernel runs for a ring of io_uring made before, with IORING_SETUP_SQPOLL,
// takes requests from memory, without a system call. And a BPF program of the
// machine's administrator can make Multipath TCP of what was asked for as TCP
// (update_socket_protocol, from Linux 6.6).
//
// A thread or process that is made by one under the filter is under it from its
// first instruction, and so is what it executes. Children that were made before,
// by fork or vfork, are other processes and stay as they are.
//
// # Order of events
//
// All that can be told before comes from [Program.CanRestrictProcess]. What it cannot
// tell: two threads that have the same number of filters, but not the same ones;
// a thread that installs one in between; and that memory runs out. Then
// [Program.RestrictProcess] fails, and still no thread is restricted.
package seccomp
