package landlocktest_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/landlock"
	"example.com/landlock/internal/testchild"
	"example.com/landlock/landlocktest"
)

// scenarioVariable is set where this test binary is a user's: its one test is
// then TestScenario, which TestRun looks at from outside.
const (
	scenarioVariable = "LANDLOCKTEST_SCENARIO"
	driverVariable   = "LANDLOCKTEST_DRIVER" // the process of TestRun
)

var (
	everything = flag.Bool("landlocktest.everything", false, "take away what -run says of subtests")
	temp       = flag.String("landlocktest.temp", "", "where temporary files are")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *everything {
		flag.Set("test.run", "^TestScenario$")
	}
	if os.Getenv(scenarioVariable) == "" {
		os.Exit(m.Run())
	}
	if *temp != "" && !inChild() {
		os.Setenv("TMPDIR", *temp)
	}
	fmt.Println("TestMain of", os.Getpid())
	code := m.Run()
	fmt.Println("TestMain ends")
	os.Exit(code)
}

// rules denies what every kernel with Landlock can deny, and nothing where there
// is none.
func rules() *landlock.Ruleset { return landlock.New(landlock.V1).BestEffort(0).AllowExecute("/") }

// run runs f sandboxed by rules.
func run(t *testing.T, f func(t *testing.T)) bool {
	t.Helper()
	return landlocktest.Run(t, rules(), f)
}

// must fails the test where anything went wrong.
func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// write tries to make a file.
func write(elements ...string) error {
	return os.WriteFile(filepath.Join(elements...), []byte("text"), 0o600)
}

// scenario is a test of a user, and what it is to look like.
type scenario struct {
	test  func(t *testing.T)
	flags string // besides -test.v
	env   string // a variable
	fails bool
	want  []string     // regular expressions for what is printed, in this order
	not   []string     // and for what is not
	count int          // how often the first of want is printed, where not 0
	needs bool         // Landlock
	long  bool         // takes half a minute
	below landlock.ABI // what the kernel must not have, where not 0
}

const sandboxed = `TestScenario/S/sandboxed`

var scenarios map[string]scenario

