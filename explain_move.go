package landlock

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"example.com/landlock/internal/place"
)

// move is what a rename, or a link, needs.
type move struct {
	from, to *place.Place // neither follows a link at its end
	link     bool         // from stays
	exchange bool         // to takes the place of from
}

// moving returns why a file may not be moved or linked, where that is what the
// kernel's answer was about.
func (c *checker) moving(from, to, op string, answer bool) []error {
	old, err := findPlace(from, false)
	if err != nil {
		return notFound(err)
	}
	defer old.Close()
	new, err := findPlace(to, false)
	if err != nil {
		return notFound(err)
	}
	defer new.Close()
	m := move{from: old, to: new, link: op == "link", exchange: op == "exchange"}
	denied, crossing, err := c.move(m)
	if c.kernel.ABI == V1 && slices.ContainsFunc(denied, func(e *DeniedError) bool { return e.Missing.FS&FSRefer != 0 }) {
		crossing = true // it asks nothing else then
	}
	switch {
	case errors.Is(err, errNotMoved), errors.Is(err, errMountPoint), errors.Is(err, place.ErrNothingAbove):
		return nil
	case err != nil:
		return cannotTell(err)
	case crossing != answer:
		return nil
	case len(denied) == 0 && answer:
		return []error{c.otherLayer()}
	}
	for i, e := range denied {
		asked := filepath.Dir(to)
		if e.Path == filepath.Dir(old.Path) {
			asked = filepath.Dir(from)
		}
		denied[i] = c.orReplaced(e, asked)
	}
	if denied, err = c.settle(m, denied); err != nil {
		return cannotTell(err)
	}
	var reasons []error
	for _, e := range denied {
		reasons = append(reasons, e)
	}
	if len(reasons) > 0 && (op == "link" || old.MayChange()) {
		modeToo(new, reasons[:1])
	} else if len(reasons) > 0 {
		modeToo(old, reasons[:1])
	}
	return reasons
}

// otherLayer says whose answer EXDEV is where this ruleset allows a move.
func (c *checker) otherLayer() error {
	if c.denied.FS == 0 {
		return errors.New("landlock: no rule can allow the move here: this ruleset handles no filesystem right, and some kernels deny moves for such a layer too; " +
			"or another layer denies it")
	}
	return errors.New("landlock: this ruleset allows the move: another layer denies it, which needs a rule with FSRefer too, or the file system has reasons of its own")
}

// move returns an error for each directory on which rights are missing, and
// whether the kernel answers EXDEV: where it is only about one directory and
// another, that is.
func (c *checker) move(m move) (denied []*DeniedError, crossing bool, err error) {
	if !m.from.Exists() || m.exchange && !m.to.Exists() {
		return nil, false, errNotMoved
	}
	source, err := m.from.Above()
	if err != nil {
		return nil, false, err
	}
	defer source.Close()
	target, err := m.to.Above()
	if err != nil {
		return nil, false, err
	}
	defer target.Close()
	mount := source.ID.Mount
	if m.link { // of what is found there, which may be a mount
		mount = m.from.ID.Mount
	}
	if mount != target.ID.Mount {
		return nil, false, errNotMoved
	}
	if !m.link && m.from.ID.Mount != mount || m.to.Exists() && m.to.ID.Mount != mount {
		return nil, false, errMountPoint
	}
	var atSource AccessFS
	atTarget := makeRight(m.from, c.kernel)
	if !m.link {
		atSource |= removeRight(m.from)
		atTarget |= removeRight(m.to)
	}
	if m.exchange {
		atSource |= makeRight(m.to, c.kernel)
	}
	if source.ID == target.ID {
		e, err := c.at(atSource|atTarget, target)
		return appendDenied(nil, e), false, err
	}
	e, err := c.at(atSource|FSRefer, source)
	if err != nil {
		return nil, false, err
	}
	denied = appendDenied(denied, e)
	if e, err = c.at(atTarget|FSRefer, target); err != nil {
		return nil, false, err
	}
	denied = appendDenied(denied, e)
	crossing = !slices.ContainsFunc(denied, func(e *DeniedError) bool { return e.Missing.FS&^FSRefer != 0 })
	if e, err = c.gains(m.from, source, target); err != nil {
		return nil, false, err
	}
	denied = appendDenied(denied, e)
	if m.exchange {
		if e, err = c.gains(m.to, target, source); err != nil {
			return nil, false, err
		}
		denied = appendDenied(denied, e)
	}
	return denied, crossing, nil
}

// errNotMoved is the error where the move fails for other reasons than a ruleset.
var errNotMoved = errors.New("cannot be moved there in any case")

// errMountPoint is the error for a file that a mount covers: the kernel looks at
// what is beneath, which no path leads to, and does not move it in any case.
var errMountPoint = errors.New("it is a mount point")

