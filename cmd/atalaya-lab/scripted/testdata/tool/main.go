// Command tool is every tool of every scripted engine, by the name it is called by. It is built by the tests, and is small:
// a suite runs it some hundred times, which the test binary itself, built with the race detector, takes minutes for.
package main

import (
	"fmt"
	"os"

	"atalaya/cmd/atalaya-lab/scripted"
)

func main() {
	scripted.Main()
	fmt.Fprintf(os.Stderr, "scripted: %q is no tool of a scripted host\n", os.Args[0])
	os.Exit(70)
}
