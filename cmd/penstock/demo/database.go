package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	embedded "github.com/fergusstrange/embedded-postgres"
)

// fallbackVersion is what is downloaded where the machine has no Postgres of its own.
const fallbackVersion = embedded.V18

// Database runs a Postgres in dir until stdin ends: the demo starts it as a process of
// its own, since Postgres refuses to run as root.
func Database(dir, cache string, port int, stdin io.Reader, out io.Writer) error {
	cfg := embedded.DefaultConfig().Version(fallbackVersion).Port(uint32(port)).
		Username("shop").Password("shop").Database("shop").
		DataPath(filepath.Join(dir, "data")).RuntimePath(filepath.Join(dir, "run")).CachePath(cache).
		StartParameters(map[string]string{"wal_level": "logical", "listen_addresses": "127.0.0.1", "unix_socket_directories": dir}).
		Logger(io.Discard)
	if bin := serverBinaries(); bin != "" {
		cfg = cfg.BinariesPath(bin)
	} else {
		cfg = cfg.BinariesPath(filepath.Join(cache, string(fallbackVersion)))
	}
	server := embedded.NewDatabase(cfg)
	if err := server.Start(); err != nil {
		return fmt.Errorf("start Postgres: %w; set DEMO_DATABASE_URL to use one of yours (wal_level = logical)", err)
	}
	fmt.Fprintln(out, "ready")
	_, _ = io.Copy(io.Discard, stdin)
	return server.Stop()
}

// serverBinaries returns the newest Postgres 14 or later installed on the machine: the folder above bin/; "" for none.
func serverBinaries() string {
	best, newest := "", 13
	var bins []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin"} {
		found, _ := filepath.Glob(pattern)
		bins = append(bins, found...)
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			bins = append(bins, filepath.Dir(path))
		}
	}
	for _, bin := range bins {
		out, err := exec.Command(filepath.Join(bin, "postgres"), "--version").Output()
		if err != nil {
			continue
		}
		for _, word := range strings.Fields(string(out)) {
			major, err := strconv.Atoi(strings.SplitN(word, ".", 2)[0])
			if err == nil && major > newest {
				if _, err := os.Stat(filepath.Join(bin, "pg_ctl")); err == nil {
					best, newest = filepath.Dir(bin), major
				}
			}
		}
	}
	return best
}

// database is the demo's Postgres.
type database struct {
	url   string
	child *exec.Cmd
	stdin io.Closer
}

// startDatabase uses url if it is given, else starts a server below dir.
func startDatabase(ctx context.Context, url, dir string, stderr io.Writer) (*database, error) {
	if url != "" {
		return &database{url: url}, nil
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	home := filepath.Join(dir, "postgres")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cache, err := cacheFolder()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "demo", "--postgres", home, "--cache", cache, "--port", strconv.Itoa(port))
	if os.Getuid() == 0 {
		if err := asNobody(cmd, dir, home, cache); err != nil {
			return nil, err
		}
	}
	cmd.Stderr = stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start Postgres: %w", err)
	}
	db := &database{url: fmt.Sprintf("postgres://shop:shop@127.0.0.1:%d/shop", port), child: cmd, stdin: stdin}
	ready := make(chan error, 1)
	go func() {
		line := make([]byte, 16)
		_, err := stdout.Read(line)
		ready <- err
	}()
	select {
	case err = <-ready:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		db.stop()
		return nil, fmt.Errorf("start Postgres: its process ended before it was ready (see above)")
	}
	return db, nil
}

// cacheFolder is where downloaded server binaries are kept. Root's own cache is closed to
// the user nobody, as whom the server runs then.
func cacheFolder() (string, error) {
	base := "/var/cache"
	if os.Getuid() != 0 {
		var err error
		if base, err = os.UserCacheDir(); err != nil {
			return "", err
		}
	}
	cache := filepath.Join(base, "penstock-demo")
	return cache, os.MkdirAll(cache, 0o755)
}

// asNobody makes the command run as the user nobody, whom Postgres accepts, with a copy
// of this program and folders that this user may use.
func asNobody(cmd *exec.Cmd, dir, home, cache string) error {
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return fmt.Errorf("start Postgres: it refuses to run as root, and there is no user nobody: %w", err)
	}
	uid, err1 := strconv.ParseUint(nobody.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(nobody.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	program := filepath.Join(dir, "penstock")
	if err := copyFile(cmd.Path, program); err != nil {
		return err
	}
	for _, path := range []string{home, cache} {
		if err := os.Chown(path, int(uid), int(gid)); err != nil {
			return err
		}
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return err
	}
	cmd.Path, cmd.Args[0], cmd.Dir = program, program, home
	cmd.Env = append(os.Environ(), "HOME="+home, "TMPDIR="+home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return nil
}

func (d *database) stop() {
	if d.child == nil {
		return
	}
	d.stdin.Close()
	_ = d.child.Wait()
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
