package user

import (
	"os"
	"testing"

	"example.com/landlock"
	"example.com/landlock/landlocktest"
)

func TestUser(t *testing.T) {
	Outside()
	landlocktest.Run(t, landlock.New(landlock.V1), func(t *testing.T) {
		t.Run("sub", func(t *testing.T) { t.Log("it is", Inside()) })
		_, err := os.ReadDir("/")
		landlocktest.Denied(t, err)
	})
}

func TestRacing(t *testing.T) {
	landlocktest.Run(t, landlock.New(landlock.V1), func(t *testing.T) {
		var shared int
		done := make(chan bool)
		go func() { shared++; close(done) }()
		shared++
		<-done
	})
}
