package landlock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

var errNothing = errors.New("landlock: the ruleset handles no right at all")

// Ruleset is what a caller wants: the rights to deny, and rules that allow some
// of them beneath paths and on ports. Nothing is opened and nothing is
// restricted until it is enforced, and it can be enforced any number of times.
//
// Its methods chain. A mistake in a call (an unknown bit, an empty path) is
// kept and returned, together with all others, by the method that loads the
// ruleset: Apply or Prepare. Until then relative paths are just text; they are
// resolved in the working directory of that moment.
//
// A Ruleset is made by [New] or [NewHandling]. It must not be changed while
// another goroutine uses it.
type Ruleset struct {
	target     ABI
	handled    Rights
	bestEffort bool
	floor      ABI

	paths     []pathRule
	ports     []portRule
	pathIndex map[pathKey]int // where in paths a path or file has its rule
	portIndex map[uint16]int

	quiet    Rights // whose denials are not logged; the rules say where
	log      LogFlags
	newPrivs bool
	mistakes []error
}

// pathKey is what a path rule is for: a path, or an open file.
type pathKey struct {
	path string
	file *os.File
}

type pathRule struct {
	pathKey
	access   AccessFS // as asked for, whether handled or not
	optional bool     // only AllowOptional named it: it need not exist
	quiet    AccessFS // as asked for
}

type portRule struct {
	port   uint16
	access AccessNet
	quiet  AccessNet
}

// New returns a ruleset that handles every right of the target ABI: they are
// denied unless a rule allows them. The target is explicit so that an update of
// this module, or of the kernel, never denies more than was tested.
//
// It is strict: on a kernel below target nothing is restricted, and an
// [UnsupportedError] returned. [Ruleset.BestEffort] changes that.
//
// A target that is not one of V1 to V11 is a mistake.
func New(target ABI) *Ruleset {
	r := &Ruleset{target: target, handled: target.Rights()}
	if target < V1 || target > newest {
		r.mistake(fmt.Errorf("landlock: target ABI %d: this version of the package knows 1 to %d", int(target), int(newest)))
	}
	return r
}

// NewHandling returns a ruleset that handles just these rights; everything else
// stays unrestricted. One exception is the kernel's: FSRefer is denied by every
// ruleset that handles any filesystem right, see there. Its target is the
// lowest ABI that has all of handled.
//
// Handling nothing, or an unknown bit, is a mistake.
func NewHandling(handled Rights) *Ruleset {
	r := &Ruleset{target: lowestABI(handled), handled: handled}
	if handled.isZero() {
		r.mistake(errNothing)
	}
	if unknown := handled.minus(newest.Rights()); !unknown.isZero() {
		r.mistake(fmt.Errorf("landlock: the ruleset handles rights that this version of the package does not know: %v", unknown))
	}
	return r
}

// BestEffort lets the ruleset run on kernels below its target, down to floor,
// with what they can restrict. The [Report] says what that is. Without it
// whatever the kernel lacks is an [UnsupportedError], and so it is below floor.
//
// A floor of V1 or above promises that something is enforced: where the kernel
// knows none of the rights that are handled, that is an UnsupportedError too.
// Only a floor of 0 can end with no sandbox at all; paths are not even looked
// at then.
//
// A floor above the target, or a negative one, is a mistake.
func (r *Ruleset) BestEffort(floor ABI) *Ruleset {
	r.bestEffort, r.floor = true, floor
	if known := r.target >= V1 && r.target <= newest; known && (floor < 0 || floor > r.target) {
		r.mistake(fmt.Errorf("landlock: best effort with floor ABI %d: must be between 0 and the target, ABI %d", int(floor), int(r.target)))
	}
	return r
}

// Allow allows access beneath each path, which may be a directory or a file of
// any kind. Symbolic links are followed when the ruleset is loaded, and the
// rule belongs to the file found then: it stays with it when it is renamed, and
// is not for a file that takes its name later.
//
// Rights that only directories can have are dropped where the path is not a
// directory; if none is left of what all calls for the path allow, that is a
// [RuleError]. Rights that the ruleset does not handle are not restricted in
// the first place and do no harm here. What several rules allow adds up, for
// one path and for one beneath the other.
//
// A path that cannot be opened is a RuleError when the ruleset is loaded. An
// unknown bit, an access of 0, an empty path and one with a NUL are mistakes.
func (r *Ruleset) Allow(access AccessFS, paths ...string) *Ruleset {
	return r.eachPath(access, pathKeys(paths), func(rule *pathRule) {
		rule.access |= access
		rule.optional = false
	})
}

