package preset_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"example.com/landlock"
	"example.com/landlock/preset"
)

// A web service that keeps its data in one directory, as with SQLite: the database,
// its journal beside it, and temporary files once data grows. Uploads that
// are too large for memory are temporary files as well.
//
// (inProcess runs a function in a process of its own: it is for go test, since Apply is
// for good.)
func Example_webService() {
	inProcess(func(dir string) {
		listener, err := net.Listen("tcp", "127.0.0.1:0") // before Apply, so that no rule for the port is needed
		if err != nil {
			log.Fatal(err)
		}
		visitor := visit(listener.Addr())
		os.Setenv("TMPDIR", os.TempDir()) // SQLite takes /var/tmp else
		if _, err := landlock.New(landlock.V10).BestEffort(landlock.V4).
			Use(preset.Temp, preset.MIMETypes, preset.TimeZones).
			AllowReadWrite(dir).
			FilterSockets(). // no other network: net.Listen and UDP would have ways around
			Apply(); err != nil {
			log.Fatal(err)
		}
		go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			upload := r.ParseMultipartForm(1000) // the rest goes to a file in os.TempDir
			journal, data := filepath.Join(dir, "data-journal"), filepath.Join(dir, "data")
			store := errors.Join(os.WriteFile(journal, nil, 0o600), os.WriteFile(data, []byte("a row"), 0o600), os.Remove(journal))
			_, elsewhere := os.ReadFile("/etc/passwd")
			fmt.Fprintf(w, "upload: %v\nstore: %v\nelsewhere: %v\n", upload, store, elsewhere)
		}))
		visitor()
	})
	// Output:
	// upload: <nil>
	// store: <nil>
	// elsewhere: open /etc/passwd: permission denied
}

// A client of servers anywhere, by HTTPS. Denied is, for one, the service of this
// machine that listens on another port.
func Example_httpsClient() {
	inProcess(func(dir string) {
		server, port := secureServer(dir) // it stands for servers elsewhere, with port 443
		other := httptest.NewServer(nil)  // and this for a service of this machine
		if _, err := landlock.New(landlock.V10).BestEffort(landlock.V4).
			Use(preset.DNS, preset.Certificates, preset.TimeZones).
			AllowConnectTCP(port).
			FilterSockets().
			Apply(); err != nil {
			log.Fatal(err)
		}
		address, err := net.LookupHost("localhost")
		fmt.Println("name:", len(address) > 0, err)
		response, err := http.Get(server)
		if err != nil {
			log.Fatal(err)
		}
		response.Body.Close()
		fmt.Println("server:", response.Status)
		_, err = http.Get(other.URL)
		fmt.Println("another port:", errors.Is(err, os.ErrPermission))
	})
	// Output:
	// name: true <nil>
	// server: 200 OK
	// another port: true
}

// A converter, started for each request, that sees the files of this request alone.
func Example_converter() {
	base := landlock.New(landlock.V10).BestEffort(landlock.V6).
		Use(preset.Programs("sh", "tr"), preset.NullDevices).
		FilterSockets()
	convert := func(ctx context.Context, dir string) error {
		sandbox, err := base.Clone().AllowReadWrite(dir).Prepare()
		if err != nil {
			return err
		}
		defer sandbox.Close()
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "sh", "-c", "tr a-z A-Z < in > out")
		cmd.Dir = dir
		cmd.WaitDelay = time.Second // for what it leaves running
		return sandbox.Run(cmd)
	}
	for _, text := range []string{"first", "second"} {
		dir, err := os.MkdirTemp("", "request-")
		if err != nil {
			log.Fatal(err)
		}
		defer os.RemoveAll(dir)
		if err := os.WriteFile(filepath.Join(dir, "in"), []byte(text), 0o600); err != nil {
			log.Fatal(err)
		}
		err = convert(context.Background(), dir)
		out, _ := os.ReadFile(filepath.Join(dir, "out"))
		fmt.Printf("%s %v\n", out, err)
	}
	// Output:
	// FIRST <nil>
	// SECOND <nil>
}

// Jobs that others wrote, such as builds: any program of the system, one directory
// to write, no network.
func Example_jobRunner() {
	dir, err := os.MkdirTemp("", "job-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	temp := filepath.Join(dir, "tmp") // not dir itself: "go build" takes no go.mod in there
	if err := os.Mkdir(temp, 0o700); err != nil {
		log.Fatal(err)
	}
	sandbox, err := landlock.New(landlock.V10).BestEffort(landlock.V6).
		Use(preset.System, preset.NullDevices). // for "go build": AllowExecute(runtime.GOROOT()), too
		AllowReadWrite(dir).
		FilterSockets(). // no UDP either, on any kernel
		Prepare()
	if err != nil {
		log.Fatal(err)
	}
	defer sandbox.Close()
	cmd := exec.Command("sh", "-c", "echo built > result && cat result; echo x > /etc/job")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + temp} // go keeps its cache in HOME
	out, err := sandbox.Output(cmd)
	fmt.Printf("%s%v\n", out, err)
	// Output:
	// built
	// exit status 2
}

