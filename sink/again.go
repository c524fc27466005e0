package sink

import (
	"context"

	"github.com/penstock-cdc/penstock/change"
	"github.com/penstock-cdc/penstock/state"
)

// anew decodes and transforms a kept event with the program of now.
func (p *Pipeline) anew(ctx context.Context, kept []byte, partitionNumber int) (*taken, error) {
	m, err := readEvent(kept)
	if err != nil {
		return nil, err
	}
	part := &partition{topic: p.spec.Topic, number: partitionNumber, worker: p.spec.Program.NewWorker(), decoder: change.NewDecoder()}
	t := &taken{offset: m.Offset, key: m.Key, event: kept}
	if err := t.id.UnmarshalText(header(m.Headers, change.HeaderID)); err != nil {
		return nil, err
	}
	return t, p.evaluate(ctx, part, t, m.Key, m.Value, m.Headers)
}

// reevaluate makes the waiting states that an older program made anew, from the events they came from:
// none of an older fingerprint is sent. Removals stay as they are.
func (p *Pipeline) reevaluate(ctx context.Context) error {
	for after, more := int64(0), true; more; {
		var old []*state.Pending
		n := 0
		err := p.e.o.Store.View(ctx, func(tx state.Tx) error {
			return tx.ScanPending(p.id, after, 500, func(w *state.Pending) error {
				n++
				after = w.Record
				if w.Want == state.Put && w.Fingerprint != p.print && len(w.Event) > 0 {
					old = append(old, w)
				}
				return nil
			})
		})
		if err != nil {
			return err
		}
		more = n == 500
		anew := map[int64]*taken{}
		for _, w := range old {
			if anew[w.Record], err = p.anew(ctx, w.Event, 0); err != nil {
				return err
			}
		}
		err = p.update(ctx, "", "", func(u *unit) error {
			ids := make([]int64, len(old))
			for i, w := range old {
				ids[i] = w.Record
			}
			if err := u.loadByID(ids); err != nil {
				return err
			}
			for _, id := range ids {
				r := u.recs[id]
				if r == nil || r.pd == nil {
					continue
				}
				t := anew[id]
				if r.pd.Queue.Lane() == state.Backfill && r.pd.Queue.Ready() {
					t.op = change.Read
				}
				// It is the same event taken in once more, not another one.
				u.ledger.Superseded--
				seen := r.sh.Seen
				if err := u.decide(r, r.sh.Partition, t); err != nil {
					return err
				}
				r.sh.Seen = seen
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
