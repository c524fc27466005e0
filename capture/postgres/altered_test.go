package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penstock-cdc/penstock/capture/capturetest"
	"github.com/penstock-cdc/penstock/change"
)

// TestAlteredTypes: enums and composite types that change while they are streamed, which
// the stream has no word of.
func TestAlteredTypes(t *testing.T) {
	for _, server := range []string{"postgres14", "postgres18"} {
		t.Run(server, func(t *testing.T) { testAlteredTypes(t, server) })
	}
}

func testAlteredTypes(t *testing.T, server string) {
	d := newDatabase(t, server)
	d.exec(t, "CREATE TYPE mood AS ENUM ('sad', 'happy')", "CREATE TYPE pair AS (a int, b text)",
		"CREATE TABLE items (id int PRIMARY KEY, m mood, ms mood[], p pair, ps pair[])")
	log := capturetest.NewLog(nil)
	h := d.harness(t)
	c := h.Start(t, log)
	c.Streaming(t)
	d.exec(t, "INSERT INTO items VALUES (1, 'sad', '{sad}', '(1,x)', '{\"(1,x)\"}')")
	arrived(t, log, 1)
	d.exec(t, "ALTER TYPE mood ADD VALUE 'fine'", "ALTER TYPE mood RENAME VALUE 'sad' TO 'low'", "ALTER TYPE pair ADD ATTRIBUTE c numeric")
	d.exec(t, "INSERT INTO items VALUES (6, 'fine', NULL, '(1,x,2.50)', NULL)") // read while the type may still be the other one
	if p := arrived(t, log, 2)[1].After[3]; p.Text() != `(1,x,2.50)` && p.Text() != `{"a":1,"b":"x","c":"2.50"}` {
		t.Errorf("got %v %s", p.Kind(), p.Text())
	}
	d.exec(t, "INSERT INTO items VALUES (2, 'fine', '{low,fine}', '(1,x,2.50)', '{\"(1,x,2.50)\",NULL}')", "UPDATE items SET id = 3 WHERE id = 1")
	arrived(t, log, 5)
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	// What is read now was written when the types were others.
	d.exec(t, "INSERT INTO items VALUES (4, 'low', NULL, '(7,y,1)', NULL)", "ALTER TYPE pair DROP ATTRIBUTE c", "ALTER TYPE mood RENAME VALUE 'low' TO 'sad'",
		"INSERT INTO items VALUES (5, 'sad', NULL, '(7,y)', NULL)")
	h.Start(t, log).Streaming(t)
	var got []string
	versions := map[string]bool{}
	for i, e := range arrived(t, log, 7) {
		if i == 1 {
			continue
		}
		versions[e.Table.Version] = true
		line := e.Op.String()
		row := e.After
		if row == nil {
			row = e.Before
		}
		for _, v := range row {
			line += " " + strings.ReplaceAll(v.Kind().String()+" "+v.Text(), "null ", "null") + ";"
		}
		got = append(got, fmt.Sprintf("%s labels %s", line, strings.Join(e.Table.Columns[1].Labels, ",")))
	}
	diff(t, got, []string{
		`c int 1; enum sad; array ["sad"]; object {"a":1,"b":"x"}; array [{"a":1,"b":"x"}]; labels sad,happy`,
		`c int 2; enum fine; array ["low","fine"]; object {"a":1,"b":"x","c":"2.50"}; array [{"a":1,"b":"x","c":"2.50"},null]; labels low,happy,fine`,
		`d int 1; null; null; null; null; labels low,happy,fine`,
		`c int 3; enum low; array ["low"]; object {"a":1,"b":"x","c":null}; array [{"a":1,"b":"x","c":null}]; labels low,happy,fine`,
		`c int 4; enum low; null; text (7,y,1); null; labels sad,happy,fine`,
		`c int 5; enum sad; null; text (7,y); null; labels sad,happy,fine`,
	})
	if len(versions) != 3 {
		t.Errorf("got %d versions of the schema, want 3", len(versions))
	}
}

// TestEnumAndCompositeAltered: a label that is not there any more has the types of a row's table looked up anew, which must not
// give its composite value the attributes of today.
func TestEnumAndCompositeAltered(t *testing.T) {
	d := newDatabase(t, "postgres14")
	d.exec(t, "CREATE TYPE mood AS ENUM ('sad', 'happy')", "CREATE TYPE pair AS (a int, b text)", "CREATE TABLE items (id int PRIMARY KEY, m mood, p pair)")
	log := capturetest.NewLog(nil)
	h := d.harness(t)
	c := h.Start(t, log)
	c.Streaming(t)
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	d.exec(t, "INSERT INTO items VALUES (1, 'sad', '(1,x)')", "ALTER TYPE pair RENAME ATTRIBUTE b TO z", "ALTER TYPE mood RENAME VALUE 'sad' TO 'low'",
		"INSERT INTO items VALUES (2, 'low', '(2,y)')")
	h.Start(t, log).Streaming(t)
	var got []string
	for _, e := range arrived(t, log, 2) {
		got = append(got, fmt.Sprintf("%s %s %s", e.After[1].Text(), e.After[2].Kind(), e.After[2].Text()))
	}
	if got[1] == "low text (2,y)" { // written just now: the type may still be the other one
		got[1] = `low object {"a":2,"z":"y"}`
	}
	diff(t, got, []string{"sad text (1,x)", `low object {"a":2,"z":"y"}`})
}

// TestForeignAttribute: an attribute's value that its type does not have, because the type
// was altered since, never gets into JSON as it is.
func TestForeignAttribute(t *testing.T) {
	d := newDatabase(t, "postgres18")
	d.exec(t, "CREATE TYPE pair AS (a text, b text)", "CREATE TABLE items (id int PRIMARY KEY, p pair)")
	log := capturetest.NewLog(nil)
	h := d.harness(t)
	c := h.Start(t, log)
	c.Streaming(t)
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	values := []string{`abc`, `"}`, `-`, `01`, `1e`, `1.`, ``, `.5`, `+1`, `NULL`, `7`}
	for i, v := range values {
		d.exec(t, fmt.Sprintf("INSERT INTO items VALUES (%d, ROW('%s', '%s'))", i, v, v))
	}
	d.exec(t, "ALTER TYPE pair DROP ATTRIBUTE a", "ALTER TYPE pair DROP ATTRIBUTE b", "ALTER TYPE pair ADD ATTRIBUTE c int", "ALTER TYPE pair ADD ATTRIBUTE d float8")
	h.Start(t, log).Streaming(t)
	events := arrived(t, log, len(values))
	for i, e := range events {
		want := "(" + values[i] + "," + values[i] + ")"
		switch values[i] {
		case `"}`:
			want = `("""}","""}")`
		case "":
			want = `("","")`
		}
		if v := e.After[1]; v.Kind() != change.String || v.Text() != want {
			t.Errorf("%q: got %v %s", values[i], v.Kind(), v.Text())
		}
	}
}
