package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/ops"
	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/state"
)

// report is the answer of `penstock status`; its JSON form is part of the output format.
type report struct {
	Running   bool             `json:"running"`
	Since     time.Time        `json:"since,omitzero"`
	Sources   []sourceReport   `json:"sources"`
	Apps      []appReport      `json:"apps"`
	Pipelines []pipelineReport `json:"pipelines"`
}

type sourceReport struct {
	Type          string        `json:"type"`
	Source        string        `json:"source"`
	State         string        `json:"state"`
	Detail        string        `json:"detail,omitempty"`
	Position      string        `json:"position,omitempty"`
	Confirmed     string        `json:"confirmed,omitempty"`
	LagSeconds    float64       `json:"lag_seconds"`
	LagBytes      int64         `json:"lag_bytes"`
	RetainedBytes int64         `json:"retained_bytes"`
	Epoch         uint32        `json:"epoch"`
	Events        uint64        `json:"events_captured"`
	Tables        []tableReport `json:"tables,omitempty"`
	// Transactions are those in progress, and those that the server has written to its own disk.
	Transactions *ops.Transactions `json:"transactions,omitempty"`
	Warnings     []string          `json:"warnings,omitempty"`
}

type tableReport struct {
	Table         string `json:"table"`
	Topic         string `json:"topic"`
	SchemaVersion string `json:"schema_version,omitempty"`
	Snapshot      string `json:"snapshot,omitempty"`
	SnapshotRows  int64  `json:"snapshot_rows,omitempty"`
	SnapshotTotal int64  `json:"snapshot_total,omitempty"`
	SnapshotBytes int64  `json:"snapshot_bytes,omitempty"`
	// SnapshotLeft is an estimate of the seconds until it is done.
	SnapshotLeft   float64 `json:"snapshot_seconds_left,omitempty"`
	SnapshotChunks int64   `json:"snapshot_chunks,omitempty"`
	SnapshotRate   float64 `json:"snapshot_rows_per_second,omitempty"`
	// SnapshotWaits is why no more is read for now.
	SnapshotWaits string `json:"snapshot_waits,omitempty"`
}

type appReport struct {
	Type   string    `json:"type"`
	App    string    `json:"app"`
	State  string    `json:"state"`
	Detail string    `json:"detail,omitempty"`
	Next   time.Time `json:"next_call,omitzero"`
	// Warnings say how its fields differ from the schema lock.
	Warnings []string `json:"warnings,omitempty"`
	// The day's quota of calls, as the app last said; left out where it says nothing.
	QuotaDay   int       `json:"quota_day,omitempty"`
	QuotaLeft  int       `json:"quota_left,omitempty"`
	QuotaEmpty time.Time `json:"quota_empty,omitzero"` // at the rate of the last hour; left out: not before it is renewed
}

type pipelineReport struct {
	Type      string         `json:"type"`
	Pipeline  string         `json:"pipeline"`
	App       string         `json:"app"`
	State     string         `json:"state"` // running, paused, scheduled (between two runs), blocked, failed, stopped
	Detail    string         `json:"detail,omitempty"`
	LagEvents int64          `json:"lag_events"`         // in the stream and not taken in
	InFlight  int            `json:"in_flight"`          // sent and not answered
	Guarded   int64          `json:"guarded"`            // stopped by guards
	Events    eventLedger    `json:"events"`             // adds up: taken_in is the sum of the others
	Keys      keyLedger      `json:"keys"`               // adds up too, but for in_app, which counts those of all states
	Warnings  []string       `json:"warnings,omitempty"` // what a changed schema breaks
	Changed   bool           `json:"changed"`            // its rules differ from those of the start before
	Where     []partPosition `json:"partitions"`         // how far each partition was taken in
	// Reread counts rows in quarantine that are about to be read again.
	Reread   int64           `json:"read_again,omitempty"`
	Backfill *backfillReport `json:"backfill,omitempty"`
	Paused   *time.Time      `json:"paused_since,omitempty"`
	Schedule *scheduleTimes  `json:"schedule,omitempty"`
	Verify   *verifyReport   `json:"verify,omitempty"`
	WaitsFor []parentWait    `json:"waits_for,omitempty"`
}

