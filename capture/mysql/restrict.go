package mysql

import "github.com/penstock-cdc/penstock/change"

// Restrict applies the settings of a table's block to a schema that was described before
// under others: columns that are left out now, and those with personal data.
func (s *Source) Restrict(t *change.Table) *change.Table {
	block := s.cfg.block(t.Database, t.Name)
	if block == nil {
		return t
	}
	out := *t
	out.Columns, out.Key = nil, nil
	for _, c := range t.Columns {
		if !block.takes(c.Name) {
			continue
		}
		c.PII = contains(block.PII, c.Name)
		out.Columns = append(out.Columns, c)
	}
	for _, k := range t.Key {
		if i := out.Column(t.Columns[k].Name); i >= 0 {
			out.Key = append(out.Key, i)
		}
	}
	return out.Seal()
}
