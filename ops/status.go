package ops

import (
	"context"
	"time"
)

// Process tells how the process is. Status is asked at each request of /metrics and
// /api/v1/status, also by several at once, and should answer from memory.
type Process interface {
	Status(ctx context.Context) (Status, error)
}

// Status is the answer of /api/v1/status. Numbers that are not known are nil and are
// left out, there and in the metrics.
type Status struct {
	Version   string     `json:"version"`
	Commit    string     `json:"commit,omitempty"`
	Started   time.Time  `json:"started"`
	Sources   []Source   `json:"sources"`
	Pipelines []Pipeline `json:"pipelines"`
	Apps      []App      `json:"apps"`
}

// Source is one captured database.
type Source struct {
	Name          string     `json:"name"`
	Kind          string     `json:"kind"`
	State         string     `json:"state"` // connecting, snapshot, streaming, waiting
	Detail        string     `json:"detail,omitempty"`
	Position      string     `json:"position,omitempty"`
	Confirmed     string     `json:"confirmed,omitempty"`
	LagSeconds    *float64   `json:"lag_seconds,omitempty"`
	BehindBytes   *int64     `json:"behind_bytes,omitempty"`
	RetainedBytes *int64     `json:"retained_bytes,omitempty"`
	Captured      []Captured `json:"captured,omitempty"`
	// Loads are the tables whose rows are, or were, read.
	Loads []Load `json:"loads,omitempty"`
	// Transactions are those in progress at the database; nil: it has no such thing.
	Transactions *Transactions `json:"transactions,omitempty"`
	Warnings     []string      `json:"warnings,omitempty"`
}

// Transactions are those in progress at the database of which a part was received.
type Transactions struct {
	Open          int     `json:"open"`
	MemoryBytes   int64   `json:"memory_bytes"`             // kept of them in memory
	FileBytes     int64   `json:"file_bytes"`               // kept of them in files
	OldestSeconds float64 `json:"oldest_seconds,omitempty"` // since the first part of the oldest came
	// What the database itself has written to its disk since its statistics were reset.
	ServerSpilled      int64 `json:"server_spilled"`
	ServerSpilledBytes int64 `json:"server_spilled_bytes"`
}

// Load is how far the reading of a table's rows is.
type Load struct {
	Table       string  `json:"table"`
	State       string  `json:"state"`                    // pending, reading, paused, done
	Rows        int64   `json:"rows"`                     // read so far
	Estimated   int64   `json:"rows_estimated,omitempty"` // that it has; 0: not known
	Bytes       int64   `json:"bytes"`                    // of the rows
	Chunks      int64   `json:"chunks,omitempty"`         // in which they were read
	LeftSeconds float64 `json:"left_seconds,omitempty"`   // an estimate; 0: not known
	Waits       string  `json:"waits,omitempty"`          // why no more is read for now
}

// Captured counts the events of a table since the process started.
type Captured struct {
	Table string `json:"table"`
	Op    string `json:"op"`
	Count uint64 `json:"count"`
}

// Pipeline is one pipeline with its two ledgers.
type Pipeline struct {
	Name       string   `json:"name"`
	App        string   `json:"app"`
	Object     string   `json:"object"`
	State      string   `json:"state,omitempty"`
	Detail     string   `json:"detail,omitempty"`
	LagSeconds *float64 `json:"lag_seconds,omitempty"`
	Warnings   []string `json:"warnings,omitempty"` // what a changed schema breaks
	// Paused is since when nothing is sent. NextRun and LastRun (its beginning) are of a schedule, in seconds since 1970.
	Paused  *time.Time `json:"paused_since,omitempty"`
	NextRun *float64   `json:"next_run,omitempty"`
	LastRun *float64   `json:"last_run,omitempty"`
	// Events by final outcome (applied, unchanged, superseded ...): counts that only grow.
	Events map[string]uint64 `json:"events,omitempty"`
	// Open are the events that have no final outcome yet (pending, held, waiting).
	Open map[string]int64 `json:"open,omitempty"`
	Keys map[string]int64 `json:"keys,omitempty"` // by state
	// Edits are what others did to our records in the app, by kind (edited, gone) as verify found it: counts that only grow.
	Edits map[string]uint64 `json:"edits,omitempty"`
}

// App is one connected app.
type App struct {
	Name   string     `json:"name"`
	Kind   string     `json:"kind"`
	State  string     `json:"state"`            // ok, waiting, halted
	Detail string     `json:"detail,omitempty"` // why it waits or was halted
	Until  *time.Time `json:"until,omitempty"`  // when it is called again
}

// Check is one thing that must be reachable for the process to be ready.
type Check struct {
	Name  string // "source shop", "app crm"
	Check func(ctx context.Context) error
}
