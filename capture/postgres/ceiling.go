package postgres

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/penstock-cdc/penstock/capture"
)

func (c *Config) ceilingProblems() (out []configProblem) {
	add := func(attribute, summary, detail string) {
		out = append(out, configProblem{attribute, summary, detail})
	}
	if _, ok := parseSize(c.MaxRetainedWAL); c.MaxRetainedWAL != "" && !ok {
		add("max_retained_wal", fmt.Sprintf("%q is no size", c.MaxRetainedWAL), "Write a number and KiB, MiB, GiB or TiB, for example \"10GiB\".")
	}
	switch c.OnMaxRetainedWAL {
	case "", CeilingWarn:
	case CeilingStop, CeilingDrop:
		if c.MaxRetainedWAL == "" {
			add("on_max_retained_wal", "on_max_retained_wal goes with max_retained_wal", "Say from how much WAL on, for example max_retained_wal = \"10GiB\".")
		}
		if c.OnMaxRetainedWAL == CeilingDrop && c.Snapshot == SnapshotNever {
			add("on_max_retained_wal", "The slot cannot be dropped with snapshot = \"never\"", "What is lost with it would not be read again: use \"stop\".")
		}
	default:
		add("on_max_retained_wal", fmt.Sprintf("There is no policy %q", c.OnMaxRetainedWAL), "It is \"warn\", \"stop\", or \"drop\" (give up the slot and read the tables again).")
	}
	return out
}

// parseSize reads a size such as 10GiB, in bytes.
func parseSize(s string) (int64, bool) {
	for unit, shift := range map[string]int{"KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40} {
		if digits, ok := strings.CutSuffix(s, unit); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
			return n << shift, err == nil && n > 0 && n <= math.MaxInt64>>shift
		}
	}
	return 0, false
}

// ceilingCode is that of a slot for which more WAL is kept than max_retained_wal.
const ceilingCode = "E0431"

// ceilingProblem: the slot holds more than it may, and the policy is not only to warn.
func (s *Source) ceilingProblem(srv *server) *capture.Problem {
	if srv.slot == nil {
		return nil
	}
	return s.aboveCeiling(srv.slot.retained)
}

func (s *Source) aboveCeiling(retained int64) *capture.Problem {
	if s.ceiling == 0 || retained <= s.ceiling || s.cfg.OnMaxRetainedWAL == CeilingWarn || s.cfg.OnMaxRetainedWAL == "" {
		return nil
	}
	return &capture.Problem{Code: "E0431", What: fmt.Sprintf("the server keeps %d MiB of WAL for slot %s, more than max_retained_wal = %q", retained>>20, s.cfg.Slot, s.cfg.MaxRetainedWAL),
		Lost: "Nothing so far: the slot is still there, and keeps more.",
		Fix:  "raise max_retained_wal and start again, so that capture catches up; or give the slot up and " + s.readAgain()}
}

// again is the resume point from which the tables are read anew, in a new epoch.
func (r *resume) again(srv *server) *resume {
	return &resume{System: srv.system, Timeline: srv.timeline, Epoch: r.Epoch + 1, Attempt: r.Attempt, Snapshot: snapshotReading}
}
