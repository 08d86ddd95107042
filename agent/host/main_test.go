package host

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/agent/hostexec"
)

// The test binary is its own helper inside a host with systemd: with this variable set it does what that says.
const helperEnv = "ATALAYA_HOST_HELPER"

func TestMain(m *testing.M) {
	switch os.Getenv(helperEnv) {
	case "":
		os.Exit(m.Run())
	case "report":
		report(os.Getenv("REPORT"), os.Getenv("INIT"))
	case "compare":
		compare()
	}
}

// The engine of the tests is LXC as Debian has it.
const lxcService = "lxc.service"

func lxcUnits() []string { return []string{lxcService} }

// A line is one thing a helper reports. Word is what Ask says at a death, Cached what Word does.
type line struct {
	Event        string
	Word, Cached Word
	Took         time.Duration
}

// report writes a line at its start, at every change, and at the death of the process init, if one is given. It outlives
// a SIGTERM until that death.
func report(file, init string) {
	out, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	check(err)
	w := New(Options{})
	go func() { check(w.Run(context.Background())) }()
	say := func(l line) {
		text, err := json.Marshal(l)
		check(err)
		_, err = out.Write(append(text, '\n'))
		check(err)
	}
	say(line{Event: "start", Word: w.Word(lxcUnits(), lxcService)})
	died, asked := make(chan time.Time, 1), make(chan os.Signal, 1)
	if init != "" {
		signal.Notify(asked, syscall.SIGTERM)
		pid, err := strconv.Atoi(init)
		check(err)
		fd, err := unix.PidfdOpen(pid, 0)
		check(err)
		say(line{Event: "holding"})
		go func() {
			for n := 0; n <= 0; {
				n, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			}
			died <- time.Now()
		}()
	}
	for dead, term := false, false; !dead || !term; {
		select {
		case <-asked:
			term = true
		case at := <-died:
			dead = true
			word := w.Ask(context.Background(), lxcUnits(), lxcService)
			say(line{Event: "death", Word: word, Took: time.Since(at), Cached: w.Word(lxcUnits(), lxcService)})
		case <-w.Changes():
			say(line{Event: "change", Word: w.Word(lxcUnits(), lxcService)})
		}
	}
}

// compare asks systemd both ways and prints both answers, and how long Ask takes when nothing is going on.
func compare() {
	names := []string{lxcService, "dbus.service", "nosuch.service"}
	b, err := dialBus("/")
	check(err)
	system1, units1, err := b.query(context.Background(), names)
	check(err)
	system2, units2, err := systemctl{hostexec.New(hostexec.Options{})}.query(context.Background(), names)
	check(err)
	fmt.Println(system1, units1[lxcService].active, units1["dbus.service"].active, units1["nosuch.service"].active)
	fmt.Println(system2, units2[lxcService].active, units2["dbus.service"].active, units2["nosuch.service"].active)
	w := New(Options{})
	w.Ask(context.Background(), lxcUnits(), lxcService) // connects
	var all []time.Duration
	for range 50 {
		began := time.Now()
		w.Ask(context.Background(), lxcUnits(), lxcService)
		all = append(all, time.Since(began))
	}
	fmt.Println(all)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
