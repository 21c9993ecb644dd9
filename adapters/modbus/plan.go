package modbus

import (
	"cmp"
	"slices"
)

// A point is a value of a unit. It is immutable.
type point struct {
	name     string
	key      []byte // the name as a JSON string, with its colon
	function byte   // that reads it
	address  uint16
	codec    codec
	write    bool
}

// bits reports whether the point is a coil or discrete input.
func (p *point) bits() bool { return p.function == readCoils || p.function == readDiscrete }

// end is the address behind the point.
func (p *point) end() int { return int(p.address) + p.codec.words }

// A query is a request that reads one or several points.
type query struct {
	function byte
	address  uint16
	count    uint16
	points   []int // by their number in the unit
}

// Points so near are read with one request: so much more on the line costs less
// than another request and its silences.
const (
	gapRegisters = 8
	gapBits      = 32
)

// plan gives the queries that read all points, in order of the addresses.
func plan(points []point) []query {
	list := make([]int, len(points))
	for i := range list {
		list[i] = i
	}
	slices.SortStableFunc(list, func(a, b int) int {
		p, q := &points[a], &points[b]
		return cmp.Or(cmp.Compare(p.function, q.function), cmp.Compare(p.address, q.address))
	})
	var queries []query
	for _, i := range list {
		p := &points[i]
		gap, most := gapRegisters, maxReadRegisters
		if p.bits() {
			gap, most = gapBits, maxReadBits
		}
		if n := len(queries); n > 0 {
			q := &queries[n-1]
			end := int(q.address) + int(q.count)
			count := max(end, p.end()) - int(q.address)
			if q.function == p.function && int(p.address)-end <= gap && count <= most {
				q.count = uint16(count)
				q.points = append(q.points, i)
				continue
			}
		}
		queries = append(queries, single(points, i))
	}
	return queries
}

// single is the query of one point.
func single(points []point, i int) query {
	p := &points[i]
	return query{p.function, p.address, uint16(p.codec.words), []int{i}}
}

// split gives the queries of a query's points, one each.
func (q query) split(points []point) []query {
	var list []query
	for _, i := range q.points {
		list = append(list, single(points, i))
	}
	return list
}

// take gives the value of a point from the reply to the query.
func (q query) take(p *point, data []byte) value {
	at := int(p.address) - int(q.address)
	if p.bits() {
		return truth(bit(data, at))
	}
	return p.codec.decode(slices.Clone(data[2*at : 2*(at+p.codec.words)]))
}
