package transform

import (
	"encoding/json"
	"strings"
	"unsafe"

	"github.com/cockroachdb/apd/v3"

	"github.com/penstock-cdc/penstock/change"
)

// Outcome is what became of an event.
type Outcome uint8

// The outcomes.
const (
	Pass     Outcome = iota
	Filtered         // `where` is false or NULL
	Rejected         // a reject block, or an expression that could not be computed
	Reselect         // the value of an unchanged column is needed: read the row again
)

func (o Outcome) String() string {
	return [...]string{"pass", "filtered", "rejected", "reselect"}[o]
}

// Skipped is the text of an unchanged value that an expression left out with skip(), so
// that a record may be made without it.
const Skipped = reasonSkip

// Result is what a pipeline makes of an event. Its values live until the worker's
// next Eval, and no longer than the event's.
type Result struct {
	Outcome Outcome
	// Reason is a reject block's name or a failure's stable code (see Reasons);
	// "unchanged" on Reselect.
	Reason string
	// Message is for the owner of the data. A reject block's may hold values of the
	// row: it never goes into a log.
	Message string
	// Columns has the unchanged columns that are needed, on Reselect.
	Columns []int
	// Key is the app key: text, never NULL where an event passes. Of a delete: NULL
	// where the event does not carry what it is made of.
	Key change.Value
	// Match is the value of match, of several the JSON array of their texts. It is NULL where the pipeline has no match, or one is NULL for this row, and
	// Unchanged where all that it is made of is unchanged.
	Match change.Value
	// Fields is aligned with Program.Fields. Unchanged where all columns that a field
	// is made of are unchanged, or it is skipped. Empty on deletes and where the event does not pass.
	Fields []change.Value
}

// Worker evaluates a program on one event after the other. It belongs to one goroutine.
type Worker struct {
	program *Program
	event   *change.Event
	fitting *change.Table // the last table that was found to fit
	row     change.Row
	before  change.Row // gives unchanged values; nil where the former row is not there in full
	old     change.Row // the root old

	cleans    []value
	cleanDone []bool
	stack     []value
	vars      []value // of for, and parameters of functions, by slot
	varDone   []bool
	buf       []byte // texts that were made, until the next Eval
	decimals  []*apd.Decimal
	// decimalsUsed counts those in use.
	decimalsUsed int
	fields       []change.Value
	columns      []int
	fail         failure
	phones       map[phoneKey]phoneResult
}

// maxKeptBuffer bounds what a worker keeps after an event with large texts.
const maxKeptBuffer = 1 << 20

// NewWorker makes a worker. Workers share nothing that changes.
func (p *Program) NewWorker() *Worker {
	return &Worker{
		program: p, cleans: make([]value, len(p.cleans)), cleanDone: make([]bool, len(p.cleans)),
		fields: make([]change.Value, len(p.fields)+len(p.parents)), buf: make([]byte, 0, 1024), stack: make([]value, 0, 16),
	}
}

// string returns what was appended to the buffer since start.
func (w *Worker) string(start int) string {
	if start == len(w.buf) {
		return ""
	}
	return unsafe.String(&w.buf[start], len(w.buf)-start)
}

// Eval computes what the pipeline makes of an event (r, c, u; of d the key alone).
// A row of a table whose columns are not those that the program was compiled for is
// rejected (schema_mismatch): compile the pipeline for each version of the schema. It
// never panics.
func (w *Worker) Eval(e *change.Event, res *Result) {
	defer w.recover(res)
	w.begin(e, res)
	p := w.program
	if e.Op == change.Delete {
		w.evalDelete(res)
		return
	}
	if len(w.row) != len(p.table.Columns) || !w.fits(e.Table) {
		w.refuse(res, fail("schema_mismatch"), "")
		return
	}
	if p.where != nil {
		v := p.where(w)
		if v.kind == failed {
			w.refuse(res, v, "where")
			return
		}
		if !v.isTrue() {
			res.Outcome = Filtered
			return
		}
	}
	for i := range p.rejects {
		r := &p.rejects[i]
		v := r.when(w)
		if v.kind == failed {
			w.refuse(res, v, r.label)
			return
		}
		if v.isTrue() {
			res.Outcome, res.Reason = Rejected, r.name
			if r.message != nil {
				if m := r.message(w); m.kind == text {
					res.Message = m.s
				}
			}
			return
		}
	}
	if !w.evalKey(res) {
		return
	}
	if p.match != nil && !w.evalMatch(res) {
		return
	}
	for i := range p.fields {
		f := &p.fields[i]
		if f.column >= 0 {
			w.fields[i] = w.row[f.column]
			continue
		}
		if w.unchanged(f.columns) {
			w.fields[i] = change.Of(change.Unchanged, "")
			continue
		}
		v := f.eval(w)
		if v.kind == failed && v.s == reasonSkip {
			w.fields[i], w.fail = change.Of(change.Unchanged, Skipped), failure{}
			continue
		}
		if v.kind == failed {
			w.refuse(res, v, f.label)
			return
		}
		w.fields[i] = w.output(v)
	}
	if !w.evalParents(res) {
		return
	}
	res.Fields = w.fields
}

