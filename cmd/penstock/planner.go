package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/config"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/state"
)

// pageRows is how many rows are looked at together: what they come to is in memory.
const pageRows = 500

// pager is a source that reads a table in the order of its key, writing nothing. Next hands up to limit rows to f, each
// valid until f returns, and returns how many there were, fewer than limit at the end.
type pager interface {
	Pages(ctx context.Context, table string) (next func(ctx context.Context, limit int, f func(*change.Table, change.Row) error) (int, error), done func(), err error)
}

// planner works out what a run would do for one pipeline.
type planner struct {
	*project
	store    *state.SQLite // nil: nothing has run yet
	pipe     *config.Pipeline
	program  *program
	table    *change.Table
	o        planOptions
	progress func(rows int64)

	spec      sink.Spec
	decider   *sink.Decider
	reader    sink.Reader // nil: the app can't be read
	limits    sink.Limits
	kept      state.Pipeline
	delivery  state.Delivery
	forgotten map[[32]byte]bool
	last      int64    // the highest record when it began
	seen      []uint64 // a bit for each record whose row was read
	called    time.Time
	kinds     [state.Kinds]int64
	actions   map[sink.Action]int64
	parents   []plannedParent
	out       *planned
}

// plannedParent counts associations with the records of one parent.
type plannedParent struct {
	field       int // index among the program's
	made, taken int64
}

// plannedRow is one row of a page, or a record whose row is gone.
type plannedRow struct {
	key   []byte // source key, as in the stream
	made  sink.Made
	known sink.Known
	held  bool
	// refused is the code by which the app has refused just this.
	refused  string
	decision sink.Decision
}

func (pl *planner) run(ctx context.Context) (*planned, error) {
	pipe := pl.pipe
	pl.out = &planned{Type: "plan", Pipeline: pipe.Name, Source: pipe.From.Source, Table: pl.table.QualifiedName(), App: pipe.To.App, Object: pipe.To.Object, Rejects: []planReject{}, Guards: []planGuard{}}
	app := pl.apps[pipe.To.App]
	pl.limits = app.Limits(pipe.To.Object)
	pl.spec = specOf(pipe, pl.program)
	pl.decider = sink.NewDecider(pl.spec, pl.limits.Whole)
	pl.reader, _ = app.(sink.Reader)
	pl.actions = map[sink.Action]int64{}
	for i, f := range pl.program.Fields() {
		if f.Group == sink.ByParent {
			pl.parents = append(pl.parents, plannedParent{field: i})
		}
	}
	if err := pl.readPipeline(ctx); err != nil {
		return nil, err
	}
	if err := pl.readTable(ctx); err != nil {
		return nil, err
	}
	if !pl.out.Sampled {
		if err := pl.gone(ctx); err != nil {
			return nil, err
		}
	}
	for _, r := range pl.out.rejects {
		pl.out.Rejects = append(pl.out.Rejects, *r)
	}
	if err := pl.guards(ctx); err != nil {
		return nil, err
	}
	for _, n := range pl.actions {
		pl.out.Calls += batches(n, pl.limits.Batch)
	}
	for _, par := range pl.parents {
		pl.out.Calls += batches(par.made, pl.limits.Associate) + batches(par.taken, pl.limits.Associate)
	}
	pl.out.Minutes = minutes(pl.out.Calls, pl.limits)
	pl.notes()
	return pl.out, nil
}

// batches is how many calls n records take.
func batches(n int64, size int) int64 {
	of := int64(max(1, size))
	return (n + of - 1) / of
}

// readPipeline reads what the state has of the pipeline as a whole.
func (pl *planner) readPipeline(ctx context.Context) (err error) {
	pl.forgotten = map[[32]byte]bool{}
	if pl.store == nil {
		return nil
	}
	if pl.last, err = pl.store.LastRecord(ctx); err != nil {
		return err
	}
	pl.seen = make([]uint64, pl.last/64+1)
	return pl.store.View(ctx, func(tx state.Tx) error {
		if pl.kept, err = tx.Pipeline(pl.pipe.Name); err != nil || pl.kept.ID == 0 {
			return err
		}
		if pl.delivery, err = tx.Delivery(pl.kept.ID); err != nil {
			return err
		}
		return tx.Forgotten(pl.kept.ID, func(h [32]byte) { pl.forgotten[h] = true })
	})
}

