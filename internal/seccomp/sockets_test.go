package seccomp

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// The numbers of the calls that a filter looks at, by the kernel's tables.
var (
	numbersOfAMD64   = map[string]uint32{"socket": 41, "socketpair": 53, "setsockopt": 54, "sendto": 44, "sendmsg": 46, "sendmmsg": 307}
	numbersOfI386    = map[string]uint32{"socket": 359, "socketpair": 360, "setsockopt": 366, "sendto": 369, "sendmsg": 370, "sendmmsg": 345, "socketcall": 102}
	numbersOfARM     = map[string]uint32{"socket": 281, "socketpair": 288, "setsockopt": 294, "sendto": 290, "sendmsg": 296, "sendmmsg": 374}
	numbersOfPowerPC = map[string]uint32{"socket": 326, "socketpair": 333, "setsockopt": 339, "sendto": 335, "sendmsg": 341, "sendmmsg": 349, "socketcall": 102}
	genericNumbers   = map[string]uint32{"socket": 198, "socketpair": 199, "setsockopt": 208, "sendto": 206, "sendmsg": 211, "sendmmsg": 269}
)

// An entry is a way into the kernel.
type entry struct {
	arch    uint32
	bit     uint32            // that all numbers have set, or 0
	numbers map[string]uint32 // without the bit
}

// The ways into the kernel by GOARCH; that of the program itself comes first.
var entries = map[string][]entry{
	"amd64":   {{0xc000003e, 0, numbersOfAMD64}, {0x40000003, 0, numbersOfI386}, {0xc000003e, 0x40000000, numbersOfAMD64}},
	"arm64":   {{0xc00000b7, 0, genericNumbers}, {0x40000028, 0, numbersOfARM}},
	"arm":     {{0x40000028, 0, numbersOfARM}, {0xc00000b7, 0, genericNumbers}},
	"riscv64": {{0xc00000f3, 0, genericNumbers}, {0x400000f3, 0, genericNumbers}},
	"loong64": {{0xc0000102, 0, genericNumbers}},
	"ppc64le": {{0xc0000015, 0, numbersOfPowerPC}, {0x40000014, 0, numbersOfPowerPC}},
	"ppc64":   {{0x80000015, 0, numbersOfPowerPC}, {0x14, 0, numbersOfPowerPC}},
}

var variants = []Sockets{{}, {RefuseUDP: true}, {RefuseFastOpen: true}, {RefuseUDP: true, RefuseFastOpen: true}}

// specification answers what the filter has to: 0 for a call that it lets pass,
// or an errno.
func specification(s Sockets, goarch string, d *seccompData) uint32 {
	e, foreign, ok := entryOf(goarch, d)
	if !ok {
		return 38 // ENOSYS
	}
	argument := func(i int) int32 { return int32(d.arguments[i]) }
	fastOpen := func(flags int32) uint32 {
		if s.RefuseFastOpen && flags&0x20000000 != 0 {
			return 95 // EOPNOTSUPP
		}
		return 0
	}
	switch name := nameOf(goarch, e, d.number&^e.bit); name {
	case "socket", "socketpair":
		if foreign {
			return 13 // EACCES
		}
		return socketSpecification(s, argument(0), argument(1), argument(2))
	case "socketcall":
		return 13
	case "io_uring_setup", "io_uring_enter", "io_uring_register":
		return 1 // EPERM
	case "sendto", "sendmmsg":
		return fastOpen(argument(3))
	case "sendmsg":
		return fastOpen(argument(2))
	case "setsockopt":
		if argument(1) == 6 && argument(2) == 31 { // IPPROTO_TCP, TCP_ULP
			return 2 // ENOENT
		}
	}
	return 0
}

func socketSpecification(s Sockets, family, kind, protocol int32) uint32 {
	kind &= 0xf
	const stream, datagram = 1, 2
	switch family {
	case 1: // AF_UNIX
		return 0
	case 2, 10: // AF_INET, AF_INET6
		switch {
		case kind == stream && (protocol == 0 || protocol == 6):
			return 0
		case kind == stream && protocol == 262:
			return 93 // EPROTONOSUPPORT
		case kind == datagram && (protocol == 0 || protocol == 17) && !s.RefuseUDP:
			return 0
		}
	case 16: // AF_NETLINK
		if protocol == 0 { // NETLINK_ROUTE
			return 0
		}
	}
	return 13
}

