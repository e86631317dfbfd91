package landlock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Explain answers why an operation failed. It takes an error of os, net, os/exec
// or syscall, wrapped or not. Where the ruleset denies what was tried, it returns
// err wrapped with a [DeniedError] for each path or port on which rights are
// missing; [errors.Is] and [errors.As] find the original too. Otherwise it
// returns err itself: a file that is not there, its mode, a read-only file system
// or a port that is taken are nothing that Landlock has to do with.
//
// It covers opening, listing, truncating, removing, making, renaming and linking
// files, executing programs, making, connecting and binding sockets, and signals:
// [io/fs.PathError], [os.LinkError], [net.OpError], and [os.SyscallError] of a
// call that has no path. An errno alone names no operation, and it is all that
// [os.Process.Signal] returns: make it an os.NewSyscallError("kill", err).
//
// An error does not say everything. How a file was opened is not in it, so all
// that may have been asked for and is missing is named; Uncertain says what the
// error leaves open. A relative path is taken from the working directory, while
// those of an [os.Root] or an [os.DirFS] are beneath another one: ask
// [Ruleset.Check] there. Explain looks at the files as they are now. After Apply
// it still can, since Landlock hides neither names nor modes, but where the first
// line of a script or the loader of a program cannot be read it knows less.
//
// Rules belong to files. Where a rule for this very file allows it now, and it
// was denied all the same, the file has likely been replaced since the ruleset
// was enforced, as editors and log rotation do: then err is wrapped with that
// advice and no DeniedError, since another layer, or another security module, may
// be the reason too.
//
// A socket that FilterSockets refuses has no right that would allow it: err is
// wrapped with words alone, but for UDP where the filter stands in for its rights.
//
// Where the ruleset itself cannot be loaded any more, because the path of a rule
// is gone, or where there is no descriptor to look with, the error says so. On a kernel that is too old for the ruleset, and off
// Linux, nothing is enforced and err is returned as it is. So is nil.
func (r *Ruleset) Explain(err error) error { return explainBy(r.layers, err) }

// Explain is [Ruleset.Explain] for what the Sandbox was loaded with: by the files that
// the rules were for then. It answers for a child, whose error has to come back as one
// of this process's, and for a Do. Like Report it can be asked after Close.
func (s *Sandbox) Explain(err error) error { return explainBy(s.layers, err) }

// explainBy is Explain by what answers.
func explainBy(answers func() (layers, error), err error) error {
	if err == nil || find[*DeniedError](err) != nil {
		return err // there is nothing to add
	}
	operation := operationOf(err)
	if operation == nil {
		return err
	}
	all, checkErr := answers()
	if errors.Is(checkErr, errors.ErrUnsupported) {
		return err // so nothing is enforced
	}
	if checkErr != nil {
		return explain(err, cannotTell(checkErr))
	}
	defer all.close()
	for _, c := range all {
		if reasons := operation(c); len(reasons) > 0 {
			return explain(err, reasons)
		}
	}
	return err
}

// cannotTell is the reason where a reason could not be looked for.
func cannotTell(err error) []error {
	return []error{fmt.Errorf("landlock: whether the ruleset denies it cannot be told: %w", err)}
}

// notFound is cannotTell for a path that could not be looked up. One that leads
// nowhere is reason enough, and none of Landlock's.
func notFound(err error) []error {
	if leadsNowhere(err) {
		return nil
	}
	return cannotTell(err)
}

// explained is an error with the reasons for it.
type explained struct {
	err     error
	reasons []error
}

// explain adds reasons to an error, if there are any.
func explain(err error, reasons []error) error {
	if len(reasons) == 0 {
		return err
	}
	return &explained{err, reasons}
}

func (e *explained) Error() string {
	text := e.err.Error()
	for i, reason := range e.reasons {
		separator := ": "
		if i > 0 {
			separator = "; "
		}
		text += separator + reason.Error()
	}
	return text
}

func (e *explained) Unwrap() []error { return append([]error{e.err}, e.reasons...) }

// operation finds out why what was tried is denied: no reason where a ruleset
// does not deny it.
type operation func(c *checker) []error

