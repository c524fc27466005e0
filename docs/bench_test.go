package docs_test

import (
	"path/filepath"
	"testing"

	"github.com/penstock-cdc/penstock/integration/binary"
)

// BenchmarkValidate is `penstock validate` of the first example, as a whole process.
func BenchmarkValidate(b *testing.B) {
	env := []string{"SHOP_URL=postgres://shop@127.0.0.1/shop", "HUBSPOT_TOKEN=token"}
	for b.Loop() {
		if out, problems, code, err := binary.Output(env, "validate", filepath.Join(root, "examples/customers-to-crm")); err != nil || code != 0 {
			b.Fatalf("validate ends with %d, %v:\n%s%s", code, err, out, problems)
		}
	}
}