func entryOf(goarch string, d *seccompData) (e entry, foreign, ok bool) {
	x32 := uint32(0)
	if d.arch == 0xc000003e && d.number >= 0x40000000 {
		x32 = 0x40000000
	}
	for i, e := range entries[goarch] {
		if e.arch == d.arch && e.bit == x32 {
			return e, i > 0, true
		}
	}
	return entry{}, false, false
}

func nameOf(goarch string, e entry, number uint32) string {
	switch number {
	case 425:
		return "io_uring_setup"
	case 426:
		return "io_uring_enter"
	case 427:
		return "io_uring_register"
	}
	if e.arch == 0xc000003e {
		switch number { // x32's own, which work without the bit too on old kernels
		case 518:
			return "sendmsg"
		case 538:
			return "sendmmsg"
		case 541:
			return "setsockopt"
		}
	}
	for name, n := range e.numbers {
		if n == number {
			return name
		}
	}
	return ""
}

// subject is a filter under test.
type subject struct {
	Sockets
	goarch  string
	program []Instruction
	order   binary.ByteOrder
}

// each runs a test of the filter for every architecture and variant.
func each(t *testing.T, test func(t *testing.T, s *subject)) {
	for goarch := range entries {
		if testing.Short() && goarch != runtime.GOARCH {
			continue
		}
		for _, variant := range variants {
			t.Run(fmt.Sprintf("%s/udp=%t/fastopen=%t", goarch, !variant.RefuseUDP, !variant.RefuseFastOpen), func(t *testing.T) {
				t.Parallel()
				test(t, newSubject(t, goarch, variant))
			})
		}
	}
}

func newSubject(t testing.TB, goarch string, variant Sockets) *subject {
	program, err := variant.programFor(goarch)
	if err != nil {
		t.Fatalf("program for %s: %v, want no error", goarch, err)
	}
	if err := check(program); err != nil {
		t.Fatalf("program for %s: %v", goarch, err)
	}
	s := &subject{variant, goarch, program, binary.LittleEndian}
	if goarch == "ppc64" {
		s.order = binary.BigEndian
	}
	return s
}

// compare fails where the filter does not answer as the specification does. It
// returns the highest offset that the filter has looked at.
func (s *subject) compare(t testing.TB, d *seccompData) (seen uint32) {
	var memory [64]byte
	d.bytes(s.order, &memory)
	answer, seen := evaluate(s.program, &memory, s.order)
	want := uint32(0x7fff0000) // SECCOMP_RET_ALLOW
	errno := specification(s.Sockets, s.goarch, d)
	if errno != 0 {
		want = 0x50000 | errno // SECCOMP_RET_ERRNO
	}
	if answer != want {
		t.Fatalf("%+v, %s, %+v: filter answers %#x, want %#x", s.Sockets, s.goarch, *d, answer, want)
	}
	return seen
}

// The kernel takes ints from arguments, so their upper halves must not matter.
var junk = []uint64{0, 0xffffffff << 32, 1 << 32}

func TestEverySocket(t *testing.T) {
	protocols := []int32{0, 1, 2, 6, 17, 33, 46, 58, 94, 103, 115, 132, 136, 255, 256, 257, 261, 262, 263, 0x10006, 0x20000, -1, -262}
	var kinds []int32
	for kind := range int32(16) {
		kinds = append(kinds, kind)
	}
	for _, flags := range []int32{0o2000000, 0o4000, 0o2004000, 1 << 30, -16} { // SOCK_CLOEXEC, SOCK_NONBLOCK, both, unknown ones
		kinds = append(kinds, 1|flags, 2|flags, 3|flags)
	}
	each(t, func(t *testing.T, s *subject) {
		for _, e := range entries[s.goarch] {
			for _, call := range []string{"socket", "socketpair"} {
				d := seccompData{number: e.numbers[call] | e.bit, arch: e.arch}
				for family := range int32(51) {
					for _, kind := range kinds {
						for i, protocol := range protocols {
							high := junk[(int(family)+int(kind&0xf)+i)%len(junk)]
							d.arguments = [6]uint64{high | uint64(uint32(family)), high | uint64(uint32(kind)), high | uint64(uint32(protocol)), high, high}
							s.compare(t, &d)
						}
					}
				}
				for _, family := range []int32{-1, 0x10001, 0x10002, 1 << 30} {
					d.arguments = [6]uint64{uint64(family), 1, 0}
					s.compare(t, &d)
				}
			}
		}
	})
}

