package decode

import "testing"

func TestCSV(t *testing.T) {
	testDecoder(t, &CSV{Names: []string{"t", "n", "ok", "s"}, Types: []string{"float", "int", "bool", "string"}, Comma: ","}, []example{
		{name: "one of each type", frame: "23.5,7,true,007", want: `{"t":23.5,"n":7,"ok":true,"s":"007"}`},
		{name: "spaces", frame: " +23 , -7 , OFF , a b ", want: `{"t":23,"n":-7,"ok":false,"s":"a b"}`},
		{name: "quotes", frame: `"1.5","2", "1" ,"a ""b"", c"`, want: `{"t":1.5,"n":2,"ok":true,"s":"a \"b\", c"}`},
		{name: "nothing is null, but a text", frame: ",,,", want: `{"t":null,"n":null,"ok":null,"s":""}`},
		{name: "a sensor without a value", frame: "nan,1,0,x", want: `{"t":null,"n":1,"ok":false,"s":"x"}`},
		{name: "too few", frame: "23.5,7", err: `has 2 values, there are 4 names (one that is not wanted has the name "")`},
		{name: "too many", frame: "23.5,7,1,x,y", err: "has 5 values, there are 4 names"},
		{name: "not a number", frame: "x,7,1,s", err: `value 1, t: "x" is not a number`},
		{name: "not whole", frame: "1,7.5,1,s", err: `value 2, n: "7.5" is not a whole number`},
		{name: "not a boolean", frame: "1,7,2,s", err: `value 3, ok: "2" is none of true`},
		{name: "an open quote", frame: `1,7,1,"s`, err: "value 4 has no closing quote"},
		{name: "text behind a quote", frame: `"1"x,7,1,s`, err: "value 1 has text behind its closing quote"},
	})
	testDecoder(t, &CSV{Names: []string{"a", "", "c"}, Comma: ";"}, []example{
		{name: "no types, and one that is not wanted", frame: `1,5;x;12`, want: `{"a":"1,5","c":12}`},
		{name: "a quoted value is text", frame: `"12";;0.5`, want: `{"a":"12","c":0.5}`},
	})
	testDecoder(t, &CSV{Names: []string{"a", "b", "c"}, Comma: " "}, []example{
		{name: "columns", frame: " ST   0.125\tkg ", want: `{"a":"ST","b":0.125,"c":"kg"}`},
		{name: "columns in quotes", frame: `"a b"  2 "c" `, want: `{"a":"a b","b":2,"c":"c"}`},
		{name: "text behind a quote", frame: `"a"b 2 3`, err: "value 1 has text behind"},
	})
	testDecoder(t, &CSV{Names: []string{"a", "b"}, Comma: "\t"}, []example{
		{name: "tabs, one of them empty", frame: "\t5", want: `{"a":null,"b":5}`},
	})
}

func FuzzCSV(f *testing.F) {
	fuzzDecoder(f, &CSV{Names: []string{"t", "", "s"}, Types: []string{"float", "", "string"}, Comma: ","}, true, "23.5,x,y", `"1","a""b",`, `"`, ",,", "nan,1,\xff")
}

func FuzzCSVColumns(f *testing.F) {
	fuzzDecoder(f, &CSV{Names: []string{"a", "b"}, Comma: " "}, true, "a  b", ` "x" "y" `, "\t1\t2")
}

func BenchmarkCSV(b *testing.B) {
	benchDecoder(b, &CSV{Names: []string{"t", "h", "id"}, Types: []string{"float", "int", "string"}, Comma: ","}, "23.5,40,a7")
}
