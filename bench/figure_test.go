package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMedianAndQuantile(t *testing.T) {
	for _, c := range []struct {
		values      []float64
		median, p99 float64
	}{
		{nil, 0, 0},
		{[]float64{3}, 3, 3},
		{[]float64{5, 1, 3}, 3, 5},
		{[]float64{4, 1, 3, 2}, 2.5, 4},
	} {
		if got := median(c.values); got != c.median {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.median)
		}
		if got := quantile(c.values, 0.99); got != c.p99 {
			t.Errorf("quantile(%v, 0.99) = %v, want %v", c.values, got, c.p99)
		}
	}
}

func TestAlternateTakesTurns(t *testing.T) {
	var order string
	variant := func(name string) func() (float64, error) {
		return func() (float64, error) { order += name; return float64(len(order)), nil }
	}
	got, err := alternate(3, variant("a"), variant("b"))
	if err != nil {
		t.Fatal(err)
	}
	if order != "abbaab" {
		t.Errorf("ran %s, want abbaab", order)
	}
	if diff := cmp.Diff([][]float64{{1, 4, 5}, {2, 3, 6}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestNumber(t *testing.T) {
	for n, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567.8: "1,234,568", -1000: "-1,000"} {
		if got := number(n); got != want {
			t.Errorf("number(%v) = %s, want %s", n, got, want)
		}
	}
}
