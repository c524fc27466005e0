package state_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/state"
)

// TestRead: a state is read while another writes it, and never made, changed or brought up.
func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	if _, err := state.ReadSQLite(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a file was made: %v", err)
	}
	writer, err := state.OpenSQLite(path, state.SQLiteOptions{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	put := func(key string) {
		t.Helper()
		if err := writer.Update(t.Context(), func(tx state.Tx) error {
			p, err := tx.Pipeline("p")
			if err != nil {
				return err
			}
			return tx.PutShadow(p.ID, &state.Shadow{Key: []byte(key)})
		}); err != nil {
			t.Fatal(err)
		}
	}
	put("a")
	reader, err := state.ReadSQLite(path)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for i, key := range []string{"b", "c"} {
		put(key)
		found := 0
		if err := reader.View(t.Context(), func(tx state.Tx) error {
			p, err := tx.Pipeline("p")
			if err != nil {
				return err
			}
			return tx.Shadows(p.ID, [][]byte{[]byte("a"), []byte(key)}, func(*state.Shadow) error {
				found++
				return nil
			})
		}); err != nil || found != 2 {
			t.Errorf("found %d: %v", found, err)
		}
		if n, err := reader.LastRecord(t.Context()); n != int64(i+2) || err != nil {
			t.Errorf("last record %d: %v", n, err)
		}
	}
	if err := reader.Update(t.Context(), func(state.Tx) error { return nil }); err == nil || !strings.Contains(err.Error(), "for reading") {
		t.Errorf("an update: %v", err)
	}
}

// TestReadOther: files that are not a state of this version are refused.
func TestReadOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := state.ReadSQLite(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty file: %v", err)
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := state.ReadSQLite(path); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("another file: %v", err)
	}
}
