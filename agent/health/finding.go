package health

// A Finding is one thing that an examination of the host, or of an engine, came upon.
type Finding struct {
	Check string `json:"check"`         // "ping_group_range": the same for good and bad
	Grade Grade  `json:"grade"`         //
	What  string `json:"what"`          // what is there
	Why   string `json:"why,omitempty"` // why it matters; of what is well, nothing
	Do    string `json:"do,omitempty"`  // what to do
}

// A Grade is how much a finding matters.
type Grade string

// The grades, the worst last.
const (
	GradeOK   Grade = "ok"
	GradeNote Grade = "note" // good to know, or could be better
	GradeWarn Grade = "warn" // something will be missing when it is needed
	GradeStop Grade = "stop" // nothing can be healed like this
)

// StopsHealing reports whether any of the findings would stop healing.
func StopsHealing(all []Finding) bool {
	for _, f := range all {
		if f.Grade == GradeStop {
			return true
		}
	}
	return false
}
