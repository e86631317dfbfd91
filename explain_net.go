package landlock

import (
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"strconv"
	"strings"
	"syscall"

	"example.com/landlock/internal/place"
)

func makesSocket(call string) bool { return call == "socket" || call == "socketpair" }

// errFilteredSocket is why a socket could not be made. There is no right that
// would allow it.
var errFilteredSocket error = &sentinel{"landlock: FilterSockets refuses this kind of socket", fs.ErrPermission}

// socket returns why a socket could not be made.
func (c *checker) socket() []error {
	if !c.sockets {
		return nil
	}
	return []error{errFilteredSocket}
}

// someSocket is socket where the kind is not known: for UDP there is a right, where the
// filter stands in for it.
func (c *checker) someSocket() []error {
	reasons := c.socket()
	if udp := c.refused.Net & netUDP; len(reasons) > 0 && udp != 0 {
		denied := &DeniedError{Port: -1, Missing: Rights{Net: udp}}
		denied.suggestText("AllowBindUDP(PORT) or AllowSendUDP(PORT)")
		c.withAllUDP(denied)
		reasons = append(reasons, guess([]error{denied}, "if it was for UDP")...)
	}
	return reasons
}

// socketCall is what failed with a socket, of a *net.OpError. Package net is too
// big to import for that, and makes a binary one with cgo.
type socketCall struct {
	op, call       string // net's word, and the system call
	network        string
	address, local string
	err            error
}

func socketOperation(err error) (s socketCall, ok bool) {
	found := walk(err, func(err error) bool {
		t := reflect.TypeOf(err)
		return t.Kind() == reflect.Pointer && t.Elem().PkgPath() == "net" && t.Elem().Name() == "OpError" && !reflect.ValueOf(err).IsNil()
	})
	if found == nil {
		return s, false
	}
	fields := reflect.ValueOf(found).Elem()
	s.op, s.network = fields.FieldByName("Op").String(), fields.FieldByName("Net").String()
	s.address, s.local = addressText(fields.FieldByName("Addr")), addressText(fields.FieldByName("Source"))
	s.err, _ = fields.FieldByName("Err").Interface().(error)
	if call := find[*os.SyscallError](s.err); call != nil {
		s.call = call.Syscall
	}
	return s, true
}

// addressText returns the text of a net.Addr, "" of none.
func addressText(field reflect.Value) string {
	if field.Kind() != reflect.Interface || field.IsNil() {
		return ""
	}
	if value := field.Elem(); value.Kind() == reflect.Pointer && value.IsNil() {
		return ""
	}
	address, ok := field.Interface().(fmt.Stringer)
	if !ok {
		return ""
	}
	return address.String()
}

// operation returns what failed. Landlock denies ports and paths with EACCES, and
// what is out of scope with EPERM.
func (s socketCall) operation() operation {
	unix := strings.HasPrefix(s.network, "unix")
	abstract := unix && strings.HasPrefix(s.address, "@")
	switch {
	case abstract && answered(s.err, syscall.EPERM) && s.call != "bind":
		return func(c *checker) []error { return c.scope(ScopeAbstractUnixSocket, "") }
	case !answered(s.err, syscall.EACCES) || abstract:
		return nil
	case makesSocket(s.call):
		return s.making
	case unix && s.call == "bind":
		return inDirectory(s.address, FSMakeSock)
	case unix:
		return func(c *checker) []error { return c.failing(s.address, FSResolveUnix, place.ModeWrite) }
	case s.call == "bind":
		address := s.address
		if s.local != "" {
			address = s.local
		}
		return s.ports(portAccess{address, NetBindTCP, NetBindUDP})
	}
	return s.ports(portAccess{s.address, NetConnectTCP, NetConnectSendUDP}, portAccess{":0", 0, NetBindUDP})
}

// making returns why the socket could not be made: for UDP it is what the filter
// stands in for.
func (s socketCall) making(c *checker) []error {
	switch udp := strings.HasPrefix(s.network, "udp"); {
	case udp && c.refused.Net == 0 || strings.HasPrefix(s.network, "tcp") || strings.HasPrefix(s.network, "unix"):
		return nil // not by the filter
	case udp && s.op == "listen":
		return s.ports(portAccess{s.address, 0, NetBindUDP})(c)
	case udp:
		return s.ports(portAccess{s.address, 0, NetConnectSendUDP})(c)
	}
	return c.socket()
}

// errPrivilegedPort is what the kernel says to a socket that Landlock does not restrict.
var errPrivilegedPort error = &sentinel{"landlock: CAP_NET_BIND_SERVICE is missing for this port, whatever the ruleset says", fs.ErrPermission}

// portAccess is what is needed on the port of an address.
type portAccess struct {
	address  string
	tcp, udp AccessNet
}

// ports returns the operation that needs all of these.
func (s socketCall) ports(needs ...portAccess) operation {
	return func(c *checker) []error {
		var reasons []error
		for _, need := range needs {
			access := need.tcp
			if strings.HasPrefix(s.network, "udp") {
				access = need.udp
			} else if !strings.HasPrefix(s.network, "tcp") {
				continue
			}
			port, err := strconv.ParseUint(need.address[strings.LastIndexByte(need.address, ':')+1:], 10, 16)
			if err != nil {
				continue
			}
			denied := c.port(access, uint16(port))
			if denied == nil {
				continue
			}
			if access == NetBindTCP && s.op == "listen" && !c.sockets && !place.MayBind(int(port)) {
				reasons = append(reasons, errPrivilegedPort)
				guess([]error{denied}, "if it is no Multipath TCP socket, which is net.Listen's default and passes Landlock")
			}
			reasons = append(reasons, denied)
		}
		return reasons
	}
}

// scope returns why something outside the sandbox was not reached.
func (c *checker) scope(scope Scope, unless string) []error {
	if c.denied.Scope&scope == 0 {
		return nil
	}
	return []error{&DeniedError{Port: -1, Missing: Rights{Scope: scope}, Uncertain: unless}}
}
