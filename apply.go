package landlock

// Apply restricts every thread of this process, and with them all threads and
// processes that they start from now on, for the rest of their lives. What is
// open already stays usable: open what is needed first. There is no undo, and a
// second Apply can only take away more. Open already is also an io_uring with a
// thread of its own (IORING_SETUP_SQPOLL) or with registered credentials
// (IORING_REGISTER_PERSONALITY): make such rings afterwards, or not at all. Up to
// 16 layers stack.
//
// On success the Report says what is enforced. On an error the Report is the
// zero value and nothing is restricted. The errors are the ruleset's mistakes
// and every [RuleError], joined, where what stops all rules (no descriptors, a
// working directory that was removed) is said once; [ErrNotBuilt], [ErrDisabled] and [ErrBlocked];
// [UnsupportedError]; [ErrTooManyLayers]; and whatever else the kernel answers.
// The exception is [PartialError], after which the only safe thing is to exit.
//
// With [Ruleset.FilterSockets] it also fails where a thread has a seccomp filter
// that the others have not, or where they have no room for one more. As far as it
// can be, that is found out before anything is restricted, by /proc and on a thread
// that ends; the ruleset comes next, and the filter last, for all threads at once.
// A /proc that is hidden or missing is passed over. One that cannot be read for want
// of descriptors is an error. Afterwards Exec and Do have to read /proc/thread-self:
// allow reading /proc.
//
// It sets no_new_privs first, unless AllowNewPrivs was called. Where the kernel then
// refuses the ruleset below ABI 8, as with ErrTooManyLayers, no_new_privs stays set, on
// every thread.
//
// It waits while an Exec is under way, and until the threads are gone that earlier calls
// of Exec and Do have restricted, which is an error after ten seconds. It fails while a
// Do is running, or from inside one.
//
// From ABI 8 (Linux 7.0) the kernel restricts all threads at once, and gives
// each the domain of this call, also a thread that the program restricted by
// other means. Below, this package holds all threads, those of C code too, and
// reaches each in turn. It fails where one does not answer for 10 seconds, where
// one has descriptors of its own (unshare with CLONE_FILES), where
// an io_uring has a thread of its own, where it cannot have three descriptors
// (RLIMIT_NOFILE), and with more than 32,768 threads. It can be called again. (On
// other architectures than amd64 and arm64 the Go runtime does it: not in a binary with cgo, and such threads
// and rings go unnoticed.) Beside it nothing may call [syscall.Exec]: the signal by which a thread is
// reached may end the new program. [Sandbox.Exec] waits. Where kcmp is missing or refused, as in many containers,
// a thread with descriptors of its own is not seen: it enforces whatever ruleset it
// has under the same number, or it is a [PartialError].
//
// Below ABI 8 each thread has a domain of its own from then on, whatever the ruleset
// handles. So the scopes count as missing. And the kernel keeps each thread from
// looking into processes that another thread has started, or that were started before:
// ptrace, process_vm_readv, pidfd_getfd, kcmp, and in /proc/PID exe, mem, fd, ns and
// their like fail with EACCES or EPERM, and so do environ and maps but for root with
// CAP_PERFMON (seen on Linux 6.18), now and then, as goroutines wander from thread to
// thread. What starts processes and looks into them does both on one
// thread ([runtime.LockOSThread]). Signals, waiting, pipes and /proc/PID/stat work from
// each thread, and all of os/exec. From ABI 8 on only what was started before is out of
// reach.
func (r *Ruleset) Apply() (Report, error) {
	l, err := r.load(wholeProcess)
	if err != nil {
		return Report{}, err
	}
	err = l.restrictProcess(l.ruleset)
	l.checker.close() // before others get to see it
	if err != nil {
		return Report{}, err
	}
	r.noteApplied(l.checker)
	return l.report, nil
}

// DryRun returns what Apply would answer here and now, and restricts nothing.
// It opens the paths and has the kernel take every rule, so the Report and the
// errors are those of Apply. Only what the kernel says to the restriction
// itself remains to be seen: whether there is room for another layer, say. A
// child gets what [Sandbox.Report] says, which can be more.
func (r *Ruleset) DryRun() (Report, error) {
	l, err := r.load(wholeProcess)
	if err != nil {
		return Report{}, err
	}
	l.checker.close()
	return l.report, nil
}

// noteApplied keeps what is enforced from now on, to answer for it.
func (r *Ruleset) noteApplied(c *checker) {
	for {
		before := r.applied.Load()
		now := &applied{wanted: r.wanted, layers: layers{c}}
		if before != nil {
			now.layers = append(append(layers{}, before.layers...), c)
		}
		if r.applied.CompareAndSwap(before, now) {
			return
		}
	}
}
