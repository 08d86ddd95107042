package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"slices"
	"strings"
)

// virtConf is what is needed of a domain's definition, as dumpxml --inactive gives it, never with --security-info.
type virtConf struct {
	mark       string
	links      []string // host interfaces it needs, sorted
	networks   []string // libvirt's, which have host interfaces
	macs       []string // of its interfaces, in lower case
	supervisor string
	consoles   []string // files that the guest's console goes to
	screen     bool     // it has a screen that can be photographed
}

// virtXML names the elements that are looked at (libvirt.org/formatdomain.html).
type virtXML struct {
	Name     string `xml:"name"`
	Metadata struct {
		Inner string `xml:",innerxml"`
	} `xml:"metadata"`
	Devices struct {
		Interfaces []struct {
			MAC struct {
				Address string `xml:"address,attr"`
			} `xml:"mac"`
			Source struct {
				Bridge  string `xml:"bridge,attr"`
				Dev     string `xml:"dev,attr"`
				Network string `xml:"network,attr"`
			} `xml:"source"`
		} `xml:"interface"`
		Serials  []virtChardev `xml:"serial"`
		Consoles []virtChardev `xml:"console"`
		Videos   []struct {
			Model struct {
				Type string `xml:"type,attr"`
			} `xml:"model"`
		} `xml:"video"`
	} `xml:"devices"`
}

type virtChardev struct {
	Type   string `xml:"type,attr"`
	Source struct {
		Path string `xml:"path,attr"`
	} `xml:"source"`
	Log struct {
		File string `xml:"file,attr"`
	} `xml:"log"`
}

// parseVirtXML reads a definition.
func parseVirtXML(text string) (virtConf, error) {
	var x virtXML
	if err := xml.Unmarshal([]byte(text), &x); err != nil {
		return virtConf{}, err
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(text)))
	c := virtConf{mark: hex.EncodeToString(sum[:8]), supervisor: virtOwner(x.Metadata.Inner)}
	for _, i := range x.Devices.Interfaces {
		if i.MAC.Address != "" {
			c.macs = append(c.macs, strings.ToLower(i.MAC.Address))
		}
		for _, link := range []string{i.Source.Bridge, i.Source.Dev} {
			if link != "" {
				c.links = append(c.links, link)
			}
		}
		if i.Source.Network != "" {
			c.networks = append(c.networks, i.Source.Network)
		}
	}
	for _, d := range append(x.Devices.Serials, x.Devices.Consoles...) {
		for _, path := range []string{d.Log.File, d.Source.Path} {
			if strings.HasPrefix(path, "/") && (d.Type == "file" || path == d.Log.File) && !slices.Contains(c.consoles, path) {
				c.consoles = append(c.consoles, path)
			}
		}
	}
	for _, v := range x.Devices.Videos {
		c.screen = c.screen || v.Model.Type != "none"
	}
	return c, nil
}

// virtNetworkXML names the elements of a network that are looked at (libvirt.org/formatnetwork.html).
type virtNetworkXML struct {
	Bridge struct {
		Name string `xml:"name,attr"`
	} `xml:"bridge"`
	Forward struct {
		Dev        string `xml:"dev,attr"`
		Interfaces []struct {
			Dev string `xml:"dev,attr"`
		} `xml:"interface"`
	} `xml:"forward"`
}

// parseVirtNetwork reads which interfaces of the host a network hangs its domains on: its bridge, or with macvtap those that
// it forwards to. The file of a network that is active holds it in a status of its own.
func parseVirtNetwork(b []byte) []string {
	var x struct {
		XMLName xml.Name
		virtNetworkXML
		Active virtNetworkXML `xml:"network"`
	}
	if xml.Unmarshal(b, &x) != nil {
		return nil
	}
	n := x.virtNetworkXML
	if x.XMLName.Local == "networkstatus" {
		n = x.Active
	}
	if n.Bridge.Name != "" {
		return []string{n.Bridge.Name}
	}
	var out []string
	for _, i := range n.Forward.Interfaces {
		if i.Dev != "" {
			out = append(out, i.Dev)
		}
	}
	if len(out) == 0 && n.Forward.Dev != "" {
		out = append(out, n.Forward.Dev)
	}
	return out
}

// virtOwner tells by the metadata that other programs write who looks after a domain. They start, stop and move theirs by
// themselves, and take what is started behind their back for a fault.
func virtOwner(metadata string) string {
	for _, o := range []struct{ space, name string }{
		{"http://openstack.org/xmlns/libvirt/nova/", "OpenStack Nova"},
		{"http://ovirt.org/vm/", "oVirt"},
		{"http://kubevirt.io", "KubeVirt"},
	} {
		if strings.Contains(metadata, o.space) {
			return o.name
		}
	}
	return ""
}
