//go:build linux

#include "go_asm.h"
#include "textflag.h"

#define SYS_sendmsg 46
#define SYS_clone   56
#define SYS_exit    60
#define SYS_fcntl   72

#define CLONE_VM_VFORK 0x4100
#define F_GETFD        1
#define MSG_DONTWAIT   0x40

// The child must leave the stack as it is, which is that of the thread that waits.
TEXT ·doAsChild(SB), NOSPLIT, $0-16
	MOVQ d+0(FP), R12
	MOVQ $CLONE_VM_VFORK, DI
	XORL SI, SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	MOVL $SYS_clone, AX
	SYSCALL
	TESTQ AX, AX
	JEQ  child
	MOVQ AX, pid+8(FP)
	RET

child:
	MOVQ deed_fd(R12), DI
	MOVL $F_GETFD, SI
	MOVL $SYS_fcntl, AX
	SYSCALL
	MOVQ deed_without(R12), SI
	TESTQ AX, AX // 0: it is open, and not close-on-exec
	JNE  send
	MOVQ deed_with(R12), SI
	MOVQ $1, deed_sent(R12)

send:
	TESTQ SI, SI
	JEQ  exit
	MOVQ deed_socket(R12), DI
	MOVL $MSG_DONTWAIT, DX
	MOVL $SYS_sendmsg, AX
	SYSCALL
	MOVQ AX, deed_answer(R12)

exit:
	XORL DI, DI
	MOVL $SYS_exit, AX
	SYSCALL
	INT  $3 // not reached
