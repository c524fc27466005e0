package postgres

import (
	"fmt"
	"slices"

	"github.com/penstock-cdc/penstock/capture"
)

func (s *Source) publicationProblems(srv *server, r *resume) (out []*capture.Problem) {
	add := func(p capture.Problem) { out = append(out, &p) }
	p, name := srv.publication, quoteIdentifier(s.cfg.Publication)
	if p == nil {
		return s.missingPublication(srv, r)
	}
	out = append(out, s.publicationChanges(srv, r)...)
	if !p.insert || !p.update || !p.delete || !p.truncate {
		add(capture.Problem{Code: "E0466", What: fmt.Sprintf("publication %s does not publish everything", s.cfg.Publication),
			Fix: fmt.Sprintf("ALTER PUBLICATION %s SET (publish = 'insert, update, delete, truncate')", name)})
	}
	for _, table := range p.narrowed {
		add(capture.Problem{Code: "E0467", What: fmt.Sprintf("publication %s publishes %s with a row filter or a column list", s.cfg.Publication, table),
			Fix: fmt.Sprintf("ALTER PUBLICATION %s DROP TABLE %s; penstock adds it whole (columns are left out with exclude in its table block)", name, table)})
	}
	if !p.viaRoot && slices.ContainsFunc(srv.relations, func(i *relationInfo) bool { return i.partitioned }) {
		add(capture.Problem{Code: "E0468", What: fmt.Sprintf("publication %s publishes partitions one by one", s.cfg.Publication),
			Fix: fmt.Sprintf("ALTER PUBLICATION %s SET (publish_via_partition_root = true)", name)})
	}
	for _, info := range srv.unpublished() {
		if srv.standby && (r == nil || !r.has(info.oid)) {
			add(capture.Problem{Code: "E0479", What: fmt.Sprintf("table %s is not in publication %s, and this server is a standby", info.qualified(), s.cfg.Publication),
				Fix: fmt.Sprintf("at the primary: ALTER PUBLICATION %s ADD TABLE %s", name, info.sql())})
			continue
		}
		if (r == nil || !r.has(info.oid)) && (!p.owned || !info.owned) {
			add(capture.Problem{Code: "E0469", What: fmt.Sprintf("table %s is not in publication %s and role %s may not add it", info.qualified(), s.cfg.Publication, srv.user),
				Fix: fmt.Sprintf("as the owner of both: ALTER PUBLICATION %s ADD TABLE %s", name, info.sql())})
		}
	}
	return out
}

// unpublished returns the captured tables that are not in the publication.
func (srv *server) unpublished() (out []*relationInfo) {
	for _, info := range srv.relations {
		if !info.published && info.persistence == 'p' {
			out = append(out, info)
		}
	}
	return out
}

func (s *Source) missingPublication(srv *server, r *resume) (out []*capture.Problem) {
	add := func(p capture.Problem) { out = append(out, &p) }
	sql := s.createPublication(srv)
	if r.placed() {
		add(capture.Problem{Code: "E0425", What: fmt.Sprintf("publication %s is gone", s.cfg.Publication),
			Lost: fmt.Sprintf("What was written after our position %s while it was not there cannot be decoded.", lsnText(r.LSN)),
			Fix:  sql + ", then " + s.readAgain()})
		return out
	}
	if srv.standby {
		add(capture.Problem{Code: "E0479", What: fmt.Sprintf("publication %s is missing, and this server is a standby", s.cfg.Publication), Fix: "at the primary: " + sql})
		return out
	}
	if !srv.mayCreate {
		add(capture.Problem{Code: "E0464", What: fmt.Sprintf("publication %s is missing and role %s may not make it", s.cfg.Publication, srv.user),
			Fix: fmt.Sprintf("GRANT CREATE ON DATABASE %s TO %s, or as a superuser: %s", quoteIdentifier(srv.database), quoteIdentifier(srv.user), sql)})
	}
	for _, info := range srv.unpublished() {
		if !info.owned {
			add(capture.Problem{Code: "E0465", What: fmt.Sprintf("role %s does not own table %s and so cannot publish it", srv.user, info.qualified()),
				Fix: fmt.Sprintf("as its owner %s: %s", info.owner, sql)})
		}
	}
	return out
}

// publicationChanges: what we are captured up to was published otherwise, or not at all,
// for some of the time since.
func (s *Source) publicationChanges(srv *server, r *resume) (out []*capture.Problem) {
	if !r.placed() {
		return nil
	}
	p, was, name := srv.publication, r.Published, s.cfg.Publication
	since := "our position " + lsnText(r.LSN)
	switch {
	case was.OID != 0 && was.OID != p.oid:
		return []*capture.Problem{{Code: "E0426", What: fmt.Sprintf("publication %s was dropped and made anew", name),
			Lost: fmt.Sprintf("What was written after %s while it was not there was published to nobody.", since), Fix: s.readAgain()}}
	case was.XMin != 0 && was.XMin != p.xmin:
		out = append(out, &capture.Problem{Code: "E0427", What: fmt.Sprintf("publication %s was altered", name),
			Lost: fmt.Sprintf("Which inserts, updates and deletes after %s it published, and how, is not known.", since), Fix: s.readAgain()})
	}
	for _, info := range srv.relations {
		if !r.has(info.oid) || info.persistence != 'p' {
			continue
		}
		switch member := was.Members.of(info.oid); {
		case !info.published:
			out = append(out, &capture.Problem{Code: "E0428", What: fmt.Sprintf("table %s was taken out of publication %s", info.qualified(), name),
				Lost: fmt.Sprintf("Its changes since then (at the earliest from %s on) are lost.", since),
				Fix:  fmt.Sprintf("ALTER PUBLICATION %s ADD TABLE %s, then %s", quoteIdentifier(name), info.sql(), s.readAgain())})
		case member != 0 && member != info.member:
			out = append(out, &capture.Problem{Code: "E0429", What: fmt.Sprintf("table %s was taken out of publication %s and put back, or its row filter or column list was changed", info.qualified(), name),
				Lost: fmt.Sprintf("Of its changes after %s, those that were not published then are lost.", since), Fix: s.readAgain()})
		}
	}
	return out
}
