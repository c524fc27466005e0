package capture

import "strings"

// Problem is one thing that Check finds, or that ends Run. With a code that begins with
// W it does not keep capture from starting.
type Problem struct {
	Code string // stable, documented in docs/errors: E0411
	What string // is wrong, in one clause: "slot shop is gone"
	Lost string // what that costs, in sentences with positions; "" where nothing is lost
	Fix  string // the SQL statement, setting or command that goes on from here
	// Taken: someone captures already, and who looks at a project that runs knows by whom.
	Taken bool
}

func (p *Problem) Error() string {
	return p.What + ": " + p.Detail() + " (" + p.Code + ")"
}

// Detail is what comes after What: what is lost, and how to go on.
func (p *Problem) Detail() string {
	if p.Lost == "" {
		return p.Fix
	}
	return p.Lost + " " + strings.ToUpper(p.Fix[:1]) + p.Fix[1:]
}

// Warning tells whether the problem leaves capture working.
func (p *Problem) Warning() bool { return strings.HasPrefix(p.Code, "W") }
