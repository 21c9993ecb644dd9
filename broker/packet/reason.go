package packet

import "fmt"

// Reason is a reason code in words, with its number, section 2.4.
func Reason(code byte) string {
	name, ok := map[byte]string{
		NormalDisconnection:         "normal disconnection",
		UnspecifiedError:            "unspecified error",
		MalformedPacket:             "malformed packet",
		ProtocolError:               "protocol error",
		ImplementationSpecificError: "implementation specific error",
		UnsupportedProtocolVersion:  "unsupported protocol version",
		ClientIDNotValid:            "client identifier not valid",
		BadUserNameOrPassword:       "bad user name or password",
		NotAuthorized:               "not authorized",
		ServerUnavailable:           "server unavailable",
		ServerBusy:                  "server busy",
		Banned:                      "banned",
		ServerShuttingDown:          "server shutting down",
		BadAuthenticationMethod:     "bad authentication method",
		KeepAliveTimeout:            "keep alive timeout",
		SessionTakenOver:            "session taken over",
		TopicFilterInvalid:          "topic filter invalid",
		TopicNameInvalid:            "topic name invalid",
		PacketIDInUse:               "packet identifier in use",
		PacketIDNotFound:            "packet identifier not found",
		ReceiveMaximumExceeded:      "receive maximum exceeded",
		TopicAliasInvalid:           "topic alias invalid",
		PacketTooLarge:              "packet too large",
		MessageRateTooHigh:          "message rate too high",
		QuotaExceeded:               "quota exceeded",
		AdministrativeAction:        "administrative action",
		PayloadFormatInvalid:        "payload format invalid",
		RetainNotSupported:          "retain not supported",
		QoSNotSupported:             "QoS not supported",
		UseAnotherServer:            "use another server",
		ServerMoved:                 "server moved",
		SharedNotSupported:          "shared subscriptions not supported",
		ConnectionRateExceeded:      "connection rate exceeded",
		MaximumConnectTime:          "maximum connect time",
		SubscriptionIDsNotSupported: "subscription identifiers not supported",
		WildcardsNotSupported:       "wildcard subscriptions not supported",
	}[code]
	if !ok {
		return fmt.Sprintf("0x%02X", code)
	}
	return fmt.Sprintf("%s (0x%02X)", name, code)
}
