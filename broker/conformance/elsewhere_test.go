package conformance

// elsewhere are tests of other packages that show statements: what needs a
// crash in the right moment, and the bridge, which is a client.
var elsewhere = []struct{ shows, pkg, test string }{}

// exceptions are statements that nothing shows, and why.
var exceptions = []struct{ of, reason string }{
	{"5.0/4.12.0-2 5.0/4.12.0-4 5.0/4.12.0-5 5.0/4.12.1-2",
		"enhanced authentication is not supported: CONNECT with a method is refused with 0x8C, AUTH ends the connection"},
}

const preface = `# Conformance

What shows each normative statement of MQTT 5.0 and 3.1.1. *Who* is bound: S the server, C the client, B both. The statements
are paraphrased; the wording that counts is the standard's.

"Connect: a second CONNECT …" is a case of ` + "`broker/conformance`" + `, which speaks raw bytes to a real broker over TCP:
` + "`go test ./broker/conformance -run 'TestConnect/5.0/a_second_CONNECT' -v`" + `. Each case runs once for each version for
which it names statements. With ` + "`-addr HOST:PORT`" + ` the cases that need no broker of their own run against another
broker. Tests of other packages stand with their package. The bridge is a client, so statements about clients name its tests.

This file is written by ` + "`go test ./broker/conformance -update`" + `, and the test fails when it is not what the tests say, when
nothing shows a statement that binds the server, or when a test that is named here does not exist.
`
