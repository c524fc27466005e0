package simulator_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/simulator"
)

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "\"\\\n\r\t\x00\x1f\x7f", "ünï 😀 \u2028", "cut \xff\xc3", "\xed\xa0\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		encoded := simulator.AppendString([]byte("x"), s)
		var got string
		if err := json.Unmarshal(encoded[1:], &got); err != nil {
			t.Fatalf("%q: %v", encoded, err)
		}
		want, err := json.Marshal(s) // replaces what is not UTF-8 in the same way
		if err != nil {
			t.Fatal(err)
		}
		var again string
		if err := json.Unmarshal(want, &again); err != nil || got != again {
			t.Errorf("%q: got %q, want %q, %v", s, got, again, err)
		}
	})
}

func BenchmarkAppendString(b *testing.B) {
	s := strings.Repeat("customer123@example.com ", 4)
	buf := make([]byte, 0, 256)
	b.ReportAllocs()
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		buf = simulator.AppendString(buf[:0], s)
	}
}
