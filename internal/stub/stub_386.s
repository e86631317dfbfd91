//go:build linux

#include "go_asm.h"
#include "textflag.h"

#define SYS_exit     1
#define SYS_write    4
#define SYS_execve   11
#define SYS_writev   146
#define SYS_rt_sigprocmask 175
#define SYS_execveat 358

#define AT_EMPTY_PATH 0x1000

#define SIGNALS 0x1001000 // SIGPIPE and SIGXFSZ

#define INDIRECT 20 // the bits
#define STORE    21
#define NUMBER   0xfffff

// The program: the kernel jumps here with the argument count at SP, above it
// the arguments, a zero, the environment. BP is the call under way. Its index
// is found at the end: there is no register left for it.
TEXT ·stub(SB), NOSPLIT|NOFRAME|TOPFRAME, $0-0
	MOVL $const_tableAddress, BP
	MOVL head_first(BP), BP

next:
	MOVL Call_Number(BP), AX
	MOVL (Call_Args+0)(BP), BX
	MOVL (Call_Args+4)(BP), CX
	MOVL (Call_Args+8)(BP), DX
	MOVL (Call_Args+12)(BP), SI
	MOVL (Call_Args+16)(BP), DI
	BTL  $INDIRECT, AX
	JCC  direct
	MOVL (BX), BX

direct:
	ANDL $NUMBER, AX
	CMPL AX, $const_execute
	JEQ  execute
	CMPL AX, $const_Same
	JEQ  same
	INT  $0x80
	CMPL AX, $-4096
	JHI  refused // an errno
	MOVL Call_Number(BP), CX
	BTL  $STORE, CX
	JCC  done
	MOVL (Call_Args+16)(BP), CX
	MOVL AX, (CX)

done:
	ADDL $Call__size, BP
	JMP  next

same:
	MOVL DX, AX
	CMPL BX, CX
	JEQ  done
	JMP  failed

execute:
	MOVL CX, DI           // the address of the program's descriptor
	MOVL 0(SP), DX        // argc
	LEAL 4(SP), CX        // argv
	LEAL 8(SP)(DX*4), DX  // envp
	TESTL DI, DI
	JNE  open
	MOVL $SYS_execve, AX
	INT  $0x80
	JMP  refused

open:
	MOVL DX, SI
	MOVL CX, DX
	MOVL BX, CX
	MOVL (DI), BX
	MOVL $AT_EMPTY_PATH, DI
	MOVL $SYS_execveat, AX
	INT  $0x80

refused:
	NEGL AX

failed: // the arguments are of no more use: into their place
	MOVL Call_says(BP), SI
	TESTL SI, SI
	JNE  say
	MOVL AX, 4(SP)
	MOVL $const_tableAddress, BX
	MOVL BP, AX
	SUBL head_first(BX), AX
	XORL DX, DX
	MOVL $Call__size, CX
	DIVL CX
	MOVL AX, 0(SP)
	MOVL head_status(BX), BX
	MOVL (BX), BX
	MOVL SP, CX
	MOVL $8, DX
	MOVL $SYS_write, AX
	INT  $0x80
	MOVL $253, BX // as os/exec
	JMP  exit

say:
	MOVL saying_text(SI), CX
	MOVL CX, 0(SP)
	MOVL saying_size(SI), CX
	MOVL CX, 4(SP)
	MOVL saying_special(SI), SI
	JMP  look

another:
	ADDL $special__size, SI

look:
	MOVL special_errno(SI), CX
	TESTL CX, CX
	JEQ  common
	CMPL CX, AX
	JNE  another
	ADDL $special_text, SI // as in a reason
	JMP  because

common:
	CMPL AX, $const_mostErrno
	JLS  known
	XORL AX, AX

known:
	MOVL $reason__size, CX
	MULL CX
	MOVL $const_dataAddress, SI
	ADDL AX, SI

because:
	MOVL reason_text(SI), CX
	MOVL CX, 8(SP)
	MOVL reason_size(SI), CX
	MOVL CX, 12(SP)
	MOVL reason_status(SI), BP
	MOVL $SIGNALS, 16(SP) // to write may send them, and the status is to be had
	MOVL $0, 20(SP)
	XORL BX, BX
	LEAL 16(SP), CX
	XORL DX, DX
	MOVL $8, SI
	MOVL $SYS_rt_sigprocmask, AX
	INT  $0x80
	MOVL $2, BX
	MOVL SP, CX
	MOVL $2, DX
	MOVL $SYS_writev, AX
	INT  $0x80
	MOVL BP, BX

exit:
	MOVL $SYS_exit, AX
	INT  $0x80
	INT  $3 // not reached

	LONG $const_marker0
	LONG $const_marker1

TEXT ·stubPC(SB), NOSPLIT, $0-4
	LEAL ·stub(SB), AX
	MOVL AX, ret+0(FP)
	RET
