package simulator

import (
	"net/http"
	"time"
)

// LoggedCall is one vendor call as GET /_sim/calls shows it.
type LoggedCall struct {
	Time    time.Time // when the call had arrived, before any time the simulator took
	Method  string
	Path    string
	Status  int // as answered; 0 if the connection was cut
	Records int
	Created int
	Refused []Refusal
}

// Change is one committed change of a record.
type Change struct {
	Time   time.Time
	Object string
	ID     string
	// Action is create, update, archive, restore, merge (the record was merged into
	// another and is gone) or erase.
	Action string
	Fields []Field // what changed; an empty value was cleared
	// ByPerson: made by hand, not through the API.
	ByPerson bool
	Into     string // merge: the record that stays
}

func (s *Server) logCall(r *http.Request, at time.Time, status int, reply Reply) {
	s.calls.add(LoggedCall{
		Time:    at,
		Method:  r.Method,
		Path:    r.URL.Path,
		Status:  status,
		Records: reply.Records,
		Created: reply.Created,
		Refused: reply.Refused,
	})
}
