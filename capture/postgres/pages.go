package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/penstock-cdc/penstock/change"
)

// pages reads a table in the order of its key, each page in a statement of its own.
type pages struct {
	plan *plan
	conn *pgconn.PgConn
	last []string // key of the last row
	end  bool
}

// Pages begins to read a table's rows as they are now, in the form of the stream and in the order of its key. Next hands up
// to limit rows to f, each valid until f returns, and returns how many there were: fewer than limit at the end. It writes
// nothing, needs neither slot nor publication, and no transaction outlives a page.
func (s *Source) Pages(ctx context.Context, table string) (next func(ctx context.Context, limit int, f func(*change.Table, change.Row) error) (int, error), done func(), err error) {
	fail := func(err error) error { return fmt.Errorf("read table %s: %w", table, err) }
	srv, err := s.inspect(ctx)
	if err != nil {
		return nil, nil, fail(err)
	}
	for _, info := range srv.relations {
		if info.qualified() != table {
			continue
		}
		p, err := s.makePlan(ctx, srv, info.oid)
		if errors.Is(err, errNoChunks) {
			return nil, nil, fail(fmt.Errorf("%w: give it a primary key", err))
		}
		if err != nil {
			return nil, nil, fail(err)
		}
		conn, err := s.connect(ctx, false)
		if err != nil {
			return nil, nil, fail(err)
		}
		pg := &pages{plan: p, conn: conn}
		return func(ctx context.Context, limit int, f func(*change.Table, change.Row) error) (int, error) {
			n, err := pg.next(ctx, limit, f)
			if err != nil {
				err = fail(err)
			}
			return n, err
		}, func() { closeConn(conn) }, nil
	}
	return nil, nil, fail(errGone)
}

func (pg *pages) next(ctx context.Context, limit int, f func(*change.Table, change.Row) error) (n int, err error) {
	if pg.end {
		return 0, nil
	}
	p := pg.plan
	signature, err := query(ctx, pg.conn, signatureQuery+quoteLiteral(p.info.sql())+"::pg_catalog.regclass")
	if err != nil {
		return 0, err
	}
	if len(signature) == 0 || signature[0][0] != p.signature {
		return 0, errChanged
	}
	result := pg.conn.ExecParams(ctx, pg.statement(limit), nil, nil, nil, nil)
	r := newRelation(p.info.oid, &p.message, p.table, p.places, p.types)
	for err == nil && result.NextRow() {
		n++
		row := result.Values()
		tuple := make([]field, len(row))
		for i, text := range row {
			if tuple[i] = (field{'t', text}); text == nil {
				tuple[i] = field{kind: 'n'}
			}
		}
		pg.last = pg.last[:0]
		for _, k := range p.keys {
			pg.last = append(pg.last, string(row[k.place]))
		}
		r.reset()
		if err = r.row(r.after, tuple); err == nil {
			err = f(p.table, r.after)
		}
	}
	if _, failed := result.Close(); err == nil {
		err = failed
	}
	pg.end = n < limit
	return n, err
}

func (pg *pages) statement(limit int) string {
	p := pg.plan
	where := ""
	if pg.last != nil {
		where = " WHERE " + p.compare(">", pg.last)
	}
	return fmt.Sprintf("%s%s ORDER BY %s LIMIT %d", selectRows(p.info, &p.message), where, p.keyColumns(), limit)
}
