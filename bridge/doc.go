// Package bridge carries messages between the local broker and a cloud
// broker: store-and-forward upwards, commands downwards.
//
// A [Bridge] is four durable consumers of the queue (its lanes, by priority)
// and one upstream connection. What its up rules take is queued by the broker
// the moment it is published, whether or not the cloud can be reached; the
// upstream connection sends what waits, in order within a lane, and finishes
// a message only when the cloud has acknowledged it. What arrives from the
// cloud is published locally, and acknowledged to the cloud only when it is on
// disk.
//
// # One connection, as the data runs
//
//	lanes ─► pump (send.go) ─► link (link.go) ──► cloud
//	  ▲        ▲ answers                            │
//	  │        └──────── inbound (receive.go) ◄─────┤ PUBLISH, PUBREL
//	  └───────────────── session (session.go) ◄─────┘ PUBACK, PUBREC, PUBCOMP
//
// The MQTT 5 client is github.com/eclipse/paho.golang: it connects, keeps
// alive, subscribes, and reads what the cloud sends. The session state is ours
// (session.go implements paho's session.SessionManager), because it lives in
// the store; and what is sent in numbers is encoded by our own codec into the
// buffered link that paho shares. MQTT 3.1.1 is our own (client311.go), over the
// same lanes, windows and link.
//
// # The states of a bridge
//
//	             ┌────────────────────────────────────────────┐
//	             ▼                                            │
//	connecting ──► online ◄──► stalled ──► (link ends) ──► backing off
//	     │                                                    ▲
//	     └──► refused (the server said no; tried again) ──────┘
//
// Run moves through them until its context ends; [Bridge.State] tells.
//
// # Order and exactly once
//
// Packet identifiers follow from a message's place in its lane, so a re-send
// carries the same identifier after any cut or crash, and a cloud that keeps
// its session takes each QoS 2 message once. upstream.go explains when a
// session may be resumed and what happens when the cloud has forgotten it.
package bridge
