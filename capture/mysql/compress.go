package mysql

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// maxInflated bounds what a compressed event may unfold to; the server's own bound
// on an event is 1 GiB.
const maxInflated = 1 << 30

// inflate unfolds MariaDB's compressed form: a byte with the algorithm (0: zlib) and
// the width of the length, the length big endian, the data (binlog_buf_uncompress).
func inflate(b []byte) ([]byte, error) {
	if len(b) < 1 {
		return nil, errShort
	}
	algorithm, width := b[0]&0x70>>4, int(b[0]&7)
	if algorithm != 0 || b[0]&0x80 == 0 {
		return nil, fmt.Errorf("compression with header byte %#02x is not known", b[0])
	}
	if width < 1 || width > 4 || len(b) < 1+width {
		return nil, errShort
	}
	size := bigEndian(b[1 : 1+width])
	if size > maxInflated {
		return nil, fmt.Errorf("content of %d bytes is too large", size)
	}
	z, err := zlib.NewReader(bytes.NewReader(b[1+width:]))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if n, err := io.Copy(&out, io.LimitReader(z, int64(size)+1)); err != nil {
		return nil, err
	} else if uint64(n) != size {
		return nil, fmt.Errorf("content has %d bytes, want %d", n, size)
	}
	return out.Bytes(), nil
}

// Fields of a TRANSACTION_PAYLOAD event.
const (
	payloadEnd         = 0
	payloadSize        = 1
	payloadCompression = 2
	payloadUnfolded    = 3

	compressionZstd = 0
	compressionNone = 255
)

// payload unfolds a TRANSACTION_PAYLOAD event (binlog_transaction_compression): the
// events of a transaction, each with its header, without checksums.
func payload(body []byte, z *zstd.Decoder) ([]byte, error) {
	r := reader{b: body}
	compression, unfolded := uint64(compressionNone), uint64(0)
	for {
		kind := r.packed()
		if r.err != nil {
			return nil, r.err
		}
		if kind == payloadEnd {
			break
		}
		field := reader{b: r.text()}
		switch kind {
		case payloadCompression:
			compression = field.packed()
		case payloadUnfolded:
			unfolded = field.packed()
		}
		if field.err != nil {
			return nil, field.err
		}
	}
	switch compression {
	case compressionNone:
		return r.b, nil
	case compressionZstd:
		out, err := z.DecodeAll(r.b, make([]byte, 0, min(unfolded, maxInflated)))
		if err != nil {
			return nil, fmt.Errorf("decompress transaction: %w", err)
		}
		return out, nil
	}
	return nil, fmt.Errorf("compression type %d is not known", compression)
}
