//go:build linux

#include "go_asm.h"
#include "textflag.h"

#define SYS_exit    1
#define SYS_clone   120
#define SYS_fcntl64 221
#define SYS_sendmsg 370

#define CLONE_VM_VFORK 0x4100
#define F_GETFD        1
#define MSG_DONTWAIT   0x40

// The child must leave the stack as it is, which is that of the thread that waits.
TEXT ·doAsChild(SB), NOSPLIT, $0-8
	MOVL d+0(FP), BP
	MOVL $CLONE_VM_VFORK, BX
	XORL CX, CX
	XORL DX, DX
	XORL SI, SI
	XORL DI, DI
	MOVL $SYS_clone, AX
	INT  $0x80
	TESTL AX, AX
	JEQ  child
	MOVL AX, pid+4(FP)
	RET

child:
	MOVL deed_fd(BP), BX
	MOVL $F_GETFD, CX
	MOVL $SYS_fcntl64, AX
	INT  $0x80
	MOVL deed_without(BP), CX
	TESTL AX, AX // 0: it is open, and not close-on-exec
	JNE  send
	MOVL deed_with(BP), CX
	MOVL $1, deed_sent(BP)

send:
	TESTL CX, CX
	JEQ  exit
	MOVL deed_socket(BP), BX
	MOVL $MSG_DONTWAIT, DX
	MOVL $SYS_sendmsg, AX
	INT  $0x80
	MOVL AX, deed_answer(BP)

exit:
	XORL BX, BX
	MOVL $SYS_exit, AX
	INT  $0x80
	INT  $3 // not reached
