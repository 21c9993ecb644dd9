package decode

import (
	"math"
	"strconv"
	"unicode/utf8"
)

// AppendObject appends fields as a JSON object, in their order.
func AppendObject(dst []byte, fields []Field) []byte {
	dst = append(dst, '{')
	for i := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, fields[i].Name)
		dst = append(dst, ':')
		dst = appendJSON(dst, fields[i].Value)
	}
	return append(dst, '}')
}

// appendJSON appends a field's value as JSON.
func appendJSON(dst []byte, v any) []byte {
	if s, ok := v.(string); ok {
		return appendString(dst, s)
	}
	return AppendText(dst, v)
}

// AppendText appends a field's value as it stands in a text: a string without
// quotes, everything else as in JSON.
func AppendText(dst []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return append(dst, v...)
	case float64:
		return appendFloat(dst, v)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case uint64:
		return strconv.AppendUint(dst, v, 10)
	case bool:
		return strconv.AppendBool(dst, v)
	case JSON:
		return append(dst, v...)
	}
	return append(dst, "null"...)
}

// appendFloat writes the fewest digits that give x back, and an exponent only
// for what nobody would read without.
func appendFloat(dst []byte, x float64) []byte {
	if abs := math.Abs(x); abs != 0 && (abs < 1e-9 || abs >= 1e21) {
		return strconv.AppendFloat(dst, x, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, x, 'f', -1, 64)
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. What is not UTF-8 becomes U+FFFD.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		i++
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= ' ':
			dst = append(dst, c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(dst, '"')
}