// verifyReport says how edits in the app are looked for, and what was found since ever.
type verifyReport struct {
	Every       string    `json:"every,omitempty"`
	BeforeWrite bool      `json:"before_write"`
	Began       time.Time `json:"began,omitzero"` // the last round
	Ended       time.Time `json:"ended,omitzero"` // before Began: it goes on
	Next        time.Time `json:"next,omitzero"`
	Detail      string    `json:"detail,omitempty"` // why it can't go on
	Looked      int64     `json:"looked_at"`        // records that the app said were changed
	Edited      int64     `json:"edited"`           // records whose edits were put back, or written over
	Gone        int64     `json:"gone"`             // records that were removed there
	Left        int64     `json:"left"`             // fields that stay as the app itself writes them
}

func verifyReportOf(v *sink.VerifyStatus) *verifyReport {
	if v.Every == 0 && !v.BeforeWrite {
		return nil
	}
	r := &verifyReport{BeforeWrite: v.BeforeWrite, Began: v.Began, Ended: v.Ended, Next: v.Next, Detail: v.Detail, Looked: v.Looked, Edited: v.Edited, Gone: v.Gone, Left: v.Left}
	if v.Every > 0 {
		r.Every = v.Every.String()
	}
	return r
}

func (v *verifyReport) String() string {
	var how []string
	if v.BeforeWrite {
		how = append(how, "before each write")
	}
	if v.Every != "" {
		when := "no round yet"
		switch {
		case v.Detail != "":
			when = "can't go on: " + v.Detail
		case v.Began.After(v.Ended):
			when = "a round goes on since " + v.Began.Format(time.RFC3339)
		case !v.Next.IsZero():
			when = fmt.Sprintf("last round %s, next %s", v.Ended.Format(time.RFC3339), v.Next.Format(time.RFC3339))
		}
		how = append(how, fmt.Sprintf("every %s (%s)", v.Every, when))
	}
	text := fmt.Sprintf("%s; edits of %d records undone or written over, %d records removed in the app", strings.Join(how, ", "), v.Edited, v.Gone)
	if v.Left > 0 {
		text += fmt.Sprintf(", %d fields left as the app writes them", v.Left)
	}
	return text
}

// parentWait is how many records wait for a parent.
type parentWait struct {
	Parent   string `json:"parent"`
	Pipeline string `json:"pipeline"`
	Records  int64  `json:"records"`
}

// backfillReport says that a pipeline is to have the rows that are there.
type backfillReport struct {
	Why      string `json:"why"`      // new, changed
	Mode     string `json:"mode"`     // auto, ask, never
	Approved bool   `json:"approved"` // of ask
	Records  int64  `json:"records"`  // keys that it has seen: a call is made for those that differ
	Calls    int64  `json:"calls"`    // at most, for these
}

// scheduleTimes is when a pipeline with a schedule sends.
type scheduleTimes struct {
	Run     string    `json:"run"`            // as it is written
	Next    time.Time `json:"next,omitzero"`  // not there while a run goes on
	Began   time.Time `json:"began,omitzero"` // the last run
	Ended   time.Time `json:"ended,omitzero"` // the last run that has ended
	Running bool      `json:"running"`        // a run goes on
}

type partPosition struct {
	Partition int    `json:"partition"`
	Next      int64  `json:"next_offset"`
	End       int64  `json:"end_offset"`
	Snapshot  string `json:"snapshot,omitempty"`
	Unsettled bool   `json:"unsettled,omitempty"` // a snapshot has ended, and what it did not find is looked for
}

type eventLedger struct {
	TakenIn    int64 `json:"taken_in"`
	Applied    int64 `json:"applied"`
	Unchanged  int64 `json:"unchanged"`
	Superseded int64 `json:"superseded"`
	Filtered   int64 `json:"filtered"`
	Rejected   int64 `json:"rejected"`
	Dropped    int64 `json:"dropped"` // of the rejected, those that were taken out of quarantine for good
	Held       int64 `json:"held"`
	Waiting    int64 `json:"waiting"`
	Pending    int64 `json:"pending"`
}

type keyLedger struct {
	InSync   int64 `json:"in_sync"`
	Pending  int64 `json:"pending"`
	Unknown  int64 `json:"unknown"`
	Rejected int64 `json:"rejected"`
	Held     int64 `json:"held"`
	Waiting  int64 `json:"waiting"`
	Excluded int64 `json:"excluded"`
	Removed  int64 `json:"removed"`
	Absent   int64 `json:"absent"`
	InApp    int64 `json:"in_app"`
}

