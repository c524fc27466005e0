package mysql

import (
	"fmt"
	"strings"

	"github.com/penstock-cdc/penstock/change"
)

// tableOf makes the table that a declaration gives under the settings, and each of
// its columns' place in a row, -1 for one that is not captured.
func (s *Source) tableOf(d *declaration) (*change.Table, []int, error) {
	columns := make([]column, len(d.columns))
	for i := range d.columns {
		columns[i] = d.columns[i].column
	}
	return s.makeTable(d.database, d.name, columns, d.key, d)
}

// leavesOutGenerated: MariaDB's updates do not carry generated columns, changed or not,
// so they are not captured there.
func (s *Source) leavesOutGenerated() bool { return s.mariadb.Load() }

// makeTable makes a table of columns. What the columns alone do not tell is taken
// from the declaration's columns that are stored the same way; d may be nil.
func (s *Source) makeTable(database, name string, columns []column, key []int, d *declaration) (*change.Table, []int, error) {
	block := s.cfg.block(database, name)
	t := &change.Table{Database: database, Name: name, FullBefore: true, Topic: change.Topic(s.name, database, name)}
	if block != nil && block.Topic != "" {
		t.Topic = block.Topic
	}
	out := make([]int, len(columns))
	for i := range columns {
		c := &columns[i]
		out[i] = -1
		if !block.takes(c.name) {
			continue
		}
		var declared *declaredColumn
		if d != nil {
			if declared = d.column(c.name); declared != nil && declared.same(c) {
				c.declared = declared.declared
				if declared.generated && s.leavesOutGenerated() {
					continue
				}
			} else {
				declared = nil
			}
		}
		column, err := c.describe()
		if err != nil {
			return nil, nil, fmt.Errorf("table %s.%s: column %s: %w", database, name, c.name, err)
		}
		if declared != nil {
			column.Type, column.Generated = declared.text, declared.generated
		}
		column.PII = block != nil && contains(block.PII, c.name)
		out[i] = len(t.Columns)
		t.Columns = append(t.Columns, column)
	}
	if block != nil && len(block.Key) > 0 {
		for _, name := range block.Key {
			at := -1
			for i := range t.Columns {
				if strings.EqualFold(t.Columns[i].Name, name) {
					at = i
				}
			}
			if at < 0 {
				return nil, nil, fmt.Errorf("table %s.%s: key column %s is not there or not captured", database, t.Name, name)
			}
			t.Key = append(t.Key, at)
		}
	} else {
		for _, k := range key {
			if out[k] < 0 {
				return nil, nil, fmt.Errorf("table %s.%s: column %s of the primary key is not captured: capture it, or choose other columns with key", database, name, columns[k].name)
			}
			t.Key = append(t.Key, out[k])
		}
	}
	return t.Seal(), out, nil
}
