package stream

// tailBatch is a sealed batch that was written lately. Its data is never changed.
type tailBatch struct {
	base int64
	data []byte
}

// tailCache keeps the newest batches in memory, so that readers that keep up do not
// touch the file. It is guarded by Embedded.mu.
type tailCache struct {
	limit int // bytes over all partitions
	size  int
	order []*embeddedLane // whose oldest batch goes next
}

func (c *tailCache) add(l *embeddedLane, b tailBatch) {
	l.tail = append(l.tail, b)
	c.order = append(c.order, l)
	c.size += len(b.data)
	for c.size > c.limit && len(c.order) > 1 {
		oldest := c.order[0]
		c.order[0] = nil
		c.order = c.order[1:]
		c.size -= len(oldest.tail[0].data)
		oldest.tail[0] = tailBatch{}
		oldest.tail = oldest.tail[1:]
	}
}

// find returns the batches from the one with offset on, at least one and up to
// maxBytes, if the cache has that one.
func (l *embeddedLane) find(offset int64, maxBytes int) [][]byte {
	tail := l.tail
	if len(tail) == 0 || offset < tail[0].base || offset >= l.next {
		return nil
	}
	low, high := 0, len(tail) // the last batch whose base is not above offset
	for high-low > 1 {
		if mid := (low + high) / 2; tail[mid].base <= offset {
			low = mid
		} else {
			high = mid
		}
	}
	var out [][]byte
	for size := 0; low < len(tail) && (len(out) == 0 || size+len(tail[low].data) <= maxBytes); low++ {
		out = append(out, tail[low].data)
		size += len(tail[low].data)
	}
	return out
}
