// Package gateway builds the parts of a gateway from its configuration, and
// runs and stops them in order.
//
//	disk queue → broker → bridges and adapters attach → bridges run →
//	adapters and listeners run
//
// and it stops them the other way round: who hands messages in ends first, so
// that the last acknowledgements and presence messages still find a broker,
// and the disk queue ends last, after one more commit.
//
// What cannot work (a port that is taken, a device that is not there, a cloud
// that refuses) is told in one line and tried again; the rest runs. Only a disk
// queue that cannot be opened, and a configuration of which nothing can run,
// end the gateway.
package gateway
