package seccomp

import (
	"encoding/binary"
	"fmt"
)

// seccompData is what the kernel shows a filter of a system call.
type seccompData struct {
	number    uint32
	arch      uint32
	pointer   uint64
	arguments [6]uint64
}

// bytes returns it as it is in memory.
func (d *seccompData) bytes(order binary.ByteOrder, memory *[64]byte) {
	order.PutUint32(memory[0:], d.number)
	order.PutUint32(memory[4:], d.arch)
	order.PutUint64(memory[8:], d.pointer)
	for i, argument := range d.arguments {
		order.PutUint64(memory[16+8*i:], argument)
	}
}

// check makes the checks that the kernel makes before it takes a filter, for the
// instructions that evaluate knows.
func check(program []Instruction) error {
	if len(program) == 0 || len(program) > 4096 {
		return fmt.Errorf("%d instructions, want 1 to 4096", len(program))
	}
	for i, in := range program {
		left := len(program) - i - 1 // instructions after this one
		switch in.Code {
		case 0x20: // BPF_LD | BPF_W | BPF_ABS
			if in.K%4 != 0 || in.K >= 64 {
				return fmt.Errorf("instruction %d loads from %d, want a word of struct seccomp_data", i, in.K)
			}
		case 0x05: // BPF_JMP | BPF_JA
			if in.K >= uint32(left) {
				return fmt.Errorf("instruction %d jumps out of the program", i)
			}
		case 0x15, 0x25, 0x35, 0x45: // BPF_JMP | BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET | BPF_K
			if int(in.JT) >= left || int(in.JF) >= left {
				return fmt.Errorf("instruction %d jumps out of the program", i)
			}
		case 0x54, 0x06: // BPF_ALU | BPF_AND | BPF_K, BPF_RET | BPF_K
		default:
			return fmt.Errorf("instruction %d has the code %#x, want one that is known here", i, in.Code)
		}
	}
	if last := program[len(program)-1]; last.Code != 0x06 {
		return fmt.Errorf("the last instruction has the code %#x, want a return", last.Code)
	}
	return nil
}

// evaluate runs a checked program. It returns what the program returns, and the
// highest offset that it has looked at.
func evaluate(program []Instruction, memory *[64]byte, order binary.ByteOrder) (answer uint32, seen uint32) {
	var a uint32
	for i := 0; ; i++ {
		in := program[i]
		holds := false
		switch in.Code {
		case 0x20:
			a = order.Uint32(memory[in.K:])
			seen = max(seen, in.K)
			continue
		case 0x54:
			a &= in.K
			continue
		case 0x06:
			return in.K, seen
		case 0x05:
			i += int(in.K)
			continue
		case 0x15:
			holds = a == in.K
		case 0x25:
			holds = a > in.K
		case 0x35:
			holds = a >= in.K
		case 0x45:
			holds = a&in.K != 0
		}
		if holds {
			i += int(in.JT)
		} else {
			i += int(in.JF)
		}
	}
}
