package probes

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// long is the timeout of probes that are expected to answer, on a machine that may be busy.
const long = 20 * time.Second

// once compiles and runs s against g.
func once(t *testing.T, s Spec, g Guest) Result {
	t.Helper()
	if s.Name == "" {
		s.Name = "test"
	}
	if s.Timeout == 0 {
		s.Timeout = long
	}
	p, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	r := Run(t.Context(), s, p, g)
	t.Logf("%s in %v: %s (%s)", r.Outcome, r.Took, r.Detail, r.Warning)
	return r
}

// expect fails the test unless r is of that outcome and its detail holds all the words.
func expect(t *testing.T, r Result, want health.Outcome, words ...string) {
	t.Helper()
	if r.Outcome != want {
		t.Errorf("%s: %s\n%s\nwant %s", r.Outcome, r.Detail, r.Transcript, want)
	}
	for _, w := range words {
		if !strings.Contains(r.Detail, w) {
			t.Errorf("detail %q does not say %q", r.Detail, w)
		}
	}
	if plain(r.Detail, maxLine) != r.Detail {
		t.Errorf("detail %q is not plain", r.Detail)
	}
	if len(r.Transcript) > maxTranscript+100 {
		t.Errorf("the transcript has %d bytes", len(r.Transcript))
	}
}

// holds fails the test unless the transcript holds all the words.
func holds(t *testing.T, r Result, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(string(r.Transcript), w) {
			t.Errorf("the transcript does not hold %q:\n%s", w, r.Transcript)
		}
	}
}

// serve accepts connections at addr ("127.0.0.1:0") and hands each to handle, until the test ends.
func serve(t *testing.T, addr string, handle func(net.Conn)) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				stop := context.AfterFunc(t.Context(), func() { c.Close() })
				defer stop()
				handle(c)
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().(*net.TCPAddr)
}

// answering serves raw bytes, after the head of each request.
func answering(t *testing.T, answer func(net.Conn)) *net.TCPAddr {
	return serve(t, "127.0.0.1:0", func(c net.Conn) {
		in := bufio.NewReader(c)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			if strings.TrimSpace(line) == "" {
				break
			}
		}
		answer(c)
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.CloseWrite()
		}
		io.Copy(io.Discard, in)
	})
}

// closedPort gives a port of 127.0.0.1 where nobody listens: it is bound, and never listened on.
func closedPort(t *testing.T) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return sa.(*syscall.SockaddrInet4).Port
}

// addrs makes the addresses of a guest: "10.0.0.5/24 eth0".
func addrs(all ...string) []health.Addr {
	var out []health.Addr
	for _, a := range all {
		prefix, iface, _ := strings.Cut(a, " ")
		out = append(out, health.Addr{Prefix: netip.MustParsePrefix(prefix), Iface: iface})
	}
	return out
}

// isolated runs the calling test again in a process with a network namespace of its own, where it may do to network
// and limits whatever it likes, and says whether this is that process.
func isolated(t *testing.T) bool {
	t.Helper()
	const mark = "PROBES_ISOLATED"
	if os.Getenv(mark) == t.Name() {
		must(t, "ip", "link", "set", "lo", "up")
		return true
	}
	t.Parallel()
	rig.Require(t, "root", "ip")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), mark+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	t.Logf("in its own network namespace:\n%s", out)
	if err != nil {
		t.Error(err)
	}
	return false
}

// must runs a command of this machine.
func must(t *testing.T, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
}

// sysctl sets one of net.… in this process's network namespace.
func sysctl(t *testing.T, key, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/"+key, []byte(value), 0o600); err != nil {
		t.Fatal(err)
	}
}

// within polls until f says so.
func within(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(long); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what, "did not happen within", long)
		}
	}
}

func target127(a *net.TCPAddr) string { return fmt.Sprintf("127.0.0.1:%d", a.Port) }
