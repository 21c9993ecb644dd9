package serial

// Find gives the path of the one port that a path or glob stands for. Its error
// says what to do.
func Find(port string) (string, error) { return find(port) }