// AllowRead allows FSRead beneath the paths: open files for reading and list
// directories. See [Ruleset.Allow].
func (r *Ruleset) AllowRead(paths ...string) *Ruleset { return r.Allow(FSRead, paths...) }

// AllowReadWrite allows FSReadWrite beneath the paths: FSRead, and create,
// write, truncate, move and remove what is there. See [Ruleset.Allow].
func (r *Ruleset) AllowReadWrite(paths ...string) *Ruleset { return r.Allow(FSReadWrite, paths...) }

// AllowExecute allows FSReadExecute beneath the paths: FSRead, and run
// programs. See [Ruleset.Allow].
func (r *Ruleset) AllowExecute(paths ...string) *Ruleset { return r.Allow(FSReadExecute, paths...) }

// AllowOptional is Allow for paths that need not exist: one that does not is
// skipped and named in [Report].Skipped. Any other failure to open it is still
// an error, and so is a path that does not exist where Allow names it too.
func (r *Ruleset) AllowOptional(access AccessFS, paths ...string) *Ruleset {
	return r.eachPath(access, pathKeys(paths), func(rule *pathRule) {
		// A rule that Allow made has an access and stays required.
		rule.optional = rule.optional || rule.access == 0
		rule.access |= access
	})
}

// AllowFile is Allow for open files and directories: the rule is for exactly
// the file that was opened, whatever has become of its name. The files must
// stay open until the ruleset is loaded, and may be closed then. A nil file is
// a mistake; a pipe or a socket is a [RuleError].
func (r *Ruleset) AllowFile(access AccessFS, files ...*os.File) *Ruleset {
	return r.eachPath(access, fileKeys(files), func(rule *pathRule) { rule.access |= access })
}

// AllowNet allows access on the ports: local ones for the bind rights, remote
// ones for the others. To bind port 0 is to have the kernel pick one. An
// unknown bit and an access of 0 are mistakes.
func (r *Ruleset) AllowNet(access AccessNet, ports ...uint16) *Ruleset {
	return r.eachPort(access, ports, func(rule *portRule) { rule.access |= access })
}

// AllowBindTCP allows NetBindTCP on the ports. A process that listens before it
// is restricted does not need it. See [Ruleset.AllowNet].
func (r *Ruleset) AllowBindTCP(ports ...uint16) *Ruleset { return r.AllowNet(NetBindTCP, ports...) }

// AllowConnectTCP allows NetConnectTCP to the ports, on any host. See
// [Ruleset.AllowNet].
func (r *Ruleset) AllowConnectTCP(ports ...uint16) *Ruleset {
	return r.AllowNet(NetConnectTCP, ports...)
}

// AllowNewPrivs leaves no_new_privs as it is. Without this call it is set when
// the ruleset is enforced, so that set-user-ID programs and file capabilities
// give no privileges any more. The kernel then wants CAP_SYS_ADMIN in the
// process's user namespace, or no_new_privs set before, and refuses with EPERM
// otherwise.
func (r *Ruleset) AllowNewPrivs() *Ruleset {
	r.newPrivs = true
	return r
}

// Log chooses which denials go to the kernel's audit log (ABI 7). Flags of
// several calls add up. Without it, denials of the restricted program are
// logged, also those inside a Do, and those of programs that it executes are
// not: of a Sandbox's children, with LogNewExecOn alone. The kernel logs only
// where auditing is on (audit=1 at boot, or auditctl -e 1). An unknown flag is
// a mistake.
func (r *Ruleset) Log(flags LogFlags) *Ruleset {
	if unknown := uint64(flags) &^ logWords.known(); unknown != 0 {
		r.mistake(fmt.Errorf("landlock: unknown log flag %#x", unknown))
		return r
	}
	r.log |= flags
	return r
}

// Quiet keeps denials of access beneath the paths out of the audit log (ABI
// 10). It allows nothing. The kernel has one quiet mask for each ruleset:
// several calls add up to all their rights beneath all their paths. A path that
// does not exist is an error, unless AllowOptional names it too. Mistakes are
// those of Allow.
func (r *Ruleset) Quiet(access AccessFS, paths ...string) *Ruleset {
	return r.eachPath(access, pathKeys(paths), func(rule *pathRule) {
		rule.quiet |= access
		r.quiet.FS |= access
	})
}

// QuietNet keeps denials of access on the ports out of the audit log (ABI 10).
// It allows nothing, and calls add up as with [Ruleset.Quiet].
func (r *Ruleset) QuietNet(access AccessNet, ports ...uint16) *Ruleset {
	return r.eachPort(access, ports, func(rule *portRule) {
		rule.quiet |= access
		r.quiet.Net |= access
	})
}

