package stream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// codec is the compression of a batch's records, as its attributes have it.
type codec uint8

const (
	codecPlain codec = iota
	codecGzip
	codecSnappy
	codecLZ4
	codecZstd
	codecMask = 7
)

// compressMin is the size below which records are left plain.
const compressMin = 512

// compressor compresses record batches; it is for one goroutine.
type compressor struct {
	codec codec
	lz4   *lz4.Writer
	zstd  *zstd.Encoder
	buf   bytes.Buffer
}

// compress returns memory of its own: head, then the records, in the smaller of
// their compressed and their plain form, and which that is.
func (c *compressor) compress(head, raw []byte) ([]byte, codec) {
	if c.codec == codecPlain || len(raw) < compressMin {
		return append(append(make([]byte, 0, len(head)+len(raw)), head...), raw...), codecPlain
	}
	c.buf.Reset()
	c.buf.Write(head)
	switch c.codec {
	case codecLZ4:
		if c.lz4 == nil {
			c.lz4 = lz4.NewWriter(nil)
			if err := c.lz4.Apply(lz4.BlockSizeOption(lz4.Block256Kb), lz4.ChecksumOption(false), lz4.ConcurrencyOption(1)); err != nil {
				panic("stream: lz4 options: " + err.Error())
			}
		}
		c.lz4.Reset(&c.buf)
		_, err := c.lz4.Write(raw)
		if err = errors.Join(err, c.lz4.Close()); err != nil {
			panic("stream: lz4 into memory: " + err.Error())
		}
	case codecSnappy:
		c.snappy(raw)
	case codecZstd:
		if c.zstd == nil {
			var err error
			c.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(256<<10))
			if err != nil {
				panic("stream: zstd options: " + err.Error())
			}
		}
		c.buf.Grow(len(raw)/4 + 1024)
		out := c.zstd.EncodeAll(raw, c.buf.AvailableBuffer())
		c.buf.Write(out)
	}
	if c.buf.Len()-len(head) >= len(raw) {
		return append(append(make([]byte, 0, len(head)+len(raw)), head...), raw...), codecPlain
	}
	return bytes.Clone(c.buf.Bytes()), c.codec
}

// Kafka's snappy is the framing of the Java library snappy-java: a magic, two
// versions, then blocks, each behind its length.
var snappyMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1}

const snappyBlock = 64 << 10

func (c *compressor) snappy(raw []byte) {
	c.buf.Write(snappyMagic)
	for len(raw) > 0 {
		n := min(len(raw), snappyBlock)
		c.buf.Grow(4 + s2.MaxEncodedLen(n))
		room := c.buf.AvailableBuffer()
		room = room[:4+s2.MaxEncodedLen(n)]
		block := s2.EncodeSnappy(room[4:], raw[:n])
		room[0], room[1], room[2], room[3] = byte(len(block)>>24), byte(len(block)>>16), byte(len(block)>>8), byte(len(block))
		c.buf.Write(room[:4+len(block)])
		raw = raw[n:]
	}
}

// decompressor undoes every compression that Kafka knows; it is for one goroutine.
type decompressor struct {
	in   bytes.Reader
	gzip *gzip.Reader
	lz4  *lz4.Reader
	zstd *zstd.Decoder
}

// maxRaw bounds what a damaged or hostile batch may unpack to.
const maxRaw = 256 << 20

// decompress appends the plain form of data to dst.
func (d *decompressor) decompress(c codec, dst, data []byte) ([]byte, error) {
	switch c {
	case codecGzip:
		d.in.Reset(data)
		if d.gzip == nil {
			d.gzip = new(gzip.Reader)
		}
		if err := d.gzip.Reset(&d.in); err != nil {
			return dst, fmt.Errorf("unpack gzip: %w", err)
		}
		return readAll(dst, d.gzip)
	case codecSnappy:
		return unsnappy(dst, data)
	case codecLZ4:
		d.in.Reset(data)
		if d.lz4 == nil {
			d.lz4 = lz4.NewReader(nil)
		}
		d.lz4.Reset(&d.in)
		return readAll(dst, d.lz4)
	case codecZstd:
		if d.zstd == nil {
			var err error
			if d.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxRaw)); err != nil {
				return dst, fmt.Errorf("unpack zstd: %w", err)
			}
		}
		out, err := d.zstd.DecodeAll(data, dst)
		if err != nil {
			return dst, fmt.Errorf("unpack zstd: %w", err)
		}
		return out, nil
	}
	return dst, fmt.Errorf("unpack records: compression %d is unknown", c)
}

func (d *decompressor) close() {
	if d.zstd != nil {
		d.zstd.Close()
		d.zstd = nil
	}
}

func readAll(dst []byte, r io.Reader) ([]byte, error) {
	start := len(dst)
	for {
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, max(64<<10, len(dst)-start))
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, fmt.Errorf("unpack records: %w", err)
		}
		if len(dst)-start > maxRaw {
			return dst, fmt.Errorf("unpack records: more than %d bytes", maxRaw)
		}
	}
}

func unsnappy(dst, data []byte) ([]byte, error) {
	if !bytes.HasPrefix(data, snappyMagic[:8]) { // some clients write one plain block
		return unsnappyBlock(dst, data)
	}
	if len(data) < len(snappyMagic) {
		return dst, errors.New("unpack snappy: header is cut off")
	}
	data = data[len(snappyMagic):]
	for len(data) > 0 {
		if len(data) < 4 {
			return dst, errors.New("unpack snappy: block is cut off")
		}
		n := int(data[0])<<24 | int(data[1])<<16 | int(data[2])<<8 | int(data[3])
		if n > len(data)-4 {
			return dst, errors.New("unpack snappy: block is cut off")
		}
		var err error
		if dst, err = unsnappyBlock(dst, data[4:4+n]); err != nil {
			return dst, err
		}
		data = data[4+n:]
	}
	return dst, nil
}

func unsnappyBlock(dst, data []byte) ([]byte, error) {
	n, err := snappy.DecodedLen(data)
	if err != nil || n > maxRaw {
		return dst, fmt.Errorf("unpack snappy: block's length is wrong: %w", err)
	}
	start := len(dst)
	dst = slices.Grow(dst, n)
	if _, err := snappy.Decode(dst[start:start+n], data); err != nil {
		return dst[:start], fmt.Errorf("unpack snappy: %w", err)
	}
	return dst[:start+n], nil
}
