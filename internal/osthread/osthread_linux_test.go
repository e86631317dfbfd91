package osthread_test

import (
	"sync"
	"testing"

	"example.com/landlock/internal/osthread"
)

// Take must find another thread where it is handed the main one.
func TestTakeThreadFromMain(t *testing.T) {
	for range 200 {
		var wg sync.WaitGroup
		for range 8 {
			wg.Add(1)
			go osthread.Take(func() bool {
				defer wg.Done()
				if osthread.IsMain() {
					t.Error("f runs on the main thread")
				}
				return true
			})
		}
		wg.Wait()
	}
}
