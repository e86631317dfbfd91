//go:build linux

#include "go_asm.h"
#include "textflag.h"

#define SYS_fcntl   25
#define SYS_exit    93
#define SYS_sendmsg 211
#define SYS_clone   220

#define CLONE_VM_VFORK 0x4100
#define F_GETFD        1
#define MSG_DONTWAIT   0x40

// The child must leave the stack as it is, which is that of the thread that waits.
TEXT ·doAsChild(SB), NOSPLIT|NOFRAME, $0-16
	MOVD d+0(FP), R19
	MOVD $CLONE_VM_VFORK, R0
	MOVD $0, R1
	MOVD $0, R2
	MOVD $0, R3
	MOVD $0, R4
	MOVD $SYS_clone, R8
	SVC
	CBZ  R0, child
	MOVD R0, pid+8(FP)
	RET

child:
	MOVD deed_fd(R19), R0
	MOVD $F_GETFD, R1
	MOVD $SYS_fcntl, R8
	SVC
	MOVD deed_without(R19), R1
	CBNZ R0, send // 0: it is open, and not close-on-exec
	MOVD deed_with(R19), R1
	MOVD $1, R0
	MOVD R0, deed_sent(R19)

send:
	CBZ  R1, exit
	MOVD deed_socket(R19), R0
	MOVD $MSG_DONTWAIT, R2
	MOVD $SYS_sendmsg, R8
	SVC
	MOVD R0, deed_answer(R19)

exit:
	MOVD $0, R0
	MOVD $SYS_exit, R8
	SVC
	BRK // not reached
