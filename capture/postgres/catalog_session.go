package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// catalogRest is how long the session that reads the catalog is kept without a question.
const catalogRest = 5 * time.Second

// catalogSession is the session with which a stream reads the catalog about tables and types that were altered. It is opened
// for the first of them and kept for those that follow soon.
type catalogSession struct {
	conn        *pgconn.PgConn
	lockTimeout string // as it is set
	asked       time.Time
}

// ask runs f with the session; lockTimeout is how long its statements may wait for locks.
func (c *catalogSession) ask(ctx context.Context, s *Source, lockTimeout string, f func(*pgconn.PgConn) error) (err error) {
	if c.conn == nil {
		if c.conn, err = s.connect(ctx, false); err != nil {
			c.conn = nil
			return err
		}
		c.lockTimeout = ""
	}
	c.asked = time.Now()
	if lockTimeout != c.lockTimeout {
		err = exec(ctx, c.conn, "SET lock_timeout = "+quoteLiteral(lockTimeout))
		c.lockTimeout = lockTimeout
	}
	if err == nil {
		err = f(c.conn)
	}
	var refused *pgconn.PgError
	if err != nil && (!errors.As(err, &refused) || refused.Code != "55P03") { // lock_not_available
		c.close()
	}
	return err
}

// rest closes a session that was not needed for a while.
func (c *catalogSession) rest() {
	if c.conn != nil && time.Since(c.asked) > catalogRest {
		c.close()
	}
}

func (c *catalogSession) close() {
	if c.conn != nil {
		closeConn(c.conn)
		c.conn = nil
	}
}
