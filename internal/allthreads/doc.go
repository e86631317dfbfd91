// Package allthreads restricts every thread of this process with Landlock, on
// kernels whose landlock_restrict_self restricts just the thread that calls it.
//
// # Why it exists
//
// From ABI 8 (Linux 7.0) the kernel restricts all threads in one call. Before,
// every thread has to make the call itself. In a pure Go binary
// syscall.AllThreadsSyscall sees to that. In a binary with cgo linked in, and
// every program that imports net or os/user and is built the default way is
// one, there may be threads that the Go runtime did not make, and
// AllThreadsSyscall answers ENOTSUP. This package is for those. It can be
// deleted when no supported kernel lacks LANDLOCK_RESTRICT_SELF_TSYNC.
//
// libpsx does the same for capabilities, and does not fit: it looks for the
// threads in /proc again after the first is restricted, kills the process where
// the new domain hides them, and turns every program that imports it into a cgo
// program.
//
// # How it works
//
// [Restrict] runs on one thread, the caller, and goes through these steps.
//
//  1. Open /proc/self/task, once for the life of the process, and install a
//     handler for signal 33. Both happen in ordinary Go code.
//  2. Block all signals on the caller. From here until step 6 the caller runs
//     code that cannot be preempted, allocates nothing, takes no lock and
//     calls nothing of the Go runtime, of libc or of the race detector.
//  3. Hold: send the signal to every other thread. The handler writes down that
//     the thread is there, and waits on a futex. Sweep over the threads until
//     every one that is found was held before the sweep began, and the
//     directory's link count says that there are no more.
//  4. Set no_new_privs and restrict the caller itself. If the kernel
//     refuses, tell the held threads to go on as they were: nothing has happened.
//  5. Otherwise tell them to do the same and go on.
//  6. Wait until the last has left the handler, put back what was there for
//     the signal, unblock the caller's signals.
//
// Holding everybody first is what makes it exact. A held thread makes no new
// thread, so a thread that appears meanwhile comes from one that is not
// restricted yet, and needs its own call: no thread is missed, and none is
// restricted twice (a layer is one of sixteen). A held thread does not end, so
// its id names no other. And until all are held nothing is restricted, so a
// thread that cannot be had is a plain error and not a process in two halves.
//
// The handler is assembly, since it runs on threads that are not Go's, or that
// are in the middle of the Go runtime. It makes four system calls (futex,
// prctl, landlock_restrict_self, rt_sigreturn) with arguments from one struct,
// the board. It uses no stack, no goroutine and no libc.
//
// # Why this signal
//
// 33 is the second of the real-time signals that libc keeps for itself: glibc
// broadcasts setuid and setgid with it, musl cancels threads with it. So
// neither lets a program block it (their sigprocmask drops it from the set),
// and the Go runtime leaves it alone, as does os/signal.Notify for everything.
// It may arrive for libc's own reasons while our handler is installed. So ours
// are sent with rt_tgsigqueueinfo, which carries a value, and the handler
// passes on whatever does not carry the number of the call under way. The other
// way round, glibc ignores one that did not come by tgkill, and musl one for a
// thread that nobody cancelled.
//
// # Why each flag
//
// SA_ONSTACK, since a goroutine's stack is too small for a signal frame.
// SA_RESTART, so that system calls which can be restarted are; those that never
// are after a handler (poll, epoll_wait, nanosleep and a few more, see
// signal(7)) return EINTR to a caller that makes them raw. The Go standard
// library and libc's users handle that. SA_RESTORER on amd64, where the kernel
// wants to be told what a handler returns to. A full mask, so that no other
// handler runs on a held thread.
//
// # Memory order
//
// A thread counts itself into the handler and then reads the generation; the
// caller, when it gives up, clears the generation and then waits for the count
// to become 0. Both have a full barrier in between, so either the thread sees
// that it is too late, or the caller waits for it. The numbers of a call are
// written before its generation, and the handler reads them after it.
//
// # What can go wrong
//
//   - A thread does not answer: it blocks the signal with a raw system call, is
//     in an uninterruptible sleep, is stopped by a debugger, or is a main
//     thread that has ended before the others where /proc cannot be read to see
//     that. After four tries, 10 seconds in all, Restrict returns
//     ETIMEDOUT and nothing is restricted. The handler stays installed then, since the signal
//     is still pending and would otherwise kill the process.
//     Between the tries the threads run, so one that waits for another of them in
//     the kernel (for a filesystem that this process serves) gets on.
//   - A later thread is refused by the kernel: it is out of memory, or that
//     thread has stacked 16 layers of its own. Error.Restricted is not 0 then,
//     and the process should exit.
//   - There is no /proc, or one of another pid namespace. The sweeps then try every thread
//     id up to the kernel's limit of 4,194,304, until two in a row find nobody new. Each
//     takes about half a second, during which the threads are held.
//   - Children that were made before, by fork or vfork, are other processes and stay as they are.
//
// Only amd64 and arm64 have a handler; elsewhere [Supported] is false.
package allthreads
