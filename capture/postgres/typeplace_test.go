package postgres_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/capture/capturetest"
	"github.com/penstock-cdc/penstock/change"
)

// placeServers are the versions that values are looked at in all places on.
func placeServers() []string {
	if os.Getenv("PENSTOCK_TEST_ALL") != "" {
		return []string{"postgres14", "postgres17", "postgres18"}
	}
	return []string{"postgres18"}
}

// casesOf are the types that a version has, each once, with what the stream has for a value: JSON.
func casesOf(server string) (out []typeCase) {
	major, _ := strconv.Atoi(strings.TrimPrefix(server, "postgres"))
	seen := map[string]bool{}
	for _, c := range typeCases {
		if c.since > major || seen[c.typ] {
			continue
		}
		seen[c.typ] = true
		c.edges = slices.Clone(c.edges)
		for n := 0; n < len(c.edges); {
			kind, text := c.kind, c.edges[n+1]
			if rest, ok := strings.CutPrefix(text, "@text "); ok {
				kind, text = change.String, rest
			}
			if text == "@any" {
				c.edges = slices.Delete(c.edges, n, n+2)
				continue
			}
			c.edges[n+1] = string(change.AppendValue(nil, change.Of(kind, text)))
			n += 2
		}
		out = append(out, c)
	}
	return out
}

// TestTypesInside: a value is the same in an array and in a composite as it is in a column of
// its own, in the snapshot and in the stream.
func TestTypesInside(t *testing.T) {
	for _, server := range placeServers() {
		t.Run(server, func(t *testing.T) { testTypesInside(t, server) })
	}
}

func testTypesInside(t *testing.T, server string) {
	d := newDatabase(t, server)
	d.exec(t, "SET lc_monetary = 'C'", "CREATE TABLE types (id int PRIMARY KEY)") // which regclass has among its values
	d.exec(t, typeSetup...)
	columns := []string{"id int PRIMARY KEY"}
	values := []string{"1"}
	var want []string
	for i, c := range casesOf(server) {
		if len(c.edges) == 0 {
			continue
		}
		var elements, forms []string
		for n := 0; n < len(c.edges); n += 2 {
			elements, forms = append(elements, "("+c.edges[n]+")::"+c.typ), append(forms, c.edges[n+1])
		}
		if !strings.HasSuffix(c.typ, "[]") {
			columns = append(columns, fmt.Sprintf("a%d %s[]", i, c.typ))
			values = append(values, "ARRAY["+strings.Join(elements, ", ")+", NULL]::"+c.typ+"[]")
			want = append(want, "["+strings.Join(forms, ",")+",null]")
		}
		d.exec(t, fmt.Sprintf("CREATE TYPE inside%d AS (v %s, n %[2]s)", i, c.typ))
		columns = append(columns, fmt.Sprintf("c%d inside%[1]d", i))
		values = append(values, fmt.Sprintf("ROW(%s, NULL)::inside%d", elements[len(elements)-1], i))
		want = append(want, `{"v":`+forms[len(forms)-1]+`,"n":null}`)
	}
	d.exec(t, "CREATE TABLE inside ("+strings.Join(columns, ", ")+")", "INSERT INTO inside VALUES ("+strings.Join(values, ", ")+")")
	log := capturetest.NewLog(nil)
	d.harness(t).Start(t, log).Streaming(t)
	values[0] = "2"
	d.exec(t, "INSERT INTO inside VALUES ("+strings.Join(values, ", ")+")")
	for _, e := range arrived(t, log, 2) {
		for i, w := range want {
			c := &e.Table.Columns[i+1]
			if got := string(change.AppendValue(nil, e.After[i+1])); got != w {
				t.Errorf("%v of %s (%s): got %.300s, want %.300s", e.Op, c.Name, c.Type, got, w)
			}
		}
	}
	if len(want) < 180 {
		t.Errorf("only %d columns were compared", len(want))
	}
}

// TestTypesAsKeys: each type that an index can have is a key, with its value as it is in a row.
func TestTypesAsKeys(t *testing.T) {
	for _, server := range placeServers() {
		t.Run(server, func(t *testing.T) { testTypesAsKeys(t, server) })
	}
}

func testTypesAsKeys(t *testing.T, server string) {
	d := newDatabase(t, server)
	d.exec(t, "SET lc_monetary = 'C'", "CREATE TABLE types (id int PRIMARY KEY)") // which regclass has among its values
	d.exec(t, typeSetup...)
	try := func(sql string) bool {
		_, err := d.conn.Exec(t.Context(), sql).ReadAll()
		return err == nil
	}
	cases := slices.DeleteFunc(casesOf(server), func(c typeCase) bool {
		if !try("CREATE TABLE " + keyTable(c.typ) + " (k " + c.typ + " PRIMARY KEY, v int)") {
			return true // no order, no key
		}
		if try("SELECT FROM " + keyTable(c.typ) + " ORDER BY k") {
			return false
		}
		return try("DROP TABLE " + keyTable(c.typ)) // an array of what has no order takes no row
	})
	log := capturetest.NewLog(nil)
	d.harness(t).Start(t, log).Streaming(t)
	events := 0
	want := map[string][]string{}
	for _, c := range cases {
		table := keyTable(c.typ)
		topic := change.Topic("shop", "public", strings.Trim(table, `"`))
		for n := 0; n < len(c.edges); n += 2 {
			if try("INSERT INTO " + table + " VALUES (" + c.edges[n] + ", 1)") { // some are too long for an index, or there already
				want[topic] = append(want[topic], `{"k":`+c.edges[n+1]+`}`)
			}
		}
		d.exec(t, "UPDATE "+table+" SET v = 2; DELETE FROM "+table)
		events += 3 * len(want[topic])
	}
	arrived(t, log, events)
	got := map[string]map[string][]string{}
	for _, r := range log.Records() {
		if r.Marker != nil {
			continue
		}
		if got[r.Topic] == nil {
			got[r.Topic] = map[string][]string{}
		}
		op := "tombstone"
		if r.Event != nil {
			op = r.Event.Op.String()
		}
		got[r.Topic][string(r.Key)] = append(got[r.Topic][string(r.Key)], op)
	}
	for topic, keys := range want {
		if len(got[topic]) != len(keys) {
			t.Errorf("%s: got %d keys, want %d", topic, len(got[topic]), len(keys))
		}
		for _, key := range keys {
			if ops := strings.Join(got[topic][key], " "); ops != "c u d tombstone" {
				t.Errorf("%s: key %.200s has %q", topic, key, ops)
			}
		}
	}
	if len(want) < 90 {
		t.Errorf("only %d types were keys", len(want))
	}
}

// keyTable is the table whose key has a type.
func keyTable(typ string) string {
	return `"key ` + strings.ReplaceAll(typ, `"`, "'") + `"`
}
