package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// The bounds of both servers.
const (
	headerWithin = 5 * time.Second  // of a request's header
	readWithin   = 10 * time.Second // of a whole request
	writeWithin  = 30 * time.Second // of a whole answer
	idleWithin   = 2 * time.Minute  // of a connection between requests: longer than scrapes are apart
	endWithin    = 3 * time.Second  // of what is under way when the agent ends
	maxHeader    = 16 << 10         // bytes
	maxScrapes   = 4                // at once; more are told 503
)

// Options are what a Server needs. All must be given but Log.
type Options struct {
	Listen   string // address and port: "127.0.0.1:9745"
	Version  string
	Gatherer prometheus.Gatherer
	Ready    func(context.Context) error // nil: the agent does its work; the error says what it waits for
	Alive    func() error                // nil: the decision loop turns
	Log      *slog.Logger
}

// A Server shows metrics and health. Make it with Listen; then call Run, or Close.
type Server struct {
	listener net.Listener
	http     *http.Server
	log      *slog.Logger
}

// Listen takes the address. Nothing is answered before Run, yet connections wait rather than being refused. An address
// that is in use, or not this host's, is an error that says so.
func Listen(o Options) (*Server, error) {
	log := orDiscard(o.Log)
	l, err := net.Listen("tcp", o.Listen)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen for metrics and health on %q: the port is in use, by another agent or program ('ss -ltnp' tells): "+
			"choose another with web.listen, or web.listen: off", o.Listen)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("listen for metrics and health on %q: this host has no such address: correct web.listen", o.Listen)
	case err != nil:
		return nil, fmt.Errorf("listen for metrics and health on %q (web.listen): %w", o.Listen, err)
	}
	if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		log.Warn("metrics and health can be read from other hosts, without a password: names of containers and why they failed",
			"listen", l.Addr().String())
	}
	return &Server{listener: l, log: log, http: newServer(o.routes(log), log)}, nil
}

// Addr is where it listens, with the port that was given where 0 was asked for.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run answers until ctx ends, then lets what is under way finish for some seconds. It returns nil at the end of ctx.
func (s *Server) Run(ctx context.Context) error { return serve(ctx, s.http, s.listener) }

// Close gives the address free without having served. After Run it does nothing.
func (s *Server) Close() { _ = s.listener.Close() } // closed already by Run, or else nothing hangs on it

func newServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: headerWithin, ReadTimeout: readWithin, WriteTimeout: writeWithin, IdleTimeout: idleWithin,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// serve runs a server on a listener until ctx ends.
func serve(ctx context.Context, s *http.Server, l net.Listener) error {
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve on %q: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	if s.Shutdown(end) != nil {
		_ = s.Close() // cuts off what did not finish in time
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("end serving on %q: %w", l.Addr(), err)
	}
	return nil
}

func (o Options) routes(log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Gatherer, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError), ErrorHandling: promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes, EnableOpenMetrics: true,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, "the decision loop turns", o.Alive()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { answer(w, "ready", o.Ready(r.Context())) })
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		plain(w, http.StatusOK)
		fmt.Fprintf(w, "Atalaya %s watches the containers of this host.\n\n"+
			"/metrics  for Prometheus; docs/metrics.md explains each\n"+
			"/healthz  200 while the decision loop turns\n"+
			"/readyz   200 once every engine was listed and the store can be written\n\n"+
			"On the host, 'atalaya status' shows more.\n", o.Version)
	})
	return mux
}

// answer says yes with 200, or no with 503 and why.
func answer(w http.ResponseWriter, yes string, no error) {
	if no != nil {
		plain(w, http.StatusServiceUnavailable)
		fmt.Fprintln(w, no)
		return
	}
	plain(w, http.StatusOK)
	fmt.Fprintln(w, yes)
}

func plain(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
}

func orDiscard(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return log
}
