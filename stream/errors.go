package stream

import (
	"fmt"
	"strings"
)

// A DamageError says that the log or the state beside it is not what it was when it
// was written: a tail is missing, a batch fails its checksum, a backup was put back.
// Nothing is changed when it is returned.
type DamageError struct {
	Source    string // "" where the damage is not one source's
	Topic     string // "" where it is not one partition's
	Partition int
	Offset    int64  // of the first record concerned
	Missing   string // what is wrong or gone
	Fix       string // what an operator can do
	Err       error  // the cause, if there is one
}

func (e *DamageError) Error() string {
	var b strings.Builder
	b.WriteString("stream is damaged: ")
	if e.Source != "" {
		fmt.Fprintf(&b, "source %s: ", e.Source)
	}
	if e.Topic != "" {
		fmt.Fprintf(&b, "topic %s partition %d offset %d: ", e.Topic, e.Partition, e.Offset)
	}
	b.WriteString(e.Missing)
	if e.Err != nil {
		fmt.Fprintf(&b, " (%v)", e.Err)
	}
	if e.Fix != "" {
		b.WriteString("; " + e.Fix)
	}
	return b.String()
}

func (e *DamageError) Unwrap() error { return e.Err }

// A DiskFullError stops writing while the reserve of the disk is still free.
type DiskFullError struct {
	Path    string
	Free    uint64 // bytes
	Reserve uint64 // bytes that must stay free
}

func (e *DiskFullError) Error() string {
	return fmt.Sprintf("write stream: disk of %s has %d MiB free, and %d MiB are kept in reserve; free some space there and start again",
		e.Path, e.Free>>20, e.Reserve>>20)
}

// A TooLargeError is a row whose message is larger than the stream takes. It has the
// size of the key and not the key, so that it can be logged.
type TooLargeError struct {
	Topic   string
	Key     int // bytes
	Size    int // bytes of the whole message
	Limit   int
	Setting string // what raises the limit, "" where nothing does
}

func (e *TooLargeError) Error() string {
	text := fmt.Sprintf("add message to topic %s: it has %d bytes (its key %d) and the stream takes %d", e.Topic, e.Size, e.Key, e.Limit)
	if e.Setting != "" {
		return text + "; raise " + e.Setting + ", or exclude the table's large columns"
	}
	return text + "; exclude the table's large columns"
}

// A GapError is a reader's position below the start of the log: what lies between
// was trimmed before the reader had it.
type GapError struct {
	Group     string
	Topic     string
	Partition int
	Want      int64 // the reader's position
	Start     int64 // the first offset there is
}

func (e *GapError) Error() string {
	return fmt.Sprintf("read topic %s partition %d for %s: position %d is below the start of the log %d, so %d messages are gone; read the tables again: penstock source reset NAME",
		e.Topic, e.Partition, e.Group, e.Want, e.Start, e.Start-e.Want)
}

// A SharedGroupError is a group that has another reader, where one alone may read.
type SharedGroupError struct {
	Group   string
	Members []string // id and host of each, our own perhaps among them
}

func (e *SharedGroupError) Error() string {
	return fmt.Sprintf("Kafka's consumer group %s has another sink process (members: %s); each would keep a state of its own, so one alone may run: stop the other, or give this pipeline another name",
		e.Group, strings.Join(e.Members, ", "))
}

// A FencedError ends a writer whose place another one has taken.
type FencedError struct{ Source string }

func (e *FencedError) Error() string {
	return fmt.Sprintf("write stream of source %s: another capture of this source has taken over", e.Source)
}

// A PartitionsError is a topic whose number of partitions is not the one its keys
// were spread over.
type PartitionsError struct {
	Topic     string
	Want, Got int
}

func (e *PartitionsError) Error() string {
	return fmt.Sprintf("open topic %s: it has %d partitions and its keys are spread over %d; order per key would be lost: give the topic %d partitions again (delete and snapshot anew), or another name",
		e.Topic, e.Got, e.Want, e.Want)
}
