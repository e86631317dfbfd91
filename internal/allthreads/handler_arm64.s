//go:build linux

#include "go_asm.h"
#include "textflag.h"

#define SYS_futex                  98
#define SYS_prctl                  167
#define SYS_landlock_restrict_self 446

#define PR_SET_NO_NEW_PRIVS 38
#define FUTEX_WAIT_PRIVATE  128
#define FUTEX_WAKE_PRIVATE  129
#define SI_QUEUE            -1

#define FULL_BARRIER DMB $0xb // inner shareable

// The kernel calls this as a C function: R0 is the signal, R1 the siginfo_t, R2
// the ucontext_t, and it returns to the vDSO's sigreturn. That puts back every
// register, so none has to be saved. R19 holds the board throughout. The
// exclusive loads and stores work on every arm64, with atomics or without.
TEXT ·handler(SB), NOSPLIT|NOFRAME|TOPFRAME, $0-0
	MOVD $·shared(SB), R19

	// Count this thread in before looking at the generation: a caller that
	// gives up clears the generation first and waits for this count then.
	ADD  $board_inside, R19, R3
countin:
	LDAXRW (R3), R4
	ADDW $1, R4
	STLXRW R4, (R3), R5
	CBNZW R5, countin
	FULL_BARRIER

	// Is this signal ours? Then si_value is the generation and the thread's number.
	MOVW 8(R1), R4 // si_code
	CMPW $SI_QUEUE, R4
	BNE  foreign
	ADD  $board_generation, R19, R3
	LDARW (R3), R4 // what it stands for was written before
	CBZW R4, foreign
	MOVWU 28(R1), R5 // si_value, upper half
	CMPW R4, R5
	BNE  foreign

	// Park: tell in which sweep, and wake the caller where it is the last.
	MOVWU 24(R1), R4 // si_value, lower half: the thread's place
	ANDW $const_placeMask, R4
	MOVD $·table(SB), R5
	ADD  R4<<4, R5, R5 // 16 bytes each,
	ADD  $4, R5        // and the entry is the second member
	MOVWU board_sweep(R19), R4
	STLRW R4, (R5)
	ADD  $board_parked, R19, R3
countparked:
	LDAXRW (R3), R4
	ADDW $1, R4
	STLXRW R4, (R3), R5
	CBNZW R5, countparked
	FULL_BARRIER
	MOVWU board_wakeAt(R19), R5
	CMPW R4, R5
	BNE  wait
	MOVD R3, R0
	MOVD $FUTEX_WAKE_PRIVATE, R1
	MOVD $1, R2
	MOVD $SYS_futex, R8
	SVC

wait:
	ADD  $board_order, R19, R3
	LDARW (R3), R4
	CMPW $const_orderWait, R4
	BNE  ordered
	MOVD R3, R0
	MOVD $FUTEX_WAIT_PRIVATE, R1
	MOVD $const_orderWait, R2
	MOVD $0, R3 // no timeout
	MOVD $SYS_futex, R8
	SVC
	JMP  wait

ordered:
	CMPW $const_orderLeave, R4
	BEQ  leave
	MOVW R4, R20
	MOVWU board_noNewPrivs(R19), R4
	CBZW R4, restrict
	MOVD $PR_SET_NO_NEW_PRIVS, R0
	MOVD $1, R1
	MOVD $0, R2
	MOVD $0, R3
	MOVD $0, R4
	MOVD $SYS_prctl, R8
	SVC
	CBNZ R0, failed

restrict:
	CMPW $const_orderRestrict, R20
	BNE  leave
	MOVWU board_ruleset(R19), R0
	MOVWU board_flags(R19), R1
	MOVD $SYS_landlock_restrict_self, R8
	SVC
	CBNZ R0, failed
	ADD  $board_restricted, R19, R3
	JMP  count

failed:
	NEGW R0, R0
	MOVW R0, board_errno(R19)
	ADD  $board_failed, R19, R3

count:
	LDAXRW (R3), R4
	ADDW $1, R4
	STLXRW R4, (R3), R5
	CBNZW R5, count

leave:
	MOVD $0, R20 // no handler to go on to

out:
	// Count this thread out, and wake the caller for the last two.
	ADD  $board_inside, R19, R3
countout:
	LDAXRW (R3), R4
	SUBW $1, R4
	STLXRW R4, (R3), R5
	CBNZW R5, countout
	CMPW $1, R4
	BHI  next
	MOVD R3, R0
	MOVD $FUTEX_WAKE_PRIVATE, R1
	MOVD $1, R2
	MOVD $SYS_futex, R8
	SVC

next:
	CMP  $1, R20 // SIG_IGN; SIG_DFL is 0
	BLS  return
	MOVD R21, R0
	MOVD R22, R1
	MOVD R23, R2
	MOVD R20, R16 // by which BTI lets go to the start of a function
	JMP  (R16)

return:
	RET

foreign:
	// Someone else's, such as libc's own broadcast: on to who had it before.
	MOVD R0, R21
	MOVD R1, R22
	MOVD R2, R23
	MOVD board_previous(R19), R20
	JMP  out

TEXT ·handlerPC(SB), NOSPLIT, $0-8
	MOVD $·handler(SB), R0
	MOVD R0, ret+0(FP)
	RET

TEXT ·restorerPC(SB), NOSPLIT, $0-8
	MOVD ZR, ret+0(FP)
	RET

TEXT ·load(SB), NOSPLIT, $0-12
	MOVD addr+0(FP), R0
	LDARW (R0), R0
	MOVW R0, ret+8(FP)
	RET

TEXT ·store(SB), NOSPLIT, $0-12
	MOVD addr+0(FP), R0
	MOVW value+8(FP), R1
	FULL_BARRIER
	STLRW R1, (R0)
	FULL_BARRIER
	RET

TEXT ·system(SB), NOSPLIT, $0-64
	MOVD number+0(FP), R8
	MOVD a+8(FP), R0
	MOVD b+16(FP), R1
	MOVD c+24(FP), R2
	MOVD d+32(FP), R3
	MOVD e+40(FP), R4
	MOVD f+48(FP), R5
	SVC
	MOVD R0, ret+56(FP)
	RET
