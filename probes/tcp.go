package probes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"time"
)

const (
	expectCap  = 16 << 10              // bytes in which Expect is looked for
	eagerReads = 32                    // so many answers are looked at as they come,
	readPause  = 10 * time.Millisecond // later ones so far apart: one match per byte sent would cost us a core
)

// A tcpCheck connects, says something, and waits for what should come back.
type tcpCheck struct {
	endpoint
	send   string
	expect *regexp.Regexp // nil: none
}

func newTCP(s Spec) (check, error) {
	to, err := s.endpoint()
	if err != nil {
		return nil, err
	}
	c := &tcpCheck{endpoint: to, send: s.Send}
	if s.Expect != "" {
		if c.expect, err = regexp.Compile(s.Expect); err != nil {
			return nil, err
		}
	}
	return c.run, nil
}

func (c *tcpCheck) run(ctx context.Context, g Guest, t *trial) (string, error) {
	if c.send == "" && c.expect == nil && g.Dial == nil {
		return c.knock(ctx, g, t)
	}
	conn, _, err := c.reach(ctx, g, t)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if c.send == "" && c.expect == nil {
		return "connected to " + conn.RemoteAddr().String() + t.after(), nil
	}
	defer hold(ctx, conn)()
	return c.talk(ctx, conn, t)
}

// knock connects from the host itself, for no more than that.
func (c *tcpCheck) knock(ctx context.Context, g Guest, t *trial) (detail string, err error) {
	addrs, err := c.find(ctx, g, t)
	if err != nil {
		return "", err
	}
	err = t.try(ctx, g, "tcp", addrs, c.port, func(ctx context.Context, to netip.AddrPort) error {
		err := knock(ctx, to)
		detail = "connected to " + to.String() + t.after()
		return err
	})
	if err != nil {
		return "", err
	}
	return detail, nil
}

func (c *tcpCheck) talk(ctx context.Context, conn net.Conn, t *trial) (string, error) {
	began, peer := time.Now(), conn.RemoteAddr().String()
	if c.send != "" {
		t.log.add("--- sent to ", peer, "\n", c.send, "\n")
		if _, err := conn.Write([]byte(c.send)); err != nil {
			return "", stepErr("send to "+peer, began, err)
		}
	}
	if c.expect == nil {
		return "sent " + strconv.Itoa(len(c.send)) + " bytes to " + peer + t.after(), nil
	}
	got, err := c.await(ctx, conn, t)
	t.log.add("--- received from ", peer, "\n", string(got), "\n")
	if err != nil {
		err = fmt.Errorf("no match of %q in the %d bytes received: %w", c.expect, len(got), stepErr("read from "+peer, began, err))
		return "", err
	}
	return strconv.Quote(firstLine(got)) + " from " + peer + t.after(), nil
}

// await reads until what was received matches.
func (c *tcpCheck) await(ctx context.Context, conn net.Conn, t *trial) ([]byte, error) {
	began := time.Now()
	got := make([]byte, 0, 512)
	for reads := 0; ; reads++ {
		if len(got) == cap(got) {
			got = append(make([]byte, 0, min(4*cap(got), expectCap)), got...)
		}
		if reads > eagerReads {
			wait(ctx, readPause)
		}
		n, err := conn.Read(got[len(got):cap(got)])
		if len(got) == 0 && n > 0 {
			t.result.Phases.FirstByte = time.Since(began)
		}
		got = got[:len(got)+n]
		switch {
		case n > 0 && c.expect.Match(got):
			return got, nil
		case err != nil:
			return got, err
		case len(got) == expectCap:
			return got, errors.New("no more is looked at")
		}
	}
}

// wait sleeps for d, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
