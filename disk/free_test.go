//go:build unix

package disk_test

import (
	"path/filepath"
	"testing"

	"github.com/penstock-cdc/penstock/disk"
)

func TestFree(t *testing.T) {
	if free, err := disk.Free(t.TempDir()); err != nil || free == 0 {
		t.Errorf("got %d, %v", free, err)
	}
	if _, err := disk.Free(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a folder that is not there has room")
	}
}
