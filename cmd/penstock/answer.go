package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-cdc/penstock/sink"
	"github.com/penstock-cdc/penstock/state"
)

// The questions that commands ask of a project: of the running process through its
// socket, or answered by the command itself when none runs.
const (
	askStatus      = "status"
	askList        = "dlq/list"
	askReplay      = "dlq/replay"
	askDrop        = "dlq/drop"
	askGuards      = "guard/list"
	askApprove     = "guard/approve"
	askHolds       = "hold/list"
	askResolve     = "hold/resolve"
	askBackfill    = "backfill/approve"
	askTiming      = "timing"
	askBackup      = "state/backup"
	askHistory     = "history"
	askExplain     = "explain"
	askGroups      = "dlq/groups"
	askForget      = "forget"
	askReconcile   = "reconcile"
	askReconciling = "reconcile/progress"
)

// quarantineQuery chooses entries; ID chooses one, with its content.
type quarantineQuery struct {
	Pipeline, Reason, Key string
	ID                    int64
	All                   bool   // replay and drop: all that match
	Because               string // drop: why
}

// quarantined is one entry.
type quarantined struct {
	Type     string          `json:"type"`
	ID       int64           `json:"id"`
	Pipeline string          `json:"pipeline"`
	Key      json.RawMessage `json:"key"`
	Reason   string          `json:"reason"`
	Message  string          `json:"message"`
	ByApp    bool            `json:"by_app"` // the app refused it; else the pipeline did
	Event    string          `json:"event_id"`
	Time     time.Time       `json:"time"`
	// With one entry alone:
	Request map[string]any  `json:"request,omitempty"`
	Value   json.RawMessage `json:"event,omitempty"`
}

// guardStop is what a guard holds back.
type guardStop struct {
	Type     string    `json:"type"`
	Pipeline string    `json:"pipeline"`
	Kind     string    `json:"kind"`
	Queued   int64     `json:"queued"`
	Sent     int64     `json:"sent_in_the_hour"`
	Limit    int64     `json:"limit"`
	Since    time.Time `json:"since,omitzero"`
	Seen     int64     `json:"seen"`
}

type approval struct {
	Pipeline, Kind string
	Seen           int64 // of the listing that was looked at; 0: what is there now
}

// held is a record that waits for a decision.
type held struct {
	Type     string          `json:"type"`
	ID       int64           `json:"id"`
	Pipeline string          `json:"pipeline"`
	Key      json.RawMessage `json:"key"`
	AppKey   string          `json:"app_key"`
	Event    string          `json:"event_id"`
	Time     time.Time       `json:"time"`
}

// holdQuery chooses held records; the rest says what becomes of them.
type holdQuery struct {
	Pipeline string
	ID       int64
	All      bool
	Recreate bool // else forget
}

type count struct {
	Count int64 `json:"count"`
}

// answer answers one question.
func (rt *plant) answer(ctx context.Context, question string, body json.RawMessage) (any, error) {
	switch question {
	case askStatus:
		return rt.status(ctx)
	case askBackup:
		var path string
		if err := json.Unmarshal(body, &path); err != nil {
			return nil, err
		}
		return struct{}{}, rt.store.Backup(ctx, path)
	case askSnapshot:
		return rt.snapshotNow(ctx, body)
	}
	if rt.engine == nil {
		return nil, errors.New("this process captures only: ask the one that runs the sink")
	}
	switch question {
	case askList, askReplay, askDrop:
		var q quarantineQuery
		if err := json.Unmarshal(body, &q); err != nil {
			return nil, err
		}
		if question == askList {
			return rt.listQuarantine(ctx, q)
		}
		return rt.settleQuarantine(ctx, question, q)
	case askGuards:
		out := []guardStop{}
		for _, g := range rt.engine.Guards() {
			stop := guardStop{Type: "guard", Pipeline: g.Pipeline, Kind: g.Kind, Queued: g.Queued, Sent: g.Sent, Limit: g.Limit, Seen: g.Seen}
			if g.Since > 0 {
				stop.Since = time.UnixMilli(g.Since).UTC()
			}
			out = append(out, stop)
		}
		return out, nil
	case askExplain:
		var q explainQuery
		if err := json.Unmarshal(body, &q); err != nil {
			return nil, err
		}
		return rt.explain(ctx, q)
	case askGroups:
		var q quarantineQuery
		if err := json.Unmarshal(body, &q); err != nil {
			return nil, err
		}
		return rt.quarantineGroups(ctx, q)
	case askForget:
		var q forgetQuery
		if err := json.Unmarshal(body, &q); err != nil {
			return nil, err
		}
		return rt.forget(ctx, q)
	case askReconcile:
		var q reconcileQuery
		if err := json.Unmarshal(body, &q); err != nil {
			return nil, err
		}
		return rt.reconcile(ctx, q)
	case askReconciling:
		if at := rt.reconciling.Load(); at != nil {
			return at, nil
		}
		return reconcileProgress{}, nil
	case askHistory:
		var q historyQuery
		if err := json.Unmarshal(body, &q); err != nil {
			return nil, err
		}
		return rt.history(ctx, q)
	case askApprove:
		var a approval
		if err := json.Unmarshal(body, &a); err != nil {
			return nil, err
		}
		return rt.approve(ctx, a)
	case askBackfill:
		return rt.approveBackfill(ctx, body)
	case askTiming:
		return rt.timing(ctx, body)
	case askHolds, askResolve:
		var q holdQuery
		if err := json.Unmarshal(body, &q); err != nil {
			return nil, err
		}
		holds, err := rt.holds(ctx, q)
		if err != nil || question == askResolve {
			return rt.resolve(ctx, q, holds, err)
		}
		out := []held{}
		for _, h := range holds {
			out = append(out, held{"held", h.Record, h.Pipeline, keyJSON(h.Key), h.AppKey, h.EventID.String(), time.UnixMilli(h.Time).UTC()})
		}
		return out, nil
	}
	return nil, fmt.Errorf("unknown question %q", question)
}

