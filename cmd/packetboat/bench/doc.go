// Package bench measures what a broker carries: publishers that number their
// messages, a subscriber that counts what arrives, and how long both take.
//
//	publisher ──► broker ──► receiver
//	    ▲           │            │
//	    └── acks ◄──┘            └──► arrivals: missing, twice, out of order
//
// Times go into histograms of a fixed size, and an account of arrivals is a bit for
// each message behind the first that is missing, so that a run may last for days.
package bench
