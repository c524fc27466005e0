package hubspot_test

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-cdc/penstock/simulator"
	"github.com/penstock-cdc/penstock/simulator/hubspot"
)

// TestVendorSDK has HubSpot's own Node SDK judge the simulator. It needs Node 18 or newer and npm, which fetches the
// SDK into the test cache once; with PENSTOCK_NO_NODE=1 it is left out, said so by name.
func TestVendorSDK(t *testing.T) {
	if os.Getenv("PENSTOCK_NO_NODE") == "1" {
		t.Skip("PENSTOCK_NO_NODE=1: HubSpot's Node SDK has not judged the simulator")
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is not here: install Node.js 18 or newer (apt-get install nodejs npm), or set PENSTOCK_NO_NODE=1 to leave the check by HubSpot's SDK out", program)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	folder := sdk(ctx, t)
	server := httptest.NewServer(simulator.New(hubspot.New(hubspot.SearchLag(0)), simulator.Options{}))
	t.Cleanup(server.Close)
	drive := exec.CommandContext(ctx, "node", "drive.mjs", server.URL)
	drive.Dir = folder
	out, err := drive.CombinedOutput()
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "ok") {
		t.Fatalf("the SDK finds fault: %v\n%s", err, out)
	}
}

// sdk returns a folder with the SDK and the script. The SDK is kept between runs.
func sdk(ctx context.Context, t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	folder := filepath.Join(cache, "penstock", "hubspot-sdk-14.0.1")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"package.json", "drive.mjs"} {
		text, err := os.ReadFile(filepath.Join("testdata", "sdk", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(folder, "installed")); err == nil {
		return folder
	}
	install := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts")
	install.Dir = folder
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm install of HubSpot's SDK: %v (set PENSTOCK_NO_NODE=1 where no registry can be reached)\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(folder, "installed"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return folder
}
