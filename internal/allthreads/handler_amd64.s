//go:build linux

#include "go_asm.h"
#include "textflag.h"

#define SYS_rt_sigreturn           15
#define SYS_prctl                  157
#define SYS_futex                  202
#define SYS_landlock_restrict_self 446

#define PR_SET_NO_NEW_PRIVS 38
#define FUTEX_WAIT_PRIVATE  128
#define FUTEX_WAKE_PRIVATE  129
#define SI_QUEUE            -1

// The kernel calls this as a C function: DI is the signal, SI the siginfo_t, DX
// the ucontext_t, and it returns to restorer. That puts back every register,
// so none has to be saved. BX holds the board throughout.
TEXT ·handler(SB), NOSPLIT|NOFRAME|TOPFRAME, $0-0
	LEAQ ·shared(SB), BX

	// Count this thread in before looking at the generation: a caller that
	// gives up clears the generation first and waits for this count then.
	MOVL $1, AX
	LOCK
	XADDL AX, board_inside(BX)

	// Is this signal ours? Then si_value is the generation and the thread's number.
	CMPL 8(SI), $SI_QUEUE // si_code
	JNE  foreign
	MOVL board_generation(BX), AX
	TESTL AX, AX
	JEQ  foreign
	CMPL AX, 28(SI) // si_value, upper half
	JNE  foreign

	// Park: tell in which sweep, and wake the caller where it is the last.
	MOVL 24(SI), CX // si_value, lower half: the thread's place
	ANDL $const_placeMask, CX
	SHLQ $4, CX // 16 bytes each, and the entry is the second member
	LEAQ ·table(SB), DX
	MOVL board_sweep(BX), AX
	XCHGL AX, 4(DX)(CX*1)
	MOVL $1, AX
	LOCK
	XADDL AX, board_parked(BX)
	INCL AX
	CMPL AX, board_wakeAt(BX)
	JNE  wait
	LEAQ board_parked(BX), DI
	MOVL $FUTEX_WAKE_PRIVATE, SI
	MOVL $1, DX
	MOVL $SYS_futex, AX
	SYSCALL

wait:
	MOVL board_order(BX), AX
	CMPL AX, $const_orderWait
	JNE  ordered
	LEAQ board_order(BX), DI
	MOVL $FUTEX_WAIT_PRIVATE, SI
	MOVL $const_orderWait, DX
	XORL R10, R10 // no timeout
	MOVL $SYS_futex, AX
	SYSCALL
	JMP  wait

ordered:
	CMPL AX, $const_orderLeave
	JEQ  leave
	MOVL AX, R12
	CMPL board_noNewPrivs(BX), $0
	JEQ  restrict
	MOVL $PR_SET_NO_NEW_PRIVS, DI
	MOVL $1, SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	MOVL $SYS_prctl, AX
	SYSCALL
	TESTQ AX, AX
	JNE  failed

restrict:
	CMPL R12, $const_orderRestrict
	JNE  leave
	MOVL board_ruleset(BX), DI
	MOVL board_flags(BX), SI
	MOVL $SYS_landlock_restrict_self, AX
	SYSCALL
	TESTQ AX, AX
	JNE  failed
	LOCK
	INCL board_restricted(BX)
	JMP  leave

failed:
	NEGL AX
	MOVL AX, board_errno(BX)
	LOCK
	INCL board_failed(BX)

leave:
	XORL R12, R12 // no handler to go on to

out:
	// Count this thread out, and wake the caller for the last two.
	MOVL $-1, AX
	LOCK
	XADDL AX, board_inside(BX)
	CMPL AX, $2
	JHI  next
	LEAQ board_inside(BX), DI
	MOVL $FUTEX_WAKE_PRIVATE, SI
	MOVL $1, DX
	MOVL $SYS_futex, AX
	SYSCALL

next:
	CMPQ R12, $1 // SIG_IGN; SIG_DFL is 0
	JBE  return
	MOVQ R13, DI
	MOVQ R14, SI
	MOVQ R15, DX
	JMP  R12

return:
	RET

foreign:
	// Someone else's, such as libc's own broadcast: on to who had it before.
	MOVQ DI, R13
	MOVQ SI, R14
	MOVQ DX, R15
	MOVQ board_previous(BX), R12
	JMP  out

TEXT ·restorer(SB), NOSPLIT|NOFRAME|TOPFRAME, $0-0
	MOVL $SYS_rt_sigreturn, AX
	SYSCALL
	INT  $3 // not reached

TEXT ·handlerPC(SB), NOSPLIT, $0-8
	LEAQ ·handler(SB), AX
	MOVQ AX, ret+0(FP)
	RET

TEXT ·restorerPC(SB), NOSPLIT, $0-8
	LEAQ ·restorer(SB), AX
	MOVQ AX, ret+0(FP)
	RET

TEXT ·load(SB), NOSPLIT, $0-12
	MOVQ addr+0(FP), AX
	MOVL (AX), AX
	MOVL AX, ret+8(FP)
	RET

TEXT ·store(SB), NOSPLIT, $0-12
	MOVQ addr+0(FP), AX
	MOVL value+8(FP), CX
	XCHGL CX, (AX)
	RET

TEXT ·system(SB), NOSPLIT, $0-64
	MOVQ number+0(FP), AX
	MOVQ a+8(FP), DI
	MOVQ b+16(FP), SI
	MOVQ c+24(FP), DX
	MOVQ d+32(FP), R10
	MOVQ e+40(FP), R8
	MOVQ f+48(FP), R9
	SYSCALL
	MOVQ AX, ret+56(FP)
	RET
