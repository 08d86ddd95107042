// Package web is how the agent is seen and spoken to from outside: metrics and health over HTTP on a TCP address, and the
// control socket with its client.
//
// Two servers, of which each listens before it serves, so that what is in the way (a port in use, a second agent at the
// socket) is an error at the start and not a line in a log:
//
//	Listen         GET /metrics /healthz /readyz, and a plain page that names them; reads only, no secrets, no login
//	ListenControl  JSON over HTTP/1.1 on a Unix socket: the view, orders of people, the outbox, what is kept; see docs/cli.md
//
// Who may open the control socket may do everything it offers: its mode, 0660 root:GROUP, is the gate, and root is
// always let in. Who spoke is told by the kernel (SO_PEERCRED) and handed to every function that changes something.
//
// It decides nothing and knows no container: what it shows of now and all it does comes from functions that cmd
// hands in, and what is kept of the past from Records, read only. It holds no state but open connections, all of them
// bounded in number, time and size.
package web
