//go:build linux

#include "go_asm.h"
#include "textflag.h"

#define SYS_write    64
#define SYS_writev   66
#define SYS_rt_sigprocmask 135
#define SYS_exit     93
#define SYS_execve   221
#define SYS_execveat 281

#define AT_EMPTY_PATH 0x1000

#define SIGNALS 0x1001000 // SIGPIPE and SIGXFSZ

#define INDIRECT 20 // the bits
#define STORE    21
#define NUMBER   0xfffff

// The program: the kernel jumps here with the argument count at RSP, above it
// the arguments, a zero, the environment. R19 is the call under way, R20 its
// index. System calls change R0 alone.
TEXT ·stub(SB), NOSPLIT|NOFRAME|TOPFRAME, $0-0
	MOVD $const_tableAddress, R19
	MOVD head_first(R19), R19
	MOVD $0, R20

next:
	MOVD Call_Number(R19), R8
	MOVD (Call_Args+0)(R19), R0
	MOVD (Call_Args+8)(R19), R1
	MOVD (Call_Args+16)(R19), R2
	MOVD (Call_Args+24)(R19), R3
	MOVD (Call_Args+32)(R19), R4
	TBZ  $INDIRECT, R8, direct
	MOVWU (R0), R0

direct:
	AND  $NUMBER, R8
	MOVD $const_execute, R5
	CMP  R5, R8
	BEQ  execute
	MOVD $const_Same, R5
	CMP  R5, R8
	BEQ  same
	SVC
	CMN  $4095, R0
	BHS  refused // an errno
	MOVD Call_Number(R19), R8
	TBZ  $STORE, R8, done
	MOVD (Call_Args+32)(R19), R8
	MOVW R0, (R8)

done:
	ADD  $Call__size, R19
	ADD  $1, R20
	B    next

same:
	CMPW R0, R1
	BEQ  done
	MOVD R2, R0
	B    failed

execute:
	MOVD R1, R4     // the address of the program's descriptor
	MOVD RSP, R3
	MOVD (R3), R2   // argc
	ADD  $8, R3, R1 // argv
	ADD  R2<<3, R1, R2
	ADD  $8, R2     // envp
	CBNZ R4, open
	MOVD $SYS_execve, R8
	SVC
	B    refused

open:
	MOVD R2, R3
	MOVD R1, R2
	MOVD R0, R1
	MOVWU (R4), R0
	MOVD $AT_EMPTY_PATH, R4
	MOVD $SYS_execveat, R8
	SVC

refused:
	NEG  R0, R0

failed: // the arguments are of no more use: into their place
	MOVD RSP, R1
	MOVD Call_says(R19), R19
	CBNZ R19, say
	MOVD R20, (R1)
	MOVD R0, 8(R1)
	MOVD $const_tableAddress, R19
	MOVD head_status(R19), R0
	MOVWU (R0), R0
	MOVD $16, R2
	MOVD $SYS_write, R8
	SVC
	MOVD $253, R0 // as os/exec
	B    exit

say:
	MOVD saying_text(R19), R2
	MOVD R2, (R1)
	MOVD saying_size(R19), R2
	MOVD R2, 8(R1)
	MOVD saying_special(R19), R19
	B    look

another:
	ADD  $special__size, R19

look:
	MOVD special_errno(R19), R2
	CBZ  R2, common
	CMP  R2, R0
	BNE  another
	ADD  $special_text, R19 // as in a reason
	B    because

common:
	CMP  $const_mostErrno, R0
	BLS  known
	MOVD $0, R0

known:
	MOVD $reason__size, R2
	MUL  R2, R0
	MOVD $const_dataAddress, R19
	ADD  R0, R19

because:
	MOVD reason_text(R19), R2
	MOVD R2, 16(R1)
	MOVD reason_size(R19), R2
	MOVD R2, 24(R1)
	MOVD reason_status(R19), R20
	MOVD R1, R21
	MOVD $SIGNALS, R2 // to write may send them, and the status is to be had
	MOVD R2, 32(R1)
	MOVD $0, R0
	ADD  $32, R1
	MOVD $0, R2
	MOVD $8, R3
	MOVD $SYS_rt_sigprocmask, R8
	SVC
	MOVD R21, R1
	MOVD $2, R0
	MOVD $2, R2
	MOVD $SYS_writev, R8
	SVC
	MOVD R20, R0

exit:
	MOVD $SYS_exit, R8
	SVC
	BRK  // not reached

	WORD $const_marker0
	WORD $const_marker1

TEXT ·stubPC(SB), NOSPLIT, $0-8
	MOVD $·stub(SB), R0
	MOVD R0, ret+0(FP)
	RET
