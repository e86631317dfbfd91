//go:build !linux

package place

import (
	"errors"
	"io/fs"
)

// Without Landlock there is nothing to look up, and none of this is ever called.

const Supported = false

func Find(path string, follow bool) (*Place, error) { return nil, fs.ErrNotExist }

func Root() (ID, error)                             { return ID{}, errors.ErrUnsupported }
func Reachable(fd int, id ID, openedBy string) bool { return false }
func WorkingDirectoryReachable() bool               { return false }
func IsNowhere(fd int) bool                         { return false }
func MayBeUnmounted(mount, here uint64) bool        { return false }
func LeadsNowhere(err error) bool                   { return true }
func HasDevices(fd int) (bool, error)               { return false, errors.ErrUnsupported }
func IsStream(path string) bool                     { return false }
func ModesAllow(path string, mode uint32) bool      { return true }
func MayExecute(path string) bool                   { return true }
func See(dir string) Sight                          { return SightUnknown }
func MayBind(port int) bool                         { return true }

func Opened(fd int) (id ID, directory, removed bool, err error) {
	return ID{}, false, false, errors.ErrUnsupported
}

func (p *Place) Close()                               {}
func (p *Place) Type() fs.FileMode                    { return 0 }
func (p *Place) IsWhiteout() bool                     { return false }
func (p *Place) IsAtPath() bool                       { return false }
func (p *Place) Exists() bool                         { return false }
func (p *Place) IsDirectory() bool                    { return false }
func (p *Place) IsRegular() bool                      { return false }
func (p *Place) IsLink() bool                         { return false }
func (p *Place) IsSocket() bool                       { return false }
func (p *Place) IsDevice() bool                       { return false }
func (p *Place) MayChange() bool                      { return false }
func (p *Place) Above() (*Place, error)               { return nil, errors.ErrUnsupported }
func (p *Place) Level() Level                         { return Level{} }
func (p *Place) Upwards(visit func(Level) bool) error { return errors.ErrUnsupported }
func (l Level) MayBeLost() error                      { return nil }
