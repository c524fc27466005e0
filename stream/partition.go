package stream

import "encoding/binary"

// partitionOf returns a key's partition as Kafka's Java client does by default:
// murmur2 over the key with its sign masked off, modulo the count. A null key goes to
// partition 0.
func partitionOf(key []byte, count int) int {
	if key == nil || count <= 1 {
		return 0
	}
	return int(murmur2(key)&0x7fffffff) % count
}

// murmur2 is the 32-bit hash with the seed and the constants of Kafka's clients.
func murmur2(data []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := seed ^ uint32(len(data))
	for len(data) >= 4 {
		k := binary.LittleEndian.Uint32(data)
		k *= m
		k ^= k >> r
		k *= m
		h *= m
		h ^= k
		data = data[4:]
	}
	switch len(data) {
	case 3:
		h ^= uint32(data[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(data[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(data[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h
}
