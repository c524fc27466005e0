// Package postgres captures Postgres 14 to 18 through logical replication: a slot
// with the built-in pgoutput plugin, protocol version 2, text values. It makes its
// slot and publication itself, reads the rows that are already there in the slot's
// own snapshot, and decodes the stream without a copy.
//
// Protocol: https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
package postgres

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/penstock-cdc/penstock/capture"
)

// Config is a source "postgres" block.
type Config struct {
	// URL is postgres://user:password@host:port/database with the usual parameters.
	URL string `hcl:"url"`
	// Tables are the tables to capture: schema.table with * and ?, ! in front excludes.
	Tables []string `hcl:"tables,optional"`
	// Slot and Publication are penstock_ and the source's name by default.
	Slot        string `hcl:"slot,optional"`
	Publication string `hcl:"publication,optional"`
	// Snapshot is initial (the default: rows that are there before the stream begins
	// are captured first) or never.
	Snapshot string `hcl:"snapshot,optional"`
	// SnapshotWorkers is how many sessions read tables at once: 2 by default.
	SnapshotWorkers int `hcl:"snapshot_workers,optional"`
	// Messages captures logical messages (pg_logical_emit_message) too.
	Messages bool `hcl:"messages,optional"`
	// Streaming receives large transactions while they are in progress, so that they are
	// there soon after their commit: true by default, off with Messages.
	Streaming *bool `hcl:"streaming,optional"`
	// TransactionMemory is how much memory transactions in progress take before they go
	// into a file in the data folder: 16MiB by default.
	TransactionMemory string `hcl:"transaction_memory,optional"`
	// MaxRetainedWAL is how much WAL the server may keep for the slot: a size such as
	// 10GiB. OnMaxRetainedWAL is what is done then: warn (the default), stop, or drop
	// (the slot is given up, and the tables are read again).
	MaxRetainedWAL   string `hcl:"max_retained_wal,optional"`
	OnMaxRetainedWAL string `hcl:"on_max_retained_wal,optional"`
	// TableBlocks are tables under a name that pipelines use.
	TableBlocks []TableConfig `hcl:"table,block"`
}

// TableConfig is a table block: a captured table under an alias, with its settings.
type TableConfig struct {
	Alias   string   `hcl:"alias,label"`
	Name    string   `hcl:"name"`             // schema.table
	Columns []string `hcl:"columns,optional"` // captured columns; all by default
	Exclude []string `hcl:"exclude,optional"` // columns left out
	Key     []string `hcl:"key,optional"`     // key columns where the table has no primary key
	PII     []string `hcl:"pii,optional"`     // columns with personal data
	Topic   string   `hcl:"topic,optional"`   // instead of source.schema.table
	// SnapshotWhere is an SQL condition on the rows that a snapshot reads. Names of
	// functions and types outside pg_catalog need their schema.
	SnapshotWhere string `hcl:"snapshot_where,optional"`
}

// Values of Config.Snapshot.
const (
	SnapshotInitial = "initial"
	SnapshotNever   = "never"
)

// Values of Config.OnMaxRetainedWAL.
const (
	CeilingWarn = "warn"
	CeilingStop = "stop"
	CeilingDrop = "drop"
)

// Decode reads a source block's body. It has no side effects.
func Decode(body hcl.Body, ctx *hcl.EvalContext) (*Config, hcl.Diagnostics) {
	cfg := &Config{}
	diags := gohcl.DecodeBody(body, ctx, cfg)
	if diags.HasErrors() {
		return nil, diags
	}
	for _, err := range cfg.problems() {
		diags = append(diags, &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: err.summary, Detail: err.detail,
			Subject: attributeRange(body, err.attribute),
		})
	}
	if diags.HasErrors() {
		return nil, diags
	}
	return cfg, diags
}

// attributeRange is where an attribute stands, else where the body is.
func attributeRange(body hcl.Body, name string) *hcl.Range {
	content, _, _ := body.PartialContent(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: name}}})
	if content != nil {
		if a := content.Attributes[name]; a != nil {
			return a.Expr.Range().Ptr()
		}
	}
	return body.MissingItemRange().Ptr()
}

type configProblem struct{ attribute, summary, detail string }

