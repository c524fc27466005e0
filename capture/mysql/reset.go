package mysql

import "context"

// Reset gives up a position that leads nowhere any more: it returns a resume point from
// which Run reads the tables again, in a new epoch of event ids. What is deleted at the
// source in between is found by the snapshot.
func (s *Source) Reset(_ context.Context, text []byte) ([]byte, error) {
	r, err := parseResume(text)
	if err != nil {
		return nil, err
	}
	if r == nil {
		r = &resume{}
	}
	fresh := resume{Version: resumeVersion, Epoch: r.Epoch + 1, Chunk: r.Chunk, Tables: map[string]tablePoint{}}
	return fresh.appendTo(nil), nil
}
