package decode

import "bytes"

// cut splits text at the first separator. A space as separator stands for any
// run of spaces and tabs, and none at the ends.
func cut(text, sep []byte) (before, after []byte, found bool) {
	if len(sep) != 1 || sep[0] != ' ' {
		return bytes.Cut(text, sep)
	}
	text = bytes.Trim(text, " \t")
	i := bytes.IndexAny(text, " \t")
	if i < 0 {
		return text, nil, false
	}
	return text[:i], bytes.TrimLeft(text[i:], " \t"), true
}
