package seccomp

import (
	"errors"
	"fmt"
)

// A machine is what the programs of a GOARCH run on.
type machine struct {
	bigEndian bool
	abis      []abi // by which its processes can enter the kernel; that of the program first
}

// An abi has its own system call numbers. The filter knows those that it looks at.
type abi struct {
	name  label
	arch  uint32 // as seccomp tells it: AUDIT_ARCH_…
	x32   bool   // the numbers are there a second time, with x32Bit in them
	calls []call
}

// A call is a system call, and where the filter goes on for it.
type call struct {
	number uint32
	to     label
}

const x32Bit = 0x40000000

// The calls that have the same numbers by every ABI.
var everywhere = []call{
	{425, toEPERM}, // io_uring_setup
	{426, toEPERM}, // io_uring_enter
	{427, toEPERM}, // io_uring_register
}

var (
	amd64 = abi{"amd64", 0xc000003e, true, []call{
		{41, toSocket},  // socket
		{53, toSocket},  // socketpair
		{44, toFlags3},  // sendto
		{46, toFlags2},  // sendmsg
		{307, toFlags3}, // sendmmsg
		{54, toOption},  // setsockopt
		// x32 has its own numbers for some. Before Linux 5.4 every number worked
		// with the bit and without it.
		{518, toFlags2}, // sendmsg
		{538, toFlags3}, // sendmmsg
		{541, toOption}, // setsockopt
	}}
	i386 = abi{"i386", 0x40000003, false, []call{
		{359, toSocket}, // socket
		{360, toSocket}, // socketpair
		{102, toEACCES}, // socketcall
		{369, toFlags3}, // sendto
		{370, toFlags2}, // sendmsg
		{345, toFlags3}, // sendmmsg
		{366, toOption}, // setsockopt
	}}
	arm = abi{"arm", 0x40000028, false, []call{
		{281, toSocket}, // socket
		{288, toSocket}, // socketpair
		{290, toFlags3}, // sendto
		{296, toFlags2}, // sendmsg
		{374, toFlags3}, // sendmmsg
		{294, toOption}, // setsockopt
	}}
	arm64   = abi{"arm64", 0xc00000b7, false, generic}
	riscv64 = abi{"riscv64", 0xc00000f3, false, generic}
	riscv32 = abi{"riscv32", 0x400000f3, false, generic}
	loong64 = abi{"loong64", 0xc0000102, false, generic}
	ppc64   = abi{"ppc64", 0x80000015, false, powerpc}
	ppc     = abi{"ppc", 0x00000014, false, powerpc}
	ppc64le = abi{"ppc64le", 0xc0000015, false, powerpc}
	ppcle   = abi{"ppcle", 0x40000014, false, powerpc}

	// The table that architectures share that came late.
	generic = []call{
		{198, toSocket}, // socket
		{199, toSocket}, // socketpair
		{206, toFlags3}, // sendto
		{211, toFlags2}, // sendmsg
		{269, toFlags3}, // sendmmsg
		{208, toOption}, // setsockopt
	}
	powerpc = []call{
		{326, toSocket}, // socket
		{333, toSocket}, // socketpair
		{102, toEACCES}, // socketcall, which 64-bit programs have no use for
		{335, toFlags3}, // sendto
		{341, toFlags2}, // sendmsg
		{349, toFlags3}, // sendmmsg
		{339, toOption}, // setsockopt
	}

	// By GOARCH. A 32-bit program may run on a 64-bit kernel, so each lists the other.
	machines = map[string]machine{
		"amd64":   {abis: []abi{amd64, i386}},
		"arm64":   {abis: []abi{arm64, arm}},
		"arm":     {abis: []abi{arm, arm64}},
		"riscv64": {abis: []abi{riscv64, riscv32}},
		"loong64": {abis: []abi{loong64}},
		"ppc64le": {abis: []abi{ppc64le, ppcle}},
		"ppc64":   {abis: []abi{ppc64, ppc}, bigEndian: true},
	}
)

// machineOf returns an error that Is errors.ErrUnsupported where there is no filter.
func machineOf(goarch string) (machine, error) {
	if m, ok := machines[goarch]; ok {
		return m, nil
	}
	reason := "there is no table of its system calls"
	if goarch == "386" || goarch == "s390x" {
		reason = "its programs make sockets with socketcall, whose arguments no filter can read"
	}
	return machine{}, fmt.Errorf("seccomp: no socket filter for %s: %s: %w", goarch, reason, errors.ErrUnsupported)
}
