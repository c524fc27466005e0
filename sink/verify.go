package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/penstock-cdc/penstock/state"
)

// Verify says how a pipeline looks for what others do in the app to records of ours: to fields of the group source, which
// are put back, and to records, which are treated as OnAppDelete says.
type Verify struct {
	// Every is how often it asks what has changed there; 0: never. The app is a Changer and a Reader then.
	Every time.Duration
	// BeforeWrite: a known record is read before it is written. The app is a Reader then.
	BeforeWrite bool
}

// verifyWait is how long a round waits before it goes on when the app can't be asked.
const verifyWait = 30 * time.Second

// verify looks in rounds for what others change in the app, until ctx ends; its error is the state's.
func (p *Pipeline) verify(ctx context.Context) error {
	said := ""
	for ctx.Err() == nil {
		timer := time.NewTimer(p.verifyDue(time.Now()))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			break
		}
		err := p.verifyRound(ctx)
		var silent *unreadError
		if err != nil && !errors.As(err, &silent) {
			if ctx.Err() != nil {
				break
			}
			return fmt.Errorf("verify pipeline %s: %w", p.spec.Name, err)
		}
		text := ""
		if err != nil && ctx.Err() == nil {
			text = err.Error()
		}
		p.mu.Lock()
		p.unverified = text
		p.mu.Unlock()
		if text != "" && text != said {
			p.e.log.Warn("edits in the app are not looked for now", "pipeline", p.spec.Name, "app", p.d.name, "error", text)
		}
		said = text
	}
	return nil
}

// verifyDue returns how long the next round is away.
func (p *Pipeline) verifyDue(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := &p.verified
	switch {
	case p.unverified != "" || p.delivery.Paused != 0:
		return verifyWait
	case v.Began > v.Ended || v.Target != p.verifyTarget():
		return 0
	}
	return max(0, time.UnixMilli(v.Began).Add(p.spec.Verify.Every).Sub(now))
}

func (p *Pipeline) verifyTarget() string { return p.spec.App + "/" + p.spec.Object }

// verifyRound asks what has changed since the last round, page by page. Where it is, is kept after each page: what was
// repaired twice is written twice at most.
func (p *Pipeline) verifyRound(ctx context.Context) error {
	p.mu.Lock()
	v, paused := p.verified, p.delivery.Paused != 0
	p.mu.Unlock()
	if paused {
		return nil
	}
	if v.Target != p.verifyTarget() {
		v.Target, v.Cursor, v.Began, v.Ended = p.verifyTarget(), "", 0, 0
	}
	if v.Began <= v.Ended {
		v.Began = max(time.Now().UnixMilli(), v.Ended+1)
	}
	changer, reader := p.d.app.(Changer), p.d.app.(Reader) // New has seen to it
	fields := append(p.names(OwnedBySource), p.spec.Program.KeyField())
	c := &reconciler{p: p, verifies: true, o: ReconcileOptions{Repair: true, CallsPerSecond: p.verifyRate()}, examples: map[Drift]int{},
		out: &Reconciled{Apart: map[string]int64{}, Drift: map[Drift]int64{}}}
	for more := true; more; {
		var page Changes
		if err := c.paced(ctx, func(ctx context.Context) (err error) {
			page, err = changer.Changes(ctx, p.spec.Object, v.Cursor, fields)
			return err
		}); err != nil {
			return err
		}
		ids, err := p.edited(ctx, page.Records)
		if err != nil {
			return err
		}
		for some := range slices.Chunk(ids, p.d.limits(p.spec.Object).Read) {
			if err := c.readBack(ctx, reader, some); err != nil {
				return err
			}
		}
		if page.More && page.Next == v.Cursor {
			return &unreadError{fmt.Errorf("app %s says that there is more and does not go on", p.d.name)}
		}
		v.Cursor, more = page.Next, page.More
		if !more {
			v.Ended = max(time.Now().UnixMilli(), v.Began)
		}
		if err := p.verifiedTo(ctx, &v, int64(len(page.Records))); err != nil {
			return err
		}
		p.d.wake()
	}
	return nil
}

// verifiedTo keeps how far the round is.
func (p *Pipeline) verifiedTo(ctx context.Context, v *state.Verify, looked int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.update(ctx, "", "", func(u *unit) error {
		to := &u.verified
		to.Target, to.Cursor, to.Began, to.Ended = v.Target, v.Cursor, v.Began, v.Ended
		to.Looked += looked
		return nil
	})
}

// verifyRate is how many calls a second a round makes: a quarter of what the app allows.
func (p *Pipeline) verifyRate() float64 {
	if l := p.d.limits(p.spec.Object); l.Calls > 0 && l.Window > 0 {
		return float64(l.Calls) / l.Window.Seconds() / 4
	}
	return reconcileRate
}

// edited returns our records that are not what the app took over, as far as what it says of its changes tells. That may be old
// already: they are read again.
func (p *Pipeline) edited(ctx context.Context, changed []Record) (ids []int64, err error) {
	is := map[int64]*Record{} // nil: it is not there under its own id
	if err := p.e.o.Store.View(ctx, func(tx state.Tx) error {
		note := func(appID string, r *Record) error {
			owner, err := tx.Owner(p.id, appID)
			if err != nil || owner == 0 {
				return err
			}
			if _, twice := is[owner]; !twice || r != nil {
				is[owner] = r
			}
			return nil
		}
		for i := range changed {
			r := &changed[i]
			if err := note(r.ID, r); err != nil {
				return err
			}
			for _, id := range r.Merged {
				if id == r.ID {
					continue
				}
				if err := note(id, nil); err != nil {
					return err
				}
			}
		}
		return nil
	}); err != nil || len(is) == 0 {
		return nil, err
	}
	ours := make([]int64, 0, len(is))
	for id := range is {
		ours = append(ours, id)
	}
	slices.Sort(ours)
	return ids, p.view(ctx, nil, ours, func(u *unit) error {
		for _, r := range u.order {
			s := r.sh
			if s.Standing != state.InApp || s.Deleted || s.Excluded || u.apart(s.Key, r) != "" {
				continue
			}
			if kind, _ := p.driftOf(s, is[s.ID]); kind != "" {
				ids = append(ids, s.ID)
			}
		}
		return nil
	})
}

// verifyStatus says how far it is; the caller holds mu.
func (p *Pipeline) verifyStatus() VerifyStatus {
	v, o := &p.verified, p.spec.Verify
	s := VerifyStatus{Every: o.Every, BeforeWrite: o.BeforeWrite, Detail: p.unverified, Looked: v.Looked, Edited: v.Edited, Gone: v.Gone, Left: v.Left}
	if v.Began > 0 {
		s.Began = time.UnixMilli(v.Began).UTC()
	}
	if v.Ended > 0 {
		s.Ended = time.UnixMilli(v.Ended).UTC()
	}
	if o.Every > 0 && v.Began > 0 && v.Ended >= v.Began {
		s.Next = s.Began.Add(o.Every)
	}
	return s
}
