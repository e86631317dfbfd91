//go:build linux

package uring

import (
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ring is an io_uring for one request at a time.
type Ring struct {
	fd            int
	params        params
	rings, submit []byte // the shared memory: both rings, and the requests
	path          []byte
}

// SetupSQPoll has a thread of the kernel's look for requests.
const SetupSQPoll = 2

// Async has a worker do the request, and not the thread that submits it.
const Async = 16

const (
	entries                            = 4
	opOpenAt                           = 18
	enterGetEvents, enterWakeUp        = 1, 2
	registerPersonality                = 9
	offsetRings, offsetSubmit   int64  = 0, 0x10000000
	sizeSubmit, sizeCompletion  uint32 = 64, 16
)

// params is struct io_uring_params.
type params struct {
	submitEntries, completionEntries, flags, cpu, idle, features, workers uint32
	_                                                                     [3]uint32
	submit                                                                offsets // of head, tail, mask, entries, flags, dropped, array
	completion                                                            offsets // of head, tail, mask, entries, overflow, requests, flags
}

type offsets struct {
	head, tail, mask, entries, fifth, sixth, seventh, _ uint32
	_                                                   uint64
}

// request is struct io_uring_sqe.
type request struct {
	op, flags       uint8
	_               uint16
	fd              int32
	_, address      uint64
	mode, openFlags uint32
	data            uint64
	_, personality  uint16
	_               int32
	_, _            uint64
}

// New makes a ring.
func New(flags uint32) (*Ring, error) {
	r := &Ring{params: params{flags: flags}}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, entries, uintptr(unsafe.Pointer(&r.params)), 0)
	if errno != 0 {
		return nil, errno
	}
	r.fd = int(fd)
	size := max(r.params.submit.seventh+4*r.params.submitEntries, r.params.completion.sixth+sizeCompletion*r.params.completionEntries)
	var err error
	if r.rings, err = unix.Mmap(r.fd, offsetRings, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, err
	}
	r.submit, err = unix.Mmap(r.fd, offsetSubmit, int(sizeSubmit*r.params.submitEntries), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return r, err
}

func (r *Ring) at(offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.rings[offset])) }

// Open opens a file for writing, and closes it.
func (r *Ring) Open(path string, flags uint8, personality uint16) error {
	r.path = append([]byte(path), 0)
	*(*request)(unsafe.Pointer(&r.submit[0])) = request{op: opOpenAt, flags: flags, fd: unix.AT_FDCWD, address: uint64(uintptr(unsafe.Pointer(&r.path[0]))),
		openFlags: unix.O_WRONLY | unix.O_CLOEXEC, personality: personality}
	tail := atomic.LoadUint32(r.at(r.params.submit.tail))
	*r.at(r.params.submit.seventh + 4*(tail&*r.at(r.params.submit.mask))) = 0 // the first request
	atomic.StoreUint32(r.at(r.params.submit.tail), tail+1)
	head := atomic.LoadUint32(r.at(r.params.completion.head))
	for count := uintptr(1); atomic.LoadUint32(r.at(r.params.completion.tail)) == head; {
		submitted, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), count, 1, enterGetEvents|enterWakeUp, 0, 0)
		if errno != 0 && errno != unix.EINTR {
			return errno
		}
		if errno == 0 {
			count -= min(submitted, count)
		}
	}
	runtime.KeepAlive(r)
	completion := r.params.completion.sixth + sizeCompletion*(head&*r.at(r.params.completion.mask))
	result := int32(*r.at(completion + 8))
	atomic.StoreUint32(r.at(r.params.completion.head), head+1)
	if result < 0 {
		return unix.Errno(-result)
	}
	return unix.Close(int(result))
}

// Register has the ring keep the credentials of the calling thread, and returns
// what a request names them by.
func (r *Ring) Register() (personality uint16, err error) {
	id, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), registerPersonality, 0, 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return uint16(id), nil
}

// Close releases the ring, and ends its thread.
func (r *Ring) Close() {
	unix.Munmap(r.rings)
	unix.Munmap(r.submit)
	unix.Close(r.fd)
}
