// Package rig builds real containers for tests, the demo and the benchmarks: an
// LXC installation of its own (lxcpath, bridge, subnet, a busybox root with a web
// server), and a small host with systemd as PID 1 in which LXC nests.
//
// Everything a rig makes carries the number of its slot: the bridge atl-N, the
// subnet 10.213.N.0/24 and the folder atalaya-lab-N-* in the temporary folder. A
// slot is held by an abstract socket (one per network namespace, as bridges and
// subnets are) and by a lock on the folder, both of which end with the process
// that holds them. So parallel test processes never collide, and what a killed
// process left behind is known by nobody holding its slot; see [Sweep].
//
// It is not a library for the agent: no production code imports it. It starts
// commands by os/exec, which only cmd and agent/hostexec may.
package rig
