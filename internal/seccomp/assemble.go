package seccomp

import (
	"errors"
	"fmt"
	"math"
)

// Instruction is one instruction of classic BPF, laid out as struct sock_filter.
type Instruction struct {
	Code   uint16
	JT, JF uint8
	K      uint32
}

// Program is a filter.
type Program []Instruction

// Instructions returns those of the program, for those who install it themselves.
func (p Program) Instructions() []Instruction { return p }

// The instructions that filters are made of. A is the accumulator, the only
// register that they use.
const (
	codeLoad    = 0x20 // A = the word at K of struct seccomp_data
	codeAnd     = 0x54 // A &= K
	codeEqual   = 0x15 // if A == K skip JT instructions, else JF
	codeAtLeast = 0x35 // if A >= K
	codeHasBit  = 0x45 // if A & K != 0
	codeReturn  = 0x06 // return K
)

// What a filter can return. With an errno, the call fails with it and has done
// nothing.
const (
	returnAllow = 0x7fff0000 // SECCOMP_RET_ALLOW
	returnErrno = 0x00050000 // SECCOMP_RET_ERRNO
)

// Where struct seccomp_data has what a filter looks at.
const (
	offsetNumber = 0
	offsetArch   = 4
)

// offsetArgument returns where the lower half of an argument is. What the kernel
// takes as an int comes from there: the upper half can hold anything.
func offsetArgument(index uint32, bigEndian bool) uint32 {
	offset := 16 + 8*index
	if bigEndian {
		offset += 4
	}
	return offset
}

// A label is a place in a program to jump to.
type label string

// assembler writes a program from its first instruction to its last. Jumps go
// forward, which is all that the kernel allows.
type assembler struct {
	program Program
	places  map[label]int
	jumps   []label // for each instruction, where it jumps to if what it asks is so
}

func (a *assembler) add(code uint16, k uint32, to label) {
	a.program = append(a.program, Instruction{Code: code, K: k})
	a.jumps = append(a.jumps, to)
}

// at names the place of the instruction that comes next.
func (a *assembler) at(l label) {
	if a.places == nil {
		a.places = map[label]int{}
	}
	a.places[l] = len(a.program)
}

func (a *assembler) load(offset uint32)         { a.add(codeLoad, offset, "") }
func (a *assembler) and(mask uint32)            { a.add(codeAnd, mask, "") }
func (a *assembler) ret(value uint32)           { a.add(codeReturn, value, "") }
func (a *assembler) equal(k uint32, to label)   { a.add(codeEqual, k, to) }
func (a *assembler) atLeast(k uint32, to label) { a.add(codeAtLeast, k, to) }
func (a *assembler) hasBit(k uint32, to label)  { a.add(codeHasBit, k, to) }

// assemble returns the program with its jumps filled in, or an error that only a
// mistake in this package can cause.
func (a *assembler) assemble() (Program, error) {
	var mistakes []error
	for i, to := range a.jumps {
		if to == "" {
			continue
		}
		place, ok := a.places[to]
		skip := place - i - 1
		if !ok || skip < 0 || skip > math.MaxUint8 || place == len(a.program) {
			mistakes = append(mistakes, fmt.Errorf("seccomp: instruction %d cannot jump to %q", i, to))
			continue
		}
		a.program[i].JT = uint8(skip)
	}
	if mistakes != nil {
		return nil, errors.Join(mistakes...)
	}
	return a.program, nil
}
