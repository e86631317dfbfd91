package stub

const (
	machine = 62 // EM_X86_64

	// Where the image is loaded: in the 512 GB that hold the stack too, so
	// that it shares page tables with that, and far below where it can be.
	base = 0x7f8000000000
)
