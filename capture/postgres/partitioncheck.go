package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/penstock-cdc/penstock/capture"
)

// leaf is a partition that holds rows. They are published as its root's, in the form of the root's replica identity, with the
// old values that the leaf's own identity has logged.
type leaf struct {
	root     uint32
	name     string // schema.table
	sql      string
	identity byte
	primary  bool // it has a primary key that is not deferrable
}

// leavesQuery finds the leaves whose replica identity is another one than their root's, or lacks its key.
const leavesQuery = `
SELECT o.root, n.nspname, c.relname, c.relreplident, k.there
FROM pg_catalog.unnest($1::oid[]) AS o (root) CROSS JOIN LATERAL pg_catalog.pg_partition_tree(o.root) t
JOIN pg_catalog.pg_class c ON c.oid = t.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_class r ON r.oid = o.root
CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate)) AS k (there)
WHERE t.isleaf AND c.relkind = 'r' AND (c.relreplident <> r.relreplident OR c.relreplident = 'd' AND NOT k.there)
ORDER BY n.nspname, c.relname`

// inspectLeaves looks at the partitions of the tables that are captured.
func (srv *server) inspectLeaves(ctx context.Context, conn *pgconn.PgConn) error {
	var roots []uint32
	for _, info := range srv.relations {
		if info.partitioned {
			roots = append(roots, info.oid)
		}
	}
	if len(roots) == 0 {
		return nil
	}
	rows, err := query(ctx, conn, leavesQuery, oidArray(roots))
	if err != nil {
		return fmt.Errorf("read partitions: %w", err)
	}
	for _, row := range rows {
		srv.leaves = append(srv.leaves, leaf{parseOID(row[0]), row[1] + "." + row[2], quoteIdentifier(row[1]) + "." + quoteIdentifier(row[2]), row[3][0], row[4] == "t"})
	}
	return nil
}

// leafProblems: a partition whose replica identity does not give what the root's promises.
func (srv *server) leafProblems(info *relationInfo) (out []*capture.Problem) {
	add := func(code, what, fix string) {
		out = append(out, &capture.Problem{Code: code, What: what, Fix: fix})
	}
	for _, l := range srv.leaves {
		if l.root != info.oid {
			continue
		}
		full := fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY FULL", l.sql)
		switch {
		case l.identity == 'n', l.identity == 'd' && !l.primary:
			add("E0480", fmt.Sprintf("partition %s of %s has no replica identity: its updates and deletes would be refused once it is published", l.name, info.qualified()), full)
		case info.identity == 'f' && l.identity != 'f':
			add("E0480", fmt.Sprintf("table %s has REPLICA IDENTITY FULL and its partition %s has not: old rows of the partition would come with NULLs for what was not logged", info.qualified(), l.name), full)
		case l.identity == 'f':
			add("W0411", fmt.Sprintf("partition %s has REPLICA IDENTITY FULL and its table %s has not: whole old rows are logged, and only their keys are captured", l.name, info.qualified()),
				fmt.Sprintf("ALTER TABLE %s REPLICA IDENTITY DEFAULT; or, for whole old rows, ALTER TABLE %s REPLICA IDENTITY FULL and so for each partition", l.sql, info.sql()))
		}
	}
	return out
}

// generatedKeyProblem: a generated column of the replica identity that is not published, so that rows come without a part of
// their key.
func (srv *server) generatedKeyProblem(info *relationInfo, publication string) *capture.Problem {
	key := info.primary
	switch info.identity {
	case 'i':
		key = info.index
	case 'd':
	default:
		return nil // FULL: the table has no key in the stream, which is known
	}
	if srv.storedGenerated {
		return nil
	}
	i := slices.IndexFunc(key, func(name string) bool { c := info.column(name); return c != nil && c.generated != 0 })
	if i < 0 {
		return nil
	}
	p := &capture.Problem{Code: "E0481", What: fmt.Sprintf("column %s of table %s is generated and part of its replica identity (%s), and its values are not published", key[i], info.qualified(), strings.Join(key, ", ")),
		Fix: fmt.Sprintf("ALTER TABLE %s ALTER %s DROP EXPRESSION, after which the application sets it; or ALTER TABLE %[1]s REPLICA IDENTITY USING INDEX a unique one without it", info.sql(), quoteIdentifier(key[i]))}
	if srv.version >= 180000 {
		p.Fix = fmt.Sprintf("ALTER PUBLICATION %s SET (publish_generated_columns = stored)", quoteIdentifier(publication))
	}
	return p
}
