package capture

import (
	"context"
	"sync"
	"time"
)

// A source that has nothing more to read hands over at once what it has, unless the
// last batch was larger than lightBatch: then it is under load in short bursts, and
// flushes are kept at least loadPause apart so that they do not take the processor
// time that the database needs.
const (
	lightBatch = 64 << 10
	loadPause  = 5 * time.Millisecond
)

// queue holds the batch that is being filled while another is being written.
type queue struct {
	opts Options

	mu       sync.Mutex
	changed  sync.Cond
	filling  *batch
	spare    *batch
	due      bool      // filling is to be written
	closed   bool      // nothing more comes
	err      error     // why nothing more is taken
	number   uint64    // of the last batch begun
	durable  uint64    // number of the last batch written
	lastSize int       // of the last batch taken
	taken    time.Time // when it was
	timer    *time.Timer
	deadline time.Time // of the timer; zero: not set
}

func newQueue(opts Options) *queue {
	q := &queue{opts: opts, spare: &batch{}}
	q.changed.L = &q.mu
	q.begin(&batch{})
	return q
}

func (q *queue) begin(b *batch) {
	q.number++
	b.number = q.number
	q.filling = b
}

// lock waits until there is room and returns the batch to fill; nil error: unlock has to follow.
func (q *queue) lock() (*batch, error) {
	q.mu.Lock()
	for q.err == nil && len(q.filling.memory) >= q.opts.BufferBytes {
		q.dueNow()
		q.changed.Wait()
	}
	if q.err != nil {
		q.mu.Unlock()
		return nil, q.err
	}
	return q.filling, nil
}

func (q *queue) unlock() {
	if len(q.filling.memory) >= q.opts.BatchBytes {
		q.dueNow()
	}
	q.mu.Unlock()
}

func (q *queue) dueNow() {
	if !q.due {
		q.due = true
		q.changed.Broadcast()
	}
}

// dueAt makes the batch due at a time, if it is not sooner.
func (q *queue) dueAt(t time.Time) {
	if q.due || !q.deadline.IsZero() && !t.Before(q.deadline) {
		return
	}
	q.deadline = t
	if q.timer == nil {
		q.timer = time.AfterFunc(time.Until(t), q.ring)
	} else {
		q.timer.Reset(time.Until(t))
	}
}

func (q *queue) ring() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.deadline.IsZero() && !time.Now().Before(q.deadline) {
		q.deadline = time.Time{}
		q.dueNow()
	}
}

// committed is called with the lock held, after a commit went into the batch.
func (q *queue) committed() {
	if q.deadline.IsZero() {
		q.dueAt(time.Now().Add(q.opts.Linger))
	}
}

func (q *queue) idle() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.due || len(q.filling.resume) == 0 {
		return
	}
	if q.lastSize < lightBatch {
		q.dueNow()
		return
	}
	if at := q.taken.Add(loadPause); time.Now().Before(at) {
		q.dueAt(at)
	} else {
		q.dueNow()
	}
}

// flush waits until all that is in the queue is durable.
func (q *queue) flush(ctx context.Context) error {
	unwatch := context.AfterFunc(ctx, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.changed.Broadcast()
	})
	defer unwatch()
	q.mu.Lock()
	defer q.mu.Unlock()
	goal := q.number - 1
	if !q.filling.empty() {
		goal = q.number
		q.dueNow()
	}
	for q.durable < goal && q.err == nil && ctx.Err() == nil {
		q.changed.Wait()
	}
	if q.durable >= goal {
		return nil
	}
	if q.err != nil {
		return q.err
	}
	return ctx.Err()
}

// take waits for a batch that is due; nil: nothing more comes. The batch is given
// back with done.
func (q *queue) take() *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	for (!q.due || q.filling.empty()) && !q.closed {
		q.due = false
		q.changed.Wait()
	}
	b := q.filling
	q.due, q.deadline = false, time.Time{}
	if b.empty() {
		return nil
	}
	q.lastSize, q.taken = len(b.memory), time.Now()
	q.begin(q.spare)
	q.spare = nil
	q.changed.Broadcast()
	return b
}

// done says that a batch is durable.
func (q *queue) done(b *batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.durable = b.number
	b.reset(q.opts.BufferBytes)
	q.spare = b
	q.changed.Broadcast()
}

// stop makes the queue refuse more.
func (q *queue) stop(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
	}
	q.changed.Broadcast()
}

// close says that nothing more comes; what is there is still taken.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	if q.timer != nil {
		q.timer.Stop()
	}
	q.changed.Broadcast()
}
