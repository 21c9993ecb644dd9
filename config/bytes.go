package config

import (
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bytes are what a device sends or wants: a text in a file stands for itself,
// "hex:02 FF" for bytes of any value. (Strings of TOML are Unicode: "\u00ff" is
// two bytes there.)
type Bytes string

// bytesInHex begins a text that is not meant for itself.
const bytesInHex = "hex:"

func (b *Bytes) fromTOML(value any) error {
	s, ok := value.(string)
	if !ok {
		return errWrongType{"a string"}
	}
	digits, ok := strings.CutPrefix(s, bytesInHex)
	if !ok {
		*b = Bytes(s)
		return nil
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	if err != nil {
		return fmt.Errorf("%q must have two hexadecimal digits for each byte, such as \"hex:02 FF\"", s)
	}
	*b = Bytes(raw)
	return nil
}

// written is how a file has them: as text where they can be read.
func (b Bytes) written() string {
	s := string(b)
	binary := func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\r' && r != '\t' }
	if !utf8.ValidString(s) || strings.ContainsFunc(s, binary) || strings.HasPrefix(s, bytesInHex) || strings.Contains(s, "${") {
		return fmt.Sprintf(bytesInHex+"% X", s)
	}
	return s
}