func init() {
	scenarios = map[string]scenario{
		"passes": {
			needs: true,
			test: func(t *testing.T) {
				dir := t.TempDir()
				run(t, func(t *testing.T) {
					landlocktest.Denied(t, write(dir, "file"))
					t.Log("in the child")
				})
				if err := write(dir, "file"); err != nil {
					t.Error(err)
				}
			},
			want: []string{`enforced on ABI`, `_test.go:\d+: in the child`, `--- PASS: ` + sandboxed},
			not:  []string{"(?s)TestMain of.*TestMain of", "(?s)TestMain ends.*TestMain ends"},
		},
		"calls Error": {
			test: func(t *testing.T) {
				run(t, func(t *testing.T) { t.Error("wrong"); t.Log("goes on") })
				t.Log("and here")
			},
			fails: true,
			want:  []string{"_test.go:[0-9]+: wrong", "goes on", "and here", "--- FAIL: TestScenario/S", "--- FAIL: " + sandboxed},
		},
		"has the environment of another child": {
			test:  func(t *testing.T) { run(t, func(t *testing.T) { t.Error("wrong") }) },
			env:   "LANDLOCK_TEST_CHILD=1 1234 TestOther/sandboxed /nonexistent",
			fails: true,
			want:  []string{"wrong"},
		},
		"calls Fatal": {
			test: func(t *testing.T) {
				run(t, func(t *testing.T) { t.Fatal("wrong"); t.Log("goes on") })
				t.Log("and here")
			},
			fails: true,
			want:  []string{"wrong", "and here", "--- FAIL: " + sandboxed},
			not:   []string{"goes on", "its process"},
		},
		"calls Fail, and without -v": {
			test:  func(t *testing.T) { run(t, func(t *testing.T) { t.Log("logged"); fmt.Println("printed"); t.Fail() }) },
			flags: "-test.v=false",
			fails: true,
			want:  []string{"--- FAIL: " + sandboxed, "logged", "printed"},
		},
		"prints nothing without -v": {
			test:  func(t *testing.T) { run(t, func(t *testing.T) { t.Log("logged"); fmt.Println("printed") }) },
			flags: "-test.v=false",
			not:   []string{"logged", "printed", "---"},
		},
		"says what it returns": {
			test: func(t *testing.T) {
				t.Log("first", run(t, func(t *testing.T) {}))
				t.Log("second", run(t, func(t *testing.T) { t.Error() }))
				t.Log("third", run(t, func(t *testing.T) { t.Skip() }))
			},
			fails: true,
			want:  []string{"first true", "second false", "third true"},
		},
		"skips": {
			test:  func(t *testing.T) { run(t, func(t *testing.T) { t.Skip("for a reason") }); t.Log("and here") },
			want:  []string{"for a reason", "and here", "--- PASS: TestScenario/S ", "--- SKIP: " + sandboxed},
			fails: false,
		},
		"fails and skips": {
			test:  func(t *testing.T) { run(t, func(t *testing.T) { t.Error("wrong"); t.Skip("all the same") }) },
			fails: true,
			want:  []string{"wrong", "--- FAIL: " + sandboxed},
		},
		"panics beside files": {
			test: func(t *testing.T) {
				dir := t.TempDir()
				t.Cleanup(func() {
					if inChild() {
						t.Error("a cleanup of the test around")
					}
				})
				landlocktest.Run(t, rules(), func(t *testing.T) {
					t.Cleanup(func() { t.Log("a cleanup of the function") })
					must(t, write(t.TempDir(), "file"))
					t.Log(dir)
					panic("help")
				})
			},
			fails: true,
			want:  []string{"a cleanup of the function", "--- FAIL: " + sandboxed},
			not:   []string{"RemoveAll cleanup", "permission denied", "a cleanup of the test around"},
		},
		"a subtest panics beside files": {
			test: func(t *testing.T) {
				t.TempDir()
				run(t, func(t *testing.T) { t.Run("sub", func(t *testing.T) { panic("help") }) })
			},
			fails: true,
			want:  []string{"panic: help", "did not come to its end.*exit status 2", "--- FAIL: " + sandboxed, "--- FAIL: " + sandboxed + "/sub"},
			not:   []string{"RemoveAll cleanup"},
		},
		"is to be allowed": {
			needs: true,
			test: func(t *testing.T) {
				dir := t.TempDir()
				landlocktest.Allowed(t, nil)
				run(t, func(t *testing.T) {
					landlocktest.Allowed(t, nil)
					landlocktest.Allowed(t, write(dir, "file"))
					t.Log("goes on")
				})
				landlocktest.Allowed(t, errors.New("of something else"))
			},
			fails: true,
			want: []string{`_test.go:\d+: not allowed: open .*permission denied: landlock: .*make_reg.* would allow it`, "goes on",
				`_test.go:\d+: not allowed: of something else`},
		},
		"says what it cannot test": {
			needs: true,
			below: landlock.V8,
			test: func(t *testing.T) {
				landlocktest.Run(t, landlock.New(landlock.V11).BestEffort(landlock.V1), func(t *testing.T) {})
				landlocktest.Run(t, landlock.New(landlock.V11).BestEffort(landlock.V1).FilterSockets(), func(t *testing.T) { t.Log("filtered") })
				landlocktest.Run(t, landlock.New(landlock.V1), func(t *testing.T) { t.Log("all tested") })
			},
			want: []string{`_test.go:\d+: not tested on ABI \d: .*resolve_unix, .*UDP, scopes`, `not tested on ABI \d: .*resolve_unix, (TCP, )?scopes.*\n.*filtered`,
				`enforced on ABI \d+: .*\n.*_test.go:\d+: all tested`},
		},
		"panics": {
			test:  func(t *testing.T) { run(t, func(t *testing.T) { panic("help") }); t.Log("and here") },
			fails: true,
			want:  []string{"panic: help", `goroutine \d+`, "landlocktest_test.go", "_test.go:[0-9]+: the function did not come to its end.*exit status 2", "and here", "--- FAIL: " + sandboxed},
		},
		"panics on another goroutine": {
			test: func(t *testing.T) {
				run(t, func(t *testing.T) {
					go panic("help")
					select {}
				})
			},
			fails: true,
			want:  []string{"panic: help", "did not come to its end"},
		},
		"exits with 0": {
			test:  func(t *testing.T) { run(t, func(t *testing.T) { t.Log("before"); os.Exit(0) }) },
			fails: true,
			want:  []string{"before", "did not come to its end.*exit status 0"},
		},
		"exits with 0 under go test": {
			test:  func(t *testing.T) { run(t, func(t *testing.T) { os.Exit(0) }) },
			flags: "-test.paniconexit0",
			fails: true,
			want:  []string{"unexpected call to os.Exit", "did not come to its end"},
		},
		"exits as a child does": {
			test:  func(t *testing.T) { run(t, func(t *testing.T) { os.Exit(1) }) },
			fails: true,
			want:  []string{"did not come to its end.*exit status 1"},
		},
		"exits in a subtest that passed": {
			test: func(t *testing.T) {
				run(t, func(t *testing.T) {
					t.Run("sub", func(t *testing.T) {})
					t.Run("sub", func(t *testing.T) { syscall.Exit(0) })
				})
			},
			fails: true,
			want:  []string{"did not come to its end.*exit status 0", "--- PASS: " + sandboxed + "/sub ", "--- FAIL: " + sandboxed + "/sub#01"},
		},
		"exits in a cleanup": {
			test:  func(t *testing.T) { run(t, func(t *testing.T) { t.Cleanup(func() { os.Exit(0) }) }) },
			fails: true,
			want:  []string{"did not come to its end"},
		},
		"fails in a cleanup": {
			test:  func(t *testing.T) { run(t, func(t *testing.T) { t.Cleanup(func() { t.Error("wrong") }) }) },
			fails: true,
			want:  []string{"wrong", "--- FAIL: " + sandboxed},
			not:   []string{"did not"},
		},
		"fails on another goroutine": {
			test: func(t *testing.T) {
				run(t, func(t *testing.T) {
					done := make(chan bool)
					go func() { defer close(done); t.Error("wrong") }()
					<-done
				})
			},
			fails: true,
			want:  []string{"--- FAIL: " + sandboxed},
		},
		"becomes another program": {
			test: func(t *testing.T) {
				run(t, func(t *testing.T) {
					self, err := os.Executable()
					must(t, err, syscall.Exec(self, []string{self, "-test.run=^$"}, nil))
				})
			},
			fails: true,
			want:  []string{"did not come to its end|not supported"},
		},
		"calls Goexit": {
			test:  func(t *testing.T) { run(t, func(t *testing.T) { runtime.Goexit() }) },
			fails: true,
			want:  []string{"Goexit", "did not come to its end"},
		},
		"is killed": {
			test: func(t *testing.T) {
				run(t, func(t *testing.T) {
					p, _ := os.FindProcess(os.Getpid())
					p.Kill()
					select {}
				})
			},
			fails: true,
			want:  []string{"did not come to its end.*killed"},
		},
		"hangs": {
			test: func(t *testing.T) {
				run(t, func(t *testing.T) { t.Run("sub", func(t *testing.T) { <-make(chan bool) }) })
				t.Log("and here")
			},
			flags: "-test.timeout=30s",
			long:  true,
			fails: true,
			want:  []string{"panic: test timed out after 2", sandboxed + "/sub", "did not come to its end", "and here"},
		},
		"may not hang for as long as its parent": {
			test: func(t *testing.T) {
				testchild.Run(t, "sandboxed", func(t *testing.T, cmd *exec.Cmd, _ string) {
					all := strings.Split(strings.Join(cmd.Args, " "), "-test.timeout=")
					first, _, _ := strings.Cut(all[len(all)-1], " ") // of what comes after the last
					timeout, err := time.ParseDuration(first)
					must(t, err)
					if end, ok := t.Deadline(); !ok || timeout < 30*time.Minute || !time.Now().Add(timeout).Before(end) {
						t.Errorf("the child may run for %v, this process until %v", timeout, end)
					}
				}, func(t *testing.T, _ string) {
					if _, ok := t.Deadline(); !ok {
						t.Error("the child has no deadline")
					}
				})
			},
			flags: "-test.timeout=1h",
		},
		"a fuzz target's seeds, four times": {
			needs: true,
			flags: "-test.run=^FuzzRun$ -test.count=2 -test.cpu=1,2",
			want:  []string{"--- PASS: FuzzRun/seed#0/sandboxed ", "--- PASS: FuzzRun/seed#0/sandboxed#03 "},
		},
		"has subtests": {
			test: func(t *testing.T) {
				run(t, func(t *testing.T) {
					for _, name := range []string{"a", "a", "with a space", "x/y", ""} {
						t.Run(name, func(t *testing.T) {
							t.Log("this is", t.Name())
							t.Run("deep", func(t *testing.T) { t.Skip("not now") })
						})
					}
				})
			},
			want: []string{`this is ` + sandboxed + `/a\n`, `this is ` + sandboxed + `/a#01\n`, sandboxed + `/with_a_space\n`,
				`--- PASS: ` + sandboxed + ` `, `--- PASS: ` + sandboxed + `/a `, `    --- SKIP: ` + sandboxed + `/a/deep`,
				`--- PASS: ` + sandboxed + `/a#01 `, `--- PASS: ` + sandboxed + `/with_a_space`, `--- PASS: ` + sandboxed + `/x/y `, `--- SKIP: ` + sandboxed + `/x/y/deep`, `--- PASS: ` + sandboxed + `/#00`},
		},
		"a subtest fails": {
			test: func(t *testing.T) {
				run(t, func(t *testing.T) {
					t.Run("good", func(t *testing.T) {})
					t.Run("bad", func(t *testing.T) { t.Error("wrong") })
					t.Run("next", func(t *testing.T) {})
				})
			},
			fails: true,
			want:  []string{"wrong", `--- FAIL: TestScenario/S `, "--- FAIL: " + sandboxed + " ", "--- PASS: " + sandboxed + "/good", "--- FAIL: " + sandboxed + "/bad", "--- PASS: " + sandboxed + "/next"},
		},
		"a subtest fails with -failfast": {
			test: func(t *testing.T) {
				run(t, func(t *testing.T) {
					t.Run("bad", func(t *testing.T) { t.Error("wrong") })
					t.Run("next", func(t *testing.T) { t.Error("reached") })
				})
				run(t, func(t *testing.T) { t.Log("reached") })
			},
			flags: "-test.failfast",
			fails: true,
			want:  []string{"wrong"},
			not:   []string{"reached"},
		},
		"parallel subtests": {
			test: func(t *testing.T) {
				run(t, func(t *testing.T) {
					both := make(chan bool)
					for _, name := range []string{"a", "b"} {
						t.Run(name, func(t *testing.T) {
							t.Parallel()
							select {
							case both <- true:
							case <-both:
							}
							if name == "b" {
								t.Error("b is wrong")
							}
						})
					}
				})
			},
			flags: "-test.parallel=2",
			fails: true,
			want:  []string{"b is wrong", "--- FAIL: " + sandboxed + " ", "--- (PASS: " + sandboxed + "/a|FAIL: " + sandboxed + "/b)"},
		},
		"one subtest by -run": {
			test: func(t *testing.T) {
				run(t, func(t *testing.T) {
					t.Run("one", func(t *testing.T) { t.Log("one runs") })
					t.Run("two", func(t *testing.T) { t.Error("two runs") })
				})
				run(t, func(t *testing.T) { t.Error("reached") })
			},
			flags: "-test.run=^TestScenario$/^S$/sandboxed$/on[e]|^TestOther$/x/y/two",
			want:  []string{"one runs", "--- PASS: " + sandboxed + "/one"},
			not:   []string{"two runs", "reached", "/two"},
		},
		"not a subtest by -skip": {
			test: func(t *testing.T) {
				run(t, func(t *testing.T) {
					t.Run("one", func(t *testing.T) { t.Log("one runs") })
					t.Run("two", func(t *testing.T) { t.Error("two runs") })
				})
			},
			flags: "-test.skip=/S/sandboxed/two",
			want:  []string{"one runs"},
			not:   []string{"two"},
		},
		"twice, in a loop, and in subtests of one name": {
			test: func(t *testing.T) {
				for i := range 2 {
					run(t, func(t *testing.T) { t.Log("loop", i) })
				}
				for i := range 2 {
					t.Run("same", func(t *testing.T) { run(t, func(t *testing.T) { t.Log("same", i) }) })
				}
				t.Run("sandboxed", func(t *testing.T) { run(t, func(t *testing.T) { t.Log("named so") }) })
				t.Run("a|b(c)[d/\\e\x00 \u2003é%s", func(t *testing.T) { run(t, func(t *testing.T) { t.Log("odd name") }) })
			},
			want: []string{"loop 0", "loop 1", "same 0", "same 1", "named so", "odd name", "--- PASS: " + sandboxed + " ", "--- PASS: " + sandboxed + "#01", "--- PASS: TestScenario/S/same/sandboxed", "--- PASS: TestScenario/S/same#01/sandboxed", "--- PASS: TestScenario/S/sandboxed#02/sandboxed"},
			not:  []string{"(?s)loop 0.*loop 0"},
		},
		"the second of two fails": {
			test: func(t *testing.T) {
				run(t, func(t *testing.T) {})
				run(t, func(t *testing.T) { t.Error("wrong") })
			},
			fails: true,
			want:  []string{"wrong", "--- PASS: " + sandboxed + " ", "--- FAIL: " + sandboxed + "#01"},
		},
		"many parallel tests": {
			needs: true,
			test: func(t *testing.T) {
				for i := range 6 {
					t.Run("p", func(t *testing.T) {
						t.Parallel()
						dir := t.TempDir()
						run(t, func(t *testing.T) {
							landlocktest.Denied(t, write(dir, "file"))
							must(t, write(t.TempDir(), "file"))
							if i == 4 {
								t.Error("4 is wrong")
							}
						})
					})
				}
			},
			fails: true,
			want:  []string{"4 is wrong", "--- FAIL: TestScenario/S ", "--- FAIL: TestScenario/S/p#04 "},
			not:   []string{"(?s)--- FAIL: TestScenario/S/p.*--- FAIL: TestScenario/S/p[ #][^4]*$"},
		},
		"at the same time": {
			test: func(t *testing.T) {
				testchild.Run(t, "sandboxed", func(_ *testing.T, _ *exec.Cmd, _ string) {
					run(t, func(t *testing.T) {})
				}, func(t *testing.T, _ string) {})
			},
			fails: true,
			want:  []string{"at the same time"},
		},
		"parallel subtests by turns": {
			test: func(t *testing.T) {
				run(t, func(t *testing.T) {
					turn := make(chan bool)
					for _, name := range []string{"a", "b"} {
						t.Run(name, func(t *testing.T) {
							t.Parallel()
							for range 2 {
								if name == "b" {
									turn <- true
								} else {
									<-turn
								}
								t.Error("this is", name)
								if name == "b" {
									<-turn
								} else {
									turn <- true
								}
							}
						})
					}
				})
			},
			flags: "-test.v=false -test.parallel=2",
			fails: true,
			want:  []string{`(?s)sandboxed/[ab] [^-]*this is (a[^-]*this is a|b[^-]*this is b)\n +---[^-]*this is (a[^-]*this is a|b[^-]*this is b)\n`},
		},
		"TestMain takes -run away": {
			test: func(t *testing.T) {
				run(t, func(t *testing.T) {})
				run(t, func(t *testing.T) { t.Error("wrong") })
			},
			flags: "-landlocktest.everything",
			fails: true,
			want:  []string{"wrong", "--- PASS: " + sandboxed + " ", "--- FAIL: " + sandboxed + "#01"},
		},
		"inside another": {
			test:  func(t *testing.T) { run(t, func(t *testing.T) { run(t, func(t *testing.T) { t.Log("reached") }) }) },
			fails: true,
			want:  []string{"inside the function of another Run", "--- FAIL: " + sandboxed},
			not:   []string{"reached"},
		},
		"inside another, by its t": {
			test: func(outer *testing.T) {
				run(outer, func(t *testing.T) { run(outer, func(t *testing.T) { t.Log("reached") }) })
			},
			fails: true,
			want:  []string{"did not come to its end"},
			not:   []string{"reached"},
		},
		"fails the t outside": {
			test:  func(outer *testing.T) { run(outer, func(t *testing.T) { outer.Error("wrong") }) },
			fails: true,
			want:  []string{"wrong", "the test around the function failed", "--- FAIL: " + sandboxed},
		},
		"fails the t outside of the one outside": {
			test: func(outer *testing.T) {
				outer.Run("sub", func(t *testing.T) { run(t, func(t *testing.T) { outer.Error("wrong") }) })
			},
			fails: true,
			want:  []string{"wrong", "TestScenario/S logged while the function ran .* whether it failed cannot be told"},
		},
		"logs before to the t outside of the one outside, and to the next one": {
			test: func(outer *testing.T) {
				outer.Run("sub", func(t *testing.T) {
					outer.Log("before")
					run(t, func(*testing.T) { t.Log("to the next") })
				})
			},
			want: []string{"before", "to the next"},
		},
		"fails the t outside without a word": {
			test:  func(outer *testing.T) { run(outer, func(t *testing.T) { outer.Fail() }) },
			fails: true,
			want:  []string{"the test around the function failed", "--- FAIL: " + sandboxed},
		},
		"ends the t outside": {
			test:  func(outer *testing.T) { run(outer, func(t *testing.T) { outer.FailNow() }) },
			fails: true,
			want:  []string{"did not come to its end"},
		},
		"skips the t outside": {
			test:  func(outer *testing.T) { run(outer, func(t *testing.T) { outer.SkipNow() }) },
			fails: true,
			want:  []string{"did not come to its end"},
		},
		"calls Parallel": {
			test:  func(t *testing.T) { run(t, func(t *testing.T) { t.Parallel(); t.Error("reached") }) },
			fails: true,
			want:  []string{"calls Parallel of its own t"},
			not:   []string{"reached"},
		},
		"does not come to Run": {
			test: func(t *testing.T) {
				if inChild() {
					t.Skip("the child sees it another way")
				}
				run(t, func(t *testing.T) {})
			},
			fails: true,
			want:  []string{"the function did not run.*exit status 0", "the child sees it another way"},
		},
		"comes to another Run": {
			test: func(t *testing.T) {
				if inChild() {
					t.Run("sub", func(t *testing.T) { run(t, func(t *testing.T) {}) })
					return
				}
				run(t, func(t *testing.T) {})
			},
			fails: true,
			want:  []string{"the function did not run"},
		},
		"skipped before": {
			test:  func(t *testing.T) { t.Skip("needs more"); run(t, func(t *testing.T) { t.Log("reached") }) },
			want:  []string{"needs more", "--- SKIP: TestScenario/S "},
			not:   []string{"reached"},
			fails: false,
		},
		"fails before": {
			test: func(t *testing.T) {
				if inChild() {
					t.Error("only there")
				}
				run(t, func(t *testing.T) {})
			},
			fails: true,
			want:  []string{"the test around the function failed", "only there"},
		},
		"no Landlock, and NeedABI": {
			test:  func(t *testing.T) { landlocktest.NeedABI(t, 99); run(t, func(t *testing.T) {}) },
			want:  []string{`_test.go:\d+: needs Landlock ABI 99, after Linux 7.3[,:] `, "--- SKIP: TestScenario/S "},
			not:   []string{"sandboxed"},
			fails: false,
		},
		"NeedABI inside": {
			test: func(t *testing.T) { run(t, func(t *testing.T) { landlocktest.NeedABI(t, 99) }) },
			want: []string{`needs Landlock ABI 99`, "--- SKIP: " + sandboxed},
		},
		"NeedABI of none": {
			test:  func(t *testing.T) { landlocktest.NeedABI(t, 0) },
			fails: true,
			want:  []string{"need no Landlock"},
		},
		"no ruleset": {
			test:  func(t *testing.T) { landlocktest.Run(t, nil, func(t *testing.T) {}) },
			fails: true,
			want:  []string{"_test.go:[0-9]+: landlocktest: Run with a nil ruleset"},
		},
		"Apply fails": {
			needs: true,
			test: func(t *testing.T) {
				landlocktest.Run(t, rules().AllowRead("/nonexistent"), func(t *testing.T) { t.Log("reached") })
			},
			fails: true,
			want:  []string{`_test.go:\d+: landlock: AllowRead\("/nonexistent"\)`, "--- FAIL: " + sandboxed},
			not:   []string{"reached", "NeedABI"},
		},
		"the kernel is too old": {
			below: landlock.V11,
			test: func(t *testing.T) {
				landlocktest.Run(t, landlock.New(landlock.V11), func(t *testing.T) { t.Log("reached") })
			},
			fails: true,
			want:  []string{"(needs (ABI|Linux)|disabled at boot).* .*NeedABI before Run", "--- FAIL: " + sandboxed},
			not:   []string{"reached"},
		},
		"is denied its own directories": {
			needs: true,
			test: func(t *testing.T) {
				outside := t.TempDir()
				run(t, func(t *testing.T) {
					must(t, write(t.TempDir(), "file"))
					t.Run("sub", func(t *testing.T) { must(t, write(t.TempDir(), "file")) })
					landlocktest.Denied(t, write(outside, "file"))
					_, err := os.CreateTemp("", "")
					landlocktest.Denied(t, err)
				})
			},
		},
		"may have the directories": {
			needs: true,
			test: func(t *testing.T) {
				outside := t.TempDir()
				landlocktest.Run(t, landlock.New(landlock.V1).AllowReadWrite(os.TempDir()), func(t *testing.T) {
					must(t, write(outside, "file"))
					_, err := os.CreateTemp("", "")
					must(t, err)
				})
			},
		},
		"handles little": {
			needs: true,
			test: func(t *testing.T) {
				r := landlock.NewHandling(landlock.Rights{FS: landlock.FSMakeDir})
				before := r.String()
				landlocktest.Run(t, r, func(t *testing.T) {
					landlocktest.Denied(t, os.Mkdir(filepath.Join(os.TempDir(), "x"), 0o700))
					must(t, write(t.TempDir(), "file"))
					if r.String() != before {
						t.Errorf("the ruleset is %v, it was %s", r, before)
					}
				})
			},
		},
		"handles no files": {
			test: func(t *testing.T) {
				landlocktest.NeedABI(t, landlock.V4)
				landlocktest.Run(t, landlock.NewHandling(landlock.Rights{Net: landlock.NetBindTCP}), func(t *testing.T) {
					must(t, write(t.TempDir(), "file"))
				})
			},
		},
		"an environment and a directory that the test changes": {
			test: func(t *testing.T) {
				t.Setenv("LANDLOCKTEST_X", os.Getenv("LANDLOCKTEST_X")+"x")
				t.Chdir("..")
				run(t, func(t *testing.T) {
					if x := os.Getenv("LANDLOCKTEST_X"); x != "x" {
						t.Errorf("it is %q", x)
					}
					if os.Getenv("LANDLOCK_TEST_CHILD") != "" {
						t.Error("what the process starts would be taken for it")
					}
					must(t, exists("landlocktest"))
				})
			},
		},
		"a relative directory for temporary files": {
			test: func(t *testing.T) {
				t.TempDir()
				t.Chdir("..")
				run(t, func(t *testing.T) { must(t, write(t.TempDir(), "file")) })
			},
			flags: "-landlocktest.temp=.",
		},
		"arguments": {
			test: func(t *testing.T) {
				run(t, func(t *testing.T) { t.Log("short", testing.Short(), os.Args[len(os.Args)-2:]) })
			},
			flags: "-test.short -- -test.run=x y",
			want:  []string{`short true \[-test.run=x y\]`},
		},
		"-count and -cpu": {
			test:  func(t *testing.T) { run(t, func(t *testing.T) { t.Log("processors:", runtime.GOMAXPROCS(0)) }) },
			flags: "-test.count=2 -test.cpu=1,2 -test.shuffle=on",
			want:  []string{"processors: 1\n", "processors: 1\n", "processors: 2\n", "processors: 2\n"},
			count: 2,
		},
		"output of its own kind": {
			test: func(t *testing.T) {
				run(t, func(t *testing.T) {
					fmt.Print("half a line")
					t.Run("sub", func(t *testing.T) {
						t.Attr("key", "some value")
						fmt.Println("\x16--- FAIL: TestElsewhere (0.00s)")
						fmt.Println("\x16=== child 1234 passed")
						fmt.Println("--- FAIL: " + t.Name())
						fmt.Print("end \x16of sub")
					})
					fmt.Fprint(os.Stderr, "end \x16of all")
				})
			},
			want: []string{"half a line", "\n=== ATTR +" + sandboxed + "/sub key some value", "TestElsewhere", "=== child 1234", "end of sub\n", "end of all\n", "--- PASS: " + sandboxed},
		},
		"indented output": {
			test: func(t *testing.T) {
				run(t, func(t *testing.T) {
					t.Log("log\nsecond")
					fmt.Println("      printed")
					t.Log("last")
				})
			},
			want: []string{`\n    landlocktest_test.go:\d+: log\n        second\n          printed\n    landlocktest_test.go:\d+: last\n`},
		},
		"closes its output": {
			test: func(t *testing.T) { run(t, func(t *testing.T) { os.Stdout.Close(); os.Stderr.Close() }) },
			want: []string{"--- PASS: " + sandboxed},
		},
		"closes its output and fails": {
			test:  func(t *testing.T) { run(t, func(t *testing.T) { os.Stdout.Close(); t.Fail() }) },
			fails: true,
			want:  []string{"--- FAIL: " + sandboxed},
			not:   []string{"its process"},
		},
		"closes all its output": {
			test: func(t *testing.T) {
				output := os.NewFile(2, "")
				run(t, func(t *testing.T) { output.Close() })
			},
			fails: true,
			want:  []string{"did not come to its end"},
		},
		"leaves a program behind": {
			test: func(t *testing.T) {
				start := func() {
					cmd := exec.Command("/bin/sleep", "600")
					cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
					if err := cmd.Start(); err != nil {
						t.Skipf("needs a program: %v", err)
					}
					if !inChild() {
						t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
					}
				}
				start()
				run(t, func(t *testing.T) { start() })
			},
		},
	}
}

