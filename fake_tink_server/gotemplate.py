"""The part of Go's text/template that Tinkerbell's templates use, strictly.

Actions hold pipelines of field chains, ``index``, parentheses, literals and the functions of
``gofunctions``, with ``missingkey=error``. Everything else (``if``, ``range``, variables, …) is
refused by name and place: a template that renders here renders to the same text in Tinkerbell,
and what would differ does not render.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fake_tink_server.govalues import CallFailed, GoStruct, go_type, is_true, to_text
from fake_tink_server.release import NEWEST, Release

MAX_OUTPUT: Final = {Release.V0_12: 16 * 1024 * 1024, Release.V0_25: 256 * 1024}
"""Octets. v0.12.2 has no limit; this one is there against a mistake."""
"""Tinkerbell's own limit on a rendered template, in bytes."""
MAX_DEPTH: Final = 40

_SPACE: Final = " \t\r\n"
_KEYWORDS: Final = frozenset(
    ("if", "else", "end", "range", "with", "define", "block", "template", "break", "continue")
)
_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<chain>(?:\.[^\W\d]\w*)+)
    |(?P<dot>\.(?!\d))
    |(?P<root>\$(?!\w))
    |(?P<variable>\$\w+)
    |(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)\w*)
    |(?P<string>"(?:[^"\\\n]|\\[^\n])*")
    |(?P<raw>`[^`]*`)
    |(?P<name>[^\W\d]\w*)
    |(?P<sign>:=|[|()=,])""",
    re.VERBOSE,
)
_SIMPLE_NUMBER: Final = re.compile(r"[-+]?(0|[1-9]\d{0,17})(\.\d+)?")
_ESCAPE: Final = re.compile(
    r"\\(?:([abfnrtv\\\"])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.?))",
    re.DOTALL,
)
_ESCAPED: Final = dict(zip('abfnrtv\\"', '\a\b\f\n\r\t\v\\"', strict=True))


class TemplateRefused(ValueError):
    """A template that does not parse or render. Caught by ``template``, which knows the file."""

    def __init__(self, message: str, *, line: int, column: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.column = column
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a template became, and where each part of it came from."""

    text: str
    source: str
    pieces: tuple[tuple[int, int, bool], ...]
    """Offset in ``text``, offset in ``source``, and whether it was copied as it stands."""

    def origin(self, line: int, column: int) -> tuple[int, int]:
        """Return the line and column in the source of a line and column of the text."""
        lines = self.text.split("\n")
        offset = sum(len(one) + 1 for one in lines[: line - 1]) + column - 1
        number = bisect_right([piece[0] for piece in self.pieces], offset) - 1
        if number < 0:
            return line, column
        start, came_from, copied = self.pieces[number]
        return _line_column(self.source, came_from + (offset - start if copied else 0))


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def render(source: str, data: Mapping[str, Any], release: Release = NEWEST) -> Rendered:
    """Render ``source`` with ``data`` as ``release`` does. Raises ``TemplateRefused``."""
    out: list[str] = []
    pieces: list[tuple[int, int, bool]] = []
    length = size = 0
    for at, text, tokens in _split(source):
        copied = tokens is None
        if tokens is not None:
            text = _Pipeline(source, tokens, at, data, release).run()
        if text:
            pieces.append((length, at, copied))
            out.append(text)
            length += len(text)
            size += len(text.encode("utf-8", "surrogatepass"))
        limit = MAX_OUTPUT[release]
        if size > limit:
            raise _refused(source, at, f"the rendered template exceeds {limit} bytes")
    return Rendered("".join(out), source, tuple(pieces))


def _line_column(source: str, offset: int) -> tuple[int, int]:
    return source.count("\n", 0, offset) + 1, offset - (source.rfind("\n", 0, offset) + 1) + 1


def _refused(source: str, at: int, message: str, hint: str | None = None) -> TemplateRefused:
    line, column = _line_column(source, at)
    return TemplateRefused(message, line=line, column=column, hint=hint)


def _split(source: str) -> list[tuple[int, str, list[_Token] | None]]:
    """Return literal text (tokens None) and actions, in order; comments are gone."""
    parts: list[tuple[int, str, list[_Token] | None]] = []
    at, trim_left = 0, False
    while True:
        start = source.find("{{", at)
        literal = source[at:] if start < 0 else source[at:start]
        shift = 0
        if trim_left:
            shift = len(literal) - len(literal.lstrip(_SPACE))
            literal = literal[shift:]
        if start < 0:
            parts.append((at + shift, literal, None))
            return parts
        inner = start + 2
        if source.startswith("-", inner) and source[inner + 1 : inner + 2] in tuple(_SPACE):
            literal = literal.rstrip(_SPACE)
            inner += 2
        parts.append((at + shift, literal, None))
        if source.startswith("/*", inner):
            end = source.find("*/", inner)
            if end < 0:
                raise _refused(source, start, "the comment is not closed")
            close = re.compile(r"([ \t\r\n]-)?\}\}").match(source, end + 2)
            if close is None:
                raise _refused(source, end + 2, "a comment must be followed by }}")
            at, trim_left = close.end(), bool(close[1])
            continue
        tokens, at, trim_left = _tokens(source, inner, start)
        parts.append((start, "", tokens))


def _tokens(source: str, at: int, start: int) -> tuple[list[_Token], int, bool]:
    """Return an action's tokens, where the text after it begins, and whether that is trimmed."""
    close = re.compile(r"([ \t\r\n]+-)?\}\}")
    tokens: list[_Token] = []
    while True:
        end = close.match(source, at)
        if end is not None:
            return tokens, end.end(), bool(end[1])
        match = _TOKEN.match(source, at)
        if match is None:
            if at >= len(source) or source.startswith("{{", at):
                raise _refused(source, start, "the action is not closed", "expected }}")
            character = source[at]
            what = "string or character" if character in "\"'`" else "character"
            raise _refused(source, at, f"unexpected {what} {character!r} in an action")
        kind = str(match.lastgroup)
        if kind == "space":
            tokens.append(_Token("space", " ", at))
        else:
            tokens.append(_Token(kind, match[0], at))
        at = match.end()


