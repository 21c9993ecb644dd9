package conformance

import "testing"

func TestQos(t *testing.T) { runChapter(t, qosChapter) }

var qosChapter = chapter{"Qos", []testCase{}}
