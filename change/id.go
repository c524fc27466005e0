package change

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// IDSize is the size of an ID in bytes; its text has twice as many characters.
const IDSize = 24

// ID names one change of one source for ever: the same change always has the
// same ID, no two changes share one, and IDs of one source compare bytewise in
// commit order. Layout, big endian: epoch (4 bytes), commit position (8), change
// position (8), ordinal (4). What the positions are is the source's matter.
type ID [IDSize]byte

// afterChanges is the bit of a change position that no change has: points set it,
// so that they sort after every change committed up to their commit position.
const afterChanges = 1 << 63

// NewID makes the ID of a change. The change position is below 1<<63.
func NewID(epoch uint32, commit, position uint64, ordinal uint32) ID {
	var id ID
	binary.BigEndian.PutUint32(id[0:], epoch)
	binary.BigEndian.PutUint64(id[4:], commit)
	binary.BigEndian.PutUint64(id[12:], position)
	binary.BigEndian.PutUint32(id[20:], ordinal)
	return id
}

// NewPointID makes the ID of something that is not a change of the database's log
// but is published at a point of it (a snapshot row, a marker): it sorts after
// every change whose commit position is commit or less. Number is a durable counter
// of the source (a snapshot chunk's number), ordinal tells apart what shares it.
func NewPointID(epoch uint32, commit, number uint64, ordinal uint32) ID {
	return NewID(epoch, commit, number|afterChanges, ordinal)
}

// Epoch counts the servers of a source, one after the other.
func (id ID) Epoch() uint32 { return binary.BigEndian.Uint32(id[0:]) }

// Commit is the commit's position.
func (id ID) Commit() uint64 { return binary.BigEndian.Uint64(id[4:]) }

// Position is the change's own position in its transaction.
func (id ID) Position() uint64 { return binary.BigEndian.Uint64(id[12:]) }

// Ordinal tells changes apart that share their position.
func (id ID) Ordinal() uint32 { return binary.BigEndian.Uint32(id[20:]) }

// IsPoint tells whether the ID is a point's (NewPointID) and not a change's.
func (id ID) IsPoint() bool { return id.Position()&afterChanges != 0 }

// IsZero tells whether the ID is unset. It sorts before every other.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders IDs of one source: -1, 0, 1.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// String is the form of the header penstock.id: 48 lower-case hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// AppendText appends the form of String.
func (id ID) AppendText(dst []byte) ([]byte, error) { return hex.AppendEncode(dst, id[:]), nil }

// MarshalText writes the form of String.
func (id ID) MarshalText() ([]byte, error) { return id.AppendText(nil) }

// UnmarshalText reads the form of String.
func (id *ID) UnmarshalText(text []byte) error {
	if len(text) != 2*IDSize {
		return fmt.Errorf("event id has %d characters, want %d", len(text), 2*IDSize)
	}
	_, err := hex.Decode(id[:], text)
	return err
}
