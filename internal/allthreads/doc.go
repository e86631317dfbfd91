// Package allthreads restricts every thread of this process with Landlock, on
// kernels whose landlock_restrict_self restricts just the thread that calls it.
//
// # Why it exists
//
// From ABI 8 (Linux 7.0) the kernel restricts all threads in one call. Before,
// every thread has to make the call itself. This package can be deleted when no
// supported kernel lacks LANDLOCK_RESTRICT_SELF_TSYNC.
//
// syscall.AllThreadsSyscall does not do. In a binary with cgo linked in, and
// every program that imports net or os/user and is built the default way is
// one, there may be threads that the Go runtime did not make, and it answers
// ENOTSUP. In a pure Go binary it stops all goroutines until the last thread has
// made the call: where that one waits in the kernel for another (for a filesystem
// that this process serves) it never returns. It ends the program where one
// thread is refused what the first was not. And it is no faster (BenchmarkRestrict
// measures both).
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
//     handler for signal 33. That happens in ordinary Go code.
//  2. Block all signals on the caller. From here until step 6 the caller runs
//     code that cannot be preempted, so it stays on its thread, allocates nothing,
//     takes no lock and calls nothing of the Go runtime, of libc or of the race
//     detector.
//  3. Hold: send the signal to every other thread. The handler writes down that
//     the thread is there, and waits on a futex. Done is this when as many threads
//     are held as the directory's link count says that there are. The ids that
//     follow the process's are tried first, which are all where the program has just
//     begun. Otherwise sweep over the list of threads, and signal those that are new.
//     Then ask of each whether it shares the caller's descriptors (kcmp): one that
//     does not may have another ruleset under that number, and nobody is restricted
//     then.
//  4. Set no_new_privs and restrict the caller itself. If the kernel refuses
//     the ruleset, tell the held threads to set no_new_privs and to go on: that
//     it is set cannot be undone, and so all are alike.
//  5. Otherwise tell them to do the same and go on.
//  6. Wait until the last has left the handler, unblock the caller's signals,
//     put back what was there for the signal.
//
// Holding everybody first is what makes it exact. A held thread makes no new
// thread, so a thread that appears meanwhile comes from one that is not
// restricted yet, and needs its own call: no thread is missed, and none is
// restricted twice (a layer is one of sixteen). A held thread does not end, so
// its id names no other. And until all are held nothing is restricted, so a
// thread that cannot be had is a plain error and not a process in two halves.
//
// An id is no more than a guess: the kernel takes it for a thread of this process or
// for none, and the count shows whether some are missing. So nobody asks whose ids the
// directory lists, until a thread has not answered for some milliseconds.
// Where the directory cannot be listed, because of a domain that is there
// already, or because it is another pid namespace's, it can still be counted.
// Then the thread ids near this thread's are tried, and all there can be where
// the count shows that some are missing.
//
// # Threads of io_uring
//
// They are listed, and take no signals. The kernel marks them in their stat file
// (PF_IO_WORKER), which is read where a thread has not answered at once. A
// worker does each request with the credentials that its submitter had then: a
// request from before the restriction is carried out as it was, like a system
// call that is under way, and one from after it is restricted. So workers are
// passed over. The thread of a ring with IORING_SETUP_SQPOLL uses the credentials
// of the ring's making for ever: Restrict fails with EBUSY at once. Registered
// credentials (IORING_REGISTER_PERSONALITY) are the same hole, and nothing shows
// them.
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
// and os/signal.Notify leaves it alone. In a pure Go binary the Go runtime makes
// its own calls on all threads with it (syscall.Setuid does).
// It may arrive for such reasons while our handler is installed. So ours
// are sent with rt_tgsigqueueinfo, which carries a value, and the handler
// passes on whatever does not carry the number of the try under way, which is
// random, since others may send this process signals with a value. The other
// way round, glibc ignores one that did not come by tgkill, musl one for a
// thread that nobody cancelled, and Go one for a thread that has nothing to do.
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
// written before its generation, and the handler reads them after it. The generation is
// written once the caller's own signals are blocked.
//
// # What can go wrong
//
//   - A thread does not answer: it blocks the signal with a raw system call, is
//     in an uninterruptible sleep, is stopped by a debugger, is a worker of vhost,
//     or is a worker of io_uring, or a main thread that has ended before the
//     others, where /proc cannot be read to see that. After eight tries of 50
//     milliseconds to 3.2 seconds, 10 seconds in all, Restrict returns ETIMEDOUT
//     and nothing is restricted. As after every failure before which a thread was sent
//     the signal and has not answered, the handler stays installed, since the
//     signal is still pending and would otherwise kill the process. Restrict can
//     be called again.
//     Between two tries the threads run for a tenth of the time that they were
//     held, so one that waits for another of them in the kernel (for a
//     filesystem that this process serves, or for a program to begin) gets on.
//   - A thread has no room on its stack: a signal frame takes several KiB where
//     the processor has large vector registers. A thread of C whose small stack (16 KiB, say) is
//     nearly full, and that has no alternate signal stack, ends the process with
//     SIGSEGV, as any signal would. Go's threads have an alternate one.
//   - Something is short: descriptors (it takes two, and a third where a thread does
//     not answer at once), signals under way (RLIMIT_SIGPENDING). Restrict returns the
//     kernel's error, nothing is restricted, and nothing is left behind.
//   - More than 32,768 thread ids are met, those that end meanwhile included. Restrict
//     returns ENOBUFS, and nothing is restricted.
//   - A process that shares this one's memory (CLONE_VM) runs the handler as well. Restrict
//     returns EAGAIN, and nothing is restricted.
//   - A held thread does not go on, since a debugger has stopped it meanwhile. Restrict
//     waits until none has gone on for ten seconds. Every later call returns EDEADLK until
//     it does.
//   - A thread has a seccomp filter that kills it for what the handler calls, or is in
//     seccomp's strict mode. It never leaves the handler then: the others are restricted,
//     Error says so, and every later call returns EDEADLK.
//   - A filter answers what is called here by SIGSYS (SECCOMP_RET_TRAP). All signals are
//     blocked, so that ends the process, whatever handler it has.
//   - A filter has another thread of this process answer for the calls
//     (SECCOMP_RET_USER_NOTIF). That thread is held, so the process hangs.
//   - A thread is in execve. A signal that it has not taken is still there when the new
//     program begins, and ends it.
//   - Another handler has been put on top of this one while it had to stay, such as that of
//     a second copy of this package. Restrict returns EBUSY until that is gone, and nothing
//     is restricted.
//   - A thread has descriptors of its own (CLONE_FILES). Restrict returns EBADF, names
//     the thread, and nothing is restricted. Where kcmp is not built in or refused,
//     as in many containers, it goes unnoticed: the thread enforces what it has
//     under the ruleset's number, or refuses as a later thread does.
//   - A later thread is refused: the kernel is out of memory, or that thread has
//     stacked 16 layers of its own, has no CAP_SYS_ADMIN where no_new_privs is not to
//     be set, or has a seccomp filter of its own that refuses the calls.
//     Error.Restricted is not 0 then,
//     and the process should exit.
//   - There is no /proc, not even one to count the threads by. Once all that are
//     known are held, two sweeps have to find nobody new under any thread id up to
//     the kernel's limit of 4,194,304. Each takes one to two seconds on an idle
//     machine, and longer on one that is not, during which the threads are held. Where one
//     never answers while others come and go, Restrict returns ETIMEDOUT after a minute.
//   - Children that were made before, by fork or vfork, are other processes and stay as they are.
//
// Only amd64 and arm64 have a handler; elsewhere [Supported] is false.
package allthreads
