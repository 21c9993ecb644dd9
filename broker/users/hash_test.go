package users

import (
	"strings"
	"testing"
)

// Of the password "secret", made by mosquitto_passwd 2.0.11 and by the reference
// implementation of Argon2 with the parameters of Mosquitto 2.1.
const (
	sha512Hash = "$6$srodLYR0lzC5Ln1x$MA6P3L7INX4wpvahdk0uwtHf7AdvTs4RgvOv0IzrzN/jpnNl6DOc3b3hcw/JZrRgrHCSseDzoihuylOf3gSsXQ=="
	pbkdf2Hash = "$7$101$L5Ee9bRZt5EwLtSR$qrNGuWIErJgEzKSEN78Q9ZyEEvlzqFxq01igSNYPZf+39Sv8pP1AkpHDmyva7US6iEmplhCjQ5wByMu8VevGBw=="
	argonHash  = "$argon2id$v=19$m=47104,t=1,p=1$MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMw$xtUTb2+YEddiDUETmQ/bvl+VZjC+72M6MuCEyN1+/kEA3f/AYwK6RSsQC+U12K2VSzzNgfSqZ/G4dWl4C9oJNA"
	smallHash  = "$argon2id$v=19$m=1024,t=2,p=4$c2FsdHNhbHRzYWx0$tfAQy13abOJ/5baKjW0ivyAFABA5F70v"
)

func TestEveryKindOfHash(t *testing.T) {
	own := newHash([]byte("secret")).String()
	if !strings.HasPrefix(own, "$argon2id$v=19$m=4096,t=1,p=1$") {
		t.Error(own)
	}
	for name, text := range map[string]string{
		"our own": own, "Mosquitto 1": sha512Hash, "Mosquitto 2.0": pbkdf2Hash, "Mosquitto 2.1": argonHash,
		"the parameters of somebody else": smallHash,
	} {
		h, err := parseHash(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !h.is(h.compute([]byte("secret"))) {
			t.Errorf("%s: the password does not match", name)
		}
		for _, wrong := range []string{"", "Secret", "secret ", "secre"} {
			if h.is(h.compute([]byte(wrong))) {
				t.Errorf("%s: %q matches", name, wrong)
			}
		}
	}
}

func TestTwoHashesOfAPasswordDiffer(t *testing.T) {
	if a, b := newHash([]byte("x")).String(), newHash([]byte("x")).String(); a == b {
		t.Error(a)
	}
}

func TestWhatIsNoHashIsRefusedWithoutQuotingIt(t *testing.T) {
	const hidden = "hunter2"
	argon := func(version, params string) string {
		return "$argon2id$" + version + "$" + params + "$c2FsdHNhbHRzYWx0$bTecP01c1maY4imWdsR8LbE7Nrz5ontSosjtThXqIbQ"
	}
	for name, text := range map[string]string{
		"nothing":                             "",
		"a password":                          hidden,
		"a password with dollars":             "$6$" + hidden,
		"another kind":                        "$2b$10$" + hidden + "$" + hidden,
		"an unknown kind with the same parts": "$5$" + hidden + "$" + hidden,
		"text before":                         "x" + sha512Hash,
		"a sum cut short":                     pbkdf2Hash[:len(pbkdf2Hash)-4],
		"more behind":                         pbkdf2Hash + "$" + hidden,
		"base64 with a stray bit":             "$6$srodLYR0lzC5Ln1x$" + strings.Repeat("A", 85) + "B==",
		"no iterations":                       strings.Replace(pbkdf2Hash, "$101$", "$0$", 1),
		"iterations for minutes":              strings.Replace(pbkdf2Hash, "$101$", "$99999999$", 1),
		"an older version":                    argon("v=16", "m=4096,t=1,p=1"),
		"more memory than a gateway has":      argon("v=19", "m=1048576,t=1,p=1"),
		"passes for minutes":                  argon("v=19", "m=65536,t=100,p=1"),
		"less memory than threads need":       argon("v=19", "m=8,t=1,p=2"),
		"no pass":                             argon("v=19", "m=4096,t=0,p=1"),
		"no thread":                           argon("v=19", "m=4096,t=1,p=0"),
		"threads beyond a byte":               argon("v=19", "m=65536,t=1,p=257"),
		"parameters in another order":         argon("v=19", "t=1,m=4096,p=1"),
		"a signed number":                     argon("v=19", "m=+4096,t=1,p=1"),
		"a short salt":                        "$argon2id$v=19$m=4096,t=1,p=1$c2Fs$bTecP01c1maY4imWdsR8LbE7Nrz5ontSosjtThXqIbQ",
		"a short sum":                         "$argon2id$v=19$m=4096,t=1,p=1$c2FsdHNhbHRzYWx0$bTec",
		"a sum without end":                   "$argon2id$v=19$m=4096,t=1,p=1$c2FsdHNhbHRzYWx0$" + strings.Repeat("bTec", 10000),
	} {
		h, err := parseHash(text)
		if err == nil {
			t.Errorf("%s: %+v", name, h)
		} else if strings.Contains(err.Error(), hidden) {
			t.Errorf("%s is quoted: %v", name, err)
		}
	}
}

func BenchmarkHash(b *testing.B) {
	h := newHash([]byte("secret"))
	for b.Loop() {
		h.compute([]byte("secret"))
	}
}
