package decode

import (
	"bytes"
	"math"
	"strconv"
)

// maxDigits is how many digits an integer has at most; what has more is an
// identifier (the number of a card), and some of it would be lost.
const maxDigits = 18

// Guess gives what b means where nobody says its type: nothing is nil, what
// looks like a number is one, all else is text.
//
// A number has a sign or none, digits with or without a point, and perhaps an
// exponent; leading zeros, spaces around and behind the sign do not count.
// Without a sign or a point there is no exponent, as 12e4 is rather an
// identifier in hexadecimal.
func Guess(b []byte) any {
	trimmed := bytes.TrimSpace(b)
	if len(trimmed) == 0 {
		return nil
	}
	if n, ok := number(trimmed); ok {
		return n
	}
	return string(b)
}

// number gives the int64 or float64 that b looks like, see Guess.
func number(b []byte) (any, bool) {
	i, digits, point, exponent := 0, 0, false, false
	signed := len(b) > 0 && (b[0] == '+' || b[0] == '-')
	if signed {
		if i++; i < len(b) && b[i] == ' ' {
			return spaced(b)
		}
	}
	for ; i < len(b); i++ {
		switch c := b[i]; {
		case c >= '0' && c <= '9':
			digits++
			continue
		case c == '.' && !point:
			point = true
			continue
		case (c == 'e' || c == 'E') && digits > 0 && (signed || point || i+1 < len(b) && (b[i+1] == '+' || b[i+1] == '-')):
			exponent = true
		default:
			return nil, false
		}
		break
	}
	if digits == 0 {
		return nil, false
	}
	if !point && !exponent {
		n, ok := integer(b)
		return n, ok
	}
	x, err := strconv.ParseFloat(string(b), 64) // checks the exponent
	return x, err == nil
}

// spaced is number for what scales write, "-   12.50".
func spaced(b []byte) (any, bool) {
	rest := bytes.TrimLeft(b[1:], " ")
	if len(rest) == 0 || rest[0] == '+' || rest[0] == '-' {
		return nil, false
	}
	n, ok := number(rest)
	if ok && b[0] == '-' {
		switch x := n.(type) {
		case int64:
			n = -x
		case float64:
			n = -x
		}
	}
	return n, ok
}

// integer parses a sign and at most maxDigits digits, leading zeros apart.
func integer(b []byte) (n int64, ok bool) {
	negative := len(b) > 0 && b[0] == '-'
	if negative || len(b) > 0 && b[0] == '+' {
		b = b[1:]
	}
	if len(b) == 0 {
		return 0, false
	}
	for len(b) > 1 && b[0] == '0' {
		b = b[1:]
	}
	if len(b) > maxDigits {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	if negative {
		n = -n
	}
	return n, true
}

// decimal multiplies by a number that was written in decimal, so that 234
// times 0.1 is 23.4 and not 23.400000000000002: whole numbers of up to 15
// digits come out as if it were done on paper.
type decimal struct{ times, by float64 }

func newDecimal(x float64) decimal {
	digits := strconv.FormatFloat(x, 'e', -1, 64) // -1.25e-02
	mantissa, exp, _ := bytes.Cut([]byte(digits), []byte("e"))
	whole, fraction, _ := bytes.Cut(mantissa, []byte("."))
	power, _ := strconv.Atoi(string(exp))
	power -= len(fraction)
	m, err := strconv.ParseFloat(string(whole)+string(fraction), 64)
	if power >= 0 || power < -22 || err != nil || math.Abs(m) > 1e15 { // 10^22 is the last that is exact
		return decimal{x, 1}
	}
	return decimal{m, math.Pow10(-power)}
}

func (d decimal) mul(x float64) float64 { return x * d.times / d.by }
