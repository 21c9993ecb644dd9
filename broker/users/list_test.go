package users

import (
	"slices"
	"strings"
	"testing"
)

func TestTheFile(t *testing.T) {
	l := Parse([]byte("# people\n\nbob:" + sha512Hash + "\r\n  # more\n meter 7 : " + pbkdf2Hash + " \nmüller:" + argonHash))
	if got := l.Names(); !slices.Equal(got, []string{"bob", "meter 7", "müller"}) || len(l.Problems) != 0 {
		t.Errorf("%q, %v", got, l.Problems)
	}
}

func TestLinesThatCannotBeUsedAreNamedAndLeftOut(t *testing.T) {
	l := Parse([]byte("bob:" + sha512Hash + "\nhunter2\neve:hunter2\nbob:" + pbkdf2Hash + "\n:hunter2\na\tb:hunter2\n\xff:hunter2\nal:" + sha512Hash + "\n"))
	if got := l.Names(); !slices.Equal(got, []string{"bob", "al"}) {
		t.Errorf("%q", got)
	}
	want := []string{
		"line 2: the line is not NAME:HASH",
		`line 3: user "eve": what follows the name is no hash that is known here: give the user a password again (packetboat passwd NAME)`,
		`line 4: user "bob": the name is there already; the first one counts`,
		"line 5: the name is empty",
		"line 6: a name has no colon and no control characters",
		"line 7: the name is not UTF-8",
	}
	var got []string
	for _, p := range l.Problems {
		got = append(got, p.Error())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestChangesLeaveOtherLinesAlone(t *testing.T) {
	const rest = "# people\nmallory:plain text\n\n"
	l := Parse([]byte(rest + "bob:" + sha512Hash + "\neve:" + pbkdf2Hash + "\nbob:" + pbkdf2Hash + "\n"))
	if err := l.Set("bob", []byte("new")); err != nil {
		t.Fatal(err)
	}
	if err := l.Set("al", []byte("al's")); err != nil {
		t.Fatal(err)
	}
	text := string(l.bytes())
	if !strings.HasPrefix(text, rest+"bob:$argon2id$") || strings.Count(text, "bob:") != 1 || !strings.Contains(text, "\neve:"+pbkdf2Hash+"\nal:$argon2id$") {
		t.Error(text)
	}
	again := Parse(l.bytes())
	if got := again.Names(); !slices.Equal(got, []string{"bob", "eve", "al"}) {
		t.Errorf("%q", got)
	}
	for _, name := range []string{"bob", "eve", "al", "mallory"} {
		if !l.Remove(name) || l.Remove(name) || l.Has(name) {
			t.Errorf("%s was not removed, or twice", name)
		}
	}
	if text := string(l.bytes()); text != "# people\n\n" {
		t.Errorf("%q", text)
	}
}

func TestNamesAndPasswordsThatCannotBe(t *testing.T) {
	l := &List{}
	for _, name := range []string{"", "a:b", "#a", " a", "a ", "a\nb", "a\x00", "\xff", strings.Repeat("a", 1025)} {
		if l.Set(name, []byte("secret")) == nil {
			t.Errorf("%q is a name", name)
		}
	}
	for _, password := range []string{"", strings.Repeat("a", maxPassword+1)} {
		if l.Set("bob", []byte(password)) == nil {
			t.Errorf("a password of %d bytes", len(password))
		}
	}
	if len(l.lines) != 0 {
		t.Error(l.lines)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("# people\n\nbob:" + sha512Hash + "\r\n meter : " + pbkdf2Hash + "\nbob:" + argonHash + "\nplain\nx:y"))
	f.Add([]byte("a:" + smallHash + "\n:\n#\n\xff:\r\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l := Parse(data)
		names := l.Names()
		for _, at := range l.lines {
			if at.hash != nil && (CheckName(at.name) != nil || at.hash.memory > maxMemory || at.hash.iterations > maxIterations ||
				len(at.hash.salt) > maxSum || len(at.hash.sum) < 16 || len(at.hash.sum) > maxSum) {
				t.Errorf("%q", at.text)
			}
		}
		for _, p := range l.Problems {
			if p.Error() == "" {
				t.Error("a problem without words")
			}
		}
		again := Parse(l.bytes())
		if !slices.Equal(again.Names(), names) || len(again.Problems) != len(l.Problems) {
			t.Fatalf("%q and %q, from %q", names, again.Names(), l.bytes())
		}
		if string(again.bytes()) != string(l.bytes()) {
			t.Fatalf("%q and %q", l.bytes(), again.bytes())
		}
		for _, name := range names {
			if !l.Remove(name) {
				t.Fatalf("%q cannot be removed", name)
			}
		}
		if left := Parse(l.bytes()).Names(); len(left) != 0 {
			t.Fatalf("%q are left", left)
		}
	})
}