// problems finds what is wrong with the settings without asking the server.
func (c *Config) problems() (out []configProblem) {
	add := func(attribute, summary, detail string) {
		out = append(out, configProblem{attribute, summary, detail})
	}
	if _, err := pgconn.ParseConfig(c.URL); err != nil || !strings.HasPrefix(c.URL, "postgres://") && !strings.HasPrefix(c.URL, "postgresql://") {
		// The driver's message may quote the URL and with it the password.
		add("url", "This is not a Postgres URL", "Write it as postgres://user:password@host:5432/database, with percent-encoding for special characters in the password.")
	}
	switch c.Snapshot {
	case "", SnapshotInitial, SnapshotNever:
	default:
		add("snapshot", fmt.Sprintf("There is no snapshot mode %q", c.Snapshot), "It is \"initial\" (capture the rows that are already there first) or \"never\".")
	}
	if c.SnapshotWorkers < 0 || c.SnapshotWorkers > 16 {
		add("snapshot_workers", fmt.Sprintf("%d workers can't load tables", c.SnapshotWorkers), "Write a number from 1 to 16; 2 is the default.")
	}
	if len(c.Tables) == 0 && len(c.TableBlocks) == 0 {
		add("tables", "No table is captured", "Name tables, for example tables = [\"public.*\"], or add table blocks.")
	}
	for _, p := range c.Tables {
		if !strings.Contains(strings.TrimPrefix(p, "!"), ".") {
			add("tables", fmt.Sprintf("Table %q has no schema", p), fmt.Sprintf("Write schema.table, for example %q.", "public."+p))
		}
	}
	out = append(out, c.ceilingProblems()...)
	if !validSlotName(c.Slot) {
		add("slot", fmt.Sprintf("%q cannot be a replication slot's name", c.Slot), "Postgres allows lower-case letters, digits and _, at most 63 of them.")
	}
	if c.Messages && c.Streaming != nil && *c.Streaming {
		add("streaming", "Messages and streaming exclude each other", "A logical message of a rolled-back savepoint cannot be told apart in a transaction in progress: leave streaming away.")
	}
	if n, err := parseBytes(c.TransactionMemory); c.TransactionMemory != "" && (err != nil || n < minTransactionMemory) {
		add("transaction_memory", fmt.Sprintf("%q is no size for transactions in progress", c.TransactionMemory), "Write a size of at least 1MiB, for example \"16MiB\".")
	}
	alias, name := map[string]bool{}, map[string]bool{}
	for i := range c.TableBlocks {
		t := &c.TableBlocks[i]
		switch {
		case alias[t.Alias]:
			add("table", fmt.Sprintf("There are two tables %q", t.Alias), "Give one of them another name.")
		case name[t.Name]:
			add("table", fmt.Sprintf("Table %s has two blocks", t.Name), "Several pipelines can use one block.")
		}
		alias[t.Alias], name[t.Name] = true, true
		if !strings.Contains(t.Name, ".") {
			add("table", fmt.Sprintf("Table %q has no schema", t.Name), fmt.Sprintf("Write schema.table, for example %q.", "public."+t.Name))
		}
		if len(t.Columns) > 0 && len(t.Exclude) > 0 {
			add("table", fmt.Sprintf("Table %q has both columns and exclude", t.Alias), "Say which columns are captured, or which are not.")
		}
	}
	return out
}

// Memory for transactions in progress, in bytes.
const (
	defaultTransactionMemory = 16 << 20
	minTransactionMemory     = 1 << 20
)

// parseBytes reads a size: digits and KiB, MiB or GiB.
func parseBytes(s string) (int64, error) {
	for shift, unit := range []string{"KiB", "MiB", "GiB"} {
		if digits, ok := strings.CutSuffix(s, unit); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 32)
			if err == nil && n < 0 {
				err = strconv.ErrRange
			}
			return n << (10 * (shift + 1)), err
		}
	}
	return 0, strconv.ErrSyntax
}

// where is the condition on the rows of a table that a snapshot reads, "" for none.
func (c *Config) where(info *relationInfo) string {
	if b := c.block(info.schema, info.name); b != nil {
		return b.SnapshotWhere
	}
	return ""
}

// validSlotName allows "" for the default.
func validSlotName(s string) bool {
	for _, r := range s {
		if r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9') {
			return false
		}
	}
	return len(s) <= 63
}

// captures tells whether a table is to be captured.
func (c *Config) captures(schema, table string) bool {
	selection := capture.Selection{Patterns: c.Tables}
	return c.block(schema, table) != nil || selection.Captures(schema, table)
}

// block returns a table's own block, nil when it has none.
func (c *Config) block(schema, table string) *TableConfig {
	for i := range c.TableBlocks {
		if name := c.TableBlocks[i].Name; len(name) == len(schema)+1+len(table) && strings.HasPrefix(name, schema+".") && strings.HasSuffix(name, "."+table) {
			return &c.TableBlocks[i]
		}
	}
	return nil
}

// defaultName is the slot's and the publication's name where none is given: penstock_
// and the source's name, in characters that a slot's name may have.
func defaultName(source string) string {
	name := []byte("penstock_" + strings.ToLower(source))
	for i, c := range name {
		if c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			name[i] = '_'
		}
	}
	return string(name[:min(len(name), 63)])
}
