package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"atalaya/agent/evidence"
	"atalaya/agent/health"
	"atalaya/agent/store"
)

// A packed bundle is its content, as the socket hands it over.
type packed struct {
	Content []byte `json:"content"` // in JSON, base64
}

// read adds the routes by which the past is read.
func (o ControlOptions) read(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/incidents", func(w http.ResponseWriter, r *http.Request) {
		f, err := filter(r.URL.Query())
		if err != nil {
			refuse(w, http.StatusBadRequest, err.Error(), "like ?open=true&since=2026-07-05T00:00:00Z&limit=20")
			return
		}
		all, err := o.Records.Incidents(r.Context(), f)
		if all == nil {
			all = []health.Incident{}
		}
		reply(w, all, err)
	})
	mux.HandleFunc("GET /v1/incidents/{id}", func(w http.ResponseWriter, r *http.Request) {
		st, err := o.Records.Story(r.Context(), r.PathValue("id"))
		reply(w, st, err)
	})
	mux.HandleFunc("GET /v1/journal", func(w http.ResponseWriter, r *http.Request) {
		since, err := time.Parse(time.RFC3339Nano, r.URL.Query().Get("since"))
		if err != nil {
			refuse(w, http.StatusBadRequest, err.Error(), "like ?since=2026-07-05T00:00:00Z")
			return
		}
		all, err := o.Records.Journal(r.Context(), since)
		if all == nil {
			all = []store.Run{}
		}
		reply(w, all, err)
	})
	mux.HandleFunc("GET /v1/explain", func(w http.ResponseWriter, r *http.Request) {
		e, err := o.Explain(r.Context(), r.URL.Query().Get("name"))
		reply(w, e, err)
	})
	mux.HandleFunc("GET /v1/outbox", func(w http.ResponseWriter, r *http.Request) {
		all, err := o.Records.Outbox(r.Context(), r.URL.Query().Get("all") == "true")
		reply(w, all, err)
	})
	mux.HandleFunc("GET /v1/evidence", func(w http.ResponseWriter, r *http.Request) {
		all, err := o.Records.Bundles(r.Context(), r.URL.Query().Get("incident"))
		if all == nil {
			all = []evidence.Sealed{}
		}
		reply(w, all, err)
	})
	mux.HandleFunc("GET /v1/evidence/{file}", func(w http.ResponseWriter, r *http.Request) {
		b, err := o.Records.Bundle(r.Context(), r.PathValue("file"))
		reply(w, packed{b}, err)
	})
}

func filter(q url.Values) (f store.Filter, err error) {
	for key := range q {
		v := q.Get(key)
		switch key {
		case "open":
			f.Open, err = strconv.ParseBool(v)
		case "since":
			f.Since, err = time.Parse(time.RFC3339Nano, v)
		case "limit":
			f.Limit, err = strconv.Atoi(v)
		default:
			err = fmt.Errorf("it is open, since or limit")
		}
		if err != nil {
			return f, fmt.Errorf("%s=%q: %w", key, v, err)
		}
	}
	return f, nil
}

// Incidents gives those that are wanted, newest first. Of a filter, Ref is not passed on.
func (c *Client) Incidents(ctx context.Context, f store.Filter) (all []health.Incident, err error) {
	q := url.Values{}
	if f.Open {
		q.Set("open", "true")
	}
	if !f.Since.IsZero() {
		q.Set("since", f.Since.Format(time.RFC3339Nano))
	}
	if f.Limit != 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	return all, c.ask(ctx, http.MethodGet, "/v1/incidents?"+q.Encode(), nil, &all)
}

// Journal gives what is recorded from the latest beginning at or before since.
func (c *Client) Journal(ctx context.Context, since time.Time) (all []store.Run, err error) {
	return all, c.ask(ctx, http.MethodGet, "/v1/journal?since="+url.QueryEscape(since.Format(time.RFC3339Nano)), nil, &all)
}

// Explain says why a container is judged as it is.
func (c *Client) Explain(ctx context.Context, name string) (e health.Explanation, err error) {
	return e, c.ask(ctx, http.MethodGet, "/v1/explain?name="+url.QueryEscape(name), nil, &e)
}

// Story gives the one incident whose id begins so.
func (c *Client) Story(ctx context.Context, begins string) (st Story, err error) {
	return st, c.ask(ctx, http.MethodGet, "/v1/incidents/"+url.PathEscape(begins), nil, &st)
}

// Outbox gives the alerts that are not delivered, oldest first; all gives the delivered ones, too.
func (c *Client) Outbox(ctx context.Context, all bool) (out []Alert, err error) {
	return out, c.ask(ctx, http.MethodGet, fmt.Sprintf("/v1/outbox?all=%t", all), nil, &out)
}

// Bundles gives those whose incident begins so, by incident and part.
func (c *Client) Bundles(ctx context.Context, begins string) (out []evidence.Sealed, err error) {
	return out, c.ask(ctx, http.MethodGet, "/v1/evidence?incident="+url.QueryEscape(begins), nil, &out)
}

// Bundle gives the content of the bundle whose file is called so.
func (c *Client) Bundle(ctx context.Context, file string) ([]byte, error) {
	var p packed
	if err := c.ask(ctx, http.MethodGet, "/v1/evidence/"+url.PathEscape(file), nil, &p); err != nil {
		return nil, err
	}
	return p.Content, nil
}
