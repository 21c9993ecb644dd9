package conformance

import "testing"

func TestEnd(t *testing.T) { runChapter(t, endChapter) }

var endChapter = chapter{"End", []testCase{}}
