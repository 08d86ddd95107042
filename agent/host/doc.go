// Package host says what the host means for its containers: whether it or an engine's service is going down or coming up,
// which interfaces they need and it lacks, who it is, and how it fares.
//
// systemd is asked over its own socket, without a process and without the D-Bus daemon, and tells by itself when something
// changes; so does the kernel of its interfaces. Where PID 1 is not systemd, nothing is known of shutdowns and nothing is
// said.
//
// It is not the place for what follows from any of it: that is agent/health.
package host
