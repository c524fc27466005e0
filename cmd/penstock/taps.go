package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"sync"

	"github.com/penstock-cdc/penstock/ops/control"
)

// tapBuffer is how many values a reader may be behind.
const tapBuffer = 1000

// taps hands values to those who look. The zero value works.
type taps[T any] struct {
	mu  sync.Mutex
	all map[*tap[T]]bool
}

type tap[T any] struct {
	values chan T
	lost   int // guarded by the mu of its taps
}

// give makes a value for each reader, of how many were lost before it, and never waits for one.
func (t *taps[T]) give(value func(lost int) T) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for r := range t.all {
		select {
		case r.values <- value(r.lost):
			r.lost = 0
		default:
			r.lost++
		}
	}
}

// show hands those that are wanted to f as they come, until ctx ends, f fails or there were limit of them (0: any number).
// From ready on all are seen.
func (t *taps[T]) show(ctx context.Context, limit int, ready func() error, wanted func(T) bool, f func(T) error) error {
	mine := &tap[T]{values: make(chan T, tapBuffer)}
	t.mu.Lock()
	if t.all == nil {
		t.all = map[*tap[T]]bool{}
	}
	t.all[mine] = true
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.all, mine)
	}()
	if err := ready(); err != nil {
		return err
	}
	for n := 0; limit == 0 || n < limit; {
		select {
		case <-ctx.Done():
			return nil
		case v := <-mine.values:
			if !wanted(v) {
				continue
			}
			if err := f(v); err != nil {
				return err
			}
			n++
		}
	}
	return nil
}

// look shows what the process that runs the sink tells at a path, up to limit (0: any number).
func look[T any](ctx context.Context, p *project, path string, query url.Values, limit int, show func(*T) error) error {
	socket := socketOf(p, partAll)
	if _, err := os.Stat(socket); err != nil {
		socket = socketOf(p, partSink)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://penstock"+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	res, err := control.Dial(socket).Do(req)
	if control.NotRunning(err) {
		return errors.New("no penstock runs on this project, so no calls are made: start it with penstock run")
	}
	if err != nil {
		return quiet(ctx, err)
	}
	defer res.Body.Close()
	dec := json.NewDecoder(res.Body)
	if res.StatusCode != http.StatusOK {
		var refusal struct{ Error string }
		_ = dec.Decode(&refusal)
		return errors.New(refusal.Error)
	}
	slog.Info("looking at " + path[1:])
	for n := 0; limit == 0 || n < limit; n++ {
		var v T
		if err := dec.Decode(&v); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return errors.New("the process has ended")
		}
		if err := show(&v); err != nil {
			return err
		}
	}
	return nil
}
