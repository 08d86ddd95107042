package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"atalaya/agent/web"
)

// These variables turn the test binary into a client of the socket that they name, or into somebody who listens there,
// so that a test can have that done by another user.
const (
	askVariable    = "ATALAYA_TEST_ASK"
	listenVariable = "ATALAYA_TEST_LISTEN"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(askVariable); path != "" {
		os.Exit(ask(path))
	}
	if path := os.Getenv(listenVariable); path != "" {
		os.Exit(listen(path))
	}
	os.Exit(m.Run())
}

func ask(path string) int {
	var q web.OrderRequest
	if err := json.NewDecoder(os.Stdin).Decode(&q); err != nil {
		fmt.Println(err)
		return 2
	}
	r, err := web.Dial(path).Order(context.Background(), q)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(r.By)
	return 0
}

// listen listens until its standard input ends.
func listen(path string) int {
	l, err := net.Listen("unix", path)
	if err == nil {
		err = os.Chmod(path, 0o777)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer l.Close()
	fmt.Println("listening")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return 1
	}
	return 0
}
