package decode

import "testing"

func TestRegexp(t *testing.T) {
	d, err := NewRegexp(`^(ST|US),GS,(?P<kg>[-+ 0-9.]+)(?P<unit>kg|g)?(?:;(?P<id>\w+))?`)
	if err != nil {
		t.Fatal(err)
	}
	testDecoder(t, d, []example{
		{name: "numbers as numbers", frame: "ST,GS,+ 12.50kg", want: `{"kg":12.5,"unit":"kg","id":null}`},
		{name: "padded", frame: "US,GS,  0012.50g;a7", want: `{"kg":12.5,"unit":"g","id":"a7"}`},
		{name: "a group that is not there", frame: "ST,GS,3", want: `{"kg":3,"unit":null,"id":null}`},
		{name: "another frame", frame: "OL", err: `"OL" does not match the pattern`},
	})
}

func FuzzRegexp(f *testing.F) {
	d, err := NewRegexp(`(?P<a>.*?)=(?P<b>[0-9.]*)(?P<c>x)?`)
	if err != nil {
		f.Fatal(err)
	}
	fuzzDecoder(f, d, true, "a=1", "=", "\xff=\xfe", "t=1.5x")
}

func BenchmarkRegexp(b *testing.B) {
	d, err := NewRegexp(`T=(?P<t>[0-9.]+) H=(?P<h>[0-9]+)`)
	if err != nil {
		b.Fatal(err)
	}
	benchDecoder(b, d, "T=23.5 H=40")
}
