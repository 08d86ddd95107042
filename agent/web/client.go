package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"syscall"
	"time"

	"atalaya/agent/health"
)

// The errors that callers of a Client inspect.
var (
	ErrNoAgent = errors.New("no agent is running")
	ErrDenied  = errors.New("permission denied")
)

// askWithin bounds one question; maxAnswer the bytes of its answer: a view of 1,000 containers has some 2 MiB.
const (
	askWithin = 15 * time.Second
	maxAnswer = 64 << 20
)

// A Client speaks to the agent of this host. It is safe for concurrent use and keeps no connection.
type Client struct {
	path string
	http *http.Client
}

// Dial makes a Client of the control socket at path. It connects with the first question.
func Dial(path string) *Client {
	c := &Client{path: path}
	c.http = &http.Client{Timeout: askWithin, Transport: &http.Transport{DisableKeepAlives: true, DialContext: c.dial}}
	return c
}

// dial connects, and makes sure that who listens there is root or ourselves: anybody may put a socket in a folder where
// everybody may write.
func (c *Client) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.path)
	if err != nil {
		return nil, err
	}
	p, err := peerOf(conn)
	if err == nil && p.UID != 0 && int(p.UID) != os.Geteuid() {
		err = fmt.Errorf("%w: %s listens at %q, which is neither root nor you", ErrDenied, p, c.path)
	}
	if err != nil {
		_ = conn.Close() // the first error counts
		return nil, err
	}
	return conn, nil
}

// View gives what the agent knows now.
func (c *Client) View(ctx context.Context) (v health.View, err error) {
	return v, c.ask(ctx, http.MethodGet, "/v1/view", nil, &v)
}

// Order gives an order.
func (c *Client) Order(ctx context.Context, o OrderRequest) (r OrderReply, err error) {
	return r, c.ask(ctx, http.MethodPost, "/v1/order", o, &r)
}

// Retry has an alert of the outbox sent again now.
func (c *Client) Retry(ctx context.Context, id int64) error {
	return c.ask(ctx, http.MethodPost, fmt.Sprintf("/v1/outbox/%d/retry", id), nil, nil)
}

// Drop gives an alert of the outbox up.
func (c *Client) Drop(ctx context.Context, id int64) error {
	return c.ask(ctx, http.MethodDelete, fmt.Sprintf("/v1/outbox/%d", id), nil, nil)
}

// ask sends one request. The error is a *Refusal where the agent says no.
func (c *Client) ask(ctx context.Context, method, path string, body, into any) error {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("ask the agent: %w", err)
		}
		content = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://atalaya"+path, content)
	if err != nil {
		return fmt.Errorf("ask the agent: %w", err)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return c.explain(err)
	}
	defer resp.Body.Close()
	d := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode != http.StatusOK {
		var no failure
		if err := d.Decode(&no); err != nil || no.Error == "" {
			return fmt.Errorf("the agent answered %s", resp.Status)
		}
		return &Refusal{Text: no.Error, Hint: no.Hint}
	}
	if into == nil {
		return nil
	}
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("read the agent's answer: %w", err)
	}
	return nil
}

// explain says why there was no answer, and what to do.
func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nobody answers at %q; start it: systemctl start atalaya", ErrNoAgent, c.path)
	case errors.Is(err, ErrDenied):
		return errors.Unwrap(err) // without the words of net/http around it
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w at %q: be root%s", ErrDenied, c.path, c.orGroup())
	}
	return fmt.Errorf("ask the agent at %q: %w", c.path, err)
}

// orGroup names the group that may use the socket, where that can be seen.
func (c *Client) orGroup() string {
	fi, err := os.Stat(c.path)
	if err != nil {
		return ", or in the group of the socket"
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || st.Gid == 0 || fi.Mode().Perm()&0o060 == 0 {
		return ""
	}
	name := strconv.FormatUint(uint64(st.Gid), 10)
	if g, err := user.LookupGroupId(name); err == nil {
		name = g.Name
	}
	return fmt.Sprintf(", or in the group %s", name)
}
