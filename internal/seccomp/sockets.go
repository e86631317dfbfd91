package seccomp

import (
	"runtime"
	"slices"
)

// Sockets says what the filter refuses beside what it always does.
//
//	AF_UNIX                  any type and protocol          allowed
//	AF_INET and AF_INET6     SOCK_STREAM, 0 or IPPROTO_TCP  allowed
//	                         SOCK_STREAM, IPPROTO_MPTCP     EPROTONOSUPPORT
//	                         SOCK_DGRAM, 0 or IPPROTO_UDP   allowed, with RefuseUDP EACCES
//	AF_NETLINK               NETLINK_ROUTE                  allowed
//	any other socket or socketpair                          EACCES
//	io_uring_setup, io_uring_enter, io_uring_register       EPERM
//	sendto, sendmsg, sendmmsg  MSG_FASTOPEN                 allowed, with RefuseFastOpen EOPNOTSUPP
//	setsockopt               TCP_ULP                        ENOENT
//	socket, socketpair, socketcall of another ABI           EACCES
//	any call of an ABI that the filter does not know        ENOSYS
//	any other call                                          allowed
//
// A ring of io_uring makes sockets without a system call that a filter could
// see, so that none can be made, and none that was there before can be used.
//
// TCP_ULP hands a TCP socket over to another protocol, whose name a filter
// cannot read. From Linux 5.17 to 6.19 there is one, "smc", that makes it a
// socket which no rule governs. ENOENT is what the kernel answers for a protocol
// that it lacks: programs that would let the kernel do TLS do it themselves.
type Sockets struct {
	RefuseUDP      bool // no datagram sockets of IP at all
	RefuseFastOpen bool // connect_tcp is handled, which MSG_FASTOPEN would pass
}

// Linux's numbers, the same on every architecture that has a filter.
const (
	afUnix    = 1
	afInet    = 2
	afInet6   = 10
	afNetlink = 16

	sockStream   = 1
	sockDgram    = 2
	sockTypeMask = 0xf // the other bits of a type are flags

	ipprotoTCP   = 6
	ipprotoUDP   = 17
	ipprotoMPTCP = 262
	netlinkRoute = 0

	msgFastOpen = 0x20000000
	solTCP      = 6
	tcpULP      = 31

	eperm           = 1
	enoent          = 2
	eacces          = 13
	enosys          = 38
	eprotonosupport = 93
	eopnotsupp      = 95
)

// Where the filter goes on for a system call.
const (
	toSocket label = "socket" // looks at family, type and protocol
	toOption label = "option" // looks for TCP_ULP
	toFlags2 label = "flags2" // looks for MSG_FASTOPEN in argument 2
	toFlags3 label = "flags3" // and in argument 3
)

// Where it ends.
const (
	toAllow           label = "allow"
	toEPERM           label = "EPERM"
	toENOENT          label = "ENOENT"
	toEACCES          label = "EACCES"
	toENOSYS          label = "ENOSYS"
	toEPROTONOSUPPORT label = "EPROTONOSUPPORT"
	toEOPNOTSUPP      label = "EOPNOTSUPP"
)

var ends = []struct {
	name   label
	answer uint32
}{
	{toAllow, returnAllow},
	{toEPERM, returnErrno | eperm},
	{toENOENT, returnErrno | enoent},
	{toEACCES, returnErrno | eacces},
	{toENOSYS, returnErrno | enosys},
	{toEPROTONOSUPPORT, returnErrno | eprotonosupport},
	{toEOPNOTSUPP, returnErrno | eopnotsupp},
}

// Program returns the filter for the architecture that this program was built
// for. The error Is errors.ErrUnsupported where there is none.
func (s Sockets) Program() (Program, error) {
	return s.programFor(runtime.GOARCH)
}

func (s Sockets) programFor(goarch string) (Program, error) {
	a, err := s.write(goarch)
	if err != nil {
		return nil, err
	}
	return a.assemble()
}

