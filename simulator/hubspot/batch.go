package hubspot

import (
	"net/http"
	"slices"
	"time"

	"github.com/penstock-cdc/penstock/simulator"
)

// result is one record that a batch write took.
type result struct {
	snapshot
	in      *input
	created bool
}

// outcome of a batch write.
type outcome struct {
	results []result
	failed  []failure
}

// batchKind is how the batch writes differ.
type batchKind struct {
	success  int  // status when nothing failed
	whole    bool // one failure is the whole batch's, even with trace ids
	tellsNew bool // each result says whether the record is new
}

type failure struct {
	in *input
	e  *apiError
}

func (a *app) batchCreate(t *objectType, c *simulator.Call) simulator.Reply {
	list, e := a.inputs(t, c.Body)
	if e != nil {
		return refused(e, list)
	}
	for i := range list {
		list[i].id, list[i].idProperty = "", "" // a create names no record
	}
	return a.writeBatch(t, c.At, list, batchKind{success: http.StatusCreated}, func(w *write, in *input) (*record, bool, *apiError) {
		r, e := w.create(in.fields)
		return r, true, e
	})
}

func (a *app) batchUpdate(t *objectType, c *simulator.Call) simulator.Reply {
	list, e := a.inputs(t, c.Body)
	if e == nil {
		e = a.identify(t, list, "", false)
	}
	if e != nil {
		return refused(e, list)
	}
	return a.writeBatch(t, c.At, list, batchKind{success: http.StatusOK}, func(w *write, in *input) (*record, bool, *apiError) {
		if in.target == nil {
			return nil, false, notFound(t, in.id)
		}
		return in.target, false, w.update(in.target, in.fields, false)
	})
}

func (a *app) batchUpsert(t *objectType, c *simulator.Call) simulator.Reply {
	list, e := a.inputs(t, c.Body)
	if e == nil {
		e = a.identify(t, list, c.Request.URL.Query().Get("idProperty"), true)
	}
	if e != nil {
		return refused(e, list)
	}
	whole := a.wholeEmailUpserts && slices.ContainsFunc(list, func(in input) bool { return in.idProperty == "email" })
	return a.writeBatch(t, c.At, list, batchKind{success: http.StatusOK, whole: whole, tellsNew: true}, func(w *write, in *input) (*record, bool, *apiError) {
		if in.target != nil {
			return in.target, false, w.update(in.target, in.fields, false)
		}
		if in.idProperty == "" {
			return nil, false, notFound(t, in.id)
		}
		fields := in.fields
		if value(fields, in.idProperty) == "" {
			with := input{fields: append(slices.Clip(fields), simulator.Field{Name: in.idProperty, Value: in.id})}
			with.sort()
			fields = with.fields
		}
		r, e := w.create(fields)
		return r, true, e
	})
}

// identify checks how the inputs of an update or upsert name their records and puts
// ids in canonical form. Ids that repeat are refused, as are two inputs that come to
// the same record (segmentio/action-destinations pull 3969); writeBatch sees to the
// latter, which needs the records.
func (a *app) identify(t *objectType, list []input, idProperty string, upsert bool) *apiError {
	defs := t.defs.Load()
	type name struct{ property, value string }
	seen := make(map[name]struct{}, len(list))
	for i := range list {
		in := &list[i]
		if in.id == "" {
			return badRequest("Invalid input JSON on line 1, column 1: Some required fields were not set: [id]")
		}
		if in.fields == nil && in.problems == nil {
			return badRequest("Invalid input JSON on line 1, column 1: Some required fields were not set: [properties]")
		}
		if in.idProperty == "" {
			in.idProperty = idProperty
		}
		if in.idProperty != "" {
			d := defs.byName[in.idProperty]
			// Update by email is refused though upsert by email works ([node-548], [node-514]).
			byEmail := upsert && in.idProperty == t.identifier
			if d == nil || !d.HasUniqueValue && !byEmail {
				return notUnique(a, t, in.idProperty)
			}
			id, bad := a.canonical(d, in.id)
			if bad != nil {
				in.problems = append(in.problems, *bad)
			} else {
				in.id = id
			}
		}
		n := name{in.idProperty, in.id}
		if _, repeated := seen[n]; repeated {
			return badRequest("Duplicate IDs found in batch input: [%s]. IDs must be unique", in.id)
		}
		seen[n] = struct{}{}
	}
	return nil
}

// writeBatch does a write for each input in turn. Only if every input has an
// objectWriteTraceId of its own do failures stand alone ([errors], multi-status);
// otherwise the first fails the whole batch and nothing is done ([python-51]). Ids
// that do not exist are told in a 207 either way ([php-619]).
func (a *app) writeBatch(t *objectType, started time.Time, list []input, kind batchKind, one func(*write, *input) (*record, bool, *apiError)) simulator.Reply {
	multi := !kind.whole && traced(list)
	var o outcome
	o.results = make([]result, 0, len(list))

	a.mu.Lock()
	w := a.begin(t)
	if e := resolve(t, list); e != nil {
		a.mu.Unlock()
		return refused(e, list)
	}
	w.done = make([]step, 0, len(list))
	w.changes = make([]simulator.Change, 0, len(list))
	for i := range list {
		in := &list[i]
		var e *apiError
		var r *record
		var created bool
		if len(in.problems) > 0 {
			e = invalid(in.problems)
		} else {
			r, created, e = one(w, in)
		}
		if e == nil {
			o.results = append(o.results, result{r.snapshot(), in, created})
			continue
		}
		o.failed = append(o.failed, failure{in, e})
		if !multi && e.category != "OBJECT_NOT_FOUND" {
			w.rollback()
			a.mu.Unlock()
			reply := e.reply()
			reply.Records = len(list)
			reply.Refused = []simulator.Refusal{{Key: in.key(), Reason: e.reason()}}
			return reply
		}
	}
	w.commit()
	if a.shuffle != nil {
		a.shuffle.Shuffle(len(o.results), func(i, j int) { o.results[i], o.results[j] = o.results[j], o.results[i] })
	}
	a.mu.Unlock()
	return a.batchReply(t, started, list, o, kind)
}

// resolve finds the records that inputs name.
func resolve(t *objectType, list []input) *apiError {
	seen := make(map[*record]struct{}, len(list))
	for i := range list {
		in := &list[i]
		if in.id == "" {
			continue
		}
		if in.target = t.findBy(in.idProperty, in.id); in.target == nil {
			continue
		}
		if _, repeated := seen[in.target]; repeated {
			return badRequest("Duplicate IDs found in batch input: [%s]. IDs must be unique", in.id)
		}
		seen[in.target] = struct{}{}
	}
	return nil
}

func traced(list []input) bool {
	seen := make(map[string]struct{}, len(list))
	for i := range list {
		if list[i].trace == "" {
			return false
		}
		seen[list[i].trace] = struct{}{}
	}
	return len(seen) == len(list)
}

func refused(e *apiError, list []input) simulator.Reply {
	reply := e.reply()
	reply.Records = len(list)
	for i := range list {
		reply.Refused = append(reply.Refused, simulator.Refusal{Key: list[i].key(), Reason: e.reason()})
	}
	return reply
}
