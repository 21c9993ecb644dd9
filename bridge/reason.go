package bridge

import "packetboat/broker/packet"

// connectRemedy is what an operator can do about a refused CONNECT.
func connectRemedy(code byte) string {
	switch code {
	case packet.UnsupportedProtocolVersion:
		return `the server does not speak this version of MQTT: try version = "3.1.1", or 5`
	case packet.ClientIDNotValid:
		return "set client_id to one that the server knows"
	case packet.BadUserNameOrPassword:
		return "check username and password"
	case packet.NotAuthorized, packet.Banned:
		return "allow this client at the server, or check username, password and client_id"
	case packet.ServerUnavailable, packet.ServerBusy, packet.QuotaExceeded:
		return "none needed if it passes; else the server is overloaded or over its quota"
	case packet.ConnectionRateExceeded:
		return "none needed if it passes; else too many connections or failed logins come from here: check username and password"
	case packet.RetainNotSupported, packet.QoSNotSupported, packet.TopicNameInvalid:
		return `the server does not take the will on the status topic: change status, or set it to ""`
	case packet.UseAnotherServer, packet.ServerMoved:
		return "put the other address into servers"
	}
	return "see the server's log"
}

// messageRemedy is what an operator can do about a refused message.
func messageRemedy(code byte) string {
	switch code {
	case packet.NotAuthorized:
		return "allow this client to publish to the topic at the server"
	case packet.TopicNameInvalid:
		return "change the topic of the rule"
	case packet.PayloadFormatInvalid:
		return "correct the publisher's payload format indicator"
	}
	return "see the server's log"
}
