package alert

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// read reads a ledger; a file that is not there is an empty one.
func read(path string) (l ledger, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return ledger{}, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &l)
	}
	if err != nil {
		return ledger{}, fmt.Errorf("read what alerts have told: %w", err)
	}
	for _, f := range l.Firing {
		f.restored = true
	}
	return l, nil
}

// write replaces a ledger so that after a crash at any instant it is the old or the new one, whole.
func (l *ledger) write(path string) error {
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("keep what alerts have told: %w", err)
	}
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("keep what alerts have told: %w", err)
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("keep what alerts have told: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("keep what alerts have told: %w", err)
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("keep what alerts have told: %w", err)
	}
	return errors.Join(folder.Sync(), folder.Close())
}
