package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// shadowFields is how many fields each record has.
const shadowFields = 12

// shadows loads many rows of 12 columns into the app that discards, and measures what the state takes for each on disk
// and what the command takes in memory with so many of them, while all are made and while a tenth of them changes.
func (s *suite) shadows(ctx context.Context) (err error) {
	s.note("shadows: %s records of %d fields", number(float64(s.shadow)), shadowFields)
	d, err := newPostgres(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.drop(ctx)) }()
	var columns, values, fields []string
	for i := range shadowFields {
		columns = append(columns, fmt.Sprintf("c%d text", i+1))
		values = append(values, fmt.Sprintf("'value ' || n || ' of %d'", i+1)) // some 18 bytes
		fields = append(fields, fmt.Sprintf("    f%d = row.c%d", i+1, i+1))
	}
	for _, sql := range []string{
		"CREATE TABLE public.wide (id bigint PRIMARY KEY, " + strings.Join(columns, ", ") + ")",
		fmt.Sprintf("INSERT INTO public.wide SELECT n, %s FROM generate_series(1, %d) n", strings.Join(values, ", "), s.shadow),
	} {
		if err := d.exec(ctx, sql); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp(s.dir, "shadows-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	text := fmt.Sprintf(`
penstock { data_dir = "data" }
source "postgres" "shop" {
%s
  table "wide" { name = "public.wide" }
}
app "discard" "null" { }
pipeline "wide" {
  from = source.postgres.shop.wide
  to   = app.discard.null.records
  key { id = tostring(row.id) }
  fields "source" {
%s
  }
}
`, d.settings(), strings.Join(fields, "\n"))
	if err := os.WriteFile(filepath.Join(dir, "shadows.hcl"), []byte(text), 0o600); err != nil {
		return err
	}
	catchUp := func() (float64, error) {
		p, err := s.start(ctx, dir, "run", "--until-caught-up", dir)
		if err != nil {
			return 0, err
		}
		err = p.wait(ctx)
		return p.memory(), err
	}
	loading, err := catchUp()
	if err != nil {
		return err
	}
	if err := d.exec(ctx, fmt.Sprintf("UPDATE public.wide SET c1 = 'changed ' || id WHERE id %% 10 = 0 AND id <= %d", s.shadow)); err != nil {
		return err
	}
	changing, err := catchUp()
	if err != nil {
		return err
	}
	info, err := os.Stat(filepath.Join(dataFolder(dir), "state.db"))
	if err != nil {
		return err
	}
	each := float64(info.Size()) / float64(s.shadow)
	s.add(figure{
		what: fmt.Sprintf("State on disk for each record of %d fields, with its history", shadowFields), goal: "≤ 1 KiB without history",
		measured: number(each) + " B", verdict: atMost(each, 1024),
	})
	s.addMemory(fmt.Sprintf("Resident memory while %s records are made", number(float64(s.shadow))), loading)
	s.addMemory("The same, while a tenth of them changes", changing)
	return nil
}
