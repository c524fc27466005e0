package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// maxPath is the longest path that a socket can have everywhere: macOS has room for
// 103 bytes, Linux for 107.
const maxPath = 103

// folderPrefix begins the name of the folder in which the socket is when its own path
// is too long: a symbolic link leads there.
const folderPrefix = "penstock-control-"

type listener struct {
	*net.UnixListener
	path   string
	folder string // to be removed at the end; "" for none
}

func listen(ctx context.Context, path string) (*listener, error) {
	if err := clear(ctx, path); err != nil {
		return nil, err
	}
	l := &listener{path: path}
	at := path
	if len(path) > maxPath {
		folder, err := os.MkdirTemp("", folderPrefix) // readable by its owner alone
		if err != nil {
			return nil, err
		}
		l.folder = folder
		at = filepath.Join(folder, "s")
	}
	unix, err := net.ListenUnix("unix", &net.UnixAddr{Name: at, Net: "unix"})
	if err != nil {
		l.cleanUp()
		return nil, err
	}
	l.UnixListener = unix
	err = os.Chmod(at, 0o600)
	if err == nil && l.folder != "" {
		err = os.Symlink(at, path)
	}
	if err != nil {
		_ = unix.Close() // the first error is the one to tell
		l.cleanUp()
		return nil, err
	}
	return l, nil
}

// cleanUp removes what closing the socket does not.
func (l *listener) cleanUp() {
	if l.folder != "" {
		_ = os.Remove(l.path)
		_ = os.RemoveAll(l.folder)
	}
}

// clear removes what a process that was killed left at the path.
func clear(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	at := target(path)
	switch {
	case info.Mode().Type() == fs.ModeSocket:
	case info.Mode().Type() == fs.ModeSymlink && at != path:
	default:
		return fmt.Errorf("there is a file in its place, which is not removed: move it away")
	}
	d := net.Dialer{Timeout: 2 * time.Second}
	conn, err := d.DialContext(ctx, "unix", at)
	if err == nil {
		_ = conn.Close() // it was only to see whether someone answers
		return errors.New("another process answers at it")
	}
	if !NotRunning(err) {
		return fmt.Errorf("look whether another process answers at it: %w", err)
	}
	if at != path {
		_ = os.RemoveAll(filepath.Dir(at)) // of the process that is no more
	}
	return os.Remove(path)
}

// target is where the socket of a path is: elsewhere only for a link that listen made.
func target(path string) string {
	to, err := os.Readlink(path)
	if err != nil || !strings.HasPrefix(filepath.Base(filepath.Dir(to)), folderPrefix) {
		return path
	}
	return to
}
