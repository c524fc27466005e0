package service

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const toxiproxyVersion = "2.5.0"

// toxiproxy is built from its Go module.
type toxiproxy struct{}

func (t toxiproxy) install(ctx context.Context, c *cache) (installed, error) {
	home, err := c.entry(ctx, "toxiproxy-"+toxiproxyVersion, func(dir string) error {
		goTool, err := exec.LookPath("go")
		if err != nil {
			return fmt.Errorf("build toxiproxy: %w", err)
		}
		cmd := exec.CommandContext(ctx, goTool, "install", "github.com/Shopify/toxiproxy/v2/cmd/server@v"+toxiproxyVersion)
		cmd.Dir = dir
		// What is set for a build of penstock says nothing about this one.
		cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
			return strings.HasPrefix(v, "GOFLAGS=") || strings.HasPrefix(v, "GOOS=") || strings.HasPrefix(v, "GOARCH=")
		})
		cmd.Env = append(cmd.Env, "GOBIN="+dir, "GOWORK=off", "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build toxiproxy: %w\n%s", err, out)
		}
		return nil
	})
	return installed{version: toxiproxyVersion, home: home}, err
}

func (t toxiproxy) create(s *Server) error {
	if err := os.Mkdir(s.data(), 0o700); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	return nil
}

func (t toxiproxy) command(s *Server) command {
	return command{
		args:  []string{filepath.Join(s.installed.home, "server"), "-host", "127.0.0.1", "-port", strconv.Itoa(s.Port)},
		stop:  syscall.SIGTERM,
		abort: syscall.SIGKILL,
	}
}

func (t toxiproxy) ping(ctx context.Context, s *Server) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/version", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}
