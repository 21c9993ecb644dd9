package config

// Quote gives s as a string of the configuration file, with its quotation marks. It
// stands for itself there, also with ${ in it; braces of templates are not its
// business.
func Quote(s string) string { return quote(s) }
