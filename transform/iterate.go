package transform

import "strconv"

// compileObject makes an object; its names are computed with its values, in the order written.
func compileObject(n *node, kids []eval) eval {
	return func(w *Worker) value {
		names, values := make([]string, 0, len(kids)/2), make([]value, 0, len(kids)/2)
		for i := 0; i < len(kids); i += 2 {
			k := kids[i](w)
			if k.kind == failed {
				return k
			}
			v := kids[i+1](w)
			switch {
			case v.kind == failed:
				return v
			case k.kind == isNull:
				return fail("bad_name")
			}
			names, values = append(names, k.s), append(values, v)
		}
		for i := range names {
			for j := range i {
				if names[i] == names[j] {
					return fail("duplicate_name")
				}
			}
		}
		return objectOf(names, values)
	}
}

// compileIndex is collection[key]; what is not there is NULL.
func compileIndex(n *node, coll, key eval) eval {
	elem := n.kids[0].typ.elemBase()
	isList := n.kids[0].typ.base == list
	return func(w *Worker) value {
		v := coll(w)
		if v.kind == failed {
			return v
		}
		k := key(w)
		switch {
		case k.absent():
			return k
		case v.kind == isNull:
			return null
		case isList:
			items, ok := w.items(v, elem)
			i, ok2 := k.int()
			if !ok || !ok2 {
				return fail("bad_list")
			}
			if i < 0 {
				i += int64(len(items))
			}
			if i < 0 || i >= int64(len(items)) {
				return null
			}
			return items[i]
		}
		parts := *v.list
		for i := 0; i+1 < len(parts); i += 2 {
			if parts[i].s == k.s {
				return parts[i+1]
			}
		}
		return null
	}
}

// reserve makes room for the slots up to one.
func (w *Worker) reserve(last int) {
	for len(w.vars) <= last {
		w.vars, w.varDone = append(w.vars, value{}), append(w.varDone, false)
	}
}

// compileFor goes through a list, object or document, with the key in slot index and the value in the next.
func compileFor(n *node, kids []eval) eval {
	coll, cond, name, body := kids[0], kids[1], kids[2], kids[3]
	slot, group, named := n.index, n.group, n.named
	over, always := n.kids[0].typ, n.kids[1].isConst() && n.kids[1].val.isTrue()
	wide := n.elem // of an object whose values were unified
	return func(w *Worker) value {
		v := coll(w)
		if v.absent() {
			return v
		}
		names, items, ok := w.through(v, over)
		if !ok {
			if over.base == list {
				return fail("bad_list")
			}
			return fail("bad_json")
		}
		out := make([]value, 0, len(items))
		var outNames []string
		for i, item := range items {
			w.reserve(slot + 1)
			if names != nil {
				w.vars[slot] = ofText(names[i])
			} else if over.base == list {
				w.vars[slot] = ofInt(int64(i))
			} else {
				w.vars[slot] = ofText(strconv.Itoa(i))
			}
			w.vars[slot+1] = w.widened(item, wide)
			if !always {
				c := cond(w)
				if c.kind == failed {
					return c
				}
				if !c.isTrue() {
					continue
				}
			}
			if named {
				k := name(w)
				switch k.kind {
				case failed:
					return k
				case isNull:
					return fail("bad_name")
				}
				outNames = append(outNames, k.s)
			}
			r := body(w)
			if r.kind == failed {
				return r
			}
			out = append(out, r)
		}
		switch {
		case !named:
			return value{kind: list, list: &out}
		case group:
			return grouped(outNames, out)
		}
		seen := make(map[string]bool, len(outNames))
		for _, k := range outNames {
			if seen[k] {
				return fail("duplicate_name")
			}
			seen[k] = true
		}
		return objectOf(outNames, out)
	}
}

// through returns what a for goes through; names is nil for lists and arrays.
func (w *Worker) through(v value, t typ) (names []string, items []value, ok bool) {
	if t.base == list {
		items, ok = w.items(v, t.elemBase())
		return nil, items, ok
	}
	if v.list == nil {
		if s := trimJSON(v.s); s != "" && s[0] == '[' {
			items, ok = w.elements(v)
			return nil, items, ok
		}
	}
	names, items, ok = w.members(v)
	if names == nil {
		names = []string{}
	}
	return names, items, ok
}

// grouped makes an object of lists.
func grouped(names []string, values []value) value {
	at := map[string]int{}
	var outNames []string
	var lists [][]value
	for i, n := range names {
		k, ok := at[n]
		if !ok {
			k = len(lists)
			at[n] = k
			outNames, lists = append(outNames, n), append(lists, nil)
		}
		lists[k] = append(lists[k], values[i])
	}
	out := make([]value, len(lists))
	for i := range lists {
		out[i] = value{kind: list, list: &lists[i]}
	}
	return objectOf(outNames, out)
}

// compileJoin writes the elements of a list of texts one after the other; NULL among them makes NULL.
func compileJoin(k eval) eval {
	return func(w *Worker) value {
		v := k(w)
		if v.absent() {
			return v
		}
		start := len(w.buf)
		for _, item := range *v.list {
			if item.kind == isNull {
				w.buf = w.buf[:start]
				return null
			}
			w.buf = appendText(w.buf, item)
		}
		return ofText(w.string(start))
	}
}

// compileLet computes a function's body; its parameters are computed when the body first needs them.
func compileLet(n *node, body eval) eval {
	slots := n.slots
	last := -1
	for _, s := range slots {
		last = max(last, s)
	}
	return func(w *Worker) value {
		w.reserve(last)
		for _, s := range slots {
			w.varDone[s] = false
		}
		return body(w)
	}
}

// compileLazy is a parameter within a body.
func compileLazy(n *node) eval {
	if n.ref.memo == nil {
		n.ref.memo = compile(n.ref)
	}
	arg, slot := n.ref.memo, n.index
	return func(w *Worker) value {
		if !w.varDone[slot] {
			v := arg(w)
			w.vars[slot], w.varDone[slot] = v, true
		}
		return w.vars[slot]
	}
}
