package users

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// What a hash of ours costs: one pass over 4 MiB, 15 to 20 ms on a Raspberry Pi 4
// with a 64-bit system. That is less than what is advised for web sites with a
// server's processor and memory. It is what lets a gateway take in its devices
// after a power cut while it does its work; a long random password makes up for
// it.
const (
	ourMemory  = 4 << 10 // KiB
	ourTime    = 1
	ourThreads = 1
	ourSalt    = 16
	ourSum     = 32
)

// What a hash of somebody else's may cost at most, many times ours. Mosquitto
// 2.1 takes one pass over 46 MiB.
const (
	maxMemory     = 64 << 10  // KiB
	maxWork       = 256 << 10 // KiB, all passes together
	maxIterations = 1_000_000
	maxSum        = 128 // bytes of a salt or sum
)

// hash is what the file keeps of a password. Its kinds, in the file:
//
//	$argon2id$v=19$m=4096,t=1,p=1$SALT$SUM   ours, and Mosquitto 2.1 (base64 without padding)
//	$7$ITERATIONS$SALT$SUM                   Mosquitto 2.0: PBKDF2 with SHA-512 (base64 with padding)
//	$6$SALT$SUM                              Mosquitto 1: SHA-512 of the password and the salt (likewise)
type hash struct {
	kind       byte // 'a', '7', '6'
	salt, sum  []byte
	memory     uint32 // KiB, of argon2id
	time       uint32
	threads    uint8
	iterations int // of PBKDF2
}

var errNoHash = errors.New("what follows the name is no hash that is known here: give the user a password again (packetboat passwd NAME)")

// parseHash reads a hash. Its errors do not quote it: it may be a password.
func parseHash(text string) (*hash, error) {
	switch parts := strings.Split(text, "$"); {
	case len(parts) == 6 && parts[0] == "" && parts[1] == "argon2id":
		return parseArgon(parts[2], parts[3], parts[4], parts[5])
	case len(parts) == 5 && parts[0] == "" && parts[1] == "7":
		n, err := strconv.Atoi(parts[2])
		if err != nil || n < 1 || n > maxIterations {
			return nil, fmt.Errorf("the hash ($7$) must have 1 to %d iterations", maxIterations)
		}
		return parseSums(&hash{kind: '7', iterations: n}, base64.StdEncoding, parts[3], parts[4], 8, sha512.Size)
	case len(parts) == 4 && parts[0] == "" && parts[1] == "6":
		return parseSums(&hash{kind: '6'}, base64.StdEncoding, parts[2], parts[3], 8, sha512.Size)
	}
	return nil, errNoHash
}

func parseArgon(version, params, salt, sum string) (*hash, error) {
	if version != "v=19" {
		return nil, errors.New("the hash ($argon2id$) must be of version 19")
	}
	var n [3]uint64
	list := strings.Split(params, ",")
	if len(list) != len(n) {
		return nil, errNoHash
	}
	for i, name := range []string{"m=", "t=", "p="} {
		digits, ok := strings.CutPrefix(list[i], name)
		var err error
		if n[i], err = strconv.ParseUint(digits, 10, 32); !ok || err != nil {
			return nil, errNoHash
		}
	}
	m, t, p := n[0], n[1], n[2]
	if t < 1 || p < 1 || p > 255 || m < 8*p || m > maxMemory || m*t > maxWork {
		return nil, fmt.Errorf("the hash ($argon2id$) costs too much for a gateway, or too little: it may have m up to %d, and m times t up to %d", maxMemory, maxWork)
	}
	h := &hash{kind: 'a', memory: uint32(m), time: uint32(t), threads: uint8(p)}
	return parseSums(h, base64.RawStdEncoding, salt, sum, 16, maxSum)
}

// parseSums adds salt and sum, which has from least to most bytes.
func parseSums(h *hash, enc *base64.Encoding, salt, sum string, least, most int) (*hash, error) {
	if len(salt) > 2*maxSum || len(sum) > 2*maxSum {
		return nil, errNoHash
	}
	var errs [2]error
	h.salt, errs[0] = enc.Strict().DecodeString(salt)
	h.sum, errs[1] = enc.Strict().DecodeString(sum)
	if most == sha512.Size {
		least = most
	}
	if errors.Join(errs[:]...) != nil || len(h.salt) < 8 || len(h.salt) > maxSum || len(h.sum) < least || len(h.sum) > most {
		return nil, errNoHash
	}
	return h, nil
}

// compute makes the sum of a password as that of h was made. It takes its time.
func (h *hash) compute(password []byte) []byte {
	switch h.kind {
	case 'a':
		return argon2.IDKey(password, h.salt, h.time, h.memory, h.threads, uint32(len(h.sum)))
	case '7':
		sum, err := pbkdf2.Key(sha512.New, string(password), h.salt, h.iterations, len(h.sum))
		if err != nil {
			return nil // which matches nothing
		}
		return sum
	}
	d := sha512.New()
	_, _ = d.Write(password)
	_, _ = d.Write(h.salt)
	return d.Sum(nil)
}

// is reports whether sum, that of a password, is that of h.
func (h *hash) is(sum []byte) bool { return subtle.ConstantTimeCompare(sum, h.sum) == 1 }

// newHash makes a hash of a password, with a salt of its own.
func newHash(password []byte) *hash {
	h := &hash{kind: 'a', memory: ourMemory, time: ourTime, threads: ourThreads, salt: make([]byte, ourSalt)}
	_, _ = rand.Read(h.salt) // never fails
	h.sum = argon2.IDKey(password, h.salt, h.time, h.memory, h.threads, ourSum)
	return h
}

// decoyHash is a hash of ours that is of no password. It costs nothing to make: a
// start should not wait for one.
func decoyHash() *hash {
	h := &hash{kind: 'a', memory: ourMemory, time: ourTime, threads: ourThreads, salt: make([]byte, ourSalt), sum: make([]byte, ourSum)}
	_, _ = rand.Read(h.salt) // never fails
	_, _ = rand.Read(h.sum)
	return h
}

// String gives a hash that newHash made, as in the file.
func (h *hash) String() string {
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.time, h.threads,
		enc.EncodeToString(h.salt), enc.EncodeToString(h.sum))
}
