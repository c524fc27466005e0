package state

import "fmt"

// Ledger accounts for a pipeline's events and keys.
type Ledger struct {
	Taken int64
	// What became of them.
	Applied, Unchanged, Superseded, Filtered, Rejected, Held, Waiting, Pending int64
	// Dropped is the part of Rejected that an operator took out of the quarantine.
	Dropped int64
	Keys    Keys
}

// Keys counts keys by state. Each key is in one of them; InApp counts those of all
// states that have a record in the app.
type Keys struct {
	InSync, Pending, Unknown, Rejected, Held, Waiting, Excluded, Removed, Absent int64
	InApp                                                                        int64
}

// Check returns an error when the events do not add up.
func (l *Ledger) Check() error {
	sum := l.Applied + l.Unchanged + l.Superseded + l.Filtered + l.Rejected + l.Held + l.Waiting + l.Pending
	if sum != l.Taken {
		return fmt.Errorf("ledger does not add up: %d taken in, %d accounted for", l.Taken, sum)
	}
	return nil
}

// Add adds another ledger's counts.
func (l *Ledger) Add(d *Ledger) {
	a, b := l.counts(), d.counts()
	for i := range a {
		*a[i] += *b[i]
	}
}

func (l *Ledger) counts() [20]*int64 {
	k := &l.Keys
	return [...]*int64{
		&l.Taken, &l.Applied, &l.Unchanged, &l.Superseded, &l.Filtered, &l.Rejected, &l.Held, &l.Waiting, &l.Pending, &l.Dropped,
		&k.InSync, &k.Pending, &k.Unknown, &k.Rejected, &k.Held, &k.Waiting, &k.Excluded, &k.Removed, &k.Absent, &k.InApp,
	}
}
