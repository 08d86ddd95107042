package engine_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// laterCalls are system calls that no kernel of 3.10 has, as far as Go or the agent uses them.
func laterCalls() []uint32 {
	return []uint32{
		unix.SYS_STATX, unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_SEND_SIGNAL, unix.SYS_CLONE3, unix.SYS_CLOSE_RANGE, unix.SYS_OPENAT2, unix.SYS_FACCESSAT2,
		unix.SYS_COPY_FILE_RANGE, unix.SYS_RENAMEAT2, unix.SYS_MEMFD_CREATE, unix.SYS_EXECVEAT, unix.SYS_GETRANDOM, unix.SYS_BPF,
	}
}

// forgetCalls has every thread of this process, and what it starts, know nothing of some system calls, as an older kernel.
func forgetCalls(calls []uint32) error {
	const load, equal, answer = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	prog := []unix.SockFilter{{Code: load, K: 0}} // seccomp_data.nr
	for n, call := range calls {
		prog = append(prog, unix.SockFilter{Code: equal, Jt: uint8(len(calls) - n), K: call})
	}
	prog = append(prog, unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ALLOW}, unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)})
	f := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&f)))
	if errno != 0 {
		return errno
	}
	return nil
}

// oldKernel runs a test as on Virtuozzo's 3.10: neither pidfd nor statx, and cgroups of the first version, of which nothing is asked. A
// process of its own, since what is forgotten stays forgotten.
func oldKernel(t *testing.T, name string, run func()) {
	rig.Require(t, "root")
	if os.Getenv("ATALAYA_OLD_KERNEL") == "" {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestScripted$/^"+name+"$/^a kernel of 3.10$")
		cmd.Env = append(os.Environ(), "ATALAYA_OLD_KERNEL=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	if err := forgetCalls(laterCalls()); err != nil {
		t.Fatal(err)
	}
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, "/", 0, unix.STATX_INO, &st); err != unix.ENOSYS {
		t.Fatalf("it is no old kernel: %v", err)
	}
	run()
}

// livesAndDies is the round that matters: seen, died, looked at, started again.
func (l *vzLab) livesAndDies(kill func(id string), pid func() int) {
	before := l.listed()
	if before.State != health.Running || before.Init.PID != pid() || before.Init.Start == 0 || before.Mark == "" || l.i.Place() == "" {
		l.Errorf("%+v, place %q", before, l.i.Place())
	}
	kill(l.id)
	s, err := l.i.Look(context.Background(), l.id, before.Init)
	if err != nil || s.State != health.Stopped || s.OnPurpose != "" || s.Mark != before.Mark {
		l.Errorf("it died: %+v, %v", s, err)
	}
	l.must(health.VerbStart)
	if s := l.see(); s.State != health.Running || s.Init == before.Init || s.Init.PID != pid() {
		l.Errorf("healed: %+v", s)
	}
}

func (v *vzTest) oldKernel() { oldKernel(v.T, "openvz", v.livesAndDies) }

func (v *prlTest) oldKernel() { oldKernel(v.T, "virtuozzo", v.livesAndDies) }

func (v *vzTest) livesAndDies() {
	v.vzLab.livesAndDies(v.Kill9, func() int { return v.InitPID("web1") })
}

func (v *prlTest) livesAndDies() {
	v.vzLab.livesAndDies(v.Kill9, func() int { return v.InitPID("web1") })
}
