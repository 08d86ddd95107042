// Package config turns the configuration file, and the environment, into validated types.
//
// Load gives a whole Config or all mistakes at once, each with file, line, key and what to write instead; never half of
// either. A Config does not change after Load and is safe for concurrent use: a reload loads another one and swaps it.
//
// How it works: the YAML is read as nodes, which know their lines, and checked against a table of keys (schema.go); the
// same table writes docs/config.md and configs/atalaya.yaml. What passed goes to an instance of viper, which lays the
// environment over it and decodes it (decode.go). The result is compiled into the types of the packages that do the
// work (compile.go), by their own validation where they have one. Container.go answers what holds for one container.
//
// It is not the place for behaviour: it opens no connection and starts nothing. It is the only importer of viper.
package config
