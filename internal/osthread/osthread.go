// Package osthread runs functions on operating system threads that end with them:
// what a thread has taken upon itself it does not get rid of. It tells what one has
// that another has not.
package osthread

import "runtime"

// Take starts f on an operating system thread that is not the main one,
// and that nothing else runs on. When f returns, the thread ends too, unless f
// says that others may use it.
func Take(f func() (reusable bool)) { go occupy(f, func() {}) }

// occupy calls taken once f has a thread, and f on it.
func occupy(f func() (reusable bool), taken func()) {
	runtime.LockOSThread()
	if IsMain() {
		// The main thread cannot end. While this goroutine holds it,
		// another one is bound to get another thread.
		other := make(chan struct{})
		go occupy(f, func() { close(other) })
		<-other
		runtime.UnlockOSThread()
		taken()
		return
	}
	taken()
	if f() {
		runtime.UnlockOSThread()
	}
}

// Spend runs f on a thread that ends after it, and says which that was. It may
// take a moment to end: see AwaitEnd.
func Spend(f func() error) (id int, err error) {
	done := make(chan bool)
	Take(func() (reusable bool) {
		defer close(done)
		id = ID()
		err = f()
		return false
	})
	<-done
	return id, err
}
