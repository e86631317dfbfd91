//go:build linux

#include "go_asm.h"
#include "textflag.h"

#define SYS_write    1
#define SYS_rt_sigprocmask 14
#define SYS_writev   20
#define SYS_execve   59
#define SYS_exit     60
#define SYS_execveat 322

#define AT_EMPTY_PATH 0x1000

#define SIGNALS 0x1001000 // SIGPIPE and SIGXFSZ

#define INDIRECT 20 // the bits
#define STORE    21
#define NUMBER   0xfffff

// The program: the kernel jumps here with the argument count at SP, above it
// the arguments, a zero, the environment. BX is the call under way, R12 its
// index. System calls change AX, CX and R11 alone.
TEXT ·stub(SB), NOSPLIT|NOFRAME|TOPFRAME, $0-0
	MOVQ $const_tableAddress, BX
	MOVQ head_first(BX), BX
	XORL R12, R12

next:
	MOVQ Call_Number(BX), AX
	MOVQ (Call_Args+0)(BX), DI
	MOVQ (Call_Args+8)(BX), SI
	MOVQ (Call_Args+16)(BX), DX
	MOVQ (Call_Args+24)(BX), R10
	MOVQ (Call_Args+32)(BX), R8
	BTL  $INDIRECT, AX
	JCC  direct
	MOVL (DI), DI

direct:
	ANDL $NUMBER, AX
	CMPL AX, $const_execute
	JEQ  execute
	CMPL AX, $const_Same
	JEQ  same
	SYSCALL
	CMPQ AX, $-4096
	JHI  refused // an errno
	MOVQ Call_Number(BX), CX
	BTL  $STORE, CX
	JCC  done
	MOVQ (Call_Args+32)(BX), CX
	MOVL AX, (CX)

done:
	ADDQ $Call__size, BX
	INCL R12
	JMP  next

same:
	MOVQ DX, AX
	CMPL DI, SI
	JEQ  done
	JMP  failed

execute:
	MOVQ SI, R8           // the address of the program's descriptor
	MOVQ 0(SP), DX        // argc
	LEAQ 8(SP), SI        // argv
	LEAQ 16(SP)(DX*8), DX // envp
	TESTQ R8, R8
	JNE  open
	MOVL $SYS_execve, AX
	SYSCALL
	JMP  refused

open:
	MOVQ DX, R10
	MOVQ SI, DX
	MOVQ DI, SI
	MOVL (R8), DI
	MOVL $AT_EMPTY_PATH, R8
	MOVL $SYS_execveat, AX
	SYSCALL

refused:
	NEGQ AX

failed: // the arguments are of no more use: into their place
	MOVQ Call_says(BX), BX
	TESTQ BX, BX
	JNE  say
	MOVQ R12, 0(SP)
	MOVQ AX, 8(SP)
	MOVQ $const_tableAddress, BX
	MOVQ head_status(BX), DI
	MOVL (DI), DI
	MOVQ SP, SI
	MOVL $16, DX
	MOVL $SYS_write, AX
	SYSCALL
	MOVL $253, DI // as os/exec
	JMP  exit

say:
	MOVQ saying_text(BX), CX
	MOVQ CX, 0(SP)
	MOVQ saying_size(BX), CX
	MOVQ CX, 8(SP)
	MOVQ saying_special(BX), BX
	JMP  look

another:
	ADDQ $special__size, BX

look:
	MOVQ special_errno(BX), CX
	TESTQ CX, CX
	JEQ  common
	CMPQ CX, AX
	JNE  another
	ADDQ $special_text, BX // as in a reason
	JMP  because

common:
	CMPQ AX, $const_mostErrno
	JLS  known
	XORL AX, AX

known:
	MOVL $reason__size, CX
	MULQ CX
	MOVQ $const_dataAddress, BX
	ADDQ AX, BX

because:
	MOVQ reason_text(BX), CX
	MOVQ CX, 16(SP)
	MOVQ reason_size(BX), CX
	MOVQ CX, 24(SP)
	MOVQ reason_status(BX), R12
	MOVQ $SIGNALS, 32(SP) // to write may send them, and the status is to be had
	XORL DI, DI
	LEAQ 32(SP), SI
	XORL DX, DX
	MOVL $8, R10
	MOVL $SYS_rt_sigprocmask, AX
	SYSCALL
	MOVL $2, DI
	MOVQ SP, SI
	MOVL $2, DX
	MOVL $SYS_writev, AX
	SYSCALL
	MOVQ R12, DI

exit:
	MOVL $SYS_exit, AX
	SYSCALL
	INT  $3 // not reached

	LONG $const_marker0
	LONG $const_marker1

TEXT ·stubPC(SB), NOSPLIT, $0-8
	LEAQ ·stub(SB), AX
	MOVQ AX, ret+0(FP)
	RET
