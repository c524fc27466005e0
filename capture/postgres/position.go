package postgres

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/penstock-cdc/penstock/capture"
)

// placed tells whether a resume point has a position in the server's log.
func (r *resume) placed() bool { return r != nil && r.Snapshot == snapshotDone }

// reset is the command that reads the tables again.
func (s *Source) reset() string { return "penstock source reset " + s.name }

// readAgain says how to go on after changes were lost.
func (s *Source) readAgain() string {
	return "read the tables again, which finds deletions too: " + s.reset()
}

// positionProblems: is this the server that the position is of?
func (s *Source) positionProblems(srv *server, r *resume) []*capture.Problem {
	if r == nil || srv.system == "" {
		return nil
	}
	one := func(p capture.Problem) []*capture.Problem { return []*capture.Problem{&p} }
	if srv.system != r.System {
		if now := srv.version / 10000; r.Published.Server != 0 && now > r.Published.Server {
			slot := "the slot was not kept (pg_upgrade keeps it from 17 on)"
			if srv.slot != nil {
				slot = "the slot was kept, from " + lsnText(srv.slot.confirmed) + " on"
			}
			return one(capture.Problem{Code: "E0421", What: fmt.Sprintf("the server was upgraded from Postgres %d to %d", r.Published.Server, now),
				Lost: fmt.Sprintf("It is system %s now, our position %s is of system %s; %s. Whether anything was written after our position and before the upgrade cannot be told from here.", srv.system, lsnText(r.LSN), r.System, slot),
				Fix:  s.readAgain()})
		}
		return one(capture.Problem{Code: "E0420", What: "this is another server",
			Lost: fmt.Sprintf("Our position %s is of system %s, this is system %s: what is between the two cannot be told.", lsnText(r.LSN), r.System, srv.system),
			Fix:  "point the url back at the first, or take this one and read its tables: " + s.reset()})
	}
	if !r.placed() {
		return nil
	}
	// A standby's own slot is on a server whose WAL goes on through its promotion, and that of the primary it follows.
	if r.Timeline != srv.timeline && !r.Standby {
		if left, known := leftTimeline(srv.history, r.Timeline); !known || left < r.LSN {
			lost := fmt.Sprintf("It is not known where it left timeline %d, on which we are at %s.", r.Timeline, lsnText(r.LSN))
			if known {
				lost = fmt.Sprintf("It left timeline %d at %s, and we have captured up to %s: the changes between the two are in our log and no longer in the database.", r.Timeline, lsnText(left), lsnText(r.LSN))
			}
			return one(capture.Problem{Code: "E0422", What: fmt.Sprintf("the server is on timeline %d, restored or promoted from before our position", srv.timeline),
				Lost: lost, Fix: "to go on with its data, " + s.readAgain()})
		}
		return nil
	}
	if srv.end != 0 && srv.end < r.LSN && !srv.standby { // a standby that was restarted replays what it has
		return one(capture.Problem{Code: "E0423", What: fmt.Sprintf("the server's WAL ends at %s, before our position %s", lsnText(srv.end), lsnText(r.LSN)),
			Lost: "It lost what it had already sent, or was put back from a copy: the changes between the two are in our log and no longer in the database.",
			Fix:  "to go on with its data, " + s.readAgain()})
	}
	return nil
}

// leftTimeline finds in a timeline history file where a timeline was left.
func leftTimeline(history string, timeline int32) (lsn uint64, known bool) {
	for line := range strings.Lines(history) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != strconv.FormatInt(int64(timeline), 10) {
			continue
		}
		high, low, _ := strings.Cut(f[1], "/")
		h, err1 := strconv.ParseUint(high, 16, 32)
		l, err2 := strconv.ParseUint(low, 16, 32)
		return h<<32 | l, errors.Join(err1, err2) == nil
	}
	return 0, false
}

// dropSlotSQL is the statement that drops the slot.
func (s *Source) dropSlotSQL() string {
	return "SELECT pg_drop_replication_slot(" + quoteLiteral(s.cfg.Slot) + ")"
}

func (s *Source) slotProblems(srv *server, r *resume) (out []*capture.Problem) {
	slot, name := srv.slot, s.cfg.Slot
	add := func(p capture.Problem) { out = append(out, &p) }
	if slot == nil {
		if r.placed() && (srv.system == "" || srv.system == r.System) {
			out = append(out, s.missingSlot(srv, r))
		}
		return out
	}
	if p := s.foreignSlot(srv); p != nil {
		return append(out, p)
	}
	if slot.pid != 0 {
		add(capture.Problem{Code: "E0418", Taken: true, What: fmt.Sprintf("slot %s is in use by %s", name, slot.holder()),
			Fix: fmt.Sprintf("stop that process, set slot to another name, or end its session: SELECT pg_terminate_backend(%d)", slot.pid)})
	}
	switch {
	case slot.walStatus == "lost" || slot.invalidation != "":
		return append(out, s.lostSlot(r, slot))
	case r == nil && s.cfg.Snapshot == SnapshotInitial:
		add(capture.Problem{Code: "E0419", Taken: true, What: fmt.Sprintf("slot %s exists, but this project has no position for it", name),
			Fix: fmt.Sprintf("if no other penstock uses it, %s (or penstock source drop %s), else set slot to another name", s.dropSlotSQL(), s.name)})
	case r.placed() && slot.confirmed > r.LSN && slot.untouched:
		add(capture.Problem{Code: "E0412", What: fmt.Sprintf("slot %s was dropped and made anew", name),
			Lost: fmt.Sprintf("Nobody has read from it, and it begins at %s; our position is %s. The changes between the two are lost.", lsnText(slot.confirmed), lsnText(r.LSN)),
			Fix:  s.readAgain()})
	case r.placed() && slot.confirmed > r.LSN:
		add(capture.Problem{Code: "E0413", What: fmt.Sprintf("slot %s is ahead of us", name),
			Lost: fmt.Sprintf("It was read up to %s, our log ends at %s: what is between the two was given to another reader, or our log is an old copy or has lost its end.", lsnText(slot.confirmed), lsnText(r.LSN)),
			Fix:  s.readAgain()})
	}
	return out
}

