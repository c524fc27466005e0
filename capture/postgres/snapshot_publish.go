package postgres

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/penstock-cdc/penstock/change"
)

// snapshotID makes the id of a snapshot that begins at a position.
func snapshotID(x uint64) string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // it never fails
	return lsnText(x) + "-" + hex.EncodeToString(b[:])
}

// publish emits a chunk's rows at x, in the stream's goroutine.
func (l *loader) publish(c *chunk, x uint64) error {
	l.mu.Lock()
	dead := c.dead || c.load.ended
	moved := c.described != c.load.described && c.load.described != nil && c.load.described.Version != c.plan.table.Version
	l.mu.Unlock()
	if dead {
		c.verdict <- dropped
		return nil
	}
	l.s.failpoint("snapshot.before_publish")
	if moved { // the stream has the table in another form since the chunk was read
		return l.judge(c, planAgain)
	}
	hidden := l.record.hidden(c.shown, c.load.Table)
	if hidden.all {
		return l.judge(c, readAgain)
	}
	left, err := l.emit(c, &hidden, x)
	if errors.Is(err, errStale) {
		c.load.stale++
		return l.judge(c, planAgain)
	}
	if err != nil {
		return err
	}
	v := accepted
	switch {
	case len(left) > 0 && c.part: // both: all of it again
		v = readAgain
	case len(left) > 0:
		c.keys, v = left, readRest
	case c.part && (c.keys != nil || c.limit == 0):
		v = readRest
		if c.keys == nil {
			c.low = c.next
		} else {
			c.keys = slices.DeleteFunc(slices.Clone(c.keys), func(key []string) bool { return c.came[joined(key)] })
		}
	}
	if v == accepted {
		l.accept(c)
	}
	l.mu.Lock()
	done := v == accepted && len(c.load.Again) == 0 && !slices.ContainsFunc(c.load.Ranges, func(r *keyRange) bool { return !r.Done })
	l.mu.Unlock()
	if done {
		err = l.complete(c.load, x)
	} else {
		err = l.commit(x)
	}
	if err != nil {
		return err
	}
	l.s.failpoint("snapshot.after_publish")
	return l.judge(c, v)
}

// judge tells the worker what becomes of a chunk.
func (l *loader) judge(c *chunk, v verdict) error {
	l.mu.Lock()
	delete(l.chunks, c)
	all := l.horizon()
	l.mu.Unlock()
	l.record.forget(all)
	c.verdict <- v
	return nil
}

// emit emits the rows that no hidden transaction has changed. Of those that one has, it
// returns the keys of rows whose event lacked values.
func (l *loader) emit(c *chunk, hidden *touchedTable, x uint64) (left [][]string, err error) {
	n, err := l.nextNumber()
	if err != nil {
		return nil, err
	}
	r := c.plan.relation
	e := change.Event{
		Op: change.Read, Table: r.table, CommitTime: time.Now(),
		Log: change.LogPosition{LSN: x, LastLSN: l.st.r.Last, XID: uint32(c.shown.xmax)},
	}
	last := len(c.ends) - 1
	if !l.ends(c) || len(hidden.keys) > 0 {
		last = -1
	}
	var rows, bytes int64
	c.came = map[string]bool{}
	for i := range c.ends {
		if hidden.truncated {
			break
		}
		line := c.line(i)
		size := len(line)
		l.tuple = splitCopy(l.tuple[:0], line, len(r.columns))
		if c.part && c.keys != nil {
			key, _ := appendKey(nil, r.keyPlaces, l.tuple, nil)
			c.came[string(key)] = true
		}
		if len(hidden.keys) > 0 {
			l.record.key, _ = appendKey(l.record.key[:0], r.keyPlaces, l.tuple, nil)
			if partial, touched := hidden.keys[string(l.record.key)]; touched {
				if partial {
					left = append(left, keyTexts(string(l.record.key)))
				}
				continue
			}
		}
		r.reset()
		if err := r.row(r.after, l.tuple); err != nil {
			return nil, err
		}
		e.After, e.Snapshot = r.after, "true"
		if l.first {
			e.Snapshot, l.first = "first", false
		}
		if i == last {
			e.Snapshot = "last"
		}
		e.ID = change.NewPointID(l.st.r.Epoch, x-1, n, uint32(i))
		if err := output(l.st.out.Event(&e)); err != nil {
			return nil, err
		}
		rows++
		bytes += int64(size)
	}
	l.mu.Lock()
	c.load.Rows += rows
	c.load.Bytes += bytes
	c.load.Chunks++
	l.st.r.changedLoads()
	l.mu.Unlock()
	l.progress(c.load, "done")
	return left, nil
}

// ends tells whether with a chunk all is loaded.
func (l *loader) ends(c *chunk) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return c.final && c.from != nil && c.keys == nil && !c.part && len(l.loads) == 1 && len(c.load.Again) == 0 &&
		!slices.ContainsFunc(c.load.Ranges, func(r *keyRange) bool { return r != c.from && !r.Done }) && len(c.from.flight) > 0 && c.from.flight[0] == c
}

// accept moves the progress on: to the end of the last chunk before which none is missing.
func (l *loader) accept(c *chunk) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.published = true
	if c.from == nil {
		for _, key := range c.load.Again[:c.begin] {
			delete(c.load.again, joined(key))
		}
		c.load.Again = slices.Clone(c.load.Again[c.begin:])
	} else {
		for _, f := range c.from.flight {
			if !f.published {
				break
			}
			if f.final {
				c.from.Done = true
			} else {
				c.from.Last = f.upTo
			}
		}
	}
	l.st.r.changedLoads()
}

// complete ends a load with its marker.
func (l *loader) complete(ld *load, x uint64) error {
	if ld.ended {
		return nil
	}
	if err := l.marker(ld.last, ld, change.SnapshotEnd, x); err != nil {
		return err
	}
	l.end(ld)
	l.progress(ld, "done")
	if err := l.commit(x); err != nil {
		return err
	}
	l.setState()
	return nil
}

// abandon ends a load whose table is gone.
func (l *loader) abandon(ld *load, x uint64) error {
	if ld.ended {
		return nil
	}
	if ld.Begun && ld.last != nil {
		if err := l.marker(ld.last, ld, change.SnapshotAbort, x); err != nil {
			return err
		}
	}
	l.end(ld)
	l.progress(ld, "")
	if err := l.commit(x); err != nil {
		return err
	}
	l.setState()
	return nil
}