// status reports on every part.
func (rt *plant) status(ctx context.Context) (*report, error) {
	r := &report{Running: rt.running, Sources: []sourceReport{}, Apps: []appReport{}, Pipelines: []pipelineReport{}}
	if rt.running {
		r.Since = rt.started
	}
	for _, block := range rt.Sources {
		src := rt.sources[block.Name]
		if src == nil {
			continue
		}
		if !rt.running {
			r.Sources = append(r.Sources, rt.left(ctx, src))
			continue
		}
		s := src.report(src.Status())
		if rt.watch != nil {
			s.Warnings = append(s.Warnings, rt.watch.drift("source "+block.Name)...)
		}
		r.Sources = append(r.Sources, s)
	}
	if rt.engine == nil {
		return r, nil
	}
	st := rt.engine.Status()
	for _, a := range st.Apps {
		app := appReport{Type: "app", App: a.Name, State: a.State, Detail: a.Detail, Next: a.Next, QuotaDay: a.QuotaDay, QuotaLeft: a.QuotaLeft, QuotaEmpty: a.QuotaEmpty}
		if rt.watch != nil {
			app.Warnings = rt.watch.drift("app " + a.Name)
		}
		app.Warnings = append(app.Warnings, a.Warnings...)
		r.Apps = append(r.Apps, app)
	}
	for i := range st.Pipelines {
		p, err := rt.pipelineReport(ctx, &st.Pipelines[i])
		if err != nil {
			return nil, err
		}
		r.Pipelines = append(r.Pipelines, p)
	}
	return r, nil
}

func (r *reading) report(st capture.Status) sourceReport {
	out := sourceReport{
		Type: "source", Source: r.name, State: st.State, Detail: st.Detail, Position: st.Position, Confirmed: st.Confirmed,
		LagSeconds: st.Lag.Seconds(), LagBytes: st.Behind, RetainedBytes: st.RetainedBytes, Epoch: st.Epoch, Warnings: st.Warnings,
	}
	if t := st.Transactions; t != nil {
		out.Transactions = &ops.Transactions{Open: t.Open, MemoryBytes: t.MemoryBytes, FileBytes: t.FileBytes, ServerSpilled: t.ServerSpilled, ServerSpilledBytes: t.ServerSpilledBytes}
		if t.Open > 0 {
			out.Transactions.OldestSeconds = time.Since(t.Oldest).Seconds()
		}
	}
	if err := r.failure(); err != nil {
		out.State, out.Detail = "failed", err.Error()
	}
	for _, t := range st.Tables {
		out.Tables = append(out.Tables, tableReport{t.Name, t.Topic, t.SchemaVersion, t.Snapshot, t.SnapshotRows, t.SnapshotTotal, t.SnapshotBytes, t.SnapshotLeft.Seconds(), t.SnapshotChunks, t.SnapshotRate, t.SnapshotWaits})
	}
	if r.stats != nil {
		r.stats.Events(func(_ string, _ change.Op, n uint64) { out.Events += n })
	}
	return out
}

func (rt *plant) pipelineReport(ctx context.Context, st *sink.PipelineStatus) (pipelineReport, error) {
	p := pipelineReport{
		Type: "pipeline", Pipeline: st.Name, App: st.App, State: "running", InFlight: st.Inflight, Guarded: st.Guarded, Changed: st.Changed,
		Events: eventsOf(&st.Ledger), Keys: keysOf(&st.Ledger.Keys), Where: []partPosition{},
	}
	p.Reread = st.Reselected
	p.Backfill = rt.backfillReport(st)
	if !st.Paused.IsZero() {
		p.Paused = &st.Paused
	}
	if st.Schedule != "" {
		p.Schedule = &scheduleTimes{st.Schedule, st.Next, st.Began, st.End, st.Began.After(st.End)}
	}
	p.Verify = verifyReportOf(&st.Verify)
	switch {
	case !rt.running:
		p.State = "stopped"
	case st.Blocked != "":
		p.State, p.Detail = "blocked", st.Blocked
	case !st.Paused.IsZero():
		p.State = "paused"
	case st.Schedule != "" && !p.Schedule.Running:
		p.State = "scheduled"
	}
	if failed := rt.pipelineFailure(st.Name); failed != nil {
		p.State, p.Detail = "failed", failed.Error()
	}
	if rt.watch != nil {
		p.Warnings = rt.watch.warnings(st.Name)
	}
	at := map[int]sink.PartitionStatus{}
	for _, part := range st.Partitions {
		at[part.Partition] = part
	}
	if !rt.running { // nothing is assigned: what is kept counts
		if err := rt.store.View(ctx, func(tx state.Tx) error {
			kept, err := tx.Pipeline(st.Name)
			if err != nil {
				return err
			}
			return tx.Positions(kept.ID, func(pos state.Position) error {
				at[pos.Partition] = sink.PartitionStatus{Partition: pos.Partition, Next: pos.Offset, Snapshot: pos.Snapshot, Unsettled: pos.Unsettled()}
				return nil
			})
		}); err != nil {
			return p, err
		}
	}
	for _, w := range st.Parents {
		p.WaitsFor = append(p.WaitsFor, parentWait{w.Name, w.Pipeline, w.Records})
	}
	if st.Expired != "" {
		p.Warnings = append(p.Warnings, st.Expired)
	}
	topic := rt.topics[st.Name]
	partitions, err := rt.log.Partitions(ctx, topic)
	if err != nil {
		return p, err
	}
	for n := range partitions {
		start, end, err := rt.log.Bounds(ctx, topic, n)
		if err != nil {
			return p, err
		}
		next := max(start, at[n].Next)
		p.Where = append(p.Where, partPosition{Partition: n, Next: next, End: end, Snapshot: at[n].Snapshot, Unsettled: at[n].Unsettled})
		p.LagEvents += end - next
		if at[n].Unsettled {
			p.LagEvents++ // the end of the snapshot
		}
	}
	return p, nil
}

