// Package mysql captures MySQL 8.0 to 9.x and MariaDB 10.11 to 11.x from the binary
// log: it connects as a replica does, takes the events in their raw form and decodes
// the rows itself, after it has read the rows that are already there in one
// consistent snapshot.
//
// Names, signs, character sets and members of enums come with each event
// (binlog_row_metadata=FULL), so an ALTER needs no history of schemas.
//
// Event formats: https://dev.mysql.com/doc/dev/mysql-server/latest/namespacemysql_1_1binlog_1_1event.html,
// https://mariadb.com/kb/en/replication-protocol/
package mysql

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"

	"github.com/penstock-cdc/penstock/capture"
)

// Config is a source "mysql" block.
type Config struct {
	// URL is mysql://user:password@host:port/ with these parameters: tls = preferred
	// (the default: encrypted if the server can), disable, require, or verify (the
	// certificate must be valid for the host); tls-ca = a file with the authority's
	// certificates.
	URL string `hcl:"url"`
	// Tables are the tables to capture: database.table with * and ?, ! in front excludes.
	Tables []string `hcl:"tables,optional"`
	// Snapshot is initial (the default: rows that are there before the stream begins
	// are captured first) or never.
	Snapshot string `hcl:"snapshot,optional"`
	// ServerID is the replica's server id that we use; by default a random high one.
	// It must differ from that of every server and replica.
	ServerID uint32 `hcl:"server_id,optional"`
	// TableBlocks are tables under a name that pipelines use.
	TableBlocks []TableConfig `hcl:"table,block"`
}

// TableConfig is a table block: a captured table under an alias, with its settings.
type TableConfig struct {
	Alias   string   `hcl:"alias,label"`
	Name    string   `hcl:"name"`             // database.table
	Columns []string `hcl:"columns,optional"` // captured columns; all by default
	Exclude []string `hcl:"exclude,optional"` // columns left out
	Key     []string `hcl:"key,optional"`     // key columns where the table has no primary key
	PII     []string `hcl:"pii,optional"`     // columns with personal data
	Topic   string   `hcl:"topic,optional"`   // instead of source.database.table
}

// Values of Config.Snapshot.
const (
	SnapshotInitial = "initial"
	SnapshotNever   = "never"
)

// Decode reads a source block's body. It has no side effects.
func Decode(body hcl.Body, ctx *hcl.EvalContext) (*Config, hcl.Diagnostics) {
	cfg := &Config{}
	diags := gohcl.DecodeBody(body, ctx, cfg)
	if diags.HasErrors() {
		return nil, diags
	}
	for _, p := range cfg.problems() {
		diags = append(diags, &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: p.summary, Detail: p.detail,
			Subject: attributeRange(body, p.attribute),
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
	if _, err := parseURL(c.URL); err != nil {
		add("url", "This is not a MySQL URL", "Write it as mysql://user:password@host:3306/, with percent-encoding for special characters in the password: "+err.Error()+".")
	}
	switch c.Snapshot {
	case "", SnapshotInitial, SnapshotNever:
	default:
		add("snapshot", fmt.Sprintf("There is no snapshot mode %q", c.Snapshot), "It is \"initial\" (capture the rows that are already there first) or \"never\".")
	}
	if len(c.Tables) == 0 && len(c.TableBlocks) == 0 {
		add("tables", "No table is captured", "Name tables, for example tables = [\"shop.*\"], or add table blocks.")
	}
	for _, p := range c.Tables {
		if !strings.Contains(p, ".") {
			add("tables", fmt.Sprintf("Table %q has no database", p), fmt.Sprintf("Write database.table, for example %q.", "shop."+strings.TrimPrefix(p, "!")))
		}
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
			add("table", fmt.Sprintf("Table %q has no database", t.Name), fmt.Sprintf("Write database.table, for example %q.", "shop."+t.Name))
		}
		if len(t.Columns) > 0 && len(t.Exclude) > 0 {
			add("table", fmt.Sprintf("Table %q has both columns and exclude", t.Alias), "Say which columns are captured, or which are not.")
		}
	}
	return out
}

// selection returns the captured tables.
func (c *Config) selection() capture.Selection {
	s := capture.Selection{Patterns: c.Tables}
	for i := range c.TableBlocks {
		s.Named = append(s.Named, c.TableBlocks[i].Name)
	}
	return s
}

// block returns a table's own block, nil when it has none.
func (c *Config) block(database, table string) *TableConfig {
	for i := range c.TableBlocks {
		if c.TableBlocks[i].Name == database+"."+table {
			return &c.TableBlocks[i]
		}
	}
	return nil
}

// takes tells whether a column is captured.
func (t *TableConfig) takes(column string) bool {
	if t == nil {
		return true
	}
	if len(t.Columns) > 0 {
		return contains(t.Columns, column)
	}
	return !contains(t.Exclude, column)
}

// contains compares names the way MySQL compares those of columns: in any case.
func contains(names []string, name string) bool {
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}
