package postgres

import (
	"fmt"
	"slices"
	"strings"

	"github.com/penstock-cdc/penstock/capture"
	"github.com/penstock-cdc/penstock/change"
)

func (s *Source) tableProblems(srv *server) (out []*capture.Problem) {
	add := func(p capture.Problem) { out = append(out, &p) }
	var names []string
	for _, info := range srv.all {
		if info.stored() {
			names = append(names, info.qualified())
		}
	}
	for _, b := range s.cfg.TableBlocks {
		if p := srv.notATable(b.Name); p != nil {
			p.What = fmt.Sprintf("table %q: %s", b.Alias, p.What)
			out = append(out, p)
		} else if !slices.Contains(names, b.Name) {
			add(capture.Problem{Code: "E0451", What: fmt.Sprintf("table %q: there is no table %s", b.Alias, b.Name), Fix: didYouMean(b.Name, names)})
		}
	}
	for _, p := range s.cfg.Tables {
		if strings.HasPrefix(p, "!") || slices.ContainsFunc(srv.all, func(i *relationInfo) bool { return i.stored() && capture.MatchTable(p, i.schema, i.name) }) {
			continue
		}
		if problem := srv.notATable(p); problem != nil {
			problem.What = "tables: " + problem.What
			out = append(out, problem)
		} else {
			add(capture.Problem{Code: "E0452", What: fmt.Sprintf("tables: %q matches no table of database %s", p, srv.database), Fix: didYouMean(p, names)})
		}
	}
	topics := map[string]string{}
	for _, info := range srv.relations {
		name := info.qualified()
		if info.persistence == 'u' {
			add(capture.Problem{Code: "E0453", What: fmt.Sprintf("table %s is unlogged: its changes are not in the WAL", name),
				Fix: fmt.Sprintf("ALTER TABLE %s SET LOGGED, or exclude it (tables = [..., \"!%s\"])", info.sql(), name)})
			continue
		}
		out = append(out, srv.privilegeProblems(info)...)
		m := info.message(srv.storedGenerated)
		t, _ := s.cfg.table(s.name, srv.database, &m, info, srv.types)
		if other, taken := topics[t.Topic]; taken {
			add(capture.Problem{Code: "E0461", What: fmt.Sprintf("tables %s and %s would share topic %s", other, name, t.Topic), Fix: "give one of them another in its table block: topic = \"...\""})
		}
		topics[t.Topic] = name
		if p := identityProblem(info, name); p != nil {
			out = append(out, p)
		}
		out = append(out, srv.leafProblems(info)...)
		if p := srv.generatedKeyProblem(info, s.cfg.Publication); p != nil {
			out = append(out, p)
		}
		out = append(out, s.blockProblems(info, t)...)
	}
	return out
}

// notATable: something has the name that is not a table with changes of its own.
func (srv *server) notATable(name string) *capture.Problem {
	if strings.HasPrefix(name, "pg_temp") {
		return &capture.Problem{Code: "E0454", What: name + " is a temporary table, whose changes are not in the WAL", Fix: "take it out; make it an ordinary table: CREATE TABLE instead of CREATE TEMPORARY TABLE"}
	}
	for _, info := range srv.all {
		if info.stored() || info.qualified() != name {
			continue
		}
		kind := map[byte]string{'v': "a view", 'm': "a materialized view", 'f': "a foreign table"}[info.kind]
		return &capture.Problem{Code: "E0454", What: fmt.Sprintf("%s is %s, whose changes are not in the WAL", name, kind), Fix: "capture the tables that it is made of"}
	}
	return nil
}

func (srv *server) privilegeProblems(info *relationInfo) (out []*capture.Problem) {
	role, name := quoteIdentifier(srv.user), info.qualified()
	if !info.mayUse {
		out = append(out, &capture.Problem{Code: "E0456", What: fmt.Sprintf("role %s may not use schema %s of table %s", srv.user, info.schema, name), Fix: fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s", quoteIdentifier(info.schema), role)})
	}
	if !info.maySelect {
		out = append(out, &capture.Problem{Code: "E0455", What: fmt.Sprintf("role %s may not read table %s", srv.user, name), Fix: fmt.Sprintf("GRANT SELECT ON %s TO %s", info.sql(), role)})
	}
	if info.hidden {
		out = append(out, &capture.Problem{Code: "E0460", What: fmt.Sprintf("row security of table %s hides rows from role %s: a snapshot would lack them", name, srv.user),
			Fix: fmt.Sprintf("as a superuser: ALTER ROLE %s BYPASSRLS; or exclude it (tables = [..., \"!%s\"])", role, name)})
	}
	return out
}

// identityProblem: without a replica identity Postgres refuses updates and deletes of
// a published table, so that publishing it would break the application.
func identityProblem(info *relationInfo, name string) *capture.Problem {
	const refused = "its updates and deletes would be refused once it is published"
	exclude := fmt.Sprintf("exclude it (tables = [..., \"!%s\"])", name)
	full := fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY FULL", info.sql())
	switch {
	case info.identity == 'n':
		return &capture.Problem{Code: "E0457", What: fmt.Sprintf("table %s has replica identity nothing: %s", name, refused),
			Fix: fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY DEFAULT (with a primary key) or FULL, or %s", info.sql(), exclude)}
	case info.identity == 'd' && len(info.primary) == 0 && info.deferrable:
		return &capture.Problem{Code: "E0459", What: fmt.Sprintf("the primary key of table %s is deferrable and so no replica identity: %s", name, refused), Fix: full + ", or make the key NOT DEFERRABLE, or " + exclude}
	case info.identity == 'd' && len(info.primary) == 0:
		return &capture.Problem{Code: "E0458", What: fmt.Sprintf("table %s has no primary key: %s", name, refused), Fix: fmt.Sprintf("ALTER TABLE %s ADD PRIMARY KEY (...), or %s, or %s", info.sql(), full, exclude)}
	case info.identity == 'i' && len(info.index) == 0:
		return &capture.Problem{Code: "E0472", What: fmt.Sprintf("the index that was the replica identity of table %s is gone: %s", name, refused), Fix: fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY DEFAULT", info.sql())}
	}
	return nil
}

func (s *Source) blockProblems(info *relationInfo, t *change.Table) (out []*capture.Problem) {
	b := s.cfg.block(info.schema, info.name)
	if b == nil {
		return nil
	}
	names := make([]string, len(info.columns))
	for i, c := range info.columns {
		names[i] = c.name
	}
	for _, list := range []struct {
		setting string
		columns []string
	}{{"columns", b.Columns}, {"exclude", b.Exclude}, {"key", b.Key}, {"pii", b.PII}} {
		for _, c := range list.columns {
			if !slices.Contains(names, c) {
				out = append(out, &capture.Problem{Code: "E0462", What: fmt.Sprintf("table %q: %s names column %q, which %s does not have", b.Alias, list.setting, c, b.Name), Fix: didYouMean(c, names)})
			}
		}
	}
	for _, c := range info.primary {
		if t.Column(c) < 0 {
			out = append(out, &capture.Problem{Code: "E0463", What: fmt.Sprintf("table %q: column %q is part of the primary key and cannot be left out", b.Alias, c), Fix: "take it out of exclude, or write it into columns"})
		}
	}
	if len(out) == 0 && len(b.Key) > 0 && len(t.Key) == 0 {
		out = append(out, &capture.Problem{Code: "E0471", What: fmt.Sprintf("table %q: key %s is not in the replica identity, so deletes would come without it", b.Alias, strings.Join(b.Key, ", ")),
			Fix: fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY FULL", info.sql())})
	}
	return out
}