// readTable decides about the table's rows, page by page.
func (pl *planner) readTable(ctx context.Context) error {
	src := pl.sources[pl.pipe.From.Source]
	from, ok := src.(pager)
	if !ok {
		return fmt.Errorf("sources of kind %s are not read for a plan in this version", pl.pipe.From.Kind)
	}
	next, done, err := from.Pages(ctx, pl.table.QualifiedName())
	if err != nil {
		return err
	}
	defer done()
	worker, encoder := pl.program.NewWorker(), change.NewEncoder(src.Identity(version))
	page := make([]plannedRow, 0, pageRows)
	for {
		limit := pageRows
		if pl.o.sample > 0 {
			limit = int(min(int64(limit), pl.o.sample-pl.out.Rows))
		}
		if limit == 0 {
			// One row more tells whether there are more.
			n, err := next(ctx, 1, func(*change.Table, change.Row) error { return nil })
			pl.out.Sampled = n > 0
			return err
		}
		page = page[:0]
		n, err := next(ctx, limit, func(t *change.Table, r change.Row) error {
			e := change.Event{Op: change.Read, Table: t, After: r, ID: change.NewPointID(1, 1, 1, 0), CommitTime: time.Now().UTC()}
			var row plannedRow
			if err := encoder.Encode(&e, e.CommitTime, func(rec *change.Record) error {
				if row.key == nil {
					row.key = bytes.Clone(rec.Key)
				}
				return nil
			}); err != nil {
				return err
			}
			worker.Eval(&e, &row.made)
			m := &row.made // what is in it is valid until the next row
			m.Reason, m.Message = strings.Clone(m.Reason), strings.Clone(m.Message)
			m.Key, m.Match, m.Fields = m.Key.Clone(), m.Match.Clone(), change.Row(m.Fields).Clone()
			page = append(page, row)
			return nil
		})
		if err != nil {
			return err
		}
		pl.out.Rows += int64(n)
		pl.progress(pl.out.Rows)
		if err := pl.decide(ctx, page); err != nil {
			return err
		}
		if n < limit {
			return nil
		}
	}
}

// decide works out what becomes of a page's rows.
func (pl *planner) decide(ctx context.Context, page []plannedRow) error {
	if err := pl.shadows(ctx, page); err != nil {
		return err
	}
	var ours, unknown []*plannedRow
	for i := range page {
		r := &page[i]
		if pl.forgotten[sink.Tombstone(r.key)] {
			r.decision = sink.Decision{Verdict: sink.WillNothing}
			continue
		}
		r.decision = pl.decider.Decide(change.Read, &r.made, r.known)
		switch sends := r.decision.Verdict == sink.WillCreate || r.decision.Verdict == sink.WillChange; {
		case !sends || r.held || r.refused != "":
		case r.inApp():
			ours = append(ours, r)
		default:
			unknown = append(unknown, r)
		}
	}
	if err := pl.lookUp(ctx, ours, unknown); err != nil {
		return err
	}
	for i := range page {
		pl.count(&page[i])
	}
	return nil
}

func (r *plannedRow) inApp() bool {
	return r.known.Shadow != nil && r.known.Shadow.Standing == state.InApp
}

