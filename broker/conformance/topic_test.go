package conformance

import "testing"

func TestTopic(t *testing.T) { runChapter(t, topicChapter) }

var topicChapter = chapter{"Topic", []testCase{}}
