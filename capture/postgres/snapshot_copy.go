package postgres

import "bytes"

var copyEscapes = [256]byte{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v'}

// splitCopy splits a line of COPY's text format into fields, in place.
func splitCopy(fields []field, line []byte, columns int) []field {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if columns == 0 {
		return fields
	}
	if bytes.IndexByte(line, '\\') < 0 { // neither NULL nor anything escaped
		for {
			tab := bytes.IndexByte(line, '\t')
			if tab < 0 {
				return append(fields, field{'t', line[:len(line):len(line)]})
			}
			fields = append(fields, field{'t', line[:tab:tab]})
			line = line[tab+1:]
		}
	}
	start, w := 0, 0 // of the field; where the next byte of it goes
	null := false
	end := func() {
		if null {
			fields = append(fields, field{kind: 'n'})
		} else {
			fields = append(fields, field{'t', line[start:w:w]})
		}
	}
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case '\t':
			end()
			start, w, null = i+1, i+1, false
		case '\\':
			i++
			if i == len(line) {
				line[w] = '\\'
				w++
				break
			}
			if line[i] == 'N' && w == start {
				null = true
				break
			}
			if e := copyEscapes[line[i]]; e != 0 {
				line[w] = e
			} else {
				line[w] = line[i]
			}
			w++
		default:
			line[w] = c
			w++
		}
	}
	end()
	return fields
}
