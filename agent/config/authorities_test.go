package config

import (
	"encoding/pem"
	"net/http/httptest"
	"os"
	"testing"

	"atalaya/probes"
)

// A CA file is read when the configuration is, and never where containers are decided about: it may be on a disk that hangs.
func TestAuthoritiesAreReadOnce(t *testing.T) {
	clean(t)
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	file := write(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	c := loaded(t, "defaults: {probes: [web]}\nprobes: [{name: web, kind: https, port: 443, ca_file: "+file+"}]\n")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	k := c.For(sighting("web1"))
	if len(k.Problems) > 0 || len(k.Probes) != 1 {
		t.Fatalf("%+v", k)
	}
	if _, err := probes.New(k.Probes[0]); err != nil {
		t.Errorf("the file was read again: %v", err)
	}
}
