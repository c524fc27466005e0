package survival

import (
	"fmt"
	"strings"
)

// row is a row of the table items. Each change of a row gives it a version that no other
// change has; versions of one row rise.
type row struct {
	id, version int64
	email       string // null: NULL
	name        string
	plan        string // null: NULL
	active      int
	note        string // a field of the app; long where the table's old rows are sent whole
	extra       string // no field of the app; often long, so that Postgres leaves it out of updates
}

// values are the columns as text, in the table's order.
func (r *row) values() []string {
	return []string{fmt.Sprint(r.id), fmt.Sprint(r.version), r.email, r.name, r.plan, fmt.Sprint(r.active), r.note, r.extra}
}

var columns = []string{"id", "version", "email", "name", "plan", "active", "note", "extra"}

// quoted is a value as SQL. The workload's texts have no quotes and no backslashes.
func quoted(text string) string {
	if text == null {
		return "NULL"
	}
	return "'" + text + "'"
}

// Why the pipeline or the app refuses a row.
const (
	noEmail   = "no_email"
	badOption = "INVALID_OPTION"
)

// eligible tells whether the row belongs into the app, and if so why it is refused, "" for not at all.
func (r *row) eligible() (bool, string) {
	switch {
	case r.active == 0:
		return false, ""
	case r.email == null || !strings.Contains(r.email, "@"):
		return true, noEmail
	case r.plan == "gold":
		return true, badOption
	}
	return true, ""
}

// op is one change of one row.
type op struct {
	kind   byte  // c, u or d
	id     int64 // of the row; of a changed key there is d of the old and c of the new
	row    row   // as it is after c and u
	former int64 // on the c of a changed key: the old one, else 0
}

// transaction is one that was committed.
type transaction struct{ ops []op }

// oracle is what one writer knows of its rows, which no other writer touches. Rows with
// other ids than the writers' own are nobody's.
type oracle struct {
	committed []transaction
	// rows are those that are there now; ids the order in which they came, for drawing.
	rows map[int64]row
	ids  []int64
	free []int64 // deleted, and not given away as a key's former value
	// never are versions of changes that were rolled back.
	never map[int64]bool
}

func newOracle() *oracle { return &oracle{rows: map[int64]row{}, never: map[int64]bool{}} }

// copy is what a transaction works on, until it is committed.
func (o *oracle) copy() *oracle {
	c := &oracle{committed: o.committed, never: o.never, rows: make(map[int64]row, len(o.rows))}
	for id, r := range o.rows {
		c.rows[id] = r
	}
	c.ids = append(c.ids, o.ids...)
	c.free = append(c.free, o.free...)
	return c
}

// commit takes over what a transaction has worked on.
func (o *oracle) commit(c *oracle, ops []op) {
	o.rows, o.ids, o.free = c.rows, c.ids, c.free
	o.committed = append(o.committed, transaction{ops})
}

// rollback notes the versions that nobody may ever see.
func (o *oracle) rollback(ops []op) {
	for _, op := range ops {
		if op.kind != 'd' {
			o.never[op.row.version] = true
		}
	}
}

func (o *oracle) put(r row) {
	if _, there := o.rows[r.id]; !there {
		o.ids = append(o.ids, r.id)
	}
	o.rows[r.id] = r
}

func (o *oracle) remove(id int64) {
	delete(o.rows, id)
	for i := range o.ids {
		if o.ids[i] == id {
			o.ids = append(o.ids[:i], o.ids[i+1:]...)
			return
		}
	}
}

// after is the rows after the first n transactions.
func (o *oracle) after(n int) map[int64]row {
	rows := map[int64]row{}
	for _, t := range o.committed[:n] {
		for _, op := range t.ops {
			if op.kind == 'd' {
				delete(rows, op.id)
			} else {
				rows[op.id] = op.row
			}
		}
	}
	return rows
}
