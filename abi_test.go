package landlock

import (
	"errors"
	"runtime"
	"testing"
)

// What the kernel's documentation says of each ABI, as numbers.
var kernelRights = map[ABI]struct{ fs, net, scope uint64 }{
	-1: {}, 0: {},
	1: {0x1fff, 0, 0}, 2: {0x3fff, 0, 0}, 3: {0x7fff, 0, 0}, 4: {0x7fff, 3, 0}, 5: {0xffff, 3, 0},
	6: {0xffff, 3, 3}, 7: {0xffff, 3, 3}, 8: {0xffff, 3, 3}, 9: {0x1ffff, 3, 3}, 10: {0x1ffff, 15, 3},
	11: {0x1ffff, 15, 3}, 12: {0x1ffff, 15, 3}, 1 << 30: {0x1ffff, 15, 3},
}

func TestABIRights(t *testing.T) {
	for abi, want := range kernelRights {
		rights := Rights{AccessFS(want.fs), AccessNet(want.net), Scope(want.scope)}
		if got := abi.Rights(); got != rights {
			t.Errorf("ABI(%d).Rights() = %v, want %v", int(abi), got, rights)
		}
		if abi.FS() != rights.FS || abi.Net() != rights.Net || abi.Scopes() != rights.Scope {
			t.Errorf("ABI(%d): FS %v, Net %v, Scopes %v, want %v", int(abi), abi.FS(), abi.Net(), abi.Scopes(), rights)
		}
	}
}

func TestABIString(t *testing.T) {
	for abi, want := range map[ABI]string{
		-1: "ABI -1, no such version",
		0:  "no Landlock",
		V1: "ABI 1, since Linux 5.13",
		V7: "ABI 7, since Linux 6.15",
		12: "ABI 12, after Linux 7.3",
	} {
		if got := abi.String(); got != want {
			t.Errorf("ABI(%d).String() = %q, want %q", int(abi), got, want)
		}
	}
}

func TestProbe(t *testing.T) {
	kernel, err := Probe()
	if again, errAgain := Probe(); again != kernel || errAgain != err {
		t.Errorf("second Probe: %v, %v, want %v, %v", again, errAgain, kernel, err)
	}
	if runtime.GOOS != "linux" && err != ErrNotBuilt {
		t.Errorf("Probe on %s: %v, want ErrNotBuilt", runtime.GOOS, err)
	}
	if err != nil {
		if kernel != (Kernel{}) || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Probe: %v, %v, want the zero Kernel and an ErrUnsupported", kernel, err)
		}
		return
	}
	if kernel.ABI < V1 || kernel.ABI > 100 {
		t.Errorf("Probe: %v", kernel)
	}
	t.Log(kernel)
}
