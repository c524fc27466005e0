package service

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const plan = `Reading package lists...
Inst gcc-14-base (14.2.0-19 Debian:13.8/stable [amd64])
Inst libperl5.42 (5.42.3-1 Debian:unstable [amd64])
Inst libgoogle-perftools4t64 (2.18.1-2 Debian:unstable [amd64])
Inst mysql-server-core (9.7.4-2 Debian:unstable [amd64])
Inst mariadb-server-core (1:11.8.9+ds-0+deb13u1 Debian:13.8/stable [amd64])
Conf mysql-server-core (9.7.4-2 Debian:unstable [amd64])
`

func TestPlan(t *testing.T) {
	want := []string{"libgoogle-perftools4t64", "mysql-server-core", "mariadb-server-core"}
	if diff := cmp.Diff(want, needed(plan)); diff != "" {
		t.Error(diff)
	}
	for pkg, want := range map[string]string{"mysql-server-core": "9.7.4", "mariadb-server-core": "11.8.9"} {
		if got := versionIn(plan, pkg); got != want {
			t.Errorf("%s: got %s, want %s", pkg, got, want)
		}
	}
}

func TestArtifacts(t *testing.T) {
	if n := len(artifacts(kafkaJars)); n != 45 {
		t.Errorf("Kafka has %d jars, want 45", n)
	}
	majors := make(map[string]int)
	for _, a := range append(artifacts(postgresJars), artifacts(kafkaJars)...) {
		if len(a.sha256) != 64 {
			t.Errorf("%s has no checksum", a.file())
		}
		if strings.HasPrefix(a.name, "embedded-postgres-binaries-") {
			major, _, _ := strings.Cut(a.version, ".")
			majors[major]++
		}
	}
	want := map[string]int{"14": 4, "15": 4, "16": 4, "17": 4, "18": 4} // Linux and macOS on two processors
	if diff := cmp.Diff(want, majors); diff != "" {
		t.Error(diff)
	}
}

func TestVerify(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.jar")
	if err := os.WriteFile(name, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := verify(name, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"); err != nil {
		t.Error(err)
	}
	if err := verify(name, strings.Repeat("0", 64)); err == nil {
		t.Error("a changed file passed")
	}
}

func TestUntarStaysInside(t *testing.T) {
	for _, h := range []tar.Header{
		{Name: "../out", Typeflag: tar.TypeReg, Size: 1, Mode: 0o644},
		{Name: "/out", Typeflag: tar.TypeReg, Size: 1, Mode: 0o644},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, "x"); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := untar(&b, t.TempDir()); err == nil {
			t.Errorf("%s was unpacked", h.Name)
		}
	}
}

// Many that want an entry at once get one, filled once; a failed fill leaves none.
func TestCacheEntry(t *testing.T) {
	c := &cache{dir: t.TempDir(), progress: io.Discard}
	broken := errors.New("no network")
	if _, err := c.entry(t.Context(), "x", func(string) error { return broken }); !errors.Is(err, broken) {
		t.Fatalf("got %v, want %v", err, broken)
	}
	var fills atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			dir, err := c.entry(t.Context(), "x", func(dir string) error {
				fills.Add(1)
				return os.WriteFile(filepath.Join(dir, "a"), nil, 0o600)
			})
			if err != nil {
				t.Error(err)
			} else if _, err := os.Stat(filepath.Join(dir, "a")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := fills.Load(); n != 1 {
		t.Errorf("filled %d times", n)
	}
}

// Who waits for another's installation can give up.
func TestCacheWaitEnds(t *testing.T) {
	c := &cache{dir: t.TempDir(), progress: io.Discard}
	unlock, err := c.lock(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.entry(ctx, "x", func(string) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
}

func TestLeasePorts(t *testing.T) {
	a, err := leasePorts(0, 2)
	if err != nil {
		t.Fatal(err)
	}
	if a.ports[0] == a.ports[1] {
		t.Error("one port was given twice")
	}
	if _, err := leasePorts(a.ports[0], 1); !errors.Is(err, errPortTaken) {
		t.Errorf("a leased port: got %v, want %v", err, errPortTaken)
	}
	a.release()
	b, err := leasePorts(a.ports[0], 1)
	if err != nil {
		t.Fatal(err)
	}
	b.release()
}

func TestVariable(t *testing.T) {
	for name, want := range map[string]string{
		"postgres":   "PENSTOCK_TEST_POSTGRES18_URL",
		"postgres14": "PENSTOCK_TEST_POSTGRES14_URL",
		"mysql9":     "PENSTOCK_TEST_MYSQL_URL",
		"mariadb":    "PENSTOCK_TEST_MARIADB_URL",
		"kafka":      "PENSTOCK_TEST_KAFKA",
		"toxiproxy":  "PENSTOCK_TEST_TOXIPROXY_URL",
	} {
		if got := Variable(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

// A folder that keeps nobody out is named, not the program that could not be run.
func TestClosedFolder(t *testing.T) {
	closedDir := t.TempDir() // 0777 less the umask
	if err := os.Chmod(closedDir, 0o700); err != nil {
		t.Fatal(err)
	}
	who := &syscall.Credential{Uid: 65534, Gid: 65534}
	if os.Geteuid() == int(who.Uid) {
		who.Uid, who.Gid = 65533, 65533
	}
	denied := &os.PathError{Op: "fork/exec", Path: "/bin/server", Err: syscall.EACCES}
	if got := closed(denied, who, filepath.Join(closedDir, "data"), "/bin/server").Error(); !strings.Contains(got, "cannot enter "+closedDir+" ") {
		t.Errorf("got %q, want %s named", got, closedDir)
	}
	for _, err := range []error{closed(denied, nil, filepath.Join(closedDir, "data")), closed(denied, who, "/bin/server")} {
		if !errors.Is(err, denied) {
			t.Errorf("got %v, want the system's own error", err)
		}
	}
}

func TestJavaMajor(t *testing.T) {
	for release, want := range map[string]int{
		"IMPLEMENTOR=\"X\"\nJAVA_VERSION=\"17.0.15\"\n": 17,
		"JAVA_VERSION=\"21\"\n":                         21,
		"JAVA_VERSION=\"1.8.0_452\"\n":                  8,
		"nothing":                                       oldestJava,
	} {
		home := t.TempDir()
		if err := os.WriteFile(filepath.Join(home, "release"), []byte(release), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := javaMajor(filepath.Join(home, "bin", "java")); got != want {
			t.Errorf("%q: got %d, want %d", release, got, want)
		}
	}
}

// Absolute links of a package lead into its folder; those to what is not there stay.
func TestRelink(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"etc/java", "usr/lib/jvm"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "etc/java/security"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	links := map[string]string{"usr/lib/jvm/conf": "/etc/java", "usr/lib/jvm/gone": "/etc/other", "usr/lib/jvm/near": "conf"}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := relink(dir); err != nil {
		t.Fatal(err)
	}
	links["usr/lib/jvm/conf"] = "../../../etc/java"
	for name, want := range links {
		if got, err := os.Readlink(filepath.Join(dir, name)); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", name, got, err, want)
		}
	}
	if _, err := os.ReadFile(filepath.Join(dir, "usr/lib/jvm/conf/security")); err != nil {
		t.Error(err)
	}
}
