// Package sentinel tells within milliseconds that an init process died, says who was at it, and works inside the network
// namespace of a container: it lends a dialer there, reads and announces its addresses, and drops the neighbour entries of
// the host that a restart has made stale.
//
// A death is what the kernel says of one life of one process (pid and start time together). It proves that the container
// is down; it proves neither why (the exit status of an init reads the same after a poweroff in the guest, a reboot
// there, a kill -9 and an orderly stop) nor that a start is wanted.
//
// It is not the place for anything an engine says, nor for what follows from a death: that is agent/health.
package sentinel
