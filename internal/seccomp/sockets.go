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
	{toEPROTONOSUPPORT, returnErrno | eprotonosupport},
	{toEOPNOTSUPP, returnErrno | eopnotsupp},
}

// Program returns the filter for the architecture that this program was built
// for. The error Is errors.ErrUnsupported where there is none.
func (s Sockets) Program() ([]Instruction, error) {
	return s.programFor(runtime.GOARCH)
}

func (s Sockets) programFor(goarch string) ([]Instruction, error) {
	a, err := s.write(goarch)
	if err != nil {
		return nil, err
	}
	return a.assemble()
}

// write writes the filter. For amd64, with both fields set, it is this.
//
// LISTING
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
