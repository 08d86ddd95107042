package config

// A kind is what the value of a key looks like.
type kind int

const (
	text     kind = iota // any scalar, taken as it is written
	duration             // with its unit: 300ms, 10s, 5m, 6h, 90d
	size                 // with its unit: 64KiB, 2GiB
	whole                // a whole number
	truth                // true or false
	choice               // one of key.of
	texts                // a list of texts
	names                // a text, or a list of texts
	times                // a list of durations
	block                // keys below it
	list                 // a list of blocks
)

// A key is one row of the table that describes the configuration: the checks, docs/config.md and configs/atalaya.yaml
// are made from it. Defaults are given as they are written; that they are those of the code is tested.
type key struct {
	name      string
	kind      kind
	def       string             // what holds when it is absent; "" for nothing
	doc       string             // full sentences
	of        []string           // choice: what it may be
	low, high int64              // bounds, both included, where high is not 0: nanoseconds, bytes or a count
	check     func(string) error // of each text
	required  bool               //
	only      []string           // kinds of probe or channel, or engines, that know it; empty: all
	keys      []key              // block, list: what is below it
	short     bool               // list: an item may be just its name
	example   string             // list: YAML, with the key itself
}

// find gives the key of that name.
func find(keys []key, name string) (key, bool) {
	for _, k := range keys {
		if k.name == name {
			return k, true
		}
	}
	return key{}, false
}

// scalars gives every key that is neither a list nor below one, by its path: what the environment may set.
func scalars(keys []key, prefix string, visit func(path string, k key)) {
	for _, k := range keys {
		switch k.kind {
		case block:
			scalars(k.keys, prefix+k.name+".", visit)
		case text, duration, size, whole, truth, choice:
			visit(prefix+k.name, k)
		case texts, names, times, list:
		}
	}
}
