//go:build !linux

package landlock

func probe() (abi, errata uintptr, err error) { return 0, 0, ErrNotBuilt }

// Without an ABI nothing below is ever called.

func createRuleset(handled, quiet Rights, size uintptr) (int, error)         { return -1, ErrNotBuilt }
func addPath(ruleset, parent int, access AccessFS, flags uint32) error       { return ErrNotBuilt }
func addPort(ruleset int, port uint16, access AccessNet, flags uint32) error { return ErrNotBuilt }
func closeFd(fd int)                                                         {}
func restrictSelf(ruleset int, flags uint32, noNewPrivs bool) error          { return ErrNotBuilt }
func setNoNewPrivs() error                                                   { return ErrNotBuilt }
func canFilter() error                                                       { return ErrNotBuilt }
func restrictEachThread(ruleset int, flags uint32, noNewPrivs bool) error    { return ErrNotBuilt }

type opener struct{}

func (opener) path(path string) (int, error) { return -1, ErrNotBuilt }
func (opener) closeLater(fd int)             {}
func (opener) close()                        {}