// operationOf returns what was tried when err came of it, or nil for an error
// that is not Landlock's.
func operationOf(err error) operation {
	if link := find[*os.LinkError](err); link != nil {
		return linkOperation(link)
	}
	if dial, ok := socketOperation(err); ok {
		return dial.operation()
	}
	if path := find[*fs.PathError](err); path != nil {
		return pathOperation(path)
	}
	call := find[*os.SyscallError](err)
	if call != nil && makesSocket(call.Syscall) && answered(call, errDenied) {
		return (*checker).socket
	}
	if call != nil && answered(call, errNotPermitted) {
		switch call.Syscall {
		case "kill", "tgkill", "tkill", "pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo":
			return func(c *checker) []error {
				return c.scope(ScopeSignal, "or the process is another user's")
			}
		}
	}
	return nil
}

// find returns the first error of a type in err's tree that is not a nil
// pointer.
func find[E error](err error) (none E) {
	found := walk(err, func(err error) bool {
		e, ok := err.(E)
		return ok && !reflect.ValueOf(e).IsNil()
	})
	if e, ok := found.(E); ok {
		return e
	}
	return none
}

// walk returns the first error in err's tree that matches.
func walk(err error, match func(error) bool) error {
	for err != nil {
		if match(err) {
			return err
		}
		if value := reflect.ValueOf(err); value.Kind() == reflect.Pointer && value.IsNil() {
			return nil // its methods would not expect that
		}
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			for _, err := range e.Unwrap() {
				if found := walk(err, match); found != nil {
					return found
				}
			}
			return nil
		default:
			return nil
		}
	}
	return nil
}

// answered reports whether errno is in err's tree. Unlike errors.Is it calls no
// method of a nil pointer.
func answered(err, errno error) bool {
	return walk(err, func(err error) bool { return err == errno }) != nil
}

// pathOperation returns what failed at a path. All that Landlock denies of files
// fails with EACCES.
func pathOperation(e *fs.PathError) operation {
	if !answered(e.Err, errDenied) || wrongPath(e.Path) != nil {
		return nil
	}
	path := e.Path
	var o operation
	switch strings.TrimSuffix(e.Op, "at") {
	case "open", "openfd":
		o = func(c *checker) []error { return c.opening(path) }
	case "truncate", "ftruncate":
		o = func(c *checker) []error { return c.using(path, FSTruncate, modeWrite) }
	case "mkdir":
		o = inDirectory(path, FSMakeDir)
	case "mkfifo":
		o = inDirectory(path, FSMakeFifo)
	case "mknod":
		o = inDirectory(path, FSMakeReg|FSMakeChar|FSMakeBlock|FSMakeFifo|FSMakeSock)
	case "symlink":
		o = inDirectory(path, FSMakeSym)
	case "remove", "unlink", "rmdir":
		o = func(c *checker) []error { return c.removing(path, e.Op) }
	case "fork/exec", "exec", "execve":
		o = func(c *checker) []error { return c.executing(path) }
	}
	if o == nil || !strings.HasSuffix(e.Op, "at") || filepath.IsAbs(path) {
		return o
	}
	return func(c *checker) []error {
		return uncertain(o(c), "if the path is relative to the working directory and not to an os.Root")
	}
}

// uncertain adds what is not known to each reason.
func uncertain(reasons []error, why string) []error {
	for _, reason := range reasons {
		if denied, ok := reason.(*DeniedError); ok {
			denied.Uncertain = strings.TrimPrefix(denied.Uncertain+"; "+why, "; ")
		}
	}
	return reasons
}

// What file modes have to allow.
const (
	modeExecute uint32 = 1
	modeWrite   uint32 = 2
	modeRead    uint32 = 4
)

// using returns why rights are denied on what a path leads to, where its mode is
// not the reason: that is looked at first.
func (c *checker) using(path string, access AccessFS, mode uint32) []error {
	p, err := findPlace(path, true)
	if err != nil {
		return notFound(err)
	}
	defer p.close()
	if !p.exists() || !modesAllow(path, mode) {
		return nil
	}
	return c.usingPlace(p, access)
}

func (c *checker) usingPlace(p *place, access AccessFS) []error {
	denied, err := c.at(access, p)
	switch {
	case err != nil:
		return cannotTell(err)
	case denied != nil:
		return []error{denied}
	}
	return c.replaced(p)
}

