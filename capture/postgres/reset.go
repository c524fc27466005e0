package postgres

import (
	"context"
	"fmt"
)

// Reset gives up a position that leads nowhere any more: it removes the slot and the
// publication and returns a resume point from which Run reads the tables again, in a new
// epoch of event ids. What is deleted at the source in between is found by the snapshot.
func (s *Source) Reset(ctx context.Context, resumeText []byte) ([]byte, error) {
	r, err := parseResume(resumeText)
	if err != nil {
		return nil, err
	}
	if r == nil {
		r = &resume{}
	}
	if err := s.Drop(ctx); err != nil {
		return nil, fmt.Errorf("reset source %s: %w", s.name, err)
	}
	srv, err := s.inspect(ctx)
	if err != nil {
		return nil, fmt.Errorf("reset source %s: %w", s.name, err)
	}
	fresh := resume{System: srv.system, Timeline: srv.timeline, Epoch: r.Epoch + 1, Attempt: r.Attempt, Snapshot: snapshotReading}
	return fresh.appendTo(nil), nil
}
