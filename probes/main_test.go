package probes

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"testing"
)

// TestMain makes the test binary its own server where a benchmark wants one in another process, so that its CPU time is
// not counted.
func TestMain(m *testing.M) {
	if os.Getenv("PROBES_SERVE") != "" {
		serveForBenchmark()
		return
	}
	os.Exit(m.Run())
}

// serveForBenchmark serves until stdin ends, which is when the benchmark does.
func serveForBenchmark() {
	web, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		panic(err)
	}
	raw, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			c, err := raw.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	page := make([]byte, 300)
	go http.Serve(web, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(page) }))
	fmt.Println(web.Addr().(*net.TCPAddr).Port, raw.Addr().(*net.TCPAddr).Port)
	os.Stdin.Read(make([]byte, 1))
}
