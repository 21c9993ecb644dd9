package bridge

import (
	"fmt"

	"packetboat/broker/packet"
)

// reason is an MQTT 5 reason code in words, section 2.4.
func reason(code byte) string {
	name, ok := map[byte]string{
		packet.NormalDisconnection:         "normal disconnection",
		packet.UnspecifiedError:            "unspecified error",
		packet.MalformedPacket:             "malformed packet",
		packet.ProtocolError:               "protocol error",
		packet.ImplementationSpecificError: "implementation specific error",
		packet.UnsupportedProtocolVersion:  "unsupported protocol version",
		packet.ClientIDNotValid:            "client identifier not valid",
		packet.BadUserNameOrPassword:       "bad user name or password",
		packet.NotAuthorized:               "not authorized",
		packet.ServerUnavailable:           "server unavailable",
		packet.ServerBusy:                  "server busy",
		packet.Banned:                      "banned",
		packet.ServerShuttingDown:          "server shutting down",
		packet.BadAuthenticationMethod:     "bad authentication method",
		packet.KeepAliveTimeout:            "keep alive timeout",
		packet.SessionTakenOver:            "session taken over",
		packet.TopicFilterInvalid:          "topic filter invalid",
		packet.TopicNameInvalid:            "topic name invalid",
		packet.PacketIDInUse:               "packet identifier in use",
		packet.PacketIDNotFound:            "packet identifier not found",
		packet.ReceiveMaximumExceeded:      "receive maximum exceeded",
		packet.TopicAliasInvalid:           "topic alias invalid",
		packet.PacketTooLarge:              "packet too large",
		packet.MessageRateTooHigh:          "message rate too high",
		packet.QuotaExceeded:               "quota exceeded",
		packet.AdministrativeAction:        "administrative action",
		packet.PayloadFormatInvalid:        "payload format invalid",
		packet.RetainNotSupported:          "retain not supported",
		packet.QoSNotSupported:             "QoS not supported",
		packet.UseAnotherServer:            "use another server",
		packet.ServerMoved:                 "server moved",
		packet.SharedNotSupported:          "shared subscriptions not supported",
		packet.ConnectionRateExceeded:      "connection rate exceeded",
		packet.MaximumConnectTime:          "maximum connect time",
		packet.SubscriptionIDsNotSupported: "subscription identifiers not supported",
		packet.WildcardsNotSupported:       "wildcard subscriptions not supported",
	}[code]
	if !ok {
		return fmt.Sprintf("0x%02X", code)
	}
	return fmt.Sprintf("%s (0x%02X)", name, code)
}

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
	case packet.ServerUnavailable, packet.ServerBusy, packet.QuotaExceeded, packet.ConnectionRateExceeded:
		return "none needed if it passes; else the server is overloaded or over its quota"
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