func TestEveryCall(t *testing.T) {
	var arguments [][6]uint64
	for _, high := range junk {
		for _, word := range []uint64{0, 1, 2, 6, 16, 31, 0x20000000, 0x20004040, 0x4000, 0xffffffff} {
			all := high | word
			arguments = append(arguments, [6]uint64{all, all, all, all, all, all},
				[6]uint64{high, high | 6, high | word, high | word}, [6]uint64{high | 5, high | word, high | 31, high})
		}
	}
	each(t, func(t *testing.T, s *subject) {
		for _, e := range entries[s.goarch] {
			for number := range uint32(1001) {
				named := nameOf(s.goarch, e, number) != ""
				for _, a := range arguments {
					seen := s.compare(t, &seccompData{number | e.bit, e.arch, 0, a})
					if !named && seen > 4 {
						t.Fatalf("call %d by %#x: the filter looks at offset %d, want it to decide by number", number, e.arch, seen)
					}
					if !named {
						break // it has looked at no argument
					}
				}
			}
		}
	})
}

func TestUnknownABI(t *testing.T) {
	each(t, func(t *testing.T, s *subject) {
		for _, arch := range []uint32{0, 1, 0x3e, 0x4000003e, 0xc0000003, 0x28, 0x16, 0x80000016, 0x40000102, 0xffffffff} {
			for _, number := range []uint32{0, 1, 39, 41, 60, 198, 425, 0xffffffff} {
				s.compare(t, &seccompData{number: number, arch: arch})
			}
		}
		for _, e := range entries[s.goarch] { // and what differs by one bit
			for bit := range 32 {
				s.compare(t, &seccompData{number: e.numbers["socket"], arch: e.arch ^ 1<<bit, arguments: [6]uint64{1, 1}})
			}
		}
	})
}

func FuzzFilter(f *testing.F) {
	var subjects []*subject
	for _, goarch := range slices.Sorted(maps.Keys(entries)) {
		for _, variant := range variants {
			subjects = append(subjects, newSubject(f, goarch, variant))
		}
	}
	f.Add(uint32(41), uint32(0xc000003e), uint64(2), uint64(1), uint64(262), uint64(0))
	f.Add(uint32(44), uint32(0xc000003e), uint64(3), uint64(0), uint64(0), uint64(0x20000000))
	f.Add(uint32(198), uint32(0xc00000b7), uint64(16), uint64(3), uint64(1<<32), uint64(0))
	f.Add(uint32(54), uint32(0xc000003e), uint64(3), uint64(6), uint64(31), uint64(0))
	f.Add(uint32(0x40000000+518), uint32(0xc000003e), uint64(3), uint64(6), uint64(0x20000000), uint64(0))
	f.Add(uint32(102), uint32(0x40000003), uint64(1), uint64(6), uint64(31), uint64(0))
	f.Fuzz(func(t *testing.T, number, arch uint32, a, b, c, d uint64) {
		for _, s := range subjects {
			s.compare(t, &seccompData{number, arch, 0, [6]uint64{a, b, c, d}})
		}
	})
}

func TestUnsupportedArchitectures(t *testing.T) {
	for _, goarch := range []string{"386", "s390x", "mips", "mipsle", "mips64", "mips64le", "wasm", ""} {
		program, err := Sockets{}.programFor(goarch)
		if program != nil || !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "for "+goarch+":") {
			t.Errorf("program for %q: %d instructions, %v; want none, and an error that names it and is errors.ErrUnsupported", goarch, len(program), err)
		}
	}
}