func (rt *plant) listQuarantine(ctx context.Context, q quarantineQuery) ([]quarantined, error) {
	if q.Pipeline != "" && rt.engine.Pipeline(q.Pipeline) == nil {
		return nil, fmt.Errorf("there is no pipeline %q", q.Pipeline)
	}
	out := []quarantined{}
	err := rt.engine.Quarantined(ctx, sink.QuarantineFilter{Pipeline: q.Pipeline, Code: q.Reason, Key: q.Key}, func(pipeline string, e *state.Quarantine) error {
		if q.ID != 0 && q.ID != e.ID {
			return nil
		}
		entry := quarantined{
			Type: "quarantined", ID: e.ID, Pipeline: pipeline, Key: keyJSON(e.Key), Reason: e.Code, Message: e.Message, ByApp: e.ByApp,
			Event: e.EventID.String(), Time: time.UnixMilli(e.Time).UTC(),
		}
		if q.ID != 0 {
			for _, f := range rt.engine.Fields(pipeline, e) {
				if entry.Request == nil {
					entry.Request = map[string]any{}
				}
				if f.Value.IsNull() {
					entry.Request[f.Name] = nil
				} else {
					entry.Request[f.Name] = f.Value.Text()
				}
			}
			m, err := rt.engine.Event(e)
			if err != nil {
				return err
			}
			entry.Value = m.Value
		}
		out = append(out, entry)
		return nil
	})
	return out, err
}

// settleQuarantine replays or drops what the query chooses.
func (rt *plant) settleQuarantine(ctx context.Context, question string, q quarantineQuery) (count, error) {
	if q.ID == 0 && !q.All {
		return count{}, errors.New("name an entry by its id, or choose all with --all")
	}
	entries, err := rt.listQuarantine(ctx, q)
	if err != nil {
		return count{}, err
	}
	if q.ID != 0 && len(entries) == 0 {
		return count{}, fmt.Errorf("there is no entry %d in quarantine", q.ID)
	}
	var n count
	for _, e := range entries {
		settle := rt.engine.Replay
		if question == askDrop {
			settle = func(ctx context.Context, pipeline string, id int64) error {
				return rt.engine.Drop(ctx, pipeline, id, q.Because)
			}
		}
		if err := settle(ctx, e.Pipeline, e.ID); err != nil {
			return n, err
		}
		n.Count++
	}
	return n, nil
}

func (rt *plant) holds(ctx context.Context, q holdQuery) (all []sink.Hold, err error) {
	if q.Pipeline != "" && rt.engine.Pipeline(q.Pipeline) == nil {
		return nil, fmt.Errorf("there is no pipeline %q", q.Pipeline)
	}
	err = rt.engine.Holds(ctx, q.Pipeline, func(h sink.Hold) error {
		if q.ID == 0 || q.ID == h.Record {
			all = append(all, h)
		}
		return nil
	})
	return all, err
}

func (rt *plant) resolve(ctx context.Context, q holdQuery, holds []sink.Hold, err error) (n count, _ error) {
	if err != nil {
		return n, err
	}
	if q.ID != 0 && len(holds) == 0 {
		return n, fmt.Errorf("record %d is not held: penstock hold list shows what is", q.ID)
	}
	for _, h := range holds {
		if err := rt.engine.Resolve(ctx, h, q.Recreate); err != nil {
			return n, err
		}
		n.Count++
	}
	return n, nil
}

func (rt *plant) approve(ctx context.Context, a approval) (count, error) {
	var n count
	for _, g := range rt.engine.Guards() {
		if g.Pipeline != a.Pipeline || a.Kind != "" && a.Kind != g.Kind {
			continue
		}
		if a.Seen != 0 {
			g.Seen = a.Seen
		}
		let, err := rt.engine.Approve(ctx, g)
		if err != nil {
			return n, err
		}
		n.Count += let
	}
	return n, nil
}
