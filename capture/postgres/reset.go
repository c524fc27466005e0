package postgres

import (
	"context"
	"fmt"
)

// Reset gives up a position that leads nowhere any more: it removes the slot, keeps the
// publication (whose owner may be another) and returns a resume point from which Run reads the tables again, in a new
// epoch of event ids. What is deleted at the source in between is found by the snapshot.
func (s *Source) Reset(ctx context.Context, resumeText []byte) ([]byte, error) {
	r, err := parseResume(resumeText)
	if err != nil {
		return nil, err
	}
	if r == nil {
		r = &resume{}
	}
	conn, err := s.connect(ctx, false)
	if err != nil {
		return nil, fmt.Errorf("reset source %s: %w", s.name, err)
	}
	defer closeConn(conn)
	if err := s.dropSlot(ctx, conn); err != nil {
		return nil, fmt.Errorf("reset source %s: %w", s.name, err)
	}
	srv, err := s.inspect(ctx)
	if err != nil {
		return nil, fmt.Errorf("reset source %s: %w", s.name, err)
	}
	return r.again(srv).appendTo(nil), nil
}
