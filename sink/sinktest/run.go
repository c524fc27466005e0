package sinktest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/sink"
)

// Case is one app, empty, with what the suite needs to know of it.
type Case struct {
	App    sink.App
	Object string
	Key    string // the unique field
	Text   string // a text field that may be written freely
	// Bad is a change's field that the app refuses for its record alone; the zero Field: there is none.
	Bad sink.Field
	// Parent is an object with whose records those of Object can be associated, and its unique field; "": there is none.
	Parent, ParentKey string
	// Fail makes the next call fail in that way, Halted all of them; nil: faults can't be made. Busy, Drop,
	// DropAfter and Halted are asked for. Busy names 50 ms or more.
	Fail func(f Fault)
}

// Run runs the suite that every app passes: what Push and Read promise whatever the vendor does.
func Run(t *testing.T, open func(t *testing.T) Case) {
	for name, test := range map[string]func(*testing.T, Case){
		"sent twice is one record":                      sentTwice,
		"an update changes its record":                  update,
		"one refused leaves the others":                 partial,
		"archived is gone":                              archived,
		"results are in the order of the changes":       ordered,
		"what was removed by hand is gone":              gone,
		"records are read by id, archived ones too":     readByID,
		"no changes make no call":                       empty,
		"a refused token stops the app":                 halted,
		"too many requests name a time":                 busy,
		"an answer that is lost is unknown":             lost,
		"a request that is lost is unknown":             dropped,
		"a context that has ended is no record's fault": ended,
		"an association is made and taken away twice":   associatedTwice,
		"a lost association is made again":              associationLost,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func text(name, value string) sink.Field {
	return sink.Field{Name: name, Value: change.OfString(value)}
}

func (c Case) change(key string, fields ...sink.Field) sink.Change {
	return sink.Change{Ref: "ref-" + key, Key: text(c.Key, key), Fields: fields}
}

// push pushes and fails the test unless the call as a whole and each change succeed.
func (c Case) push(t *testing.T, action sink.Action, changes ...sink.Change) []sink.Result {
	t.Helper()
	results, err := c.App.Push(t.Context(), c.Object, action, changes)
	if err != nil {
		t.Fatalf("push: %v", err)
	}
	if len(results) != len(changes) {
		t.Fatalf("got %d results for %d changes", len(results), len(changes))
	}
	for i, r := range results {
		if r.Err != nil {
			t.Fatalf("change %d: %v", i, r.Err)
		}
		if r.AppID == "" {
			t.Fatalf("change %d has no app id", i)
		}
	}
	return results
}

// has checks a record's text field, if the app can read.
func (c Case) has(t *testing.T, key, want string) {
	t.Helper()
	r, ok := c.App.(sink.Reader)
	if !ok {
		return
	}
	got, err := r.Read(t.Context(), c.Object, c.Key, []string{key}, []string{c.Key, c.Text})
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	if len(got) != 1 || got[0].Fields[c.Text] != want || got[0].Fields[c.Key] != key {
		t.Fatalf("key %s: got %d records, want one with the text sent", key, len(got))
	}
}

func sentTwice(t *testing.T, c Case) {
	first := c.push(t, sink.Upsert, c.change("k1", text(c.Text, "one")))
	again := c.push(t, sink.Upsert, c.change("k1", text(c.Text, "one")))
	if first[0].AppID != again[0].AppID {
		t.Errorf("two records, %s and %s", first[0].AppID, again[0].AppID)
	}
	if again[0].Created {
		t.Error("the second says that it created")
	}
	c.has(t, "k1", "one")
}

func update(t *testing.T, c Case) {
	r := c.push(t, sink.Upsert, c.change("k1", text(c.Text, "one")))
	u := c.change("k1", text(c.Text, "two"))
	u.AppID = r[0].AppID
	c.push(t, sink.Update, u)
	c.has(t, "k1", "two")
	u.Fields = []sink.Field{{Name: c.Text}}
	c.push(t, sink.Update, u)
	c.has(t, "k1", "")
}

func partial(t *testing.T, c Case) {
	if c.Bad.Name == "" || c.App.Limits(c.Object).Batch < 2 {
		t.Log("the app refuses nothing, or takes one record a call")
		return
	}
	changes := []sink.Change{c.change("k1", text(c.Text, "one")), c.change("k2", c.Bad)}
	results, err := c.App.Push(t.Context(), c.Object, sink.Upsert, changes)
	var batch *sink.BatchError
	if errors.As(err, &batch) {
		return // nothing was done: dispatch takes the batch apart
	}
	if err != nil || len(results) != 2 {
		t.Fatalf("push: %d results, %v", len(results), err)
	}
	var reject *sink.RejectError
	if results[0].Err != nil || !errors.As(results[1].Err, &reject) || reject.Code == "" {
		t.Fatalf("got %v and %v, want the second alone rejected with a code", results[0].Err, results[1].Err)
	}
	c.has(t, "k1", "one")
}

func archived(t *testing.T, c Case) {
	r := c.push(t, sink.Upsert, c.change("k1", text(c.Text, "one")))
	u := c.change("k1")
	u.AppID = r[0].AppID
	c.push(t, sink.Archive, u)
	// Again: done or gone, and neither is an error of the call.
	results, err := c.App.Push(t.Context(), c.Object, sink.Archive, []sink.Change{u})
	if err != nil || results[0].Err != nil && !errors.Is(results[0].Err, sink.ErrGone) {
		t.Fatalf("archived twice: %v", errors.Join(err, results[0].Err))
	}
	if again := c.push(t, sink.Upsert, c.change("k1", text(c.Text, "new"))); again[0].AppID == "" {
		t.Error("the key can't be used again")
	}
}

func busy(t *testing.T, c Case) {
	if c.Fail == nil {
		t.Log("faults can't be made")
		return
	}
	c.Fail(Busy)
	_, err := c.App.Push(t.Context(), c.Object, sink.Upsert, []sink.Change{c.change("k1", text(c.Text, "one"))})
	var retry *sink.RetryError
	if !errors.As(err, &retry) || retry.After < 50*time.Millisecond {
		t.Fatalf("got %v, want a RetryError of 50 ms or more", err)
	}
	c.push(t, sink.Upsert, c.change("k1", text(c.Text, "one")))
}

func lost(t *testing.T, c Case) {
	if c.Fail == nil {
		t.Log("faults can't be made")
		return
	}
	c.Fail(DropAfter)
	_, err := c.App.Push(t.Context(), c.Object, sink.Upsert, []sink.Change{c.change("k1", text(c.Text, "one"))})
	var unknown *sink.UnknownError
	if !errors.As(err, &unknown) {
		t.Fatalf("got %v, want an UnknownError", err)
	}
	c.has(t, "k1", "one")
	if r := c.push(t, sink.Upsert, c.change("k1", text(c.Text, "one"))); r[0].Created {
		t.Error("it was created again")
	}
}

func dropped(t *testing.T, c Case) {
	if c.Fail == nil {
		t.Log("faults can't be made")
		return
	}
	c.push(t, sink.Upsert, c.change("k0", text(c.Text, "one"))) // so that a connection is there
	c.Fail(Drop)
	_, err := c.App.Push(t.Context(), c.Object, sink.Upsert, []sink.Change{c.change("k1", text(c.Text, "one"))})
	var unknown *sink.UnknownError
	if !errors.As(err, &unknown) {
		t.Fatalf("got %v, want an UnknownError", err)
	}
	c.push(t, sink.Upsert, c.change("k1", text(c.Text, "one")))
	c.has(t, "k1", "one")
}

// ordered sends a full batch twice: the second time, in another order, each result has the id of its own key.
func ordered(t *testing.T, c Case) {
	n := min(max(c.App.Limits(c.Object).Batch, 1), 50)
	ids := map[string]string{}
	for round := range 2 {
		var changes []sink.Change
		for i := range n {
			changes = append(changes, c.change(fmt.Sprintf("k%d", (i+round)%n), text(c.Text, fmt.Sprintf("round %d", round))))
		}
		for i, r := range c.push(t, sink.Upsert, changes...) {
			key := changes[i].Key.Value.Text()
			if round == 0 {
				ids[key] = r.AppID
			} else if want, known := ids[key]; known && r.AppID != want {
				t.Errorf("key %s has the id %s, and had %s", key, r.AppID, want)
			}
		}
	}
}

func gone(t *testing.T, c Case) {
	if _, ok := c.App.(sink.Reader); !ok {
		t.Log("the app can't be asked what it has")
		return
	}
	made := c.push(t, sink.Upsert, c.change("k1", text(c.Text, "one")))
	u := c.change("k1", text(c.Text, "two"))
	u.AppID = made[0].AppID
	c.push(t, sink.Archive, u)
	results, err := c.App.Push(t.Context(), c.Object, sink.Update, []sink.Change{u})
	if err != nil || !errors.Is(results[0].Err, sink.ErrGone) {
		t.Fatalf("an update of an archived record: %v, %v, want ErrGone of the change", results, err)
	}
}

func readByID(t *testing.T, c Case) {
	reader, ok := c.App.(sink.Reader)
	if !ok {
		t.Log("the app can't be asked what it has")
		return
	}
	made := c.push(t, sink.Upsert, c.change("k1", text(c.Text, "one")), c.change("k2", text(c.Text, "two")))
	u := c.change("k2")
	u.AppID = made[1].AppID
	c.push(t, sink.Archive, u)
	got, err := reader.Read(t.Context(), c.Object, "id", []string{made[0].AppID, made[1].AppID}, []string{c.Text})
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	found := map[string]bool{}
	for _, r := range got {
		found[r.ID] = r.Archived
		if r.ID == made[0].AppID && r.Fields[c.Text] != "one" {
			t.Errorf("record %s: got %q, want the text sent", r.ID, r.Fields[c.Text])
		}
	}
	if archived, known := found[made[0].AppID]; !known || archived {
		t.Errorf("the live record: found %v, archived %v", known, archived)
	}
	if archived, known := found[made[1].AppID]; known && !archived {
		t.Error("the archived record reads as a live one")
	}
	byKey, err := reader.Read(t.Context(), c.Object, c.Key, []string{"k2", "never"}, []string{c.Text})
	if err != nil || len(byKey) != 0 {
		t.Errorf("by key: got %d records, %v, want none: one is archived, the other never was", len(byKey), err)
	}
}

func empty(t *testing.T, c Case) {
	results, err := c.App.Push(t.Context(), c.Object, sink.Upsert, nil)
	if err != nil || len(results) != 0 {
		t.Errorf("got %v, %v", results, err)
	}
}

func halted(t *testing.T, c Case) {
	if c.Fail == nil {
		t.Log("faults can't be made")
		return
	}
	c.Fail(Halted)
	_, err := c.App.Push(t.Context(), c.Object, sink.Upsert, []sink.Change{c.change("k1", text(c.Text, "one"))})
	var halt *sink.HaltError
	if !errors.As(err, &halt) {
		t.Fatalf("got %v, want a HaltError", err)
	}
}

func ended(t *testing.T, c Case) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	results, err := c.App.Push(ctx, c.Object, sink.Upsert, []sink.Change{c.change("k1", text(c.Text, "one"))})
	var reject *sink.RejectError
	if errors.As(err, &reject) || err == nil && (len(results) != 1 || errors.As(results[0].Err, &reject)) {
		t.Fatalf("got %v, want no rejection", err)
	}
}

// pairs makes two records and two parents of them.
func (c Case) pairs(t *testing.T) sink.Associations {
	t.Helper()
	children := c.push(t, sink.Upsert, c.change("k1", text(c.Text, "one")), c.change("k2", text(c.Text, "two")))
	parents := c
	parents.Object, parents.Key = c.Parent, c.ParentKey
	ps := parents.push(t, sink.Upsert, parents.change("p1"), parents.change("p2"))
	return sink.Associations{From: c.Object, To: c.Parent, Pairs: []sink.Pair{{From: children[0].AppID, To: ps[0].AppID}, {From: children[1].AppID, To: ps[1].AppID}}}
}

func associatedTwice(t *testing.T, c Case) {
	app, ok := c.App.(sink.Associator)
	if !ok || c.Parent == "" {
		t.Log("the app keeps no associations")
		return
	}
	if c.App.Limits(c.Object).Associate < 2 {
		t.Fatal("Limits.Associate is not set")
	}
	a := c.pairs(t)
	for _, a.Remove = range []bool{false, false, true, true, false} {
		errs, err := app.Associate(t.Context(), a)
		if err != nil || len(errs) != 2 || errs[0] != nil || errs[1] != nil {
			t.Fatalf("associate, remove %v: %v, %v", a.Remove, errs, err)
		}
	}
	gone := c.change("k1")
	gone.AppID = a.Pairs[0].From
	c.push(t, sink.Archive, gone)
	errs, err := app.Associate(t.Context(), a)
	if err != nil || !errors.Is(errs[0], sink.ErrGone) || errs[1] != nil {
		t.Errorf("a record that is gone: %v, %v", errs, err)
	}
}

func associationLost(t *testing.T, c Case) {
	app, ok := c.App.(sink.Associator)
	if !ok || c.Parent == "" || c.Fail == nil {
		t.Log("the app keeps no associations, or faults can't be made")
		return
	}
	a := c.pairs(t)
	for _, fault := range []Fault{Drop, DropAfter} {
		c.Fail(fault)
		if _, err := app.Associate(t.Context(), a); err == nil {
			t.Fatal("a call that was lost has no error")
		}
		if errs, err := app.Associate(t.Context(), a); err != nil || errs[0] != nil || errs[1] != nil {
			t.Errorf("sent again: %v, %v", errs, err)
		}
	}
	c.Fail(Busy)
	var retry *sink.RetryError
	if _, err := app.Associate(t.Context(), a); !errors.As(err, &retry) {
		t.Errorf("too many requests: %v", err)
	}
}