// write writes the filter. This is the one for amd64 with RefuseFastOpen. With
// RefuseUDP it lacks what is said about SOCK_DGRAM.
//
//	   0  A = arch
//	   1  if A == 0xc000003e goto amd64
//	   2  if A == 0x40000003 goto i386
//	   3  fail with ENOSYS
//	amd64:
//	   4  A = number
//	   5  if A >= 0x40000000 goto x32
//	   6  if A == 41 goto socket                     socket
//	   7  if A == 53 goto socket                     socketpair
//	   8  if A == 44 goto flags3                     sendto
//	   9  if A == 46 goto flags2                     sendmsg
//	  10  if A == 307 goto flags3                    sendmmsg
//	  11  if A == 54 goto option                     setsockopt
//	  12  if A == 518 goto flags2                    sendmsg
//	  13  if A == 538 goto flags3                    sendmmsg
//	  14  if A == 541 goto option                    setsockopt
//	  15  if A == 425 goto EPERM                     io_uring_setup
//	  16  if A == 426 goto EPERM                     io_uring_enter
//	  17  if A == 427 goto EPERM                     io_uring_register
//	  18  allow
//	x32:
//	  19  if A == 0x40000029 goto EACCES             socket
//	  20  if A == 0x40000035 goto EACCES             socketpair
//	  21  if A == 0x4000002c goto flags3             sendto
//	  22  if A == 0x4000002e goto flags2             sendmsg
//	  23  if A == 0x40000133 goto flags3             sendmmsg
//	  24  if A == 0x40000036 goto option             setsockopt
//	  25  if A == 0x40000206 goto flags2             sendmsg
//	  26  if A == 0x4000021a goto flags3             sendmmsg
//	  27  if A == 0x4000021d goto option             setsockopt
//	  28  if A == 0x400001a9 goto EPERM              io_uring_setup
//	  29  if A == 0x400001aa goto EPERM              io_uring_enter
//	  30  if A == 0x400001ab goto EPERM              io_uring_register
//	  31  allow
//	i386:
//	  32  A = number
//	  33  if A == 359 goto EACCES                    socket
//	  34  if A == 360 goto EACCES                    socketpair
//	  35  if A == 102 goto EACCES                    socketcall
//	  36  if A == 369 goto flags3                    sendto
//	  37  if A == 370 goto flags2                    sendmsg
//	  38  if A == 345 goto flags3                    sendmmsg
//	  39  if A == 366 goto option                    setsockopt
//	  40  if A == 425 goto EPERM                     io_uring_setup
//	  41  if A == 426 goto EPERM                     io_uring_enter
//	  42  if A == 427 goto EPERM                     io_uring_register
//	  43  allow
//	socket:
//	  44  A = argument 0
//	  45  if A == 1 goto allow                       AF_UNIX
//	  46  if A == 2 goto inet                        AF_INET
//	  47  if A == 10 goto inet                       AF_INET6
//	  48  if A == 16 goto netlink                    AF_NETLINK
//	  49  fail with EACCES
//	inet:
//	  50  A = argument 1
//	  51  A &= 0xf                                   SOCK_TYPE_MASK
//	  52  if A == 1 goto stream                      SOCK_STREAM
//	  53  if A == 2 goto datagram                    SOCK_DGRAM
//	  54  fail with EACCES
//	stream:
//	  55  A = argument 2
//	  56  if A == 0 goto allow
//	  57  if A == 6 goto allow                       IPPROTO_TCP
//	  58  if A == 262 goto EPROTONOSUPPORT           IPPROTO_MPTCP
//	  59  fail with EACCES
//	datagram:
//	  60  A = argument 2
//	  61  if A == 0 goto allow
//	  62  if A == 17 goto allow                      IPPROTO_UDP
//	  63  fail with EACCES
//	netlink:
//	  64  A = argument 2
//	  65  if A == 0 goto allow                       NETLINK_ROUTE
//	  66  fail with EACCES
//	option:
//	  67  A = argument 1
//	  68  if A == 6 goto tcp option                  IPPROTO_TCP
//	  69  allow
//	tcp option:
//	  70  A = argument 2
//	  71  if A == 31 goto ENOENT                     TCP_ULP
//	  72  allow
//	flags2:
//	  73  A = argument 2
//	  74  if A & 0x20000000 goto EOPNOTSUPP          MSG_FASTOPEN
//	  75  allow
//	flags3:
//	  76  A = argument 3
//	  77  if A & 0x20000000 goto EOPNOTSUPP          MSG_FASTOPEN
//	  78  allow
//	allow:
//	  79  allow
//	EPERM:
//	  80  fail with EPERM
//	ENOENT:
//	  81  fail with ENOENT
//	EACCES:
//	  82  fail with EACCES
//	EPROTONOSUPPORT:
//	  83  fail with EPROTONOSUPPORT
//	EOPNOTSUPP:
//	  84  fail with EOPNOTSUPP
func (s Sockets) write(goarch string) (*assembler, error) {
	m, err := machineOf(goarch)
	if err != nil {
		return nil, err
	}
	a := &assembler{}
	a.load(offsetArch)
	for _, abi := range m.abis {
		a.equal(abi.arch, abi.name)
	}
	a.ret(returnErrno | enosys)
	for i, abi := range m.abis {
		a.at(abi.name)
		a.load(offsetNumber)
		if abi.x32 {
			a.atLeast(x32Bit, "x32")
		}
		s.dispatch(a, abi.calls, 0, i > 0)
		if abi.x32 {
			a.at("x32")
			s.dispatch(a, abi.calls, x32Bit, true)
		}
	}
	argument := func(index uint32) { a.load(offsetArgument(index, m.bigEndian)) }
	s.judgeSocket(a, argument)
	judgeOption(a, argument)
	if s.RefuseFastOpen {
		judgeFlags(a, argument)
	}
	for _, end := range ends {
		if !slices.Contains(a.jumps, end.name) {
			continue
		}
		a.at(end.name)
		a.ret(end.answer)
	}
	return a, nil
}

