"""Finds the calculations that a text asks for, in words or in symbols.

One recursive-descent pass over the tokens makes expressions. Their number is bounded, and an
expression is refused beyond ``OPERATIONS_MAX`` and ``DEPTH_MAX``, so the work is bounded whatever
is typed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeAlias

from agent_executor.executor.models.mock_expression import Expression, Operation
from agent_executor.executor.models.mock_tokens import LOOSE_MINUS, STOP, Token, tokenize

OPERATIONS_MAX = 100
DEPTH_MAX = 40

_END = ""
# Binary operators: the calculator's word, the rank, and the least rank on the right-hand side.
_BINARY = {
    "+": ("add", 1, 2),
    "-": ("subtract", 1, 2),
    LOOSE_MINUS: ("subtract", 1, 2),
    "*": ("multiply", 2, 3),
    "x": ("multiply", 2, 3),
    "/": ("divide", 2, 3),
    "(": ("multiply", 2, 3),
    "^": ("power", 4, 3),
}
# What goes on with the last result after "then": not a sign, not a parenthesis.
_CONTINUING = _BINARY.keys() - {"-", "("}
_SIGN_RANK = 3
_FUNCTION_RANK = 5  # Above every operator: "sqrt 16 + 9" is the root of 16 alone.
# What an expression begins with, if not with a number; a "- " there is the bullet of a list.
_OPENINGS = {"(", "-", "+", "√", "the"}
_POSTFIX_POWERS = {"²": Decimal(2), "³": Decimal(3)}
_PRONOUNS = {"it", "that", "this", "result", "answer", "them"}
_FILLERS = {"of", "the", "up", "together", "between", "both", "numbers", "all"}
_SEPARATORS = {",", "and", "to", "with", "by"}
_LINKS = {"then", "now", "next", "finally"}


class TooComplexError(Exception):
    """An expression is longer or more deeply nested than the mock reads."""


# Every turn of a run reads the run's task again; the second time it is free.
@functools.lru_cache(maxsize=128)
def find_expressions(text: str, previous: Decimal | None = None) -> tuple[Expression, ...]:
    """The calculations that the text asks for, in its order; a mere number is none.

    Args:
        text: What a person wrote.
        previous: The last result of the conversation, which "multiply that by 2" is about.

    Raises:
        TooComplexError: An expression passes ``OPERATIONS_MAX`` or ``DEPTH_MAX``.
    """
    return tuple(_Reader(tokenize(text), previous).read())


class _Reader:
    """Reads expressions from tokens; each method leaves the position after what it read."""

    def __init__(self, tokens: Sequence[Token], previous: Decimal | None) -> None:
        self._tokens = [*tokens, _END]
        self._position = 0
        self._depth = 0
        self._operations = 0
        self._previous: Expression | None = previous
        self._previous_operations = 0
        self._used_previous = False
        self._found: list[Expression] = []

    def read(self) -> list[Expression]:
        is_linked = False
        while (token := self._tokens[self._position]) != _END:
            if token == STOP or token in _LINKS:
                is_linked = token != STOP
                self._position += 1
                continue
            start = self._position
            self._operations = 0
            self._used_previous = False
            expression = self._question(is_linked)
            if isinstance(expression, Operation):
                self._keep(expression)
                is_linked = True
            # A failed attempt has looked at tokens that start nothing, so they are passed over.
            self._position = max(self._position, start + 1)
        return self._found

    def _keep(self, expression: Operation) -> None:
        # "Add 2 and 3, then double that" is one calculation: the later contains the earlier.
        if self._used_previous and self._found:
            self._found.pop()
        self._found.append(expression)
        self._previous = expression
        self._previous_operations = self._operations

    def _question(self, is_linked: bool) -> Expression | None:
        token = self._tokens[self._position]
        if isinstance(token, Decimal):
            return self._expression()
        command = _COMMANDS.get(token)
        if command is not None:
            self._position += 1
            return command(self, is_linked)
        if is_linked and self._previous is not None and token in _CONTINUING:
            return self._continue(self._use_previous(self._previous), 0)
        if token in _PRONOUNS:
            # "That" alone asks for nothing.
            return self._expression() if self._tokens[self._position + 1] in _BINARY else None
        return self._expression() if token in _OPENINGS else None

    def _expression(self, floor: int = 0) -> Expression | None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise TooComplexError
        left = self._operand()
        if left is not None:
            left = self._continue(left, floor)
        self._depth -= 1
        return left

    def _continue(self, left: Expression, floor: int) -> Expression:
        """Takes in the operators of at least the rank ``floor`` that follow ``left``."""
        while True:
            token = self._tokens[self._position]
            binary = _BINARY.get(token) if isinstance(token, str) else None
            if binary is None or binary[1] < floor:
                return left
            name, _, right_floor = binary
            mark = self._position
            # "2(3 + 4)" is a product whose operator is not written.
            self._position += token != "("
            right = self._expression(right_floor)
            if right is None:
                self._position = mark
                return left
            left = self._operation(name, left, right)

    def _operand(self) -> Expression | None:
        while self._tokens[self._position] == "the":
            self._position += 1
        token = self._tokens[self._position]
        self._position += 1
        if isinstance(token, Decimal):
            return self._postfix(token)
        if token == "(":
            inner = self._expression()
            if inner is None:
                return None
            # A missing ")" is forgiven: a person would understand.
            self._position += self._tokens[self._position] == ")"
            return self._postfix(inner)
        if token in ("-", LOOSE_MINUS):
            return self._negative()
        if token == "+":
            return self._expression(_SIGN_RANK)
        if token == "√":
            self._skip_fillers()
            inner = self._expression(_FUNCTION_RANK)
            return None if inner is None else self._operation("sqrt", inner)
        if token in _PRONOUNS and self._previous is not None:
            return self._use_previous(self._previous)
        noun = _NOUNS.get(token)
        if noun is not None:
            return noun(self, False)
        self._position -= 1
        return None

    def _negative(self) -> Expression | None:
        inner = self._expression(_SIGN_RANK)
        if inner is None:
            return None
        if isinstance(inner, Decimal):
            return inner.copy_negate()
        return self._operation("multiply", Decimal(-1), inner)

    def _postfix(self, operand: Expression) -> Expression:
        while True:
            token = self._tokens[self._position]
            if isinstance(token, str) and token in _POSTFIX_POWERS:
                self._position += 1
                operand = self._operation("power", operand, _POSTFIX_POWERS[token])
            elif token == "%":
                follows = self._tokens[self._position + 1]
                if isinstance(follows, Decimal) or follows == "(":
                    return operand  # "10 % 3" is a remainder, which no operation gives.
                self._position += 1
                operand = self._percent(operand)
            else:
                return operand

    def _percent(self, percentage: Expression) -> Operation:
        mark = self._position
        if self._tokens[mark] == "of":
            self._position += 1
            whole = self._expression(_SIGN_RANK)
            if whole is not None:
                return self._operation("percent", percentage, whole)
            self._position = mark
        return self._operation("percent", percentage)

    def _operation(self, name: str, a: Expression, b: Expression | None = None) -> Operation:
        self._count(1)
        return Operation(name, a, b)

    def _use_previous(self, previous: Expression) -> Expression:
        self._used_previous = True
        # "It times it" said ten times over is a thousand operations, and counts as such.
        self._count(self._previous_operations)
        return previous

    def _count(self, operations: int) -> None:
        self._operations += operations
        if self._operations > OPERATIONS_MAX:
            raise TooComplexError

    def _skip_fillers(self) -> None:
        while self._tokens[self._position] in _FILLERS:
            self._position += 1

    def _list(self) -> list[Expression]:
        """Operands with "and", commas and the like between them."""
        self._skip_fillers()
        self._position += self._tokens[self._position] == "by"  # "multiply by 4"
        operands: list[Expression] = []
        operand = self._expression()
        while operand is not None:
            operands.append(operand)
            mark = self._position
            while self._tokens[self._position] in _SEPARATORS:
                self._position += 1
            operand = self._expression() if self._position > mark else None
            if operand is None:
                self._position = mark
        return operands

    def fold(self, name: str, is_linked: bool) -> Expression | None:
        operands = self._list()
        if len(operands) == 1 and is_linked and self._previous is not None:
            operands.insert(0, self._use_previous(self._previous))
        if not operands:
            return None
        result = operands[0]
        for operand in operands[1:]:
            result = self._operation(name, result, operand)
        return result

    def subtract(self, is_linked: bool) -> Expression | None:
        self._skip_fillers()
        first = self._expression()
        if first is not None and self._tokens[self._position] == "from":
            self._position += 1
            second = self._expression()
            if second is not None:
                return self._operation("subtract", second, first)
        if first is None or not is_linked or self._previous is None:
            return first
        return self._operation("subtract", self._use_previous(self._previous), first)

    def average(self, _is_linked: bool) -> Expression | None:
        operands = self._list()
        if not operands:
            return None
        total = operands[0]
        for operand in operands[1:]:
            total = self._operation("add", total, operand)
        return self._operation("divide", total, Decimal(len(operands)))


_Phrase: TypeAlias = Callable[[_Reader, bool], Expression | None]


def _folding(name: str) -> _Phrase:
    return lambda reader, is_linked: reader.fold(name, is_linked)


# Phrases that stand for a value, also inside another: "square root of the sum of 9 and 16".
_NOUNS: dict[Token, _Phrase] = {
    "sum": _folding("add"),
    "total": _folding("add"),
    "product": _folding("multiply"),
    "difference": _folding("subtract"),
    "quotient": _folding("divide"),
    "average": _Reader.average,
    "mean": _Reader.average,
}
# Phrases that begin a calculation, and so never are an operand of another.
_COMMANDS: dict[Token, _Phrase] = _NOUNS | {
    "add": _folding("add"),
    "multiply": _folding("multiply"),
    "divide": _folding("divide"),
    "subtract": _Reader.subtract,
}
