package health

import (
	"flag"
	"os"
	"testing"
)

// Random timelines are cheap: 500 of them unless -rapid.checks says otherwise, and then the same ones in every run, so
// that nobody's change fails for what is not its doing. Other ones: -rapid.checks, as make fuzz does.
func TestMain(m *testing.M) {
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "rapid.checks" || f.Name == "rapid.seed" })
	if !asked {
		for name, value := range map[string]string{"rapid.checks": "500", "rapid.seed": "20261125"} {
			if err := flag.Set(name, value); err != nil {
				panic(err)
			}
		}
	}
	os.Exit(m.Run())
}
