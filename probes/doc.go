// Package probes checks one network service, or one command inside a guest, once: icmp, tcp, http, https, tls, dns, exec.
//
// A Spec says what to check; Validate names everything wrong with it; New compiles it to a Probe; Run carries the Probe
// out against a Guest within the Spec's time and gives a Result that is evidence: what was found in one line, how long
// each phase took, and a bounded transcript.
//
// Three outcomes, and the third one matters most. Pass and fail are said about the service. Unsure is said about
// ourselves: there was no address, no route from this host, no resolver, no free descriptor, no permission, or somebody
// cancelled. Whatever errno is not known to speak for the service is unsure, because on fail a customer's container may
// be restarted.
//
// The package knows no container, no schedule and no policy: addresses, the dialer into a network namespace and the way
// to run a command in a guest are handed in, and how many failures count is decided in agent/health. docs/probes.md is
// its manual.
package probes
