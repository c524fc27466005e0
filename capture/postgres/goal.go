package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pglogrepl"
)

// Goal returns a function that tells whether all that was committed when Goal was
// called is durable in the log, the rows of the snapshot included.
func (s *Source) Goal(ctx context.Context) (func() bool, error) {
	conn, err := s.connect(ctx, false)
	if err != nil {
		return nil, fmt.Errorf("ask source %s for its end: %w", s.name, err)
	}
	defer closeConn(conn)
	result := conn.ExecParams(ctx, "SELECT "+walWritten, nil, nil, nil, nil).Read()
	if result.Err != nil || len(result.Rows) != 1 {
		return nil, fmt.Errorf("ask source %s for its end: %w", s.name, result.Err)
	}
	end, err := pglogrepl.ParseLSN(string(result.Rows[0][0]))
	if err != nil {
		return nil, fmt.Errorf("ask source %s for its end: %w", s.name, err)
	}
	return func() bool {
		return s.confirmed.Load() >= uint64(end) && s.loadsLeft.Load() == 0 && s.streaming.Load()
	}, nil
}
