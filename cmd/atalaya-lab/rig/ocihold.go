package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// holdByShim stops the container's shim and has docker signal it: the daemon waits for the shim, with the lock.
func (o *OCI) holdByShim(name string) func() {
	o.t.Helper()
	shim := o.ShimPID(name)
	o.must(syscall.Kill(shim, syscall.SIGSTOP))
	kill := exec.Command(o.client, append(o.Args(), "kill", "--signal=HUP", name)...)
	o.must(kill.Start())
	return o.held(name, func() { _ = syscall.Kill(shim, syscall.SIGCONT); _ = kill.Wait() })
}

// holdByHook stops the container and starts it by a podman whose hook hangs: podman runs hooks with the lock.
func (o *OCI) holdByHook(name string) func() {
	o.t.Helper()
	hooks, goOn := filepath.Join(o.slot.dir, "hooks"), filepath.Join(o.slot.dir, "hook-goes-on")
	o.must(os.MkdirAll(hooks, 0o755))
	_ = os.Remove(goOn) // of an earlier one
	hook := filepath.Join(o.slot.dir, "hook")
	o.must(os.WriteFile(hook, fmt.Appendf(nil, "#!/bin/sh\nwhile [ ! -e %s ]; do sleep 0.05; done\n", goOn), 0o755))
	o.must(os.WriteFile(filepath.Join(hooks, "hang.json"), fmt.Appendf(nil,
		`{"version":"1.0.0","hook":{"path":%q},"when":{"always":true},"stages":["createRuntime"]}`, hook), 0o644))
	o.Run("kill", name)
	o.WaitState(name, "exited", quick)
	start := exec.Command(o.client, append(append(o.Args(), "--hooks-dir="+hooks), "start", name)...)
	start.Env = append(os.Environ(), o.env...)
	o.must(start.Start())
	o.holder = start.Process
	return o.held(name, func() { _ = os.WriteFile(goOn, nil, 0o644); _ = start.Wait() })
}

// held returns when inspect of the container hangs, and gives what ends that, once.
func (o *OCI) held(name string, end func()) func() {
	o.t.Helper()
	release := sync.OnceFunc(end)
	o.t.Cleanup(release)
	line := append(append([]string{"env"}, o.env...), o.client)
	if !poll(quick, func() bool {
		_, err := run(time.Second, append(append(line, o.args...), "inspect", name)...)
		return err != nil
	}) {
		o.t.Fatalf("rig: %v", errors.New("nothing holds the lock of "+name))
	}
	return release
}
