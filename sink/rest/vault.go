package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Files is a Vault of one file an app in a folder, readable by its owner alone. All processes that use the folder
// share it, by locks on files.
type Files string

// Renew is Vault's.
func (dir Files) Renew(ctx context.Context, app string, f func(Tokens) (Tokens, error)) (Tokens, error) {
	if err := os.MkdirAll(string(dir), 0o700); err != nil {
		return Tokens{}, fmt.Errorf("make folder for tokens: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(string(dir), app+".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return Tokens{}, fmt.Errorf("lock tokens: %w", err)
	}
	defer lock.Close() // lets go of the lock
	if err := hold(ctx, lock); err != nil {
		return Tokens{}, fmt.Errorf("lock tokens: %w", err)
	}
	path := filepath.Join(string(dir), app+".json")
	var kept Tokens
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return Tokens{}, fmt.Errorf("read tokens: %w", err)
	case json.Unmarshal(text, &kept) != nil:
		return Tokens{}, fmt.Errorf("read tokens: %s is damaged: remove it, and authorise again if the configured refresh token is refused", path)
	}
	renewed, err := f(kept)
	if err != nil || renewed == kept {
		return renewed, err
	}
	if err := keep(path, renewed); err != nil {
		return Tokens{}, fmt.Errorf("keep tokens: %w", err)
	}
	return renewed, nil
}

// hold waits for a lock that other processes take for as long as a call to a token endpoint lasts.
func hold(ctx context.Context, f *os.File) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// keep replaces a file so that after a crash at any instant it is the old or the new one, whole.
func keep(path string, t Tokens) error {
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close(), os.Rename(path+".new", path)); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}
