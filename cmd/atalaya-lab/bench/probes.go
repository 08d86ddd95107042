package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"atalaya/cmd/atalaya-lab/floor"
	"atalaya/cmd/atalaya-lab/rig"
)

// server answers probes in the benchmark's own process, so that its CPU time is in nobody's account.
type server struct {
	port   int
	addr   string
	served atomic.Int64
	close  func() error
}

func serveHTTP(addr string) (*server, error) {
	s, ln, err := listen(addr)
	if err != nil {
		return nil, err
	}
	h := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.served.Add(1)
		fmt.Fprintln(w, "ok")
	})}
	go func() { _ = h.Serve(ln) }()
	s.close = h.Close
	return s, nil
}

func serveTCP(addr string) (*server, error) {
	s, ln, err := listen(addr)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			s.served.Add(1)
			_ = conn.Close()
		}
	}()
	s.close = ln.Close
	return s, nil
}

func listen(addr string) (*server, net.Listener, error) {
	ln, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	if err != nil {
		return nil, nil, fmt.Errorf("serve the probes: %w", err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	return &server{port: port, addr: ln.Addr().String()}, ln, nil
}

// probes measures what one probe costs where there are a thousand of them.
func (r *run) probes(ctx context.Context) error {
	if r.lxc == nil {
		r.lxc = rig.NewLXC(r.Stage, rig.LXCOptions{}) // for its bridge, whose address every target has
	}
	for _, kind := range []string{"http", "tcp"} {
		serve := map[string]func(string) (*server, error){"http": serveHTTP, "tcp": serveTCP}[kind]
		s, err := serve(r.lxc.Gateway().String())
		if err != nil {
			return err
		}
		floorCost, err := r.probesFloor(ctx, kind, s)
		if err != nil {
			return fmt.Errorf("floor, %s: %w", kind, firstError(err, s.close()))
		}
		agentCost, err := r.probesAgent(ctx, kind, s)
		if err := firstError(err, s.close()); err != nil {
			return fmt.Errorf("atalaya, %s: %w", kind, err)
		}
		r.printProbes(kind, floorCost, agentCost)
	}
	return nil
}

func (r *run) probesFloor(ctx context.Context, kind string, s *server) (cost, error) {
	dir, err := r.folder()
	if err != nil {
		return cost{}, err
	}
	o := floor.Options{Every: probeEvery}
	for range targets {
		if kind == "http" {
			o.URLs = append(o.URLs, "http://"+s.addr+"/")
		} else {
			o.TCP = append(o.TCP, s.addr)
		}
	}
	f, err := startFloor(ctx, r.Lab, dir, o)
	if err != nil {
		return cost{}, err
	}
	c, err := r.measure(ctx, watched{who: "floor, in bursts", pid: f.pid(), served: s.served.Load})
	return c, firstError(err, f.stop())
}

func (r *run) probesAgent(ctx context.Context, kind string, s *server) (cost, error) {
	dir, err := r.folder()
	if err != nil {
		return cost{}, err
	}
	list := filepath.Join(dir, "list.json")
	if err := writeList(list, r.lxc.Gateway().String()); err != nil {
		return cost{}, err
	}
	probe := fmt.Sprintf("{name: web, kind: %s, port: %d, every: 10s, on_fail: alert}", kind, s.port)
	a, err := startAgent(ctx, r.Agent, dir, setup{engine: listEngine(list), probe: probe, running: targets, poll: 10 * time.Minute})
	if err != nil {
		return cost{}, err
	}
	c, err := r.measure(ctx, watched{who: "atalaya", pid: a.pid(), served: s.served.Load})
	return c, firstError(err, a.stop())
}

// writeList is the custom engine's list: a thousand running containers at one address.
func writeList(file, addr string) error {
	type item struct {
		ID        string   `json:"id"`
		State     string   `json:"state"`
		Addresses []string `json:"addresses"`
	}
	items := make([]item, targets)
	for i := range items {
		items[i] = item{ID: "c" + strconv.Itoa(i+1), State: "up", Addresses: []string{addr}}
	}
	text, err := json.Marshal(items)
	if err != nil {
		return fmt.Errorf("write the list of targets: %w", err)
	}
	return os.WriteFile(file, text, 0o600)
}

func (r *run) printProbes(kind string, costs ...cost) {
	r.printf("\n%d %s targets every 10 s: medians of %d windows of %s\n", targets, kind, r.Windows, r.Window)
	w := tabwriter.NewWriter(r.Out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "who\tus CPU/probe\tmin\tmax\tx floor\tprobes/window\tRSS MiB\t")
	each := make([]sample, len(costs))
	for i, c := range costs {
		for k, cpu := range c.cpu {
			if c.served[k] > 0 {
				each[i] = append(each[i], cpu*r.Window.Minutes()*1e6/c.served[k])
			}
		}
		low, high := each[i].extremes()
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t%.2f\t%.0f\t%.1f\t\n", c.who, each[i].median(), low, high,
			ratio(each[i].median(), each[0].median()), c.served.median(), c.rss.median())
	}
	_ = w.Flush()
	r.printf("aim: at most 1.3 x the floor\n\n")
}
