// Package user is a program's, with a test that TestGoTest runs.
package user

func Outside() int { return 1 }

func Inside() int { return 2 }

func Nowhere() int { return 3 }
