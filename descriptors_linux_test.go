package landlock

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/landlock/internal/testenv"
)

// What the stub is sent of a descriptor is what a child would have inherited
// there, though the number becomes another file's all the time.
func TestInheritedIsSentAsItWasFound(t *testing.T) {
	dir := t.TempDir()
	secret, inherited := filepath.Join(dir, "secret"), filepath.Join(dir, "inherited")
	testenv.Write(t, secret, "")
	testenv.Write(t, inherited, "")
	slot, err := unix.Open(inherited, unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { // the owner of the number, who has other uses for it
		defer unix.Close(slot)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			path, flags := inherited, 0
			if i%2 > 0 {
				path, flags = secret, unix.O_CLOEXEC
			}
			fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Error(err)
				return
			}
			unix.Dup3(fd, slot, flags)
			unix.Close(fd)
		}
	})
	rounds, sent := 3000, 0
	if testenv.LongTests() {
		rounds = 100_000
	}
	for range rounds {
		h, err := newHandover()
		if err != nil {
			t.Fatal(err)
		}
		h.slot = slot
		if err := h.handOver(new(exec.Cmd)); err != nil {
			t.Fatal(err)
		}
		for _, name := range received(t, h.there) {
			if sent++; name != inherited {
				t.Errorf("sent: %s", name)
			}
		}
		h.here.Close()
		h.there.Close()
	}
	close(stop)
	all.Wait()
	if sent == 0 || sent == rounds {
		t.Errorf("%d of %d rounds sent something: this shows nothing", sent, rounds)
	}
}

// received returns the names of the files that a socket has.
func received(t *testing.T, socket *os.File) (names []string) {
	control := make([]byte, 100)
	_, n, _, _, err := unix.Recvmsg(int(socket.Fd()), make([]byte, 1), control, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	if err != nil {
		return nil // nothing was sent
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		t.Fatal(messages, err)
	}
	descriptors, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range descriptors {
		names = append(names, testenv.ReadLink(fd))
		unix.Close(fd)
	}
	return names
}
