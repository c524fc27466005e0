package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-cdc/penstock/state"
)

// QuarantineOptions bound what each pipeline keeps in quarantine. What is beyond is dropped, the oldest first, as a
// person would: it stays counted as rejected, is counted as dropped and named in the log and the record's history.
type QuarantineOptions struct {
	Age     time.Duration // 0: any
	Records int64         // 0: any number
}

// expire drops what is beyond the bounds.
func (e *Engine) expire(ctx context.Context) error {
	o := e.o.Quarantine
	if o.Age <= 0 && o.Records <= 0 {
		return nil
	}
	for _, p := range e.order {
		n, why := int64(0), ""
		for {
			q, reason, err := p.expired(ctx, o)
			if err != nil {
				return err
			}
			if q == nil {
				break
			}
			err = e.Drop(ctx, p.spec.Name, q.ID, reason)
			var gone *EntryError
			if err != nil && !errors.As(err, &gone) { // a newer event took its place meanwhile
				return err
			}
			n++
			why = reason
		}
		if n > 0 {
			e.log.Warn("quarantine is beyond its bounds: the oldest entries are dropped", "pipeline", p.spec.Name, "dropped", n, "reason", why)
			p.mu.Lock()
			p.expiredAt, p.expiredBy = time.Now(), fmt.Sprintf("%d entries of the quarantine were dropped: %s", n, why)
			p.mu.Unlock()
		}
	}
	return nil
}

// expired returns the oldest entry if it is beyond the bounds, and why it is.
func (p *Pipeline) expired(ctx context.Context, o QuarantineOptions) (oldest *state.Quarantine, why string, err error) {
	p.mu.Lock()
	left := p.ledger.Rejected - p.ledger.Dropped
	p.mu.Unlock()
	if left == 0 {
		return nil, "", nil
	}
	if err := p.e.o.Store.View(ctx, func(tx state.Tx) error {
		return tx.ScanQuarantine(p.id, 0, 1, func(q *state.Quarantine) error {
			oldest = q
			return nil
		})
	}); err != nil || oldest == nil {
		return nil, "", err
	}
	switch {
	case o.Records > 0 && left > o.Records:
		return oldest, fmt.Sprintf("more than %d were there", o.Records), nil
	case o.Age > 0 && time.Since(time.UnixMilli(oldest.Time)) > o.Age:
		return oldest, fmt.Sprintf("older than %s", o.Age), nil
	}
	return nil, "", nil
}
