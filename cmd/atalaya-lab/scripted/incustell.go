package scripted

import (
	"archive/tar"
	"compress/gzip"
	"os"
	"slices"
	"time"
)

// incusReboot is how long a guest that reboots is stopped: 0.14 s with LXD 5.0.2, really run.
const incusReboot = 140 * time.Millisecond

// incusRebooted starts again what rebooted.
func (c *Call) incusRebooted(k *Container) *Container {
	since, err := time.Parse(time.RFC3339Nano, k.Key("died"))
	if k.Key("reboots") == "" || err != nil || time.Since(since) < incusReboot {
		return k
	}
	delete(k.Keys, "died")
	c.incusBegin(k)
	return k
}

// incusShown is a container as it is told of: with an address of its link beside the others.
func incusShown(k *Container) *Container {
	shown := *k
	if k.Says != "" {
		shown.State = k.Says
	}
	if len(k.Addrs) > 0 {
		shown.Addrs = append(slices.Clone(k.Addrs), "fe80::1")
	}
	return &shown
}

// incusTell plays the commands that tell of a container, or copy it to a file.
func (c *Call) incusTell(k *Container, command string) int {
	v := View{Container: k}
	switch {
	case command == "info" && k.Key("fails") != "":
		return c.Reply("info-log", v)
	case command == "info":
		return c.Reply("info", v)
	case command == "console" && c.Has("--show-log"):
		return c.Reply("console", v)
	case command == "config":
		return c.Reply("config", v)
	case command == "export" && c.Has("--compression=gzip"):
		c.must(writeIncusExport(c.Args[len(c.Args)-1], k))
		return c.Reply("export", v)
	}
	return 1
}

// writeIncusExport makes a file as "export" does; cut from one of LXD 5.0.2, really run.
func writeIncusExport(path string, k *Container) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	names := []string{"backup/index.yaml", "backup/container/backup.yaml", "backup/container/metadata.yaml"}
	if k.Key("nofiles") == "" {
		names = append(names, "backup/container/rootfs/init")
	}
	z := gzip.NewWriter(f)
	w := tar.NewWriter(z)
	for _, name := range names {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600}); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return z.Close()
}

// RenameIncus gives a container that does not run another name.
func (h *Host) RenameIncus(id, name string) {
	k := h.Get(id)
	h.Delete(id)
	k.ID, k.Name = name, name
	h.Put(*k)
	h.incusEvent(*k, "instance-renamed", "root")
}
