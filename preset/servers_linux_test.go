package preset

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// The servers of scenarios with a network of their own. They run outside the
// sandbox: one of names at each of these addresses, and one at each socket that the
// root directory has room for.
const (
	firstServer  = "127.0.0.2"
	secondServer = "127.0.0.3" // answers with another address
)

var sockets = []string{"var/run/nscd/socket", "run/systemd/resolve/io.systemd.Resolve"}

// serve starts the servers, and the child again, and returns its status.
func serve() int {
	err := loopbackUp()
	for _, address := range []string{firstServer, secondServer} {
		if err == nil {
			err = serveNames(address)
		}
	}
	root := os.Getenv(childRoot)
	if err == nil {
		err = os.Chdir(root) // the whole path may be too long for a socket
	}
	for _, path := range sockets {
		if exists(path) || !exists(path[:strings.LastIndex(path, "/")]) {
			continue
		}
		if _, listenErr := net.Listen("unix", path); listenErr != nil {
			err = listenErr
		}
	}
	if err != nil {
		fmt.Println("servers:", err)
		return 1
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childServes+"=")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Run()
	return cmd.ProcessState.ExitCode()
}

func loopbackUp() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request)
}

// serveNames answers questions for names by UDP and TCP.
func serveNames(address string) error {
	packets, err := net.ListenPacket("udp", address+":53")
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address+":53")
	if err != nil {
		return err
	}
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, from, err := packets.ReadFrom(buffer)
			if err != nil {
				return
			}
			if string(buffer[:n]) == replace {
				packets.WriteTo([]byte(replaceConfiguration()), from)
				continue
			}
			packets.WriteTo(answer(buffer[:n], address, true), from)
		}
	}()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go answerStream(conn, address)
		}
	}()
	return nil
}

func answerStream(conn net.Conn, address string) {
	defer conn.Close()
	for {
		var length uint16
		if binary.Read(conn, binary.BigEndian, &length) != nil {
			return
		}
		question := make([]byte, length)
		if _, err := io.ReadFull(conn, question); err != nil {
			return
		}
		reply := answer(question, address, false)
		conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
	}
}

// What is asked for, and the address that it has.
const (
	plainName, plainAddress = "server.test", "192.0.2.1"
	secondAddress           = "192.0.2.2" // of the same name, at the second server
	largeName, largeAddress = "large.test", "192.0.2.3"
	hostsAddress            = "192.0.2.4" // of the same name, in /etc/hosts
)

// answer returns the answer to a question for one name.
func answer(question []byte, address string, byUDP bool) []byte {
	const typeA, truncated = 1, 0x0200
	if len(question) < 17 {
		return nil
	}
	var labels []string
	at := 12
	for at < len(question) && question[at] > 0 && at+1+int(question[at]) < len(question) {
		labels = append(labels, string(question[at+1:at+1+int(question[at])]))
		at += 1 + int(question[at])
	}
	at += 5
	if at > len(question) {
		return nil
	}
	name, kind := strings.ToLower(strings.Join(labels, ".")), question[at-3]
	flags, data := uint16(0x8580), []byte(nil)
	switch {
	case kind == typeA && name == largeName && byUDP:
		flags |= truncated
	case kind == typeA && name == largeName:
		data = net.ParseIP(largeAddress).To4()
	case kind == typeA && name == plainName && address == secondServer:
		data = net.ParseIP(secondAddress).To4()
	case kind == typeA && name == plainName:
		data = net.ParseIP(plainAddress).To4()
	case name != plainName && name != largeName:
		flags |= 3 // there is no such name
	}
	reply := append([]byte{}, question[:2]...)
	answers := uint16(0)
	if data != nil {
		answers = 1
	}
	for _, field := range []uint16{flags, 1, answers, 0, 0} {
		reply = binary.BigEndian.AppendUint16(reply, field)
	}
	reply = append(reply, question[12:at]...)
	if data != nil {
		reply = append(reply, 0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 0, 0, byte(len(data)))
		reply = append(reply, data...)
	}
	return reply
}

// replace asks a server of names to do what a daemon does when the network
// changes: to replace the file to which /etc/resolv.conf is a link.
const replace = "replace"

func replaceConfiguration() string {
	const dir = "run/resolver/"
	err := os.WriteFile(dir+"new", []byte("nameserver "+secondServer+"\n"), 0o644)
	if err == nil {
		err = os.Rename(dir+"new", dir+"resolv.conf")
	}
	return fmt.Sprint(err)
}

func askToReplace() error {
	conn, err := net.Dial("udp", firstServer+":53")
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(replace)); err != nil {
		return err
	}
	reply := make([]byte, 100)
	n, err := conn.Read(reply)
	if err == nil && string(reply[:n]) != "<nil>" {
		err = fmt.Errorf("replace: %s", reply[:n])
	}
	return err
}
