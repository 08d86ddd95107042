package scripted

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// What vzctl and prlctl do about a container's disk: unmount it, and save it.

// vzUmount unmounts what a death or a mount left behind.
func (c *Call) vzUmount(k *Container) int {
	v := View{Container: k}
	switch state, _ := c.vzState(*k); {
	case state == "running":
		return c.Reply("umount-running", v)
	case state != "mounted":
		return c.Reply("umount-unmounted", v)
	case k.Key("busy") != "":
		return c.Reply("umount-busy", v)
	}
	k.State, k.PID, k.Start = "stopped", 0, 0
	c.vzlog(k.ID, "Container is unmounted")
	return c.Reply("umount", v)
}

// VZSnapshot is where a snapshot keeps the configuration of its container: kolyshkin/vzctl@411bcfc5 src/snapshot.c
// vzctl_get_snapshot_ve_conf.
func VZSnapshot(private, guid string) string { return private + "/dump/" + guid + ".ve.conf" }

func (c *Call) vzSnapshot(k Container) int {
	guid := fmt.Sprintf("{5c3f1f0d-8b57-4f5a-9a57-%012d}", os.Getpid())
	v := View{Container: &k, Vars: map[string]string{"guid": guid}}
	if fails := k.Key("snapshot"); fails != "" {
		if fails == "snapshot-fails" {
			c.vzlog(k.ID, "Creating snapshot "+guid, "Failed to create snapshot: Error in ploop_create_snapshot: No space left on device [3]", "Failed to create snapshot")
		}
		return c.Reply(fails, v)
	}
	name := ""
	for i, a := range c.Args[:len(c.Args)-1] {
		if a == "--name" {
			name = c.Args[i+1]
		}
	}
	c.WriteFile(VZSnapshot(k.Key("private"), guid), vzConfig(k))
	c.WriteFile("/snapshots/"+k.ID+"/"+strconv.FormatInt(time.Now().UnixNano(), 10), guid+" "+time.Now().Format(time.DateTime)+" "+name)
	c.vzlog(k.ID, "Creating snapshot "+guid, "Snapshot "+guid+" has been successfully created")
	return c.Reply("snapshot", v)
}

// vzSnapshots lists them, the oldest first.
func (c *Call) vzSnapshots(k Container) int {
	if k.Key("snapshot") == "snapshot-simfs" {
		return c.Reply("snapshots-simfs", View{Container: &k})
	}
	files, _ := filepath.Glob(c.File("/snapshots/" + k.ID + "/*"))
	v := View{Container: &k}
	for _, f := range files {
		b, err := os.ReadFile(f)
		c.must(err)
		w := strings.SplitN(string(b), " ", 4)
		v.All = append(v.All, Container{ID: w[0], State: w[1] + " " + w[2], Name: w[3]})
	}
	return c.Reply("snapshots", v)
}

func (c *Call) prlUmount(k *Container) int {
	v := View{Container: k}
	if c.vz7State(*k) != "mounted" {
		return c.Reply("umount-fails", v)
	}
	k.State, k.Says = "stopped", ""
	return c.Reply("umount", v)
}

// VZBackup is where the scripted dispatcher keeps a backup.
func VZBackup(id, backup string) string { return "/vz/vmprivate/backups/" + id + "/" + backup }

// prlBackup holds the container's lock with the word of OpenVZ/prl-disp-service CDspVmBackupInfrastructure.cpp.
func (c *Call) prlBackup(k Container) int {
	id := fmt.Sprintf("{b1d2a9a4-0b3c-4c9e-8a55-%012d}", os.Getpid())
	v := View{Container: &k, Vars: map[string]string{"backup": id}}
	if k.Key("backup") != "" {
		return c.Reply(k.Key("backup"), v)
	}
	lock := "/vz/lock/" + k.Key("envid") + ".lck"
	c.WriteFile(lock, strconv.Itoa(os.Getpid())+"\nBacking up\n")
	defer c.RemoveFile(lock)
	if d, err := time.ParseDuration(k.Key("slow")); err == nil {
		time.Sleep(d)
	}
	c.WriteFile(VZBackup(k.ID, id), time.Now().Format("01/02/2006 15:04:05"))
	return c.Reply("backup", v)
}

func (c *Call) prlBackups(k Container) int {
	files, _ := filepath.Glob(c.File(VZBackup(k.ID, "*")))
	v := View{Container: &k}
	for _, f := range files {
		b, err := os.ReadFile(f)
		c.must(err)
		v.All = append(v.All, Container{ID: filepath.Base(f), State: string(b)})
	}
	return c.Reply("backup-list", v)
}