// dispatch goes on by the number of the call. Most calls do not even come here:
// from Linux 5.11 the kernel knows in advance which ones the filter allows
// whatever their arguments are.
func (s Sockets) dispatch(a *assembler, calls []call, bit uint32, foreign bool) {
	for _, call := range slices.Concat(calls, everywhere) {
		to := call.to
		switch {
		case to == toSocket && foreign:
			to = toEACCES
		case (to == toFlags2 || to == toFlags3) && !s.RefuseFastOpen:
			continue
		}
		a.equal(call.number|bit, to)
	}
	a.ret(returnAllow)
}

func (s Sockets) judgeSocket(a *assembler, argument func(uint32)) {
	const family, kind, protocol = 0, 1, 2
	a.at(toSocket)
	argument(family)
	a.equal(afUnix, toAllow)
	a.equal(afInet, "inet")
	a.equal(afInet6, "inet")
	a.equal(afNetlink, "netlink")
	a.ret(returnErrno | eacces)

	a.at("inet")
	argument(kind)
	a.and(sockTypeMask)
	a.equal(sockStream, "stream")
	if !s.RefuseUDP {
		a.equal(sockDgram, "datagram")
	}
	a.ret(returnErrno | eacces)

	a.at("stream")
	argument(protocol)
	a.equal(0, toAllow)
	a.equal(ipprotoTCP, toAllow)
	a.equal(ipprotoMPTCP, toEPROTONOSUPPORT)
	a.ret(returnErrno | eacces)

	if !s.RefuseUDP {
		a.at("datagram")
		argument(protocol)
		a.equal(0, toAllow)
		a.equal(ipprotoUDP, toAllow)
		a.ret(returnErrno | eacces)
	}

	a.at("netlink")
	argument(protocol)
	a.equal(netlinkRoute, toAllow)
	a.ret(returnErrno | eacces)
}

func judgeOption(a *assembler, argument func(uint32)) {
	const level, option = 1, 2
	a.at(toOption)
	argument(level)
	a.equal(solTCP, "tcp option")
	a.ret(returnAllow)
	a.at("tcp option")
	argument(option)
	a.equal(tcpULP, toENOENT)
	a.ret(returnAllow)
}

func judgeFlags(a *assembler, argument func(uint32)) {
	a.at(toFlags2)
	argument(2)
	a.hasBit(msgFastOpen, toEOPNOTSUPP)
	a.ret(returnAllow)
	a.at(toFlags3)
	argument(3)
	a.hasBit(msgFastOpen, toEOPNOTSUPP)
	a.ret(returnAllow)
}
