package conformance

import "testing"

func TestPublish(t *testing.T) { runChapter(t, publishChapter) }

var publishChapter = chapter{"Publish", []testCase{}}