// missingSlot: we have a position and the server has no slot.
func (s *Source) missingSlot(srv *server, r *resume) *capture.Problem {
	lost := fmt.Sprintf("Changes after our position %s may be lost: the server keeps them for nobody.", lsnText(r.LSN))
	if srv.timeline != r.Timeline && srv.timeline != 0 {
		fix := s.readAgain()
		if srv.version >= 170000 {
			fix += "; so that the slot is there after the next promotion, set sync_replication_slots = on, hot_standby_feedback = on and a dbname in primary_conninfo on the standby, and synchronized_standby_slots on the primary"
		}
		return &capture.Problem{Code: "E0424", What: fmt.Sprintf("a standby was promoted (timeline %d, ours was %d) and it has no slot %s", srv.timeline, r.Timeline, s.cfg.Slot), Lost: lost, Fix: fix}
	}
	return &capture.Problem{Code: "E0411", What: fmt.Sprintf("slot %s is gone", s.cfg.Slot), Lost: lost, Fix: s.readAgain()}
}

// foreignSlot: a slot of our name that we cannot read.
func (s *Source) foreignSlot(srv *server) *capture.Problem {
	slot, name := srv.slot, s.cfg.Slot
	switch {
	case slot.kind != "logical":
		return &capture.Problem{Code: "E0473", What: fmt.Sprintf("slot %s is a physical one", name), Fix: "set slot to another name"}
	case slot.plugin != "pgoutput":
		return &capture.Problem{Code: "E0474", What: fmt.Sprintf("slot %s has plugin %s, capture needs pgoutput", name, slot.plugin), Fix: "set slot to another name, or " + s.dropSlotSQL()}
	case slot.database != srv.database:
		return &capture.Problem{Code: "E0475", What: fmt.Sprintf("slot %s is of database %s, the url names %s", name, slot.database, srv.database), Fix: "set slot to another name, or the url to that database"}
	}
	return nil
}

// lostSlot: the server gave the slot up.
func (s *Source) lostSlot(r *resume, slot *slotInfo) *capture.Problem {
	p := &capture.Problem{What: fmt.Sprintf("slot %s is lost", s.cfg.Slot)}
	from := "the point where it stood, " + lsnText(slot.confirmed) + ","
	if r.placed() {
		from = "our position " + lsnText(r.LSN)
	}
	p.Lost = "Changes after " + from + " that were not captured yet are lost: "
	again := s.dropSlotSQL() + "; then read the tables again: " + s.reset()
	switch slot.invalidation {
	case "", "wal_removed": // before 17 there is no reason, and on a primary it is this one
		p.Code, p.What = "E0414", p.What+" (wal_removed)"
		p.Lost += "it held more WAL than max_slot_wal_keep_size, and the server removed it."
		p.Fix = again + "; so that it does not happen again: ALTER SYSTEM SET max_slot_wal_keep_size to what the disk can spare, or -1; SELECT pg_reload_conf()"
	case "rows_removed":
		p.Code, p.What = "E0415", p.What+" (rows_removed)"
		p.Lost += "rows of the catalog that the slot of this standby needed were removed at its primary."
		p.Fix = again + "; so that it does not happen again, on each standby: ALTER SYSTEM SET hot_standby_feedback = on; SELECT pg_reload_conf(); and let it use a physical slot (primary_slot_name)"
	case "wal_level_insufficient":
		p.Code, p.What = "E0416", p.What+" (wal_level_insufficient)"
		p.Lost += "wal_level of this standby's primary was below logical."
		p.Fix = again + "; so that it does not happen again, on every server: ALTER SYSTEM SET wal_level = 'logical'; then restart it"
	case "idle_timeout":
		p.Code, p.What = "E0417", p.What+" (idle_timeout)"
		p.Lost += "nobody read it for longer than idle_replication_slot_timeout."
		p.Fix = again + "; so that it does not happen again: ALTER SYSTEM SET idle_replication_slot_timeout = 0; SELECT pg_reload_conf()"
	default:
		p.Code, p.What = "E0430", fmt.Sprintf("%s (%s)", p.What, slot.invalidation)
		p.Lost += "the server gave the slot up for a reason that this penstock does not know."
		p.Fix = again
	}
	return p
}
