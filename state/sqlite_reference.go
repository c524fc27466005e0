package state

// References are found by record, and by two indexes: by the parent's key, for when the parent changes, and by when they are due.

// due is a reference's Due as the table has it.
func due(r *Reference) any {
	if r.Due == Settled {
		return nil
	}
	return r.Due
}

func (t *sqliteTx) PutReference(pipeline int64, r *Reference) error {
	return t.exec("write reference", `INSERT INTO reference (pipeline, record, name, parent, key, due) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (pipeline, record, name, key) DO UPDATE SET parent=excluded.parent,
		due=CASE WHEN parent=excluded.parent AND due>0 AND due<excluded.due THEN due ELSE excluded.due END`,
		pipeline, r.Record, r.Name, r.Parent, r.Key, due(r))
}

func (t *sqliteTx) DeleteReference(pipeline int64, r *Reference) error {
	return t.exec("delete reference", "DELETE FROM reference WHERE pipeline=? AND record=? AND name=? AND key=?", pipeline, r.Record, r.Name, r.Key)
}

func (t *sqliteTx) DeleteOtherReferences(pipeline int64, r *Reference) error {
	if r.Key == nil {
		return t.exec("delete reference", "DELETE FROM reference WHERE pipeline=? AND record=? AND name=?", pipeline, r.Record, r.Name)
	}
	return t.exec("delete reference", "DELETE FROM reference WHERE pipeline=? AND record=? AND name=? AND key<>?", pipeline, r.Record, r.Name, r.Key)
}

func (t *sqliteTx) DeleteReferences(pipeline, record int64) error {
	return t.exec("delete reference", "DELETE FROM reference WHERE pipeline=? AND record=?", pipeline, record)
}

func (t *sqliteTx) MarkReferences(parent int64, key []byte) (int64, error) {
	n, err := t.count("SELECT count(*) FROM reference WHERE parent=? AND key=?", parent, key)
	if n == 0 || err != nil {
		return 0, err
	}
	return n, t.exec("write reference", "UPDATE reference SET due=0 WHERE parent=? AND key=?", parent, key)
}

func (t *sqliteTx) DueReferences(pipeline, now int64, limit int, f func(*Reference) error) error {
	err := t.q.rows("SELECT record, name, parent, key, due FROM reference WHERE pipeline=? AND due<=? ORDER BY due LIMIT ?", []any{pipeline, now, limit},
		func(scan func(...any) error) error {
			r := &Reference{}
			if err := scan(&r.Record, &r.Name, &r.Parent, &r.Key, &r.Due); err != nil {
				return err
			}
			return called(f(r))
		})
	if err != nil {
		return t.fail("read reference", err)
	}
	return nil
}

func (t *sqliteTx) NextReference(pipeline int64) (int64, error) {
	return t.count("SELECT coalesce(min(due), -1) FROM reference WHERE pipeline=? AND due IS NOT NULL", pipeline)
}

func (t *sqliteTx) WaitingReferences(pipeline int64) (map[string]int64, error) {
	counts := map[string]int64{}
	err := t.q.rows("SELECT name, count(*) FROM reference r WHERE pipeline=? AND due>0 AND EXISTS (SELECT 1 FROM pending p WHERE p.record=r.record AND p.queue=?) GROUP BY name", []any{pipeline, Waiting}, func(scan func(...any) error) error {
		var name string
		var n int64
		err := scan(&name, &n)
		counts[name] = n
		return err
	})
	if err != nil {
		return nil, t.fail("count references", err)
	}
	return counts, nil
}