// count counts a decided row.
func (pl *planner) count(r *plannedRow) {
	d := &r.decision
	sends := d.Verdict == sink.WillCreate || d.Verdict == sink.WillChange || d.Verdict.Removes()
	switch {
	case sends && r.held:
		d.Verdict = sink.WillHold
	case sends && r.refused != "":
		*d = sink.Decision{Verdict: sink.WillReject, Reason: r.refused, Message: "the app has refused it as it is"}
	case d.Verdict.Removes():
		pl.kinds[state.Delete]++
		pl.actions[map[sink.Verdict]sink.Action{sink.WillArchive: sink.Archive, sink.WillDelete: sink.Remove, sink.WillSet: sink.Update}[d.Verdict]]++
	case sends && r.inApp():
		pl.kinds[state.Change]++
	case sends:
		pl.kinds[state.Create]++
	}
	if d.Verdict == sink.WillCreate || d.Verdict == sink.WillChange {
		action := sink.Upsert
		if d.Adopted || r.inApp() && d.Verdict == sink.WillChange {
			action = sink.Update
		}
		if len(d.Write) > 0 || action == sink.Upsert { // else only associations change
			pl.actions[action]++
		}
		pl.associate(r)
	}
	pl.out.Counts.add(d)
	if d.Verdict != sink.WillReject {
		return
	}
	i := slices.IndexFunc(pl.out.rejects, func(g *planReject) bool { return g.Reason == d.Reason })
	if i < 0 {
		i = len(pl.out.rejects)
		pl.out.rejects = append(pl.out.rejects, &planReject{Reason: d.Reason})
	}
	g := pl.out.rejects[i]
	g.Records++
	if len(g.Examples) < 5 {
		e := planExample{Key: json.RawMessage("null")}
		if pl.o.showValues || !pl.keyIsPersonal() {
			e.Key = keyJSON(r.key)
		}
		if pl.o.showValues {
			e.Message = d.Message
		}
		g.Examples = append(g.Examples, e)
	}
}

// associate counts the associations that are made and taken away with a row's record.
func (pl *planner) associate(r *plannedRow) {
	for i := range pl.parents {
		par := &pl.parents[i]
		v := r.made.Fields[par.field]
		var had change.Value
		if s := r.known.Shadow; s != nil && r.inApp() && par.field < len(s.Sent) && !s.Sent[par.field].IsUnchanged() {
			had = s.Sent[par.field]
		}
		if v.IsUnchanged() || v == had {
			continue
		}
		if !v.IsNull() {
			par.made++
		}
		if !had.IsNull() {
			par.taken++
		}
	}
}

func (pl *planner) keyIsPersonal() bool {
	return slices.ContainsFunc(pl.table.Key, func(i int) bool { return pl.table.Columns[i].PII })
}

// shadows finds what the state has of a page's rows.
func (pl *planner) shadows(ctx context.Context, page []plannedRow) error {
	if pl.kept.ID == 0 {
		return nil
	}
	rows := make(map[string]*plannedRow, len(page))
	keys := make([][]byte, 0, len(page))
	for i := range page {
		rows[string(page[i].key)] = &page[i]
		keys = append(keys, page[i].key)
	}
	return pl.store.View(ctx, func(tx state.Tx) error {
		now, err := tx.Pipeline(pl.pipe.Name)
		if err != nil {
			return err
		}
		var found []*state.Shadow
		if err := tx.Shadows(pl.kept.ID, keys, func(s *state.Shadow) error {
			found = append(found, s)
			return nil
		}); err != nil {
			return err
		}
		byID := map[int64]*plannedRow{}
		var ids []int64
		for _, s := range found {
			r := rows[string(s.Key)]
			if r == nil {
				continue
			}
			if s.ID <= pl.last {
				pl.seen[s.ID/64] |= 1 << (s.ID % 64)
			}
			pl.decider.Align(s, now.Layouts)
			r.known.Shadow, byID[s.ID] = s, r
			ids = append(ids, s.ID)
			if s.Rejected {
				if err := pl.refusal(tx, s, r, now.Layouts); err != nil {
					return err
				}
			}
		}
		return pl.held(tx, ids, byID)
	})
}

// refusal finds out whether the app has refused what a row comes to now.
func (pl *planner) refusal(tx state.Tx, s *state.Shadow, r *plannedRow, layouts [][]string) error {
	entry, err := tx.QuarantineByRecord(pl.kept.ID, s.ID)
	if err != nil || entry == nil || !entry.ByApp || r.made.Outcome != sink.Pass {
		return err
	}
	sent := &state.Shadow{Layout: entry.Layout, Sent: entry.Request}
	pl.decider.Align(sent, layouts)
	for i, v := range sent.Sent {
		if !v.IsUnchanged() && i < len(r.made.Fields) && v != r.made.Fields[i] {
			return nil // the row is another by now
		}
	}
	r.refused = entry.Code
	return nil
}

