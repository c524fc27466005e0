package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The parts of a data folder, each locked by the process that uses it; run uses them all.
const (
	partCapture = "capture"
	partSink    = "sink"
	partAll     = "."
)

// dataLock is the hold on parts of a data folder.
type dataLock struct{ files []*os.File }

// lockData makes the data folder where it is missing, readable by its owner alone, and
// takes the part for this process. A process that has it already is named by its pid.
func lockData(dir, part string) (*dataLock, error) {
	parts := []string{part}
	if part == partAll {
		parts = []string{partAll, partCapture, partSink}
	}
	l := &dataLock{}
	for _, p := range parts {
		folder := dir
		if p == partCapture || p == partSink {
			folder = filepath.Join(dir, p)
			if part == partAll {
				if _, err := os.Stat(folder); errors.Is(err, os.ErrNotExist) {
					continue // nobody has ever used it
				}
			}
		}
		if err := os.MkdirAll(folder, 0o700); err != nil {
			l.release()
			return nil, fmt.Errorf("make data folder: %w", err)
		}
		f, err := lockFile(filepath.Join(folder, "lock"), folder)
		if err != nil {
			l.release()
			return nil, err
		}
		l.files = append(l.files, f)
	}
	return l, nil
}

func lockFile(path, folder string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		text := make([]byte, 32)
		n, _ := f.Read(text)
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &lockedError{folder: folder, pid: strings.TrimSpace(string(text[:n]))}
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("write %s: %w", path, err)
		}
	}
	return f, nil
}

func (l *dataLock) release() {
	for _, f := range l.files {
		f.Close() // gives the lock back
	}
}

// lockedError says who has the data folder.
type lockedError struct{ folder, pid string }

func (e *lockedError) Error() string {
	return fmt.Sprintf("data folder %s is in use by process %s: stop that process first, or give this project another data_dir", e.folder, e.pid)
}