// replaced is for a file that was denied, and is allowed by a rule for itself.
func (c *checker) replaced(p *place) []error {
	rule := c.allRules()[p.id.onAnyMount()]
	if rule.allowed == 0 || p.isDirectory() {
		return nil
	}
	return []error{fmt.Errorf("landlock: this ruleset allows it now, by the rule for the file %s: "+
		"if the file was replaced since the ruleset was enforced, as editors and log rotation do, the rule stayed with the old one: allow its directory; "+
		"otherwise another layer or another security module denied it", printable(rule.path))}
}

// opening returns why a file may not have been opened. The error does not tell
// how it was, so what is missing is looked for in each way that its mode allows.
func (c *checker) opening(path string) []error {
	p, err := findPlace(path, true)
	if err != nil {
		return notFound(err)
	}
	defer p.close()
	switch {
	case !p.exists(): // so it was to be made
		reasons := c.usingPlace(p, FSMakeReg)
		if !filepath.IsAbs(path) {
			uncertain(reasons, "if the path is relative to the working directory")
		}
		return reasons
	case p.isDirectory():
		if !modesAllow(path, modeRead) {
			return nil
		}
		return c.usingPlace(p, FSReadDir)
	}
	denied, err := c.at(FSReadFile|FSWriteFile|FSTruncate, p)
	if err != nil {
		return cannotTell(err)
	}
	var missing AccessFS
	modeDenies, allowed := false, false
	for _, way := range waysToOpen(p) {
		switch {
		case !modesAllow(path, way.mode):
			modeDenies = true
		case denied != nil && way.access&denied.Missing.FS != 0:
			missing |= way.access & denied.Missing.FS
		default:
			allowed = true
		}
	}
	if missing == 0 {
		if modeDenies {
			return nil
		}
		return c.replaced(p)
	}
	denied.Missing.FS = missing
	denied.suggest(c.remedy(missing, p))
	reasons := []error{denied}
	if read := missing & FSReadFile; read != 0 && read != missing {
		// Not the right to write to whom it may be enough to read.
		call, _ := c.remedy(read, p)
		both, _ := c.remedy(missing, p)
		denied.remedy = fmt.Sprintf("%s would allow reading it, %s writing as well", call, both)
	}
	if missing&(missing-1) != 0 {
		uncertain(reasons, "perhaps not all of these: the error does not say how it was opened")
	}
	if missing&FSReadFile != 0 && missing&FSWriteFile == 0 && p.isRegular() {
		uncertain(reasons, "os.Create and os.CreateTemp read as well, and leave an empty file where they may not")
	}
	if modeDenies {
		uncertain(reasons, "or it was opened in a way that its mode forbids")
	}
	if allowed {
		uncertain(reasons, "or it was opened in a way that this ruleset allows: then another layer or another security module denied it")
	}
	return reasons
}

type way struct {
	mode   uint32
	access AccessFS
}

func waysToOpen(p *place) []way {
	ways := []way{
		{modeRead, FSReadFile},
		{modeWrite, FSWriteFile},
		{modeRead | modeWrite, FSReadFile | FSWriteFile},
	}
	if p.isRegular() {
		ways = append(ways, way{modeWrite, FSWriteFile | FSTruncate})
	}
	return ways
}

// inDirectory is for what takes rights in the directory of a path, whose last
// element is not followed.
func inDirectory(path string, access AccessFS) operation {
	return func(c *checker) []error {
		p, err := findPlace(path, false)
		if err != nil {
			return notFound(err)
		}
		defer p.close()
		return c.above(p, access)
	}
}

// above returns why rights are denied in the directory of a place.
func (c *checker) above(p *place, access AccessFS) []error {
	directory, err := p.above()
	if errors.Is(err, errNothingAbove) {
		return nil
	}
	if err != nil {
		return cannotTell(err)
	}
	defer directory.close()
	denied, err := c.at(access, directory)
	if err != nil {
		return cannotTell(err)
	}
	if denied == nil {
		return nil
	}
	if access&(access-1) != 0 {
		uncertain([]error{denied}, "one of them, which the error does not tell")
	}
	return []error{denied}
}

// removing returns why something may not be removed.
func (c *checker) removing(path, op string) []error {
	p, err := findPlace(path, false)
	if err != nil {
		return notFound(err)
	}
	defer p.close()
	if !p.exists() {
		return nil
	}
	access := removeRight(p)
	switch op { // which say what they take it for
	case "unlink":
		access = FSRemoveFile
	case "rmdir":
		access = FSRemoveDir
	}
	return c.above(p, access)
}

