package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/ops/control"
)

// TestStatusLoadsOnce sees to it that the command behind a secret runs once for a status,
// which a process answers here.
func TestStatusLoadsOnce(t *testing.T) {
	dir := t.TempDir()
	project := `
secret "crm" { value = exec("sh", "-c", "echo ran >> ran; echo token") }
source "postgres" "shop" {
  url    = "postgres://shop@127.0.0.1:1/shop"
  tables = ["public.*"]
}
app "hubspot" "crm" { token = secret.crm }
`
	if err := os.WriteFile(filepath.Join(dir, "p.hcl"), []byte(project), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "penstock-data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(data, "control.sock")
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- control.Serve(ctx, socket, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { control.Answer(w, &report{Running: true}) }))
	}()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for end := time.Now().Add(20 * time.Second); ; <-time.After(time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	var out, problems bytes.Buffer
	if code := execute([]string{"status", dir}, &out, &problems); code != 0 {
		t.Fatalf("status ends with %d: %s", code, problems.String())
	}
	ran, err := os.ReadFile(filepath.Join(dir, "ran"))
	if err != nil || string(ran) != "ran\n" {
		t.Errorf("the secret's command: %q, %v", ran, err)
	}
}