func eventsOf(l *state.Ledger) eventLedger {
	return eventLedger{l.Taken, l.Applied, l.Unchanged, l.Superseded, l.Filtered, l.Rejected, l.Dropped, l.Held, l.Waiting, l.Pending}
}

func keysOf(k *state.Keys) keyLedger {
	return keyLedger{k.InSync, k.Pending, k.Unknown, k.Rejected, k.Held, k.Waiting, k.Excluded, k.Removed, k.Absent, k.InApp}
}

// writeReport writes the answer of `penstock status`.
func (c *cli) writeReport(r *report) error {
	if c.json {
		if err := c.line(map[string]any{"type": "process", "running": r.Running, "since": r.Since}); err != nil {
			return err
		}
		for _, s := range r.Sources {
			if err := c.line(s); err != nil {
				return err
			}
		}
		for _, a := range r.Apps {
			if err := c.line(a); err != nil {
				return err
			}
		}
		for _, p := range r.Pipelines {
			if err := c.line(p); err != nil {
				return err
			}
		}
		return nil
	}
	if !r.Running {
		fmt.Fprintln(c.out, "No process runs; this is the state it left.")
	}
	for _, s := range r.Sources {
		fmt.Fprintf(c.out, "source %s: %s", s.Source, s.State)
		if s.Detail != "" {
			fmt.Fprintf(c.out, " (%s)", s.Detail)
		}
		switch {
		case s.State != "stopped":
			fmt.Fprintf(c.out, "\n  at %s, confirmed %s, %.1f s and %s behind, %s retained at the server, %d events captured",
				s.Position, s.Confirmed, s.LagSeconds, bytesText(s.LagBytes), bytesText(s.RetainedBytes), s.Events)
		case s.Position != "":
			fmt.Fprintf(c.out, "\n  goes on at %s", s.Position)
		}
		fmt.Fprintln(c.out)
		if t := s.Transactions; t != nil && t.Open > 0 {
			fmt.Fprintf(c.out, "  %d transactions in progress, the oldest for %.0f s: %s in memory, %s in files\n", t.Open, t.OldestSeconds, bytesText(t.MemoryBytes), bytesText(t.FileBytes))
		}
		if t := s.Transactions; t != nil && t.ServerSpilled > 0 {
			fmt.Fprintf(c.out, "  the server wrote %d transactions to its own disk (%s)\n", t.ServerSpilled, bytesText(t.ServerSpilledBytes))
		}
		for _, t := range s.Tables {
			line := fmt.Sprintf("  table %s -> topic %s, schema %s", t.Table, t.Topic, t.SchemaVersion)
			if t.Snapshot != "" {
				line += ", snapshot " + t.snapshotText()
			}
			fmt.Fprintln(c.out, line)
		}
		for _, w := range s.Warnings {
			fmt.Fprintln(c.out, "  warning: "+w)
		}
	}
	for _, a := range r.Apps {
		fmt.Fprintf(c.out, "app %s: %s", a.App, a.State)
		if a.Detail != "" {
			fmt.Fprintf(c.out, " (%s)", a.Detail)
		}
		if a.QuotaDay > 0 {
			fmt.Fprintf(c.out, ", %d of the day's %d calls are left", a.QuotaLeft, a.QuotaDay)
		}
		fmt.Fprintln(c.out)
		for _, w := range a.Warnings {
			fmt.Fprintln(c.out, "  warning: "+w)
		}
	}
	for i := range r.Pipelines {
		p := &r.Pipelines[i]
		fmt.Fprintf(c.out, "pipeline %s -> %s: %s", p.Pipeline, p.App, p.State)
		if p.Detail != "" {
			fmt.Fprintf(c.out, " (%s)", p.Detail)
		}
		e, k := p.Events, p.Keys
		fmt.Fprintf(c.out, ", %d events behind, %d in flight, %d stopped by guards\n", p.LagEvents, p.InFlight, p.Guarded)
		if slices.ContainsFunc(p.Where, func(w partPosition) bool { return w.Unsettled }) {
			fmt.Fprint(c.out, "  a load has ended: records whose rows it did not find are looked for\n")
		}
		if p.Reread > 0 {
			fmt.Fprintf(c.out, "  %d rows are read again from the source, since a change came without a value that is needed (they are among the rejected)\n", p.Reread)
		}
		if b := p.Backfill; b != nil {
			how := map[string]string{"auto": "its table is read again", "ask": "its table is read again after penstock backfill approve " + p.Pipeline, "never": "only live changes are taken"}[b.Mode]
			fmt.Fprintf(c.out, "  %s: %s; it has seen %d records, %d calls at most for them\n", b.Why, how, b.Records, b.Calls)
		}
		if p.Paused != nil {
			fmt.Fprintf(c.out, "  paused since %s: %d records wait for penstock resume %s\n", p.Paused.Format(time.RFC3339), e.Pending, p.Pipeline)
		}
		if s := p.Schedule; s != nil {
			fmt.Fprintf(c.out, "  schedule %s: %s\n", s.Run, s)
		}
		if p.Verify != nil {
			fmt.Fprintf(c.out, "  verify: %s\n", p.Verify)
		}
		fmt.Fprintf(c.out, "  events: %d taken in = %d applied + %d unchanged + %d superseded + %d filtered + %d rejected + %d held + %d waiting + %d pending\n",
			e.TakenIn, e.Applied, e.Unchanged, e.Superseded, e.Filtered, e.Rejected, e.Held, e.Waiting, e.Pending)
		fmt.Fprintf(c.out, "  keys: %d in sync, %d pending, %d unknown, %d rejected, %d held, %d waiting, %d excluded, %d removed, %d absent; %d have a record in the app\n",
			k.InSync, k.Pending, k.Unknown, k.Rejected, k.Held, k.Waiting, k.Excluded, k.Removed, k.Absent, k.InApp)
		for _, w := range p.WaitsFor {
			fmt.Fprintf(c.out, "  %d records wait for their parent %s (pipeline %s)\n", w.Records, w.Parent, w.Pipeline)
		}
		if e.Dropped > 0 {
			fmt.Fprintf(c.out, "  %d of the rejected were dropped from quarantine\n", e.Dropped)
		}
		for _, w := range p.Warnings {
			fmt.Fprintln(c.out, "  warning: "+w)
		}
	}
	return nil
}

