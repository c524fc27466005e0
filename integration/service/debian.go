package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
)

// debianMirror is used where the machine's own apt sources have no Debian, as
// on Ubuntu; PENSTOCK_DEBIAN_MIRROR names another one.
const debianMirror = "http://deb.debian.org/debian"

// debianKeyring signs Debian's package lists. Ubuntu has it in a package.
const debianKeyring = "usr/share/keyrings/debian-archive-keyring.gpg"

// debianFolder unpacks a package of a Debian suite and the libraries it needs,
// C library included, into dir, whatever the machine itself has installed.
// apt keeps its lists in a folder of their own and checks signatures, so
// neither the machine's packages change nor is root needed.
func (c *cache) debianFolder(ctx context.Context, dir, suite, pkg string) error {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return errors.ErrUnsupported
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return errors.ErrUnsupported
	}
	scratch, err := os.MkdirTemp(c.dir, "apt-")
	if err != nil {
		return fmt.Errorf("make folder for apt: %w", err)
	}
	defer os.RemoveAll(scratch)
	keyring, err := c.keyring(ctx, scratch)
	if err != nil {
		return err
	}
	a := apt{dir: scratch}
	if err := a.configure(mirror(ctx), suite, keyring); err != nil {
		return err
	}
	c.say("reading the package list of Debian %s", suite)
	if _, err := a.get(ctx, "update"); err != nil {
		return err
	}
	plan, err := a.get(ctx, "install", "-s", "--no-install-recommends", pkg)
	if err != nil {
		return err
	}
	wanted := needed(plan)
	c.say("downloading %d Debian packages", len(wanted))
	if _, err := a.get(ctx, append([]string{"download"}, wanted...)...); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(scratch, "*.deb"))
	if err != nil || len(debs) < len(wanted) {
		return fmt.Errorf("download %s: %d of %d packages came", pkg, len(debs), len(wanted))
	}
	for _, deb := range debs {
		if err := run(ctx, scratch, nil, command{args: []string{"dpkg-deb", "-x", deb, dir}}); err != nil {
			return fmt.Errorf("unpack %s: %w", filepath.Base(deb), err)
		}
	}
	version := []byte(versionIn(plan, pkg))
	if err := os.WriteFile(filepath.Join(dir, "version"), version, 0o644); err != nil { //nolint:gosec // read by nobody
		return fmt.Errorf("write version: %w", err)
	}
	return nil
}

// apt is apt-get with lists, status and cache of its own, and all else as the
// machine has it.
type apt struct{ dir string }

func (a apt) configure(mirror, suite, keyring string) error {
	me := "root"
	if u, err := user.Current(); err == nil {
		me = u.Username
	}
	// Hooks of the machine belong to its own lists, not to these.
	conf := fmt.Sprintf(`#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Dir::State "%[1]s";
Dir::State::Lists "%[1]s/lists";
Dir::State::status "%[1]s/status";
Dir::Cache "%[1]s/cache";
Dir::Etc::sourcelist "%[1]s/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Sandbox::User "%[2]s";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
Acquire::Languages "none";
`, a.dir, me)
	files := map[string]string{
		"apt.conf":     conf,
		"status":       "",
		"sources.list": fmt.Sprintf("deb [arch=amd64 signed-by=%s] %s %s main\n", keyring, mirror, suite),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o644); err != nil { //nolint:gosec // no secrets
			return fmt.Errorf("set up apt: %w", err)
		}
	}
	for _, name := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(a.dir, name), 0o755); err != nil {
			return fmt.Errorf("set up apt: %w", err)
		}
	}
	return nil
}

// get runs apt-get and returns its standard output.
func (a apt) get(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-q", "-c", filepath.Join(a.dir, "apt.conf")}, args...)...)
	cmd.Dir = a.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run apt-get %s: %w\n%s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return string(out), nil
}

// needed picks the packages of a plan, less those that only scripts want.
func needed(plan string) []string {
	var all []string
	for line := range strings.Lines(plan) {
		name, ok := strings.CutPrefix(line, "Inst ")
		if !ok {
			continue
		}
		name, _, _ = strings.Cut(name, " ")
		if strings.Contains(name, "perl") && !strings.Contains(name, "perftools") || strings.HasSuffix(name, "-base") {
			continue
		}
		all = append(all, name)
	}
	return all
}

// versionIn finds a package's version in a plan, without what Debian adds:
// "Inst mysql-server-core (9.7.4-2 Debian:unstable [amd64])" is 9.7.4.
func versionIn(plan, pkg string) string {
	_, rest, _ := strings.Cut(plan, "Inst "+pkg+" (")
	version, _, _ := strings.Cut(rest, " ")
	if _, after, ok := strings.Cut(version, ":"); ok {
		version = after
	}
	if i := strings.IndexAny(version, "-+~"); i >= 0 {
		version = version[:i]
	}
	return version
}

// mirror is the Debian mirror that the machine's own sources name, if any.
func mirror(ctx context.Context) string {
	if m := os.Getenv("PENSTOCK_DEBIAN_MIRROR"); m != "" {
		return m
	}
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(ORIGIN)|$(CODENAME)|$(REPO_URI)").Output()
	if err == nil {
		for line := range strings.Lines(string(out)) {
			f := strings.Split(strings.TrimSpace(line), "|")
			if len(f) == 3 && f[0] == "Debian" && !strings.Contains(f[1], "-") {
				return f[2]
			}
		}
	}
	return debianMirror
}

// keyring finds Debian's keys on the machine, else in the machine's own packages.
func (c *cache) keyring(ctx context.Context, scratch string) (string, error) {
	if name := "/" + debianKeyring; readable(name) {
		return name, nil
	}
	c.say("fetching Debian's keys")
	fetch := exec.CommandContext(ctx, "apt-get", "download", "debian-archive-keyring")
	fetch.Dir = scratch
	if out, err := fetch.CombinedOutput(); err != nil {
		return "", fmt.Errorf("get debian-archive-keyring: %w; install it, or run apt-get update\n%s", err, bytes.TrimSpace(out))
	}
	debs, err := filepath.Glob(filepath.Join(scratch, "*.deb"))
	if err != nil || len(debs) != 1 {
		return "", errors.New("get debian-archive-keyring: no package came; install it")
	}
	keys := filepath.Join(scratch, "keys")
	if err := run(ctx, scratch, nil, command{args: []string{"dpkg-deb", "-x", debs[0], keys}}); err != nil {
		return "", fmt.Errorf("unpack keyring: %w", err)
	}
	if err := os.Remove(debs[0]); err != nil {
		return "", fmt.Errorf("remove keyring package: %w", err)
	}
	return filepath.Join(keys, debianKeyring), nil
}

func readable(name string) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// debianCommand runs a program of a debianFolder with that folder's own loader
// and libraries.
func debianCommand(dir, program string, args ...string) []string {
	return append([]string{
		filepath.Join(dir, "usr/lib64/ld-linux-x86-64.so.2"),
		"--library-path", filepath.Join(dir, "usr/lib/x86_64-linux-gnu"),
		"--argv0", filepath.Join(dir, program), filepath.Join(dir, program),
	}, args...)
}
