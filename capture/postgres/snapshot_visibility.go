package postgres

import (
	"fmt"
	"strconv"
	"strings"
)

// visibility is a snapshot of the database: which transactions it shows. Of two, the one
// taken later shows all that the other does. Its ids are 64 bits wide and of top-level
// transactions alone.
//
// Source: https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SNAPSHOT
type visibility struct {
	xmin, xmax uint64
	running    []uint64 // those from xmin on, below xmax, that it does not show, ascending
	// replayed is for a standby, whose snapshots do not say which transactions run: it shows those whose commit ends there
	// or before, and may show some that come after; 0: it is of a primary.
	replayed uint64
}

// includes tells whether a transaction that was received is in the snapshot.
func (v *visibility) includes(t *touched) bool {
	if v.replayed > 0 {
		return t.end > 0 && t.end <= v.replayed
	}
	return v.shows(t.xid)
}

// parseVisibility reads what pg_current_snapshot returns: xmin:xmax:xip,xip.
func parseVisibility(text string) (*visibility, error) {
	v := &visibility{}
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return nil, fmt.Errorf("read snapshot %q: it has not three parts", text)
	}
	var err error
	if v.xmin, err = strconv.ParseUint(parts[0], 10, 64); err != nil {
		return nil, fmt.Errorf("read snapshot %q: %w", text, err)
	}
	if v.xmax, err = strconv.ParseUint(parts[1], 10, 64); err != nil {
		return nil, fmt.Errorf("read snapshot %q: %w", text, err)
	}
	if parts[2] == "" {
		return v, nil
	}
	for p := range strings.SplitSeq(parts[2], ",") {
		xid, err := strconv.ParseUint(p, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read snapshot %q: %w", text, err)
		}
		v.running = append(v.running, xid)
	}
	return v, nil
}

// widen makes a full transaction id of the 32 bits that the stream has: the one nearest
// to the snapshot's xmax.
func (v *visibility) widen(xid uint32) uint64 {
	return v.xmax + uint64(int64(int32(xid-uint32(v.xmax))))
}

// shows tells whether a transaction that has committed is in the snapshot.
func (v *visibility) shows(xid uint32) bool { return v.showsFull(v.widen(xid)) }

func (v *visibility) showsFull(xid uint64) bool {
	if xid < v.xmin {
		return true
	}
	if xid >= v.xmax {
		return false
	}
	for _, running := range v.running {
		if running == xid {
			return false
		}
	}
	return true
}

// later returns the one of two snapshots that was taken later; either may be nil.
func later(a, b *visibility) *visibility {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.replayed > 0 || b.replayed > 0:
		if a.replayed > b.replayed {
			return a
		}
		return b
	case a.xmax != b.xmax:
		if a.xmax > b.xmax {
			return a
		}
		return b
	case len(a.running) < len(b.running): // of equal xmax: transactions only end
		return a
	}
	return b
}