// executing returns why a program may not be executed: itself, its interpreter or
// its loader.
func (c *checker) executing(program string) []error {
	var all, denials []error
	files := programFiles(program)
	for i, file := range files {
		if slices.Contains(files[:i], file) {
			continue // a script may be its own interpreter
		}
		for _, reason := range c.using(file, FSExecute|FSReadFile, modeExecute) {
			all = append(all, reason)
			if denied, ok := reason.(*DeniedError); ok {
				// More than is missing: it is libraries that come next.
				denied.suggest(fmt.Sprintf("AllowExecute(%q)", denied.on), denied.on)
				denials = append(denials, denied)
			}
		}
	}
	if len(denials) == 0 {
		return all
	}
	if last := files[len(files)-1]; !canRead(last) {
		uncertain(denials, fmt.Sprintf("what interprets or loads %s cannot be read from here, and may be denied as well", printable(last)))
	}
	return denials
}

func canRead(path string) bool {
	file, err := os.Open(path)
	if err == nil {
		file.Close()
	}
	return err == nil
}

// linkOperation returns what failed with two paths. The kernel answers EXDEV
// where it is about moving alone.
func linkOperation(e *os.LinkError) operation {
	denied, crossing := answered(e.Err, errDenied), answered(e.Err, errCrossDevice)
	if !denied && !crossing || wrongPath(e.New) != nil {
		return nil
	}
	switch op := strings.TrimSuffix(e.Op, "at"); op {
	case "symlink":
		if !denied {
			return nil
		}
		return inDirectory(e.New, FSMakeSym)
	case "rename", "link", "exchange":
		if wrongPath(e.Old) != nil {
			return nil
		}
		return func(c *checker) []error {
			reasons := c.moving(e.Old, e.New, op, crossing)
			if strings.HasSuffix(e.Op, "at") && !(filepath.IsAbs(e.Old) && filepath.IsAbs(e.New)) {
				uncertain(reasons, "if the paths are relative to the working directory and not to an os.Root")
			}
			return reasons
		}
	}
	return nil
}

// moving returns why a file may not be moved or linked, where that is what the
// kernel's answer was about.
func (c *checker) moving(from, to, op string, answer bool) []error {
	old, err := findPlace(from, false)
	if err != nil {
		return notFound(err)
	}
	defer old.close()
	new, err := findPlace(to, false)
	if err != nil {
		return notFound(err)
	}
	defer new.close()
	denied, crossing, err := c.move(move{from: old, to: new, link: op == "link", exchange: op == "exchange"})
	if c.kernel.ABI == V1 && slices.ContainsFunc(denied, func(e *DeniedError) bool { return e.Missing.FS&FSRefer != 0 }) {
		crossing = true // it asks nothing else then
	}
	switch {
	case errors.Is(err, errNotMoved), errors.Is(err, errMountPoint), errors.Is(err, errNothingAbove):
		return nil
	case err != nil:
		return cannotTell(err)
	case crossing != answer:
		return nil
	}
	var reasons []error
	for _, e := range denied {
		reasons = append(reasons, e)
	}
	return reasons
}

// scope returns why something outside the sandbox was not reached.
func (c *checker) scope(scope Scope, unless string) []error {
	if c.denied.Scope&scope == 0 {
		return nil
	}
	return []error{&DeniedError{Port: -1, Missing: Rights{Scope: scope}, Uncertain: unless}}
}

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
	case abstract && answered(s.err, errNotPermitted) && s.call != "bind":
		return func(c *checker) []error { return c.scope(ScopeAbstractUnixSocket, "") }
	case !answered(s.err, errDenied) || abstract:
		return nil
	case makesSocket(s.call):
		return s.making
	case unix && s.call == "bind":
		return inDirectory(s.address, FSMakeSock)
	case unix:
		return func(c *checker) []error { return c.using(s.address, FSResolveUnix, modeWrite) }
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
			if denied := c.port(access, uint16(port)); denied != nil {
				if access == NetBindTCP && 0 < port && port < 1024 {
					// Multipath TCP, which is net.Listen's default, gets past Landlock and no further.
					denied.Uncertain = "or, for a Multipath TCP socket, CAP_NET_BIND_SERVICE is missing"
				}
				reasons = append(reasons, denied)
			}
		}
		return reasons
	}
}
