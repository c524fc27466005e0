package simulator

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// AppendString appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(dst, s[start:i]...)
				dst = append(dst, "\ufffd"...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			const hex = "0123456789abcdef"
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// AppendTime appends t as a JSON string in UTC with exactly milliseconds.
func AppendTime(dst []byte, t time.Time) []byte {
	dst = append(dst, '"')
	dst = t.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
	return append(dst, '"')
}

func (r Record) appendJSON(dst []byte) []byte {
	dst = append(dst, `{"id":`...)
	dst = AppendString(dst, r.ID)
	dst = append(dst, `,"archived":`...)
	dst = strconv.AppendBool(dst, r.Archived)
	dst = append(dst, `,"properties":`...)
	dst = appendFields(dst, r.Fields)
	dst = append(dst, `,"created_at":`...)
	dst = AppendTime(dst, r.CreatedAt)
	dst = append(dst, `,"updated_at":`...)
	dst = AppendTime(dst, r.UpdatedAt)
	return append(dst, '}')
}

func appendFields(dst []byte, fields []Field) []byte {
	dst = append(dst, '{')
	for i, f := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, f.Name)
		dst = append(dst, ':')
		if f.Value == "" {
			dst = append(dst, "null"...)
		} else {
			dst = AppendString(dst, f.Value)
		}
	}
	return append(dst, '}')
}

func (c LoggedCall) appendJSON(dst []byte) []byte {
	dst = append(dst, `{"time":"`...)
	dst = c.Time.UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, `","method":`...)
	dst = AppendString(dst, c.Method)
	dst = append(dst, `,"path":`...)
	dst = AppendString(dst, c.Path)
	dst = append(dst, `,"status":`...)
	dst = strconv.AppendInt(dst, int64(c.Status), 10)
	dst = append(dst, `,"records":`...)
	dst = strconv.AppendInt(dst, int64(c.Records), 10)
	dst = append(dst, `,"created":`...)
	dst = strconv.AppendInt(dst, int64(c.Created), 10)
	dst = append(dst, `,"refused":[`...)
	for i, r := range c.Refused {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"key":`...)
		dst = AppendString(dst, r.Key)
		dst = append(dst, `,"reason":`...)
		dst = AppendString(dst, r.Reason)
		dst = append(dst, '}')
	}
	return append(dst, "]}"...)
}

func (c Change) appendJSON(dst []byte, seq uint64) []byte {
	dst = append(dst, `{"time":"`...)
	dst = c.Time.UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, `","seq":`...)
	dst = strconv.AppendUint(dst, seq, 10)
	dst = append(dst, `,"id":`...)
	dst = AppendString(dst, c.ID)
	dst = append(dst, `,"action":`...)
	dst = AppendString(dst, c.Action)
	dst = append(dst, `,"properties":`...)
	dst = appendFields(dst, c.Fields)
	return append(dst, '}')
}
