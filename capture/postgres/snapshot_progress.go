package postgres

import (
	"fmt"
	"time"

	"github.com/penstock-cdc/penstock/capture"
)

// state is what status shows.
func (ld *load) state() string {
	switch {
	case ld.Paused:
		return "paused"
	case ld.Begun:
		return "reading"
	}
	return "pending"
}

// setState tells how the session stands.
func (l *loader) setState() {
	l.showing.Lock()
	defer l.showing.Unlock()
	l.mu.Lock()
	left := 0
	for _, ld := range l.loads {
		if !ld.Paused {
			left++
		}
	}
	joining := l.joining
	l.mu.Unlock()
	switch {
	case left > 0:
		l.s.setState("snapshot", fmt.Sprintf("%d tables left to load; changes are streamed meanwhile", left))
	case joining:
		l.s.setState("snapshot", "new tables are looked at")
	default:
		l.s.setState("streaming", "")
	}
}

// progress shows how far a load is; ended is the state of one that has ended.
func (l *loader) progress(ld *load, ended string) {
	l.showing.Lock()
	defer l.showing.Unlock()
	l.mu.Lock()
	state := ended
	if !ld.ended {
		state = ld.state()
	}
	name, rows, bytes, chunks, waits := ld.name, ld.Rows, ld.Bytes, ld.Chunks, ld.why
	rate := 0.0
	if d := time.Since(ld.since).Seconds(); d > 0 {
		rate = float64(rows-ld.sinceRows) / d
	}
	l.mu.Unlock()
	l.s.updateTable(name, func(st *capture.TableStatus) {
		st.Snapshot, st.SnapshotRows, st.SnapshotBytes, st.SnapshotTotal = state, rows, bytes, max(st.SnapshotTotal, rows)
		st.SnapshotChunks, st.SnapshotRate, st.SnapshotLeft, st.SnapshotWaits = chunks, 0, 0, ""
		if state == "reading" {
			st.SnapshotRate, st.SnapshotWaits = rate, waits
		}
		if state == "reading" && rate > 0 {
			st.SnapshotLeft = time.Duration(float64(st.SnapshotTotal-rows) / rate * float64(time.Second))
		}
		if state == "done" {
			st.SnapshotTotal = rows
		}
	})
}
