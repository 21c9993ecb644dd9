// Package config reads the gateway's configuration: one TOML file, the files in
// conf.d beside it, ${ENVIRONMENT} values and secrets from files; it fills in
// the defaults and reports everything that is wrong with it at once, each with
// its place.
//
// The steps, in the order in which the data meets them:
//
//	source.go    read the files, TOML syntax (BurntSushi/toml)
//	scan.go      where each key and value stands; keys set twice
//	node.go      values and places joined in a tree; the files merged
//	expand.go    ${NAME} from the environment
//	decode.go    the tree into the types below: unknown keys, wrong types, ranges
//	pending.go   what this version does not do yet may only have its default
//	validate.go  what concerns several keys; templates, filters, addresses
//
// The types mirror the file: a section is a type, its keys are fields whose
// struct tags hold the key (toml), the default (default), and what is allowed
// (enum, min, max, required, auto, empty, see decode.go). Adding a key means
// adding a field.
//
// Strings that are templates over constants only, such as a status topic, are
// already expanded when Load returns; those over a message are of type
// [Template] with {gateway}, {name} and {bridge} already put in.
package config
