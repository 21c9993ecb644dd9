package gateway

import "packetboat/gateway/admin"

// record is what is counted now, for rates and the history. It is cheap: nothing
// of it waits for the disk.
func (g *Gateway) record() admin.Sample {
	b := g.broker.Stats()
	s := admin.Sample{QueueBytes: g.store.Stats().DiskBytes, QueueLimit: int64(g.cfg.Queue.MaxSize), In: b.PublishReceived, Out: b.PublishSent}
	for _, a := range g.devices.all() {
		s.In += a.Stats().Published
	}
	for _, b := range g.bridges.all() {
		st := b.Stats()
		s.Bridges = append(s.Bridges, admin.BridgeSample{Name: b.Name(), Out: st.Sent - st.Resent, Waiting: flowOf(b).waiting})
	}
	return s
}
