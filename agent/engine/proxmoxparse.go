package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"atalaya/agent/health"
)

// A pveRow is one guest as Proxmox prints it: of /cluster/resources (proxmox/pve-manager, PVE/API2/Cluster.pm and
// PVE/API2Tools.pm, extract_vm_stats) or of status/current (proxmox/pve-container, src/PVE/API2/LXC/Status.pm, vm_status;
// proxmox/qemu-server, src/PVE/API2/Qemu.pm, vm_status).
type pveRow struct {
	VMID     looseString `json:"vmid"`
	Type     looseString `json:"type"`
	Node     looseString `json:"node"`
	Name     looseString `json:"name"`
	Status   looseString `json:"status"`
	QMP      looseString `json:"qmpstatus"`
	Lock     looseString `json:"lock"`
	HA       looseString `json:"hastate"`
	Template looseBool   `json:"template"`
	Tags     looseString `json:"tags"`
	PID      looseInt    `json:"pid"`
	Managed  *struct {
		Managed looseBool   `json:"managed"`
		State   looseString `json:"state"`
	} `json:"ha"`
}

// parsePVEResources reads /cluster/resources. A row that is no guest is left out, one without id or node makes the whole
// list an error: whom it leaves out would seem to be missing.
func parsePVEResources(b []byte) ([]pveRow, error) {
	var rows []pveRow
	if err := json.Unmarshal(b, &rows); err != nil {
		return nil, err
	}
	if rows == nil {
		return nil, errors.New("it is null, which is no list")
	}
	out := rows[:0]
	for _, r := range rows {
		if r.Type != "lxc" && r.Type != "qemu" {
			continue
		}
		if checkVMID(string(r.VMID)) != nil || r.Node == "" || r.Status == "" {
			return nil, fmt.Errorf("a guest without number, node or status: %q on %q is %q", tidy(string(r.VMID)), tidy(string(r.Node)), tidy(string(r.Status)))
		}
		out = append(out, r)
	}
	return out, nil
}

// parsePVEStatus reads status/current of one guest.
func parsePVEStatus(b []byte) (pveRow, error) {
	var r pveRow
	if err := json.Unmarshal(b, &r); err != nil {
		return r, err
	}
	if r.Status == "" {
		return r, fmt.Errorf("no status in it: %.60q", b)
	}
	return r, nil
}

// word is what Proxmox calls the state: of a VM what its QEMU says of itself, where that was asked.
func (r pveRow) word() string {
	if r.QMP != "" && r.Status == "running" {
		return string(r.QMP)
	}
	return string(r.Status)
}

// ha is the state of a guest in the HA manager, empty when it looks after none. What is "ignored" behaves as if it were not
// managed (proxmox/pve-ha-manager, src/PVE/HA/Config.pm, service_check_ha_state).
func (r pveRow) ha() string {
	state := r.HA
	if r.Managed != nil && bool(r.Managed.Managed) {
		if state = r.Managed.State; state == "" {
			state = "managed"
		}
	}
	if state == "ignored" {
		return ""
	}
	return tidy(string(state))
}

// pveState gives the meaning of a state: of a CT one of two words, of a VM a RunState of QEMU (qapi/run-state.json). What
// a guest did to itself and stays as a process is broken: a look at it, and no restart by us, is what it needs.
func pveState(word string) (health.RunState, bool) {
	switch word {
	case "running":
		return health.Running, true
	case "stopped":
		return health.Stopped, true
	case "paused", "suspended", "io-error", "debug", "watchdog":
		return health.Paused, true
	case "prelaunch", "inmigrate", "postmigrate", "finish-migrate", "save-vm", "restore-vm", "colo", "shutdown":
		return health.Busy, true
	case "internal-error", "guest-panicked":
		return health.Broken, true
	}
	return health.Unknown, word == "unknown"
}

// pveInterface is one of a guest: a CT's as Proxmox reads it (inet, inet6), a VM's as its agent says.
type pveInterface struct {
	Name  looseString `json:"name"`
	MAC   looseString `json:"hwaddr"`
	MAC2  looseString `json:"hardware-address"`
	Inet  looseString `json:"inet"`
	Inet6 looseString `json:"inet6"`
	Addrs []struct {
		Addr   looseString `json:"ip-address"`
		Prefix looseInt    `json:"prefix"`
	} `json:"ip-addresses"`
}

// parsePVEInterfaces reads the addresses of a running guest. Those that no other machine reaches are left out.
func parsePVEInterfaces(b []byte) ([]health.Addr, error) {
	var list []pveInterface
	if err := json.Unmarshal(b, &list); err != nil {
		var doc struct {
			Result []pveInterface `json:"result"`
		}
		if json.Unmarshal(b, &doc) != nil {
			return nil, err
		}
		list = doc.Result
	}
	var out []health.Addr
	for _, i := range list {
		texts := strings.Split(string(i.Inet+","+i.Inet6), ",")
		for _, a := range i.Addrs {
			texts = append(texts, fmt.Sprintf("%s/%d", a.Addr, a.Prefix))
		}
		for _, text := range texts {
			out = i.add(out, strings.TrimSpace(text))
		}
	}
	return out, nil
}

func (i pveInterface) add(to []health.Addr, text string) []health.Addr {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return to
	}
	if a := p.Addr(); a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified() || a.IsMulticast() {
		return to
	}
	for _, have := range to {
		if have.Prefix == p {
			return to
		}
	}
	mac := i.MAC
	if mac == "" {
		mac = i.MAC2
	}
	return append(to, health.Addr{Prefix: p, Iface: tidy(string(i.Name)), MAC: tidy(string(mac))})
}

// checkVMID allows what Proxmox allows: a number of three to nine digits (pve-vmid in proxmox/pve-common,
// src/PVE/JSONSchema.pm).
func checkVMID(id string) error {
	if len(id) < 3 || len(id) > 9 || id[0] == '0' || strings.Trim(id, "0123456789") != "" {
		return fmt.Errorf("id %q: guests of Proxmox have a number from 100 to 999999999", tidy(id))
	}
	return nil
}
