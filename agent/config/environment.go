package config

import (
	"fmt"
	"os"
	"strings"
)

// The environment sets scalars: ATALAYA_STORE_DIR is store.dir, ATALAYA_DEFAULTS_BUDGET_ATTEMPTS is
// defaults.budget.attempts. It comes after the file.

const (
	envPrefix = "ATALAYA_"
	envFile   = "environment" // what stands for the file in a Problem
)

// PathVariable is the environment variable that names the configuration file where Load is given none.
const PathVariable = envPrefix + "CONFIG"

func variable(path string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// environment gives the variable of each path that is set to something acceptable, and what is wrong with the others.
// A variable of ours that means nothing is wrong too: ATALAYA_MDOE=observe must not heal.
func environment() (map[string]string, Errors) {
	byName := map[string]key{}
	paths := map[string]string{}
	valid := []string{PathVariable}
	scalars(schema(), "", func(path string, k key) {
		name := variable(path)
		byName[name], paths[name] = k, path
		valid = append(valid, name)
	})
	set := map[string]string{}
	var problems Errors
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, envPrefix) || name == PathVariable {
			continue
		}
		k, known := byName[name]
		if !known {
			problems = append(problems, Problem{File: envFile, Key: name, Msg: "no such setting" + near(name, valid)})
			continue
		}
		if value == "" {
			continue // as viper takes it
		}
		if err := k.accepts(value); err != nil {
			problems = append(problems, Problem{File: envFile, Key: name, Msg: fmt.Sprint(err)})
			continue
		}
		set[paths[name]] = name
	}
	return set, problems
}
