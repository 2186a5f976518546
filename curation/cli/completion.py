"""Completion scripts for bash, zsh and fish, written from the argument parsers of the commands."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass

SHELLS = ("bash", "zsh", "fish")
BOOLEANS = ("true", "false")
TYPES = ("str", "int", "float", "null")  # members of a union that are no values

BASH = r"""# bash completion for worldcurate: source <(worldcurate completion bash)
_worldcurate() {
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}
    local words= switches=" "
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W "@COMMANDS@ --help --version" -- "$word"))
        return
    fi
    case $command:$previous in
@VALUES@
    esac
    if [[ -z $words ]]; then
        case $command in
@OPTIONS@
        esac
        # the value of an option without known values is completed as a file name
        [[ $previous == --* && $switches != *" $previous "* ]] && return
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _worldcurate worldcurate"""

ZSH = r"""#compdef worldcurate
# zsh completion for worldcurate: source <(worldcurate completion zsh), after compinit
_worldcurate() {
    local -a commands=(
@COMMANDS@
    )
    if ((CURRENT == 2)); then
        _describe command commands
        return
    fi
    local command=$words[2]
    shift words
    ((CURRENT--))
    case $command in
@OPTIONS@
    esac
}
if [[ $funcstack[1] == _worldcurate ]]; then
    _worldcurate "$@"  # loaded by compinit from a file named _worldcurate
else
    compdef _worldcurate worldcurate
fi"""

FISH = r"""# fish completion for worldcurate: worldcurate completion fish | source
complete -c worldcurate -f -n __fish_use_subcommand -l help -d 'Show the commands'
complete -c worldcurate -f -n __fish_use_subcommand -l version -d 'Show the version'
@LINES@"""


@dataclass(frozen=True)
class Option:
    """An option of a command.

    Attributes:
        flag: how it is written, such as `--balance.t_en`.
        help: the start of its help text.
        takes_value: whether a value follows it.
        values: the values it allows, if they are listed.
    """

    flag: str
    help: str
    takes_value: bool
    values: tuple[str, ...] = ()


def completion_script(shell: str, summaries: Mapping[str, str], options: Mapping[str, list[Option]]) -> str:
    """Return the script that completes the commands and their options.

    The script is static, so completing a word starts no Python. Values that are not listed are completed as file names.
    """
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](summaries, options)


def options_of(parser: argparse.ArgumentParser) -> list[Option]:
    """Return the options that a parser shows in its help."""
    options = []
    for action in parser._actions:
        if action.help == argparse.SUPPRESS:
            continue
        text = (action.help or "").partition(" (default")[0].partition(";")[0]
        flags = [flag for flag in action.option_strings if flag.startswith("--")]
        options += [Option(flag, text, action.nargs != 0, _values_of(action)) for flag in flags]
    return options


def _values_of(action: argparse.Action) -> tuple[str, ...]:
    """Return the values an option allows: its choices, or those in a metavar such as `{a,b}` or `{bool,str}`."""
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    if action.choices:
        return tuple(map(str, action.choices))
    if metavar != "bool" and not metavar.startswith("{"):
        return ()
    values = [BOOLEANS if value == "bool" else (value,) for value in metavar.strip("{}").split(",")]
    return tuple(value for group in values for value in group if value not in TYPES and "[" not in value)


def _bash(summaries: Mapping[str, str], options: Mapping[str, list[Option]]) -> str:
    cases = [f'            completion) words="{" ".join(SHELLS)}" ;;']
    commands_of: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for command, known in options.items():
        flags = " ".join(option.flag for option in known)
        switches = " ".join(option.flag for option in known if not option.takes_value)
        cases.append(f'            {command}) words="{flags}" switches=" {switches} " ;;')
        for option in known:
            if option.values:
                commands_of.setdefault((option.flag, option.values), []).append(command)
    values = [
        f'        {"|".join(f"{command}:{flag}" for command in commands)}) words="{" ".join(words)}" ;;'
        for (flag, words), commands in commands_of.items()
    ]
    return _fill(BASH, COMMANDS=" ".join(summaries), VALUES="\n".join(values), OPTIONS="\n".join(cases))


def _zsh(summaries: Mapping[str, str], options: Mapping[str, list[Option]]) -> str:
    commands = [f"        {_quote(f'{name}:{text}')}" for name, text in summaries.items()]
    cases = [f"        completion) _arguments '1:shell:({' '.join(SHELLS)})' ;;"]
    for command, known in options.items():
        arguments = " ".join(_quote(_zsh_argument(option)) for option in known)
        cases.append(f"        {command}) _arguments {arguments} ;;")
    return _fill(ZSH, COMMANDS="\n".join(commands), OPTIONS="\n".join(cases))


def _zsh_argument(option: Option) -> str:
    """Return the argument of zsh's `_arguments` for an option, with the brackets of its help escaped."""
    text = option.help.replace("[", r"\[").replace("]", r"\]").replace(":", r"\:")
    action = f"({' '.join(option.values)})" if option.values else "_files"
    return f"{option.flag}[{text}]" + (f":value:{action}" if option.takes_value else "")


def _fish(summaries: Mapping[str, str], options: Mapping[str, list[Option]]) -> str:
    lines = [
        f"complete -c worldcurate -f -n __fish_use_subcommand -a {name} -d {_quote(text, fish=True)}"
        for name, text in summaries.items()
    ]
    lines.append(f"complete -c worldcurate -f -n '__fish_seen_subcommand_from completion' -a '{' '.join(SHELLS)}'")
    for command, known in options.items():
        for option in known:
            value = f" -x -a '{' '.join(option.values)}'" if option.values else " -r" if option.takes_value else ""
            seen = f"complete -c worldcurate -n '__fish_seen_subcommand_from {command}'"
            lines.append(f"{seen} -l {option.flag[2:]}{value} -d {_quote(option.help, fish=True)}")
    return _fill(FISH, LINES="\n".join(lines))


def _quote(text: str, *, fish: bool = False) -> str:
    """Return a text in single quotes; fish, unlike the other shells, reads backslashes in them."""
    return "'" + (text.replace("\\", "\\\\").replace("'", r"\'") if fish else text.replace("'", r"'\''")) + "'"


def _fill(template: str, **parts: str) -> str:
    for name, part in parts.items():
        template = template.replace(f"@{name}@", part)
    return template
