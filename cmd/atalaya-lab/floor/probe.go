package floor

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	workers = 16
	timeout = 3 * time.Second
)

// probeLoop asks every target once per period, in a burst by a few workers: evenly
// spread, each probe would pay a wake-up of its own and cost four times as much.
func probeLoop(ctx context.Context, o Options) {
	if len(o.URLs)+len(o.TCP) == 0 {
		return
	}
	client := &http.Client{Timeout: timeout, Transport: &http.Transport{DisableKeepAlives: true}}
	dialer := &net.Dialer{Timeout: timeout}
	every(ctx, o.Every, func() {
		burst(o.URLs, func(url string) { get(ctx, client, url) })
		burst(o.TCP, func(addr string) { connect(ctx, dialer, addr) })
	})
}

func burst(targets []string, f func(string)) {
	queue := make(chan string, len(targets))
	for _, t := range targets {
		queue <- t
	}
	close(queue)
	var wg sync.WaitGroup
	for range min(workers, len(targets)) {
		wg.Go(func() {
			for t := range queue {
				f(t)
			}
		})
	}
	wg.Wait()
}

func get(ctx context.Context, client *http.Client, url string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return
	}
	resp, err := client.Do(req)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	_ = resp.Body.Close()
}

func connect(ctx context.Context, dialer *net.Dialer, addr string) {
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return
	}
	_ = conn.Close()
}
