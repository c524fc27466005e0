package service

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

//go:embed kafka.txt
var kafkaJars string

//go:embed postgres.txt
var postgresJars string

// mavenCentral is asked where there is no mvn; MAVEN_REPO_URL names a mirror of it.
const mavenCentral = "https://repo1.maven.org/maven2"

// An artifact is a jar in a Maven repository that we know by its checksum.
type artifact struct {
	group, name, version string
	sha256               string
}

func (a artifact) file() string { return a.name + "-" + a.version + ".jar" }

// artifacts parses lines of group:artifact:version, sha256 and size.
func artifacts(list string) []artifact {
	var all []artifact
	for line := range strings.Lines(list) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Fields(line)
		id := strings.Split(f[0], ":")
		all = append(all, artifact{group: id[0], name: id[1], version: id[2], sha256: f[1]})
	}
	return all
}

// fetchJars puts jars into dir, as name-version.jar, and checks each. mvn is
// used where it is installed and works, since it knows the mirrors and proxies
// of the place; plain HTTP else.
func (c *cache) fetchJars(ctx context.Context, dir string, jars []artifact) error {
	c.say("downloading %d jars", len(jars))
	_, maven := exec.LookPath("mvn")
	if maven == nil && os.Getenv("MAVEN_REPO_URL") == "" {
		maven = fetchMaven(ctx, dir, jars)
	}
	if maven != nil {
		if err := fetchHTTP(ctx, dir, jars); err != nil {
			return errors.Join(err, maven)
		}
	}
	for _, a := range jars {
		if err := verify(filepath.Join(dir, a.file()), a.sha256); err != nil {
			return err
		}
	}
	return nil
}

// fetchMaven lets mvn copy the jars of a made-up project that depends on them
// and on nothing that they depend on.
func fetchMaven(ctx context.Context, dir string, jars []artifact) error {
	var pom bytes.Buffer
	pom.WriteString("<project><modelVersion>4.0.0</modelVersion><groupId>penstock</groupId><artifactId>services</artifactId><version>1</version><packaging>pom</packaging><dependencies>\n")
	for _, a := range jars {
		fmt.Fprintf(&pom, "<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version>"+
			"<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>\n", a.group, a.name, a.version)
	}
	pom.WriteString("</dependencies></project>\n")
	name := filepath.Join(dir, "pom.xml")
	if err := os.WriteFile(name, pom.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write pom.xml: %w", err)
	}
	defer os.Remove(name)
	err := run(ctx, dir, nil, command{args: []string{"mvn", "-q", "-B", "-f", name, "dependency:copy-dependencies", "-DoutputDirectory=" + dir}})
	if err != nil {
		return fmt.Errorf("download jars: %w", err)
	}
	return nil
}

func fetchHTTP(ctx context.Context, dir string, jars []artifact) error {
	base := strings.TrimRight(os.Getenv("MAVEN_REPO_URL"), "/")
	if base == "" {
		base = mavenCentral
	}
	client := &http.Client{Timeout: 10 * time.Minute}
	for _, a := range jars {
		url := strings.Join([]string{base, strings.ReplaceAll(a.group, ".", "/"), a.name, a.version, a.file()}, "/")
		if err := download(ctx, client, url, filepath.Join(dir, a.file())); err != nil {
			return fmt.Errorf("download %s: %w; MAVEN_REPO_URL names another repository, and mvn is used if it is installed", a.file(), err)
		}
	}
	return nil
}

func download(ctx context.Context, client *http.Client, url, to string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, resp.Body); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// verify compares a file with its checksum.
func verify(name, want string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("check download: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("check download: %w", err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("check download %s: sha256 is %s, not %s: what came is not what was published", filepath.Base(name), got, want)
	}
	return nil
}
