package simulator

import "sync"

// ring keeps the last items added, up to a limit, each under its number. The first
// item ever added has number 1.
type ring[T any] struct {
	mu    sync.RWMutex
	limit int
	items []T
	next  uint64 // number of the next item, minus 1
}

func newRing[T any](limit int) *ring[T] { return &ring[T]{limit: limit} }

func (r *ring[T]) add(item T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.items) < r.limit {
		r.items = append(r.items, item)
	} else {
		r.items[r.next%uint64(r.limit)] = item
	}
	r.next++
}

func (r *ring[T]) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.items, r.next = nil, 0
}

// last is the number of the newest item, 0 if there was none.
func (r *ring[T]) last() uint64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.next
}

// each passes the kept items numbered above since and up to end, oldest first, until
// fn says false. It holds the lock only to copy a few items at a time, so adding goes
// on meanwhile.
func (r *ring[T]) each(since, end uint64, fn func(number uint64, item T) bool) {
	buf := make([]T, 0, 512)
	for since < end {
		buf = buf[:0]
		r.mu.RLock()
		if oldest := r.next - uint64(len(r.items)); since < oldest {
			since = oldest
		}
		end = min(end, r.next)
		for n := since; n < end && len(buf) < cap(buf); n++ {
			buf = append(buf, r.items[n%uint64(r.limit)])
		}
		r.mu.RUnlock()
		for _, item := range buf {
			since++
			if !fn(since, item) {
				return
			}
		}
	}
}

func (r *ring[T]) all() []T {
	var items []T
	r.each(0, r.last(), func(_ uint64, item T) bool {
		items = append(items, item)
		return true
	})
	return items
}