// inChild reports whether this is the process of a Run: it is TestRun that starts
// the other one.
func inChild() bool { return os.Getenv(driverVariable) != fmt.Sprint(os.Getppid()) }

func exists(path string) error { _, err := os.Stat(path); return err }

// A fuzz target's seeds are tests.
func FuzzRun(f *testing.F) {
	f.Add(1)
	f.Fuzz(func(t *testing.T, n int) {
		outside := t.TempDir()
		landlocktest.NeedABI(t, landlock.V1)
		run(t, func(t *testing.T) { landlocktest.Denied(t, write(outside, "file")) })
	})
}

// TestScenario is a user's test.
func TestScenario(t *testing.T) {
	name := os.Getenv(scenarioVariable)
	if name == "" {
		t.Skip("is started by TestRun")
	}
	t.Run("S", scenarios[name].test)
}

func TestRun(t *testing.T) {
	self, err := os.Executable()
	must(t, err)
	for name, s := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if s.needs {
				landlocktest.NeedABI(t, landlock.V1)
			}
			if s.long && os.Getenv("LANDLOCK_LONG_TESTS") == "" {
				t.Skip("takes half a minute: set LANDLOCK_LONG_TESTS to run it")
			}
			if kernel, _ := landlock.Probe(); s.below > 0 && kernel.ABI >= s.below {
				t.Skipf("needs a kernel below ABI %d, this one has %d", int(s.below), int(kernel.ABI))
			}
			temp, dir := t.TempDir(), filepath.Join(t.TempDir(), "landlocktest")
			must(t, os.Mkdir(dir, 0o700))
			args := append([]string{"-test.v", "-test.run=^TestScenario$"}, strings.Fields(s.flags)...)
			cmd := exec.Command(self, args...)
			cmd.Env = append(os.Environ(), scenarioVariable+"="+name, fmt.Sprint(driverVariable, "=", os.Getpid()), "TMPDIR="+temp, "GOTMPDIR=", "GORACE=atexit_sleep_ms=0", s.env)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if fails := err != nil; fails != s.fails {
				t.Errorf("%v, should fail: %t", err, s.fails)
			}
			rest := out
			for _, want := range s.want {
				at := regexp.MustCompile(want).FindIndex(rest)
				if at == nil {
					t.Errorf("does not print %q, or not in that place", want)
					continue
				}
				rest = rest[at[1]:]
			}
			for _, not := range s.not {
				if found := regexp.MustCompile(not).Find(out); found != nil {
					t.Errorf("prints %q", found)
				}
			}
			if s.count > 0 && len(regexp.MustCompile(s.want[0]).FindAll(out, -1)) != s.count {
				t.Errorf("prints %q not %d times", s.want[0], s.count)
			}
			if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
				t.Errorf("leaves %v, %v", left, err)
			}
			if t.Failed() {
				t.Logf("%s", out)
			}
		})
	}
}