// fits tells whether rows of a table can be read as rows of the program's: the same
// columns in the same order. A row of another version of the schema is never misread.
func (w *Worker) fits(t *change.Table) bool {
	if t == w.fitting || t == w.program.table || t == nil {
		return true
	}
	columns := w.program.table.Columns
	if len(t.Columns) != len(columns) {
		return false
	}
	for i := range columns {
		if t.Columns[i].Name != columns[i].Name || t.Columns[i].Kind != columns[i].Kind || t.Columns[i].Element != columns[i].Element {
			return false
		}
	}
	w.fitting = t
	return true
}

// begin forgets the last event.
func (w *Worker) begin(e *change.Event, res *Result) {
	w.event, w.row, w.old, w.before = e, e.After, nil, nil
	if w.program.table.FullBefore && len(e.Before) == len(w.program.table.Columns) {
		w.before = e.Before
		if e.Op == change.Update {
			w.old = e.Before
		}
	}
	clear(w.cleanDone)
	w.stack, w.decimalsUsed, w.fail = w.stack[:0], 0, failure{}
	if cap(w.buf) > maxKeptBuffer {
		w.buf = make([]byte, 0, 1024)
	}
	w.buf = w.buf[:0]
	*res = Result{}
}

// evalDelete computes the key of a delete, where the former row has what it is made of.
func (w *Worker) evalDelete(res *Result) {
	p := w.program
	w.row, w.before = w.event.Before, nil
	if len(w.row) != len(p.table.Columns) || !w.fits(w.event.Table) || !p.table.FullBefore && !p.keyOfKey {
		return
	}
	if v := p.key(w); v.kind == text {
		res.Key = w.output(v)
	}
}

// evalKey computes the app key; a row without one is rejected: it could never be found again.
func (w *Worker) evalKey(res *Result) bool {
	v := w.program.key(w)
	switch {
	case v.kind == failed:
		w.refuse(res, v, w.program.keyLabel)
	case v.kind == isNull:
		w.refuse(res, fail("null_key"), w.program.keyLabel)
	case v.s == "":
		w.refuse(res, fail("empty_key"), w.program.keyLabel)
	default:
		res.Key = w.output(v)
		return true
	}
	return false
}

// unchanged tells whether all of the columns are unchanged; of none: no.
func (w *Worker) unchanged(columns []int) bool {
	for _, i := range columns {
		if w.row[i].Kind() != change.Unchanged {
			return false
		}
	}
	return len(columns) > 0
}

// clean computes a clean once per event, when it is first needed.
func (w *Worker) clean(i int) value {
	if !w.cleanDone[i] {
		v := w.program.cleans[i].eval(w)
		w.cleans[i], w.cleanDone[i] = v, true
		if v.kind == failed && w.fail.clean == "" {
			w.fail.clean = w.program.cleans[i].name
		}
	}
	return w.cleans[i]
}

// evalMatch works match out; false: the row is refused.
func (w *Worker) evalMatch(res *Result) bool {
	p := w.program
	if w.unchanged(p.matchColumns) {
		res.Match = change.Of(change.Unchanged, "")
		return true
	}
	texts := make([]string, 0, len(p.match))
	for _, match := range p.match {
		v := match(w)
		if v.kind == failed {
			w.refuse(res, v, p.matchLabel)
			return false
		}
		res.Match = w.output(v)
		if res.Match.IsNull() || res.Match.Text() == "" {
			return true
		}
		texts = append(texts, strings.Clone(res.Match.Text()))
	}
	if len(texts) > 1 {
		all, _ := json.Marshal(texts) // texts have no error
		res.Match = change.OfString(string(all))
	}
	return true
}
