package sink

import (
	"context"
	"fmt"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// Hold is a record that waits for someone to decide: it was removed in the app, and `on "app_delete"` says hold.
type Hold struct {
	Pipeline string
	Record   int64
	Key      []byte // of its row, JSON; nil while the row is between two keys
	AppKey   string
	EventID  change.ID // the newest event that waits
	Time     int64     // that event's commit, Unix ms
}

// Holds hands what is held to f, by record; an empty pipeline: of all.
func (e *Engine) Holds(ctx context.Context, pipeline string, f func(Hold) error) error {
	for _, p := range e.order {
		if pipeline != "" && pipeline != p.spec.Name {
			continue
		}
		for after, more := int64(0), true; more; {
			var page []Hold
			at := map[int64]int{}
			n := 0
			err := e.o.Store.View(ctx, func(tx state.Tx) error {
				var ids []int64
				if err := tx.ScanPending(p.id, after, 500, func(w *state.Pending) error {
					n++
					after = w.Record
					if w.Queue == state.Held {
						at[w.Record] = len(page)
						page = append(page, Hold{Pipeline: p.spec.Name, Record: w.Record, AppKey: w.Key.Text(), EventID: w.EventID, Time: w.Time})
						ids = append(ids, w.Record)
					}
					return nil
				}); err != nil {
					return err
				}
				return tx.ShadowsByID(p.id, ids, func(s *state.Shadow) error {
					page[at[s.ID]].Key = s.Key
					return nil
				})
			})
			if err != nil {
				return fmt.Errorf("list holds of %s: %w", p.spec.Name, err)
			}
			more = n == 500
			for _, h := range page {
				if err := f(h); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Resolve ends a hold: the record is made anew in the app, or forgotten: its row's changes are not sent any more.
func (e *Engine) Resolve(ctx context.Context, h Hold, recreate bool) error {
	p, err := e.find(h.Pipeline)
	if err != nil {
		return fmt.Errorf("resolve: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	err = p.update(ctx, "", "", func(u *unit) error {
		r, err := u.record(h.Record)
		if err != nil {
			return err
		}
		if r == nil || r.pd == nil || r.pd.Queue != state.Held {
			return fmt.Errorf("record %d is not held (a newer event may have taken its place)", h.Record)
		}
		u.ledger.Held--
		if recreate {
			w := *r.pd
			u.ready(r, &w)
			return nil
		}
		u.ledger.Unchanged++
		u.dropPending(r)
		r.sh.Standing, r.dirtySh = state.Forgotten, true
		return nil
	})
	if err != nil {
		return fmt.Errorf("resolve hold %d of %s: %w", h.Record, h.Pipeline, err)
	}
	p.d.wake()
	return nil
}
