package agent_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// One container's monitor hangs, and with it every lxc-ls. The others stay watched, and are healed as fast as ever.
func TestAHungMonitorHarmsOnlyItsOwn(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{N: 3})
	p := planFor(t, l)
	p.Web = true
	p.Specs[0].Timeout, p.Specs[0].Quiet = 2*time.Second, time.Second
	r := p.start(t)
	r.up("lxc/web1", "lxc/web2", "lxc/web3")
	monitor := l.MonitorPID("web2")
	if err := syscall.Kill(monitor, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(monitor, syscall.SIGCONT) })
	why := fmt.Sprintf("its monitor, process %d, is stopped", monitor)
	stopped := time.Now()
	r.until("the culprit is named", func(v health.View) bool { return strings.Contains(v.Instances[0].Degraded, why) })
	r.lists()
	if i := r.view().Instances[0]; i.Listed.After(stopped) || !i.Looked.After(stopped) {
		t.Errorf("lxc-ls hangs since %v; listed %v, looked %v", stopped, i.Listed, i.Looked)
	}

	kill9(t, l, "web1")
	if in := r.resolved("lxc/web1", 1)[0]; in.Attempts != 1 {
		t.Errorf("incident: %+v", in)
	}
	l.WaitHTTP("web1", patience)
	l.Hang("web3")
	if in := r.resolved("lxc/web3", 1)[0]; in.Attempts != 1 {
		t.Errorf("incident: %+v", in)
	}
	if c := of(r.view(), "lxc/web2"); c.Phase != health.Up || c.Signals[0].Outcome != health.Pass {
		t.Errorf("the culprit, which serves: %+v", c)
	}
	l.Remove("web3") // what is deleted meanwhile is noticed, too
	kill9(t, l, "web3")
	r.absent("lxc/web3")

	if err := syscall.Kill(monitor, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	r.until("lists are whole again", func(v health.View) bool { return v.Instances[0].Degraded == "" })
	r.up("lxc/web1", "lxc/web2")
	r.untouched("lxc/web2")
}