class _Pipeline:
    """Parses and evaluates one action in one go: without control flow nothing is run twice."""

    def __init__(
        self,
        source: str,
        tokens: list[_Token],
        at: int,
        data: Mapping[str, Any],
        release: Release,
    ) -> None:
        from fake_tink_server.gofunctions import functions_of

        self._release = release
        self._functions = functions_of(release)
        self._source = source
        self._tokens = tokens
        self._start = at
        self._data = data
        self._next = 0
        self._depth = 0
        self._decided = 0
        """Above 0 within arguments that "and" or "or" no longer looks at."""

    def run(self) -> str:
        """Return the text that the action leaves."""
        for token in self._tokens:
            if token.kind == "sign" and token.text in (":=", "="):
                raise self._error(token, "variables are not supported in templates here")
        value = self._pipeline()
        left = self._peek()
        if left is not None:
            raise self._error(left, f"unexpected {left.text!r} in the action")
        try:
            return to_text(value)
        except CallFailed as error:
            raise _refused(self._source, self._start, str(error)) from None

    def _error(self, token: _Token | None, message: str, hint: str | None = None) -> Exception:
        return _refused(self._source, token.at if token else self._start, message, hint)

    def _peek(self, *, skip: bool = True) -> _Token | None:
        while skip and self._next < len(self._tokens) and self._tokens[self._next].kind == "space":
            self._next += 1
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _at_sign(self, text: str) -> bool:
        token = self._peek()
        return token is not None and token.kind == "sign" and token.text == text

    def _pipeline(self) -> Any:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(self._peek(), f"parentheses nested deeper than {MAX_DEPTH}")
        value = self._command(first=True, piped=None)
        while self._at_sign("|"):
            self._next += 1
            value = self._command(first=False, piped=value)
        self._depth -= 1
        return value

    def _command(self, *, first: bool, piped: Any) -> Any:
        token = self._peek()
        if token is None or (token.kind == "sign" and token.text != "("):
            raise self._error(token, "missing value in the pipeline")
        if token.kind == "name" and token.text not in ("true", "false", "nil"):
            return self._call(token, first=first, piped=piped)
        if token.kind == "name" and token.text == "nil":
            raise self._error(token, "nil is not a command")
        value = self._operand()
        following = self._peek()
        if following is not None and not (following.kind == "sign" and following.text in "|)"):
            if following.kind == "sign":
                raise self._error(following, f"unexpected {following.text!r} in the action")
            raise self._error(token, f"can't give argument to non-function {token.text}")
        if not first:
            raise self._error(token, f"can't pipe into non-function {token.text}")
        return value

    def _call(self, token: _Token, *, first: bool, piped: Any) -> Any:
        self._next += 1
        if token.text in _KEYWORDS:
            raise self._error(token, f"{{{{{token.text}}}}} is not supported in templates here")
        function = self._function(token)
        arguments: list[Any] = []
        stop = {"and": False, "or": True}.get(token.text)
        decided = False
        while True:
            # an argument is set off by space, as in Go
            gap = self._peek(skip=False)
            following = self._peek()
            if following is None or (following.kind == "sign" and following.text in "|)"):
                break
            if gap is following and not (following.kind == "sign" and following.text == "("):
                raise self._error(following, f"unexpected {following.text!r} in the action")
            self._decided += decided
            if following.kind == "name" and following.text not in ("true", "false", "nil"):
                self._next += 1
                value = self._call_bare(following)
            else:
                value = self._operand()
            self._decided -= decided
            if not decided:
                arguments.append(value)
            decided = decided or (stop is not None and is_true(value) is stop)
        if not first and not decided:
            arguments.append(piped)
        return self._apply(token, function, arguments)

    def _call_bare(self, token: _Token) -> Any:
        """A function's name as an argument is a call without arguments."""
        return self._apply(token, self._function(token), [])

    def _function(self, token: _Token) -> Any:
        from fake_tink_server.gofunctions import missing

        function = self._functions.get(token.text)
        if function is None:
            raise self._error(token, *missing(token.text, self._release))
        return function

    def _apply(self, token: _Token, function: Any, arguments: list[Any]) -> Any:
        if self._decided:
            return None
        try:
            return function(arguments)
        except CallFailed as error:
            raise self._error(token, f"error calling {token.text}: {error}") from None

    def _operand(self) -> Any:
        token = self._peek()
        if token is None:
            raise self._error(None, "missing value in the action")
        self._next += 1
        match token.kind:
            case "chain":
                value = self._fields(self._data, token)
            case "dot" | "root":
                value = self._data
            case "number":
                value = self._number(token)
            case "string":
                value = self._string(token)
            case "raw":
                value = token.text[1:-1].replace("\r", "")
            case "name" if token.text in ("true", "false"):
                value = token.text == "true"
            case "name" if token.text == "nil":
                value = None
            case "sign" if token.text == "(":
                value = self._pipeline()
                if not self._at_sign(")"):
                    raise self._error(token, "the parenthesis is not closed")
                self._next += 1
            case "variable":
                raise self._error(token, f"undefined variable {token.text!r}")
            case _:
                raise self._error(token, f"unexpected {token.text!r} in the action")
        following = self._peek(skip=False)
        if following is not None and following.kind == "chain":
            if token.kind in ("number", "string", "raw", "name"):
                raise self._error(following, f"unexpected {following.text!r} after a literal")
            self._next += 1
            value = self._fields(value, following)
        following = self._peek(skip=False)
        if following is not None and following.kind not in ("space", "sign"):
            raise self._error(following, f"unexpected {following.text!r} in the action")
        return value

    def _fields(self, value: Any, token: _Token) -> Any:
        at = token.at
        for name in token.text[1:].split("."):
            value = self._field(value, name, _Token("chain", name, at))
            at += len(name) + 1
        return value

    def _field(self, value: Any, name: str, token: _Token) -> Any:
        from harness.documents import suggest

        if self._decided:
            return None
        if isinstance(value, GoStruct):
            if name not in value:
                raise self._error(
                    token, f"can't evaluate field {name} in type {value.type}", suggest(name, value)
                )
            found = value[name]
            if found is None and name in value.pointers:
                return _NilPointer(value.pointers[name])
            return found
        if isinstance(value, _NilPointer):
            raise self._error(token, f"nil pointer evaluating *{value.type}.{name}")
        if isinstance(value, Mapping):
            if name not in value:
                raise self._error(token, f"map has no entry for key {name!r}", suggest(name, value))
            return value[name]
        if value is None:
            raise self._error(token, f"nil data; no entry for key {name!r}")
        raise self._error(token, f"can't evaluate field {name} in type {go_type(value)}")

    def _number(self, token: _Token) -> int | float:
        if not _SIMPLE_NUMBER.fullmatch(token.text):
            raise self._error(token, f"the number {token.text} is not supported")
        return float(token.text) if "." in token.text else int(token.text)

    def _string(self, token: _Token) -> str:
        def replace(match: re.Match[str]) -> str:
            simple, x, u, long, octal, other = match.groups()
            if simple:
                return _ESCAPED[simple]
            code = int(octal, 8) if octal else int(x or u or long or "-1", 16)
            if other is not None or code > 0x10FFFF or 0xD800 <= code < 0xE000:
                raise self._error(token, f"bad escape {match[0]!r} in a string")
            if (x or octal) and code > 0x7F:
                raise self._error(token, "byte escapes above \\x7f are not supported")
            return chr(code)

        return _ESCAPE.sub(replace, token.text[1:-1])


class _NilPointer:
    """A nil struct pointer: printing it is ``<nil>``, a field of it is an error."""

    def __init__(self, type_name: str) -> None:
        self.type = type_name

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return "<nil>"