// QuietScope keeps denials by the scopes out of the audit log (ABI 10). An
// unknown bit and a scope of 0 are mistakes.
func (r *Ruleset) QuietScope(scope Scope) *Ruleset {
	if err := checkMask("scope", uint64(scope), scopeWords); err != nil {
		r.mistake(fmt.Errorf("landlock: quiet scope %v: %w", scope, err))
		return r
	}
	r.quiet.Scope |= scope
	return r
}

// mistake keeps an error for the method that loads the ruleset.
func (r *Ruleset) mistake(err error) { r.mistakes = append(r.mistakes, err) }

// check returns the mistakes made so far, in a slice of the caller's own.
func (r *Ruleset) check() []error {
	mistakes := slices.Clone(r.mistakes)
	if r.target == 0 && r.handled.isZero() && len(mistakes) == 0 {
		mistakes = append(mistakes, errNothing) // the zero Ruleset
	}
	return mistakes
}

// eachPath applies change to the rule of each key, making it where it is new. A
// rule that no kernel would take becomes a mistake instead.
func (r *Ruleset) eachPath(access AccessFS, keys []pathKey, change func(*pathRule)) *Ruleset {
	bad := checkMask("access right", uint64(access), fsWords)
	if bad != nil && len(keys) == 0 {
		r.mistake(fmt.Errorf("landlock: rule %v: %w", access, bad))
	}
	for _, key := range keys {
		err := bad
		if err == nil {
			err = key.check()
		}
		if err != nil {
			r.mistake(&RuleError{Path: key.name(), Port: -1, Access: access, Err: err})
			continue
		}
		change(r.pathRule(key))
	}
	return r
}

// eachPort is eachPath for ports.
func (r *Ruleset) eachPort(access AccessNet, ports []uint16, change func(*portRule)) *Ruleset {
	bad := checkMask("access right", uint64(access), netWords)
	if bad != nil && len(ports) == 0 {
		r.mistake(fmt.Errorf("landlock: rule %v: %w", access, bad))
	}
	for _, port := range ports {
		if bad != nil {
			r.mistake(&RuleError{Port: int(port), Access: access, Err: bad})
			continue
		}
		change(r.portRule(port))
	}
	return r
}

// pathRule returns the rule for key, a new one where there is none yet.
func (r *Ruleset) pathRule(key pathKey) *pathRule {
	i, ok := r.pathIndex[key]
	if !ok {
		if r.pathIndex == nil {
			r.pathIndex = make(map[pathKey]int)
		}
		i = len(r.paths)
		r.pathIndex[key] = i
		r.paths = append(r.paths, pathRule{pathKey: key})
	}
	return &r.paths[i]
}

func (r *Ruleset) portRule(port uint16) *portRule {
	i, ok := r.portIndex[port]
	if !ok {
		if r.portIndex == nil {
			r.portIndex = make(map[uint16]int)
		}
		i = len(r.ports)
		r.portIndex[port] = i
		r.ports = append(r.ports, portRule{port: port})
	}
	return &r.ports[i]
}

func pathKeys(paths []string) []pathKey {
	keys := make([]pathKey, len(paths))
	for i, path := range paths {
		keys[i].path = path
	}
	return keys
}

func fileKeys(files []*os.File) []pathKey {
	keys := make([]pathKey, len(files))
	for i, file := range files {
		if keys[i].file = file; file == nil {
			keys[i].file = new(os.File) // as invalid, and no path
		}
	}
	return keys
}

// check returns why no kernel would take a rule for k.
func (k pathKey) check() error {
	switch {
	case k == pathKey{}:
		return &sentinel{"empty path", fs.ErrInvalid}
	case k.file != nil && *k.file == os.File{}:
		return &sentinel{"nil file", fs.ErrInvalid}
	case strings.ContainsRune(k.path, 0):
		return &sentinel{"path contains a NUL byte", fs.ErrInvalid}
	}
	return nil
}

// name is the path for messages.
func (k pathKey) name() string {
	if k.file != nil && *k.file != (os.File{}) {
		return k.file.Name()
	}
	return k.path
}

func checkMask(kind string, mask uint64, w words) error {
	if mask == 0 {
		return &sentinel{"no " + kind + " given", fs.ErrInvalid}
	}
	if unknown := mask &^ w.known(); unknown != 0 {
		return &sentinel{fmt.Sprintf("unknown %s %#x", kind, unknown), fs.ErrInvalid}
	}
	return nil
}
