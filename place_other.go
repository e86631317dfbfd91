//go:build !linux

package landlock

import "io/fs"

// Without Landlock there is nothing to check, and none of this is ever called.

const hasPlaces = false

type place struct {
	path          string
	id            fileID
	root          fileID
	inside, empty bool
}

type level struct{ id fileID }

func (l level) mayBeLost() error { return nil }

func identifyRule(fd int) (id fileID, directory, removed bool, err error) {
	return fileID{}, false, false, ErrNotBuilt
}
func hasDevices(fd int) (bool, error)                   { return false, ErrNotBuilt }
func identify(fd int) (fileID, uint32, error)           { return fileID{}, 0, ErrNotBuilt }
func mayBeUnmounted(mount, here uint64) bool            { return false }
func hasNoPlace(fd int) bool                            { return false }
func workingDirectoryReached() bool                     { return false }
func rootDirectory() (fileID, error)                    { return fileID{}, ErrNotBuilt }
func reachable(fd int, id fileID, openedBy string) bool { return false }

func findPlace(path string, follow bool) (*place, error) { return nil, fs.ErrNotExist }

func (p *place) isAtPath() bool                       { return false }
func (p *place) close()                               {}
func (p *place) exists() bool                         { return false }
func (p *place) isDirectory() bool                    { return false }
func (p *place) isRegular() bool                      { return false }
func (p *place) isLink() bool                         { return false }
func (p *place) isSocket() bool                       { return false }
func (p *place) isDevice() bool                       { return false }
func (p *place) makeRight(kernel Kernel) AccessFS     { return 0 }
func (p *place) level() level                         { return level{} }
func (p *place) upwards(visit func(level) bool) error { return ErrNotBuilt }
func (p *place) above() (*place, error)               { return nil, ErrNotBuilt }
func modesAllow(path string, mode uint32) bool        { return true }
func mayExecute(path string) bool                     { return true }
func isStream(path string) bool                       { return false }
func leadsNowhere(err error) bool                     { return true }

func (p *place) mayChange() bool  { return true }
func seeProcess(dir string) sight { return sightUnknown }
func mayBind(port int) bool       { return true }
