package landlock

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestConstants(t *testing.T) {
	for name, pair := range map[string][2]uint64{
		"execute":      {uint64(FSExecute), unix.LANDLOCK_ACCESS_FS_EXECUTE},
		"write_file":   {uint64(FSWriteFile), unix.LANDLOCK_ACCESS_FS_WRITE_FILE},
		"read_file":    {uint64(FSReadFile), unix.LANDLOCK_ACCESS_FS_READ_FILE},
		"read_dir":     {uint64(FSReadDir), unix.LANDLOCK_ACCESS_FS_READ_DIR},
		"remove_dir":   {uint64(FSRemoveDir), unix.LANDLOCK_ACCESS_FS_REMOVE_DIR},
		"remove_file":  {uint64(FSRemoveFile), unix.LANDLOCK_ACCESS_FS_REMOVE_FILE},
		"make_char":    {uint64(FSMakeChar), unix.LANDLOCK_ACCESS_FS_MAKE_CHAR},
		"make_dir":     {uint64(FSMakeDir), unix.LANDLOCK_ACCESS_FS_MAKE_DIR},
		"make_reg":     {uint64(FSMakeReg), unix.LANDLOCK_ACCESS_FS_MAKE_REG},
		"make_sock":    {uint64(FSMakeSock), unix.LANDLOCK_ACCESS_FS_MAKE_SOCK},
		"make_fifo":    {uint64(FSMakeFifo), unix.LANDLOCK_ACCESS_FS_MAKE_FIFO},
		"make_block":   {uint64(FSMakeBlock), unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK},
		"make_sym":     {uint64(FSMakeSym), unix.LANDLOCK_ACCESS_FS_MAKE_SYM},
		"refer":        {uint64(FSRefer), unix.LANDLOCK_ACCESS_FS_REFER},
		"truncate":     {uint64(FSTruncate), unix.LANDLOCK_ACCESS_FS_TRUNCATE},
		"ioctl_dev":    {uint64(FSIoctlDev), unix.LANDLOCK_ACCESS_FS_IOCTL_DEV},
		"resolve_unix": {uint64(FSResolveUnix), unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX},

		"bind_tcp":         {uint64(NetBindTCP), unix.LANDLOCK_ACCESS_NET_BIND_TCP},
		"connect_tcp":      {uint64(NetConnectTCP), unix.LANDLOCK_ACCESS_NET_CONNECT_TCP},
		"bind_udp":         {uint64(NetBindUDP), unix.LANDLOCK_ACCESS_NET_BIND_UDP},
		"connect_send_udp": {uint64(NetConnectSendUDP), unix.LANDLOCK_ACCESS_NET_CONNECT_SEND_UDP},

		"abstract_unix_socket": {uint64(ScopeAbstractUnixSocket), unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET},
		"signal":               {uint64(ScopeSignal), unix.LANDLOCK_SCOPE_SIGNAL},

		"log_same_exec_off":  {uint64(LogSameExecOff), unix.LANDLOCK_RESTRICT_SELF_LOG_SAME_EXEC_OFF},
		"log_new_exec_on":    {uint64(LogNewExecOn), unix.LANDLOCK_RESTRICT_SELF_LOG_NEW_EXEC_ON},
		"log_subdomains_off": {uint64(LogSubdomainsOff), unix.LANDLOCK_RESTRICT_SELF_LOG_SUBDOMAINS_OFF},

		"tsync": {uint64(restrictTSYNC), unix.LANDLOCK_RESTRICT_SELF_TSYNC},
		"quiet": {uint64(addRuleQuiet), unix.LANDLOCK_ADD_RULE_QUIET},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %#x, x/sys/unix has %#x", name, pair[0], pair[1])
		}
	}
}
