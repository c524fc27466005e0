package state_test

import (
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/state"
	"github.com/penstock-cdc/penstock/state/statetest"
)

func open(t *testing.T, path string) *state.SQLite {
	t.Helper()
	s, err := state.OpenSQLite(path, state.SQLiteOptions{Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSQLite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	statetest.Run(t, func(t *testing.T) state.Store { return open(t, path) })
}

func execute(t *testing.T, path, text string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(text); err != nil {
		t.Fatal(err)
	}
}

func TestFlippedByteIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	s := open(t, path)
	if err := s.Save(t.Context(), "shop", []byte("mark")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	execute(t, path, "UPDATE mark SET body = substr(body, 1, 4) || x'6e' || substr(body, 6)")
	s = open(t, path)
	defer s.Close()
	_, err := s.Load(t.Context(), "shop")
	var damage *state.DamageError
	if !errors.As(err, &damage) || damage.Table != "mark" || damage.Row != "shop" {
		t.Fatalf("got %v, want the damaged row's name", err)
	}
}

func TestOtherFilesAreRefused(t *testing.T) {
	for name, text := range map[string]string{"knows up to": "PRAGMA user_version=99", "another program's": "PRAGMA application_id=5"} {
		path := filepath.Join(t.TempDir(), "state.db")
		if err := open(t, path).Close(); err != nil {
			t.Fatal(err)
		}
		execute(t, path, text)
		_, err := state.OpenSQLite(path, state.SQLiteOptions{})
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v", text, err)
		}
	}
}

func TestBackupIsUsable(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "state.db"))
	defer s.Close()
	if err := s.Save(t.Context(), "shop", []byte("mark")); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "copy.db")
	if err := s.Backup(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), copied); err == nil {
		t.Error("a backup went over another")
	}
	b := open(t, copied)
	defer b.Close()
	if got, err := b.Load(t.Context(), "shop"); err != nil || string(got) != "mark" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestReserveStopsByName(t *testing.T) {
	s, err := state.OpenSQLite(filepath.Join(t.TempDir(), "state.db"), state.SQLiteOptions{Reserve: 1 << 60})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Space(); err == nil || !strings.Contains(err.Error(), "reserve") {
		t.Fatalf("got %v, want the reserve's name", err)
	}
}