func TestAssemblerRefusesBadJumps(t *testing.T) {
	for name, write := range map[string]func(a *assembler){
		"to nowhere": func(a *assembler) { a.equal(1, "nowhere"); a.ret(0) },
		"backwards":  func(a *assembler) { a.at("start"); a.equal(1, "start"); a.ret(0) },
		"to the end": func(a *assembler) { a.equal(1, "end"); a.ret(0); a.at("end") },
		"too far": func(a *assembler) {
			a.equal(1, "far")
			for range 256 {
				a.and(0)
			}
			a.at("far")
			a.ret(0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := &assembler{}
			write(a)
			if program, err := a.assemble(); err == nil {
				t.Errorf("assembled %v, want an error", program)
			}
		})
	}
}

//go:embed sockets.go
var source string

// TestListing holds the comment equal to the filter.
func TestListing(t *testing.T) {
	a, err := Sockets{RefuseFastOpen: true}.write("amd64")
	if err != nil {
		t.Fatal(err)
	}
	if want := listing(t, a); !strings.Contains(source, "\n//\n"+want+"func (s Sockets) write(") {
		t.Errorf("sockets.go has another listing above write than this, which is what it writes:\n%s", want)
	}
}

// notes say what a number stands for, by where it is compared.
var notes = map[string]string{
	"socket 1": "AF_UNIX", "socket 2": "AF_INET", "socket 10": "AF_INET6", "socket 16": "AF_NETLINK",
	"inet 15": "SOCK_TYPE_MASK", "inet 1": "SOCK_STREAM", "inet 2": "SOCK_DGRAM", "stream 6": "IPPROTO_TCP", "stream 262": "IPPROTO_MPTCP",
	"datagram 17": "IPPROTO_UDP", "netlink 0": "NETLINK_ROUTE", "option 6": "IPPROTO_TCP", "tcp option 31": "TCP_ULP",
	"flags2 536870912": "MSG_FASTOPEN", "flags3 536870912": "MSG_FASTOPEN",
}

func listing(t *testing.T, a *assembler) string {
	program, err := a.assemble()
	if err != nil {
		t.Fatal(err)
	}
	names := map[int]label{}
	for name, place := range a.places {
		names[place] = name
	}
	var b strings.Builder
	block := label("")
	for i, in := range program {
		if name, ok := names[i]; ok {
			block = name
			fmt.Fprintf(&b, "//\t%s:\n", name)
		}
		target := names[i+1+int(in.JT)]
		note := notes[fmt.Sprint(block, " ", in.K)]
		for j, e := range entries["amd64"] {
			if block == []label{"amd64", "i386", "x32"}[j] {
				note = nameOf("amd64", e, in.K&^e.bit)
			}
		}
		line := ""
		switch in.Code {
		case codeLoad:
			note = ""
			line = map[uint32]string{0: "A = number", 4: "A = arch"}[in.K]
			if in.K >= 16 {
				line = fmt.Sprintf("A = argument %d", (in.K-16)/8)
			}
		case codeAnd:
			line = fmt.Sprintf("A &= %#x", in.K)
		case codeEqual:
			line = fmt.Sprintf("if A == %d goto %s", in.K, target)
			if in.K > 1<<16 {
				line = fmt.Sprintf("if A == %#x goto %s", in.K, target)
			}
		case codeAtLeast:
			line = fmt.Sprintf("if A >= %#x goto %s", in.K, target)
		case codeHasBit:
			line = fmt.Sprintf("if A & %#x goto %s", in.K, target)
		case codeReturn:
			line, note = "allow", ""
			for _, end := range ends {
				if end.answer == in.K && in.K != returnAllow {
					line = "fail with " + string(end.name)
				}
			}
		}
		if note != "" {
			line = fmt.Sprintf("%-42s %s", line, note)
		}
		fmt.Fprintf(&b, "//\t%4d  %s\n", i, line)
	}
	return b.String()
}
