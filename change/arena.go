package change

import "unsafe"

// arena hands out memory that stays where it is until reset.
type arena struct {
	block []byte
}

const arenaBlock = 16 << 10

// room returns an empty slice that n bytes fit into; keep takes what was appended to it.
func (a *arena) room(n int) []byte {
	if cap(a.block)-len(a.block) < n {
		a.block = make([]byte, 0, max(arenaBlock, n))
	}
	return a.block[len(a.block):len(a.block):cap(a.block)]
}

func (a *arena) keep(b []byte) []byte {
	a.block = a.block[:len(a.block)+len(b)]
	return b
}

func (a *arena) reset() { a.block = a.block[:0] }

// view is b as a string, without a copy: it changes when b does.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
