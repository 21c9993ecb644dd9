package decode

import (
	"fmt"
	"strings"
	"testing"
)

func TestKeyValue(t *testing.T) {
	testDecoder(t, &KeyValue{Pairs: ",", Equals: "="}, []example{
		{name: "numbers and texts", frame: "t=23.5,h=40,id=a7", want: `{"t":23.5,"h":40,"id":"a7"}`},
		{name: "spaces around", frame: " t = 23.5 , state = not ready ", want: `{"t":23.5,"state":"not ready"}`},
		{name: "a comma at the end", frame: "t=1,,", want: `{"t":1}`},
		{name: "no value", frame: "t=,h=1", want: `{"t":null,"h":1}`},
		{name: "the first equals counts", frame: "url=a=b", want: `{"url":"a=b"}`},
		{name: "the last value of a key counts", frame: "a=1,b=2,a=3", want: `{"a":3,"b":2}`},
		{name: "no equals", frame: "t=1,garbage", err: `"garbage" has no "=" between a key and its value`},
		{name: "no key", frame: "=1", err: `"=1" has no key`},
		{name: "nothing", frame: "", err: "has no pairs"},
		{name: "after an error", frame: "x=1", want: `{"x":1}`},
	})
	testDecoder(t, &KeyValue{Pairs: " ", Equals: ":"}, []example{
		{name: "runs of white space", frame: "  T:1 \t H:2  ", want: `{"T":1,"H":2}`},
	})
	var long strings.Builder
	for i := range maxPairs + 1 {
		fmt.Fprintf(&long, "k%d=1;", i)
	}
	testDecoder(t, &KeyValue{Pairs: ";", Equals: "="}, []example{
		{name: "too many", frame: long.String(), err: "has more than 256 pairs"},
	})
}

func FuzzKeyValue(f *testing.F) {
	fuzzDecoder(f, &KeyValue{Pairs: ",", Equals: "="}, true, "t=23.5,h=40", "a=1,a=2", "=", ",,", "é=\xff")
}

func BenchmarkKeyValue(b *testing.B) {
	benchDecoder(b, &KeyValue{Pairs: ",", Equals: "="}, "temp=23.5,hum=40,id=a7,state=ok")
}