// A service that is restricted itself, and has sandboxes that are stricter for what
// it starts. A child can do what both allow, so the service needs the rules of both.
func Example_service() {
	inProcess(func(dir string) {
		base := landlock.New(landlock.V10).BestEffort(landlock.V4).
			Use(preset.Programs("cat"), preset.NullDevices).
			FilterSockets()
		own, shared := filepath.Join(dir, "own"), filepath.Join(dir, "shared")
		err := errors.Join(os.WriteFile(own, []byte("own\n"), 0o600), os.WriteFile(shared, []byte("shared\n"), 0o600))
		if err != nil {
			log.Fatal(err)
		}
		sandbox, err := base.Clone().AllowRead(shared).Prepare()
		if err != nil {
			log.Fatal(err)
		}
		defer sandbox.Close()
		if _, err := base.AllowReadWrite(dir).Apply(); err != nil {
			log.Fatal(err)
		}
		for _, path := range []string{shared, own} {
			_, err := os.ReadFile(path)
			out, childErr := sandbox.Output(exec.Command("cat", path))
			fmt.Printf("service: %v, child: %s%v\n", err, out, childErr)
		}
	})
	// Output:
	// service: <nil>, child: shared
	// <nil>
	// service: <nil>, child: exit status 1
}

// A log that is rotated. A rule for the file goes with it to its new name; one for
// the directory is for the next file as well.
func Example_rotatedLog() {
	dir, err := os.MkdirTemp("", "logs-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "app.log")
	for _, allowed := range []string{name, dir} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			log.Fatal(err)
		}
		sandbox, err := landlock.New(landlock.V10).BestEffort(landlock.V4).Allow(landlock.FSWriteFile|landlock.FSMakeReg, allowed).Prepare()
		if err != nil {
			log.Fatal(err)
		}
		defer sandbox.Close()
		rotated := errors.Join(os.Rename(name, name+".1"), os.WriteFile(name, nil, 0o600)) // by logrotate, outside
		err = sandbox.Do(func() error {
			file, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
			if err == nil {
				err = file.Close()
			}
			return err
		})
		fmt.Println(rotated, "denied:", errors.Is(err, os.ErrPermission))
	}
	// Output:
	// <nil> denied: true
	// <nil> denied: false
}

// inProcess runs f in a process of its own, which may restrict itself for good: this
// test binary, started again for the example that calls it. f gets a directory.
func inProcess(f func(dir string)) {
	const example = "PRESET_EXAMPLE"
	if dir := os.Getenv(example); dir != "" {
		os.Stdout = os.NewFile(1, "stdout") // what package testing has put there is lost with this process
		f(dir)
		syscall.Exit(0)
	}
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	caller, _, _, _ := runtime.Caller(1)
	name := filepath.Ext(runtime.FuncForPC(caller).Name())[1:]
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+name+"$")
	cmd.Env = append(os.Environ(), example+"="+dir, "GORACE=atexit_sleep_ms=0")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Println(err)
	}
}

// visit connects to a web service. The function that it returns uploads a file, and
// prints the answer.
func visit(address net.Addr) func() {
	connection, err := net.Dial("tcp", address.String())
	if err != nil {
		log.Fatal(err)
	}
	return func() {
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		part, _ := form.CreateFormFile("file", "file")
		part.Write(make([]byte, 1<<16))
		form.Close()
		request, _ := http.NewRequest("POST", "http://"+address.String(), &body)
		request.Header.Set("Content-Type", form.FormDataContentType())
		err := request.Write(connection)
		if err != nil {
			log.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(connection), request)
		if err != nil {
			log.Fatal(err)
		}
		io.Copy(os.Stdout, response.Body)
	}
}

// secureServer starts a server, whose authority is in a file that SSL_CERT_FILE names.
func secureServer(dir string) (url string, port uint16) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	authority := filepath.Join(dir, "authority.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(authority, text, 0o600); err != nil {
		log.Fatal(err)
	}
	os.Setenv("SSL_CERT_FILE", authority)
	return server.URL, uint16(server.Listener.Addr().(*net.TCPAddr).Port)
}
