package transform

import "testing"

// TestForms has every form of HCL's expressions once more, in the spellings that are seldom written.
func TestForms(t *testing.T) {
	for _, tt := range [][2]string{
		{`row.tags.0`, "text a"}, {`(row.tags)[0]`, "text a"}, {`row["tags"][0]`, "text a"}, {`row . id`, "int 7"}, {`row.tags[length(row.tags) - 1]`, "text b"}, {`[1, 2, 3,][1]`, "int 2"},
		{`row.tags.*`, `list ["a","b"]`}, {`[{n = "a"}].*.n`, `list ["a"]`}, {`[{n = {m = 1}}].*.n.m`, "list [1]"}, {`[{n = [1, 2]}, {n = [3]}].*.n[0]`, "list [1,2]"}, {`[{n = [1, 2]}, {n = [3]}][*].n[0]`, "list [1,3]"}, {`[{n = "a"}][*]["n"]`, `list ["a"]`},
		{`row.tags[*][0]`, "error E0307: A value of type text is one value; nothing can be read below it with a dot or an index."},
		{`{a: 1, "b": 2, (row.plan): 3}`, `object {"a":1,"b":2,"pro":3}`}, {"{\n  a = 1\n  b = 2\n}", `object {"a":1,"b":2}`}, {`{for k, v in {a = 1, b = 2} : k => v if v > 1}`, `object {"b":2}`}, {`{for i, v in row.tags : v => i}`, `object {"a":0,"b":1}`}, {`{for t in ["a", "b", "ab"] : substr(t, 0, 1) => t... if t != "a"}`, `object {"a":["ab"],"b":["b"]}`},
		{`- - 1`, "int 1"}, {`!!true`, "bool true"}, {`!(1 == 2)`, "bool true"}, {`-(row.id)`, "int -7"}, {`1 < 2 == true`, "bool true"}, {`(1 + 2) * 3`, "int 9"}, {"(1 +\n  2)", "int 3"}, {`row.id /* seven */ + 1 # eight`, "int 8"}, {`1 // one`, "int 1"}, {`1e3`, "decimal 1000"},
		{`"%{ if row.id == 7 ~}  yes  %{~ else ~}  no  %{~ endif }."`, "text yes."}, {`"a ${~ row.id ~} b"`, "text a7b"}, {`"%{ for i, t in row.tags ~} ${i}=${t};%{~ endfor }"`, "text 0=a;1=b;"}, {`"$${row.id} %%{ if }"`, "text ${row.id} %{ if }"}, {`"%{ if row.is_test }x%{ endif }"`, "text "}, {`"${"in ${row.id}"}"`, "text in 7"},
		{"<<E\n  a\n    b\nE\n", "text   a\n    b\n"}, {"<<-E\n    a\n      ${row.id}\n    b\n    E\n", "text a\n  7\nb\n"}, {"<<-E\n  %{ if row.id == 7 ~}\n  x\n  %{ endif ~}\n  y\n  E\n", "text   x\n  y\n"}, {"<<-E\n  a ${~ row.id }\n  E\n", "text a7\n"},
		{`lookup_map(row.plan, { pro = { x = 1 } }).x`, "int 1"}, {`[for a in [[1, 2], [3]] : [for b in a : b if b > 1]]`, "list [[2],[3]]"},
		{`row.data.city`, `error E0307: row.data is one value; read inside a JSON document or composite with json_get(row.data, "path").`}, {`row.*`, `error E0307: "row" alone is not a value; name what is meant, as in row.id.`},
	} {
		if got := evaluate(t, tt[0], nil); got != tt[1] {
			t.Errorf("%s\n got %q\nwant %q", tt[0], got, tt[1])
		}
	}
}
