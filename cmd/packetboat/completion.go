package main

import (
	"context"
	"flag"
	"fmt"
	"regexp"
	"strings"
)

const completionHelp = `It prints a script that makes the shell complete commands, flags and files. The
deb package has it installed; else, for instance:

  packetboat completion bash > /etc/bash_completion.d/packetboat
  packetboat completion zsh  > /usr/local/share/zsh/site-functions/_packetboat
  packetboat completion fish > ~/.config/fish/completions/packetboat.fish
`

// A completable is what a shell has to know of a command.
type completable struct {
	name, summary string
	verbs         []string // what the first word may be, where that is limited
	flags         []completableFlag
}

type completableFlag struct {
	name, text string
	value      string // of what kind; empty: it takes none
	file       bool   // the value is one
}

func completionCommand(_ context.Context, e *env, args []string) int {
	f := e.flags()
	words, code, ok := e.parseWords(f, args)
	if !ok {
		return code
	}
	write := map[string]func([]completable) string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
	if len(words) != 1 || write[words[0]] == nil {
		fmt.Fprintln(e.err, "packetboat completion: name a shell: bash, zsh or fish (packetboat help completion)")
		return exitUsage
	}
	fmt.Fprint(e.out, write[words[0]](completables()))
	return exitFine
}

// completables describes all commands, as their help does.
func completables() []completable {
	var list []completable
	for _, c := range commands() {
		x := completable{name: c.name, summary: c.summary, verbs: verbsOf(c.args)}
		describe := func(f *flag.FlagSet) {
			f.VisitAll(func(g *flag.Flag) { x.flags = append(x.flags, completableOf(g)) })
		}
		c.run(context.Background(), &env{cmd: &c, describe: describe}, []string{"-help"})
		list = append(list, x)
	}
	var names []string
	for _, x := range list {
		names = append(names, x.name)
	}
	return append(list, completable{name: "help", summary: "tell more about a command", verbs: names})
}

var aFile = regexp.MustCompile(`FILE|PATH|DIR|^PORT$`)

func completableOf(g *flag.Flag) completableFlag {
	value, text := flag.UnquoteUsage(g)
	return completableFlag{name: g.Name, text: text, value: value, file: aFile.MatchString(value)}
}

var aVerb = regexp.MustCompile(`^[a-z]+$`)

// verbsOf finds them in a usage line such as "ls | tail QUEUE".
func verbsOf(args string) []string {
	var verbs []string
	for way := range strings.SplitSeq(args, "|") {
		if word := strings.Fields(way); len(word) > 0 && aVerb.MatchString(word[0]) {
			verbs = append(verbs, word[0])
		}
	}
	return verbs
}

func bashCompletion(list []completable) string {
	var s strings.Builder
	s.WriteString(`# bash completion for packetboat, made by packetboat completion bash
_packetboat() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} flags='' verbs='' files='' values=''
	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
`)
	var names []string
	for _, c := range list {
		names = append(names, c.name)
	}
	fmt.Fprintf(&s, "\t\tCOMPREPLY=($(compgen -W '%s' -- \"$cur\"))\n\t\treturn\n\tfi\n\tcase ${COMP_WORDS[1]} in\n", strings.Join(names, " "))
	for _, c := range list {
		var flags, files, values []string
		for _, f := range c.flags {
			flags = append(flags, "-"+f.name)
			switch {
			case f.file:
				files = append(files, "-"+f.name)
			case f.value != "":
				values = append(values, "-"+f.name)
			}
		}
		fmt.Fprintf(&s, "\t%s) flags='%s' verbs='%s' files=' %s ' values=' %s ' ;;\n", c.name,
			strings.Join(flags, " "), strings.Join(c.verbs, " "), strings.Join(files, " "), strings.Join(values, " "))
	}
	s.WriteString(`	esac
	if [[ $prev == -* && $files == *" $prev "* ]]; then
		compopt -o filenames 2>/dev/null
		COMPREPLY=($(compgen -f -- "$cur"))
	elif [[ $prev == -* && $values == *" $prev "* ]]; then
		:
	elif [[ $cur == -* ]]; then
		COMPREPLY=($(compgen -W "$flags" -- "$cur"))
	elif ((COMP_CWORD == 2)) && [[ $verbs ]]; then
		COMPREPLY=($(compgen -W "$verbs" -- "$cur"))
	else
		compopt -o filenames 2>/dev/null
		COMPREPLY=($(compgen -f -- "$cur"))
	fi
}
complete -F _packetboat packetboat
`)
	return s.String()
}

func zshCompletion(list []completable) string {
	var s strings.Builder
	s.WriteString("#compdef packetboat\n# zsh completion for packetboat, made by packetboat completion zsh\n_packetboat() {\n\tlocal -a commands=(\n")
	for _, c := range list {
		fmt.Fprintf(&s, "\t\t%s\n", quoted(c.name+":"+c.summary))
	}
	s.WriteString("\t)\n\tif ((CURRENT == 2)); then\n\t\t_describe command commands\n\t\treturn\n\tfi\n\tlocal command=$words[2]\n" +
		"\tshift words\n\t((CURRENT--))\n\tcase $command in\n")
	special := strings.NewReplacer("[", `\[`, "]", `\]`, ":", `\:`)
	for _, c := range list {
		fmt.Fprintf(&s, "\t%s)\n\t\t_arguments", c.name)
		for _, f := range c.flags {
			spec := "-" + f.name + "[" + special.Replace(f.text) + "]"
			switch {
			case f.file:
				spec += ":" + f.value + ":_files"
			case f.value != "":
				spec += ":" + special.Replace(f.value) + ": "
			}
			fmt.Fprintf(&s, " \\\n\t\t\t%s", quoted(spec))
		}
		if len(c.verbs) > 0 {
			fmt.Fprintf(&s, " \\\n\t\t\t%s", quoted("1:verb:("+strings.Join(c.verbs, " ")+")"))
		}
		s.WriteString(" \\\n\t\t\t'*::file:_files'\n\t\t;;\n")
	}
	s.WriteString("\tesac\n}\n_packetboat \"$@\"\n")
	return s.String()
}

func fishCompletion(list []completable) string {
	var s strings.Builder
	s.WriteString("# fish completion for packetboat, made by packetboat completion fish\n")
	for _, c := range list {
		fmt.Fprintf(&s, "complete -c packetboat -n __fish_use_subcommand -f -a %s -d %s\n", c.name, quotedForFish(c.summary))
		in := quotedForFish("__fish_seen_subcommand_from " + c.name)
		if len(c.verbs) > 0 {
			not := quotedForFish("__fish_seen_subcommand_from " + c.name + "; and not __fish_seen_subcommand_from " + strings.Join(c.verbs, " "))
			if c.name == "help" {
				not = in
			}
			fmt.Fprintf(&s, "complete -c packetboat -n %s -f -a %s\n", not, quotedForFish(strings.Join(c.verbs, " ")))
		}
		for _, f := range c.flags {
			takes := ""
			switch {
			case f.file:
				takes = " -r"
			case f.value != "":
				takes = " -x"
			}
			fmt.Fprintf(&s, "complete -c packetboat -n %s -o %s%s -d %s\n", in, f.name, takes, quotedForFish(f.text))
		}
	}
	return s.String()
}

// quoted makes one word of s for a POSIX shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// quotedForFish is the same for fish, whose single quotes know \' and \\.
func quotedForFish(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
