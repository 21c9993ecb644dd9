// Package sim has devices and clients that behave as those in the field do, and
// a [Tally] that knows for every number whether it was acknowledged at the
// edge and how often it arrived in the cloud. The demo and the end-to-end
// tests are made of them.
//
//	Publisher   an MQTT client that numbers what it publishes, with a session
//	            that survives cuts, at QoS 1 or 2
//	Subscriber  an MQTT client that hands over what arrives
//	TCP         a device that writes lines to a socket and waits for each ack
//	Serial      a device on a pseudo terminal: it writes lines and waits for nothing
//	Modbus      a line of Modbus units that answer, late, wrongly or not at all
//
// Payloads are "SOURCE NUMBER", with the numbers of a source counting from 1.
package sim
