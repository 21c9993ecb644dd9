// Package modbus is the adapter for Modbus devices: on serial lines (RTU) and
// behind TCP connections. We are the client (master) of the specifications,
// the devices are the units.
//
//	pdu.go       requests and replies, exceptions
//	wire.go      how they stand on a line (CRC) and on a connection (MBAP)
//	client.go    one request at a time, and which bytes are its reply
//	value.go     registers to values of JSON, and back
//	plan.go      values that are near are read with one request
//	schedule.go  whose turn it is, and how units that are dead do not hold others up
//	unit.go      what is known of a unit
//	inbox.go     commands, from the durable consumer
//	write.go     requests of commands
//	poll.go      one life of the line: all of it together
//	presence.go  what the retained status topics say
//	adapter.go   the adapter that the gateway runs
//
// One goroutine, the poller, owns the line, the units and the schedule; a
// reader takes in what comes, and the inbox takes commands from the queue.
package modbus
