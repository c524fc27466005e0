package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// A cache is the folder of installed binaries and template data. Each entry is
// a folder that appears whole or not at all, made by one process while others wait.
type cache struct {
	dir      string
	progress io.Writer
}

// openCache finds the folder: $PENSTOCK_SERVICES_CACHE, else the user's cache
// folder. Root's own is closed to nobody, who runs root's databases, so root
// has it in /var/cache.
func openCache(progress io.Writer) (*cache, error) {
	dir := os.Getenv("PENSTOCK_SERVICES_CACHE")
	switch {
	case dir != "":
	case os.Geteuid() == 0:
		dir = "/var/cache/penstock-services"
	default:
		base, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("find cache folder: %w; set PENSTOCK_SERVICES_CACHE", err)
		}
		dir = filepath.Join(base, "penstock-services")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find cache folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make cache folder: %w; set PENSTOCK_SERVICES_CACHE to another one", err)
	}
	return &cache{dir: dir, progress: progress}, nil
}

// entry returns the folder of a name, after fill has filled it if it was not
// there. fill gets a folder that is moved into place when it returns nil.
func (c *cache) entry(ctx context.Context, name string, fill func(dir string) error) (string, error) {
	final := filepath.Join(c.dir, name)
	if _, err := os.Stat(final); err == nil {
		return final, nil
	}
	unlock, err := c.lock(ctx, name)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(final); err == nil {
		return final, nil
	}
	partial := final + ".partial" // of a process that was killed, if it is there: we hold the lock
	if err := os.RemoveAll(partial); err != nil {
		return "", fmt.Errorf("clear cache: %w", err)
	}
	if err := os.Mkdir(partial, 0o755); err != nil {
		return "", fmt.Errorf("make cache entry: %w", err)
	}
	if err := os.Chmod(partial, 0o755); err != nil { // whatever the umask is
		return "", fmt.Errorf("open cache entry: %w", err)
	}
	started := time.Now()
	c.say("%s: installing", name)
	if err := fill(partial); err != nil {
		return "", errors.Join(err, os.RemoveAll(partial))
	}
	if err := os.Rename(partial, final); err != nil {
		return "", fmt.Errorf("finish cache entry: %w", err)
	}
	c.say("%s: ready after %.1f s", name, time.Since(started).Seconds())
	return final, nil
}

// templateFormat is raised when what fills a template changes.
const templateFormat = "2"

// template is an entry that holds the data folder of a new server, which
// belongs to whoever runs it: one for each user.
func (c *cache) template(ctx context.Context, name string, fill func(dir string) error) (string, error) {
	return c.entry(ctx, name+"-data"+templateFormat+"-"+strconv.Itoa(os.Geteuid()), func(dir string) error {
		if err := os.Chmod(dir, 0o700); err != nil {
			return fmt.Errorf("close template: %w", err)
		}
		if err := giveAway(dir); err != nil {
			return err
		}
		return fill(dir)
	})
}

// lock waits for the entry's lock file. The system gives it up when we end.
func (c *cache) lock(ctx context.Context, name string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(c.dir, name+".lock"), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, fmt.Errorf("open lock of cache: %w; set PENSTOCK_SERVICES_CACHE to a folder of your own", err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for waiting := false; ; waiting = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !waiting {
			c.say("%s: another process is installing it, waiting", name)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for another process that installs %s: %w", name, ctx.Err())
		case <-tick.C:
		}
	}
}

func (c *cache) say(format string, args ...any) {
	fmt.Fprintf(c.progress, format+"\n", args...)
}

// copyTree copies a folder to a new one, owned by whoever runs servers.
func copyTree(from, to string) error {
	err := filepath.WalkDir(from, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			err = os.Mkdir(target, 0o700)
		case d.Type()&os.ModeSymlink != 0:
			var link string
			if link, err = os.Readlink(name); err == nil {
				err = os.Symlink(link, target)
			}
		default:
			err = copyFile(name, target)
		}
		if err != nil {
			return err
		}
		return giveAway(target)
	})
	if err != nil {
		return fmt.Errorf("copy template: %w", err)
	}
	return nil
}

func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(dst, src); err != nil {
		dst.Close()
		return err
	}
	return dst.Close()
}
