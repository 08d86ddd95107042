package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/store"
)

// The bounds of the control socket.
const (
	maxBody      = 64 << 10 // bytes of a request
	actWithin    = 10 * time.Second
	maxWaiting   = 64 // requests at once; more are told 503
	unavailable  = "the agent did not answer in time; 'journalctl -u atalaya' tells why"
	listOfRoutes = "there is GET /v1/view, /v1/incidents, /v1/incidents/{id}, /v1/outbox, /v1/evidence, /v1/evidence/{file}, /v1/journal and /v1/explain, POST /v1/order, " +
		"POST /v1/outbox/{id}/retry and DELETE /v1/outbox/{id}"
)

// ControlOptions are what the control socket offers. The functions are called from several goroutines at once.
type ControlOptions struct {
	Path  string // of the socket
	Group string // may use it, beside root; need not exist
	View  func(context.Context) (health.View, error)
	Order func(context.Context, OrderRequest) (OrderReply, error) // the request is valid, and By is set
	Retry func(ctx context.Context, id int64, by string) error    // send an alert again
	Drop  func(ctx context.Context, id int64, by string) error    // give an alert up
	Log   *slog.Logger

	Explain func(ctx context.Context, name string) (health.Explanation, error)
	Records Records // what may be read of the past
}

// A Refusal is an error that is the asker's to mend; any other is the agent's own.
type Refusal struct {
	Text, Hint string
	Missing    bool // what was asked for is not there
}

// Error gives the text.
func (r *Refusal) Error() string { return r.Text }

// A Control serves the control socket. Make it with ListenControl; then call Run, or Close.
type Control struct {
	listener *net.UnixListener
	http     *http.Server
}

// ListenControl takes the socket: made 0660 root:GROUP, or 0600 where the group does not exist. The socket of a dead agent is
// replaced, a living one's is ErrInUse, and nothing that is not a socket is touched or followed.
func ListenControl(o ControlOptions) (*Control, error) {
	log := orDiscard(o.Log)
	l, err := listenSocket(o.Path, o.Group, log)
	if err != nil {
		return nil, fmt.Errorf("listen on the control socket %q: %w", o.Path, err)
	}
	s := newServer(bounded(o.routes()), log)
	s.ConnContext = withPeer
	return &Control{listener: l, http: s}, nil
}

// Run answers until ctx ends, and then removes the socket. It returns nil at the end of ctx.
func (c *Control) Run(ctx context.Context) error { return serve(ctx, c.http, c.listener) }

// Close removes the socket without having served. After Run it does nothing.
func (c *Control) Close() { _ = c.listener.Close() } // closed already by Run, or else nothing hangs on it

// bounded lets in so many requests at once, and only peers that the kernel names.
func bounded(h http.Handler) http.Handler {
	slots := make(chan struct{}, maxWaiting)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			refuse(w, http.StatusServiceUnavailable, "too many requests at once", "try again")
			return
		}
		if _, ok := peerFrom(r.Context()); !ok {
			refuse(w, http.StatusForbidden, "the kernel does not tell who is asking", "use the socket from this host")
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), actWithin)
		defer cancel()
		h.ServeHTTP(w, r.WithContext(ctx))
	})
}

func (o ControlOptions) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/view", func(w http.ResponseWriter, r *http.Request) {
		v, err := o.View(r.Context())
		reply(w, v, err)
	})
	o.read(mux)
	mux.HandleFunc("POST /v1/order", o.order)
	mux.HandleFunc("POST /v1/outbox/{id}/retry", outbox(o.Retry))
	mux.HandleFunc("DELETE /v1/outbox/{id}", outbox(o.Drop))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, fmt.Sprintf("there is no %s %s", r.Method, r.URL.Path), listOfRoutes)
	})
	return mux
}

func (o ControlOptions) order(w http.ResponseWriter, r *http.Request) {
	var q OrderRequest
	if err := decode(w, r, &q); err != nil {
		refuse(w, http.StatusBadRequest, err.Error(), `the body is JSON like {"kind": "hold", "name": "web1", "for": "1h", "reason": "backup"}`)
		return
	}
	if err := q.Validate(); err != nil {
		refuse(w, http.StatusBadRequest, err.Error(), "")
		return
	}
	p, _ := peerFrom(r.Context())
	q.By = p.String()
	a, err := o.Order(r.Context(), q)
	a.Kind, a.By = q.Kind, q.By
	reply(w, a, err)
}

// outbox answers a request about one alert of the outbox.
func outbox(act func(context.Context, int64, string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
		if err != nil {
			refuse(w, http.StatusBadRequest, fmt.Sprintf("%q is no number of an alert", r.PathValue("id")), "'atalaya outbox' lists them")
			return
		}
		p, _ := peerFrom(r.Context())
		if err := act(r.Context(), id, p.String()); err != nil {
			reply(w, nil, err)
			return
		}
		reply(w, map[string]any{"id": id, "by": p.String()}, nil)
	}
}

// decode reads one JSON document, whole, bounded, with no key that is not known.
func decode(w http.ResponseWriter, r *http.Request, into any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		var tooBig *http.MaxBytesError
		if errors.As(err, &tooBig) {
			return fmt.Errorf("the body has more than %d bytes", tooBig.Limit)
		}
		return fmt.Errorf("the body cannot be read: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("the body holds more than one document")
	}
	return nil
}

// reply sends v, or what went wrong.
func reply(w http.ResponseWriter, v any, err error) {
	var no *Refusal
	switch {
	case err == nil:
		send(w, http.StatusOK, v)
	case errors.As(err, &no) && no.Missing:
		refuse(w, http.StatusNotFound, no.Text, no.Hint)
	case errors.As(err, &no):
		refuse(w, http.StatusConflict, no.Text, no.Hint)
	case errors.Is(err, store.ErrNotFound):
		refuse(w, http.StatusNotFound, err.Error(), "'atalaya outbox' lists what there is")
	case errors.Is(err, context.DeadlineExceeded):
		refuse(w, http.StatusServiceUnavailable, err.Error(), unavailable)
	default:
		refuse(w, http.StatusInternalServerError, err.Error(), "")
	}
}

// A failure is the body of every answer that is not 200.
type failure struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
}

func refuse(w http.ResponseWriter, status int, text, hint string) {
	send(w, status, failure{Error: text, Hint: hint})
}

func send(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the asker may have gone
}