func (s *scheduleTimes) String() string {
	last := "no run yet"
	switch {
	case s.Running:
		return "a run goes on since " + s.Began.Format(time.RFC3339)
	case !s.Began.IsZero():
		last = fmt.Sprintf("last run %s to %s", s.Began.Format(time.RFC3339), s.Ended.Format(time.RFC3339))
	}
	if s.Next.IsZero() {
		return last
	}
	return fmt.Sprintf("next run %s, %s", s.Next.Format(time.RFC3339), last)
}

func (rt *plant) backfillReport(st *sink.PipelineStatus) *backfillReport {
	if st.Backfill.Why == "" {
		return nil
	}
	for _, pipe := range rt.Pipelines {
		if pipe.Name == st.Name {
			batch := int64(max(1, rt.apps[pipe.To.App].Limits(pipe.To.Object).Batch))
			return &backfillReport{st.Backfill.Why, pipe.Backfill, st.Backfill.Approved, st.Backfill.Records, (st.Backfill.Records + batch - 1) / batch}
		}
	}
	return nil
}

// keyJSON is a source key in an answer: the message key as it is, null where there is none.
func keyJSON(key []byte) json.RawMessage {
	if len(key) == 0 {
		return json.RawMessage("null")
	}
	return json.RawMessage(key)
}
