package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	// oldestJava is what Kafka 4 needs.
	oldestJava    = 17
	debianJava    = "openjdk-21-jre-headless" // of Debian 13
	debianJavaBin = "usr/lib/jvm/java-21-openjdk-amd64/bin/java"
)

// java returns how Java is run: the machine's own, of JAVA_HOME or in the path, if it is
// new enough, else one that is put into the cache.
func (c *cache) java(ctx context.Context) ([]string, error) {
	found := ownJava()
	if found != "" && javaMajor(found) >= oldestJava {
		return []string{found}, nil
	}
	home, err := c.entry(ctx, "java-21", func(dir string) error {
		if err := c.debianFolder(ctx, dir, "trixie", debianJava); err != nil {
			return err
		}
		return relink(dir)
	})
	if errors.Is(err, errors.ErrUnsupported) {
		is := "none is here"
		if found != "" {
			is = fmt.Sprintf("%s is %d", found, javaMajor(found))
		}
		return nil, fmt.Errorf("find java: Kafka needs Java %d or newer, %s, and none is known for this machine: install one, or set JAVA_HOME", oldestJava, is)
	}
	if err != nil {
		return nil, fmt.Errorf("install Java for Kafka: %w; or install Java %d or newer yourself, or set JAVA_HOME", err, oldestJava)
	}
	return debianCommand(home, debianJavaBin), nil
}

// ownJava is the machine's Java, "" if it has none.
func ownJava() string {
	if home := os.Getenv("JAVA_HOME"); home != "" {
		if java := filepath.Join(home, "bin", "java"); readable(java) {
			return java
		}
	}
	java, err := exec.LookPath("java")
	if err != nil {
		return ""
	}
	return java
}

// javaMajor reads the version from the file that each Java has beside its bin folder. One
// without it is taken for new enough: its own error says more.
func javaMajor(java string) int {
	if real, err := filepath.EvalSymlinks(java); err == nil {
		java = real
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(java), "..", "release"))
	if err != nil {
		return oldestJava
	}
	for line := range strings.Lines(string(text)) {
		version, ok := strings.CutPrefix(line, `JAVA_VERSION="`)
		if !ok {
			continue
		}
		version = strings.TrimPrefix(version, "1.") // Java 8 calls itself 1.8
		end := strings.IndexFunc(version, func(r rune) bool { return r < '0' || r > '9' })
		if n, err := strconv.Atoi(version[:max(end, 0)]); err == nil {
			return n
		}
	}
	return oldestJava
}

// relink makes the absolute links of unpacked packages point into their folder, where
// that has what they mean: Java's settings are links to /etc.
func relink(dir string) error {
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink == 0 {
			return err
		}
		target, err := os.Readlink(name)
		if err != nil {
			return err
		}
		if !filepath.IsAbs(target) {
			return nil
		}
		if _, err := os.Lstat(filepath.Join(dir, target)); err != nil {
			return nil // of a package that is not here
		}
		target, err = filepath.Rel(filepath.Dir(name), filepath.Join(dir, target))
		if err != nil {
			return err
		}
		if err := os.Remove(name); err != nil {
			return err
		}
		return os.Symlink(target, name)
	})
}
