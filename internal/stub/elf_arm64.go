package stub

const (
	machine = 183 // EM_AARCH64

	// Where the image is loaded: above mmap_min_addr, and at a multiple of
	// every page size.
	base = 0x400000
)