// held marks records that wait for a person's decision.
func (pl *planner) held(tx state.Tx, ids []int64, rows map[int64]*plannedRow) error {
	return tx.PendingByRecord(pl.kept.ID, ids, func(w *state.Pending) error {
		rows[w.Record].held = w.Queue == state.Held
		return nil
	})
}

// gone counts the records whose row is not there any more.
func (pl *planner) gone(ctx context.Context) error {
	if pl.kept.ID == 0 {
		return nil
	}
	for after := int64(0); ; {
		n := 0
		err := pl.store.View(ctx, func(tx state.Tx) error {
			rows := map[int64]*plannedRow{}
			var ids []int64
			if err := tx.ScanShadows(pl.kept.ID, after, pageRows, func(s *state.Shadow) error {
				n++
				after = s.ID
				if s.ID <= pl.last && s.Key != nil && s.Standing == state.InApp && pl.seen[s.ID/64]&(1<<(s.ID%64)) == 0 {
					rows[s.ID] = &plannedRow{key: s.Key, known: sink.Known{Shadow: s}}
					ids = append(ids, s.ID)
				}
				return nil
			}); err != nil || len(ids) == 0 {
				return err
			}
			if err := pl.held(tx, ids, rows); err != nil {
				return err
			}
			for _, id := range ids {
				r := rows[id]
				r.decision = pl.decider.Decide(change.Delete, &r.made, r.known)
				pl.count(r)
			}
			return nil
		})
		if err != nil || n < pageRows {
			return err
		}
	}
}

// guards says what the guards would make of it.
func (pl *planner) guards(ctx context.Context) error {
	view := func(f func(tx state.Tx) error) error { return f(nil) }
	if pl.kept.ID != 0 {
		view = func(f func(tx state.Tx) error) error { return pl.store.View(ctx, f) }
	}
	return view(func(tx state.Tx) error {
		for k := range state.Kind(state.Kinds) {
			var kept state.Guard
			n := pl.kinds[k]
			if tx != nil {
				var err error
				if kept, err = tx.Guard(pl.kept.ID, k); err != nil {
					return err
				}
				counts, err := tx.PendingCounts(pl.kept.ID)
				if err != nil {
					return err
				}
				for _, l := range []state.Lane{state.Live, state.Backfill} {
					n -= min(n, counts[state.QueueOf(k, l, true)]) // a person has let them through
				}
			}
			limit, sent, stops := pl.spec.Guard.Foresee(k, n, pl.kept.Ledger.Keys.InApp, kept, time.Now().UnixMilli())
			if limit >= 0 && n > 0 {
				pl.out.Guards = append(pl.out.Guards, planGuard{Kind: k.String(), Records: n, Sent: sent, Limit: limit, Stops: stops})
			}
		}
		return nil
	})
}

// notes says what else is to be known.
func (pl *planner) notes() {
	note := func(format string, args ...any) { pl.out.Notes = append(pl.out.Notes, fmt.Sprintf(format, args...)) }
	if pl.out.Sampled {
		note("only a part of the table was read: rows that are gone were not looked for")
	}
	if pl.reader == nil {
		note("app %s can't be read: records that it has already are counted as creates", pl.pipe.To.App)
	}
	if pl.kept.ID != 0 && pl.delivery.Backfilled != pl.program.Fingerprint() {
		switch {
		case pl.pipe.Backfill == "never":
			note(`the pipeline is new or its rules changed, and backfill = "never": a row gets there with its next change only`)
		case pl.pipe.Backfill == "ask" && pl.delivery.Approved != pl.program.Fingerprint():
			note(`the pipeline is new or its rules changed, and backfill = "ask": rows that do not change wait for penstock backfill approve %s`, pl.pipe.Name)
		}
	}
	if names := parentNames(pl.pipe); len(names) > 0 {
		note("records, and calls that associate them, are counted whether or not their parents (%s) are in the app yet", strings.Join(names, ", "))
	}
	if pl.delivery.Paused > 0 {
		note("the pipeline is paused since %s: nothing is sent before penstock resume %s", time.UnixMilli(pl.delivery.Paused).UTC().Format(time.RFC3339), pl.pipe.Name)
	}
}
