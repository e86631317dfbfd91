package cthreads

// Kind is what a thread does between two probes.
type Kind int

// The kinds, in the order of cthreads.h.
const (
	Sleep  Kind = iota // in nanosleep
	Poll               // in poll
	Epoll              // in epoll_wait
	Read               // in read, on an empty pipe
	Futex              // in a futex wait
	Cond               // in pthread_cond_wait
	Busy               // computing
	SetGID             // calling setgid, which signals all threads, all the time
	Churn              // starting threads that end, all the time
	Chain              // starting its own successor, and ending, all the time
	Kinds
)

// Result is what one probe found.
type Result struct {
	Threads                int        // that answered
	Opened, Denied, Failed int        // how their attempts to open the file went
	Least, Most            int        // layers that a thread could stack
	Interrupted            [Kinds]int // system calls that ended with EINTR, by kind of thread
	Children, Escaped      int        // short-lived threads after Armed; those of them that were not refused the file
	OddChildren            int        // those of them that could stack another number of layers
	GIDFailed, GIDDiffers  int        // calls that failed; threads with another group than the caller of Probe
	NoNewPrivs             int        // threads that have it set
}