// gains returns the error for what a file would be allowed after a move and is
// not before, or nil.
func (c *checker) gains(file, from, to *place.Place) (*DeniedError, error) {
	here, there, err := c.beforeAndAfter(file, from, to)
	if err != nil {
		return nil, err
	}
	mayGain := c.mayGain(file)
	gained := there.sure &^ (here.sure | here.unsure) & mayGain
	if perhaps := (there.sure | there.unsure) &^ here.sure & mayGain; gained == 0 && perhaps != 0 {
		return nil, cmp.Or(here.why, there.why)
	}
	e := c.deny(gained, from, here.nearest)
	if e != nil {
		e.Uncertain = fmt.Sprintf("a file may not gain rights by a move, and %s allows these", printable(to.Path))
	}
	return e, nil
}

// beforeAndAfter returns what a file is allowed in one directory, and in another.
func (c *checker) beforeAndAfter(file, from, to *place.Place) (here, there allowance, err error) {
	here, there, err = c.compared(from, to)
	if own := c.allRules()[file.ID.OnAnyMount()].allowed; err == nil && own != 0 {
		if doubt := c.doubt(file.Level()); doubt != nil {
			here.unsure, here.why = here.unsure|own, doubt
		} else {
			here.sure |= own
		}
	}
	return here, there, err
}

// mayGain returns the rights that a file may not gain by a move.
func (c *checker) mayGain(file *place.Place) AccessFS {
	if file.IsDirectory() {
		return c.denied.FS
	}
	return c.denied.FS & fsFile
}

// compared returns what is allowed in two directories, as far as the kernel compares it:
// on another mount than that of "/" the rule for "/" itself comes too late, unless with it
// all that is denied is allowed in both.
func (c *checker) compared(from, to *place.Place) (here, there allowance, err error) {
	both := func(top place.ID) error {
		if here, err = c.allowedBelow(top, c.denied.FS, from); err == nil {
			there, err = c.allowedBelow(top, c.denied.FS, to)
		}
		return err
	}
	if both(place.ID{}) != nil || from.ID.Mount == from.Root.Mount || c.denied.FS&^(here.sure&there.sure) == 0 {
		return here, there, err
	}
	err = both(from.Root)
	return here, there, err
}

// settle has the rules that are advised for a move be enough: a file may not gain by those
// either. They allow no more than is missing, or else it takes as much where the file is.
func (c *checker) settle(m move, denied []*DeniedError) ([]*DeniedError, error) {
	source, err := m.from.Above()
	if err != nil {
		return denied, err
	}
	defer source.Close()
	target, err := m.to.Above()
	if err != nil {
		return denied, err
	}
	defer target.Close()
	if source.ID == target.ID {
		return denied, nil
	}
	if denied, err = c.settleOne(m.from, source, target, denied); err == nil && m.exchange {
		denied, err = c.settleOne(m.to, target, source, denied)
	}
	return denied, err
}

func (c *checker) settleOne(file, from, to *place.Place, denied []*DeniedError) ([]*DeniedError, error) {
	here, there, err := c.beforeAndAfter(file, from, to)
	if err != nil {
		return denied, err
	}
	gained := func() AccessFS {
		return advised(to, denied) &^ (advised(from, denied) | here.sure | here.unsure | there.sure) & c.mayGain(file)
	}
	for _, e := range denied {
		if gained() != 0 && e.allows(to) && !e.allows(from) {
			e.Rule.FS &= e.Missing.FS
		}
	}
	e := c.deny(gained(), from, here.nearest)
	if e != nil {
		e.Uncertain = fmt.Sprintf("a file may not gain rights by a move, and the rule for %s would allow these", printable(to.Path))
	}
	return appendDenied(denied, e), nil
}

// advised returns what the rules that are advised allow at a place.
func advised(p *place.Place, denied []*DeniedError) (access AccessFS) {
	for _, e := range denied {
		if e.allows(p) {
			access |= e.Rule.FS
		}
	}
	return access
}

// allows reports whether the rule that e advises counts at a place.
func (e *DeniedError) allows(p *place.Place) bool {
	return e.Rule != (Rule{}) && isBeneath(p.Path, e.Rule.Path)
}

// makeRight returns the right that making a file of a kind takes.
func makeRight(p *place.Place, kernel Kernel) AccessFS {
	switch p.Type() {
	case fs.ModeSymlink:
		return FSMakeSym
	case fs.ModeDir:
		return FSMakeDir
	case fs.ModeDevice | fs.ModeCharDevice:
		if p.IsWhiteout() && kernel.Errata&ErratumWhiteouts != 0 {
			return FSMakeReg
		}
		return FSMakeChar
	case fs.ModeDevice:
		return FSMakeBlock
	case fs.ModeNamedPipe:
		return FSMakeFifo
	case fs.ModeSocket:
		return FSMakeSock
	}
	return FSMakeReg
}

func appendDenied(all []*DeniedError, e *DeniedError) []*DeniedError {
	if e == nil {
		return all
	}
	return append(all, e)
}
