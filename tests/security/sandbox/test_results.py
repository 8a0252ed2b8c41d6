"""Attacks: results that harm whoever reads them. Both tiers stop all of them."""

from __future__ import annotations

import pytest

from tests.security.sandbox.arena import Arena, attack

# Each is the text of a result frame as native code writes it.
TEXTS = {
    "nothing": "b''",
    "no JSON": "b'hello'",
    "NaN": "b'NaN'",
    "NaN inside": "b'[NaN]'",
    "an infinity": "b'-Infinity'",
    "a number that is too large": "b'1e999'",
    "a negative number that is too large": "b'[-1e999]'",
    "an integer of 5,000 digits": "b'9' * 5_000",
    "an integer of a million digits": "b'-' + b'9' * 1_000_000",
    "65 levels of lists": "b'[' * 65 + b']' * 65",
    "65 levels of objects": "b'{\"a\":' * 65 + b'1' + b'}' * 65",
    "500,000 levels": "b'[' * 500_000 + b']' * 500_000",
    "500,000 levels that stay open": "b'[' * 500_000",
    "500,000 levels of objects": "b'{\"\":' * 200_000",
    "levels behind a string": "b'[\"\\\\\"\", ' + b'[' * 65 + b']' * 66",
    "half a character": "b'\"\\\\ud800\"'",
    "half a character in a key": "b'{\"\\\\udc00\": 1}'",
    "halves in the wrong order": "b'\"\\\\udc00\\\\ud800\"'",
    "no UTF-8": "b'\"\\xff\"'",
    "a surrogate in UTF-8": "b'\"\\xed\\xa0\\x80\"'",
    "a byte in a longer form": "b'\"\\xc0\\x80\"'",
    "UTF-16": "'[1]'.encode('utf-16')",
    "a mark of byte order": "b'\\xef\\xbb\\xbf[1]'",
    "two values": "b'[1][2]'",
    "a value and more": "b'[1]\\0'",
    "a control character": "b'\"\\n\"'",
    "a comment": "b'[1 /* 2 */]'",
    "a comma too many": "b'[1,]'",
    "single quotes": "b\"['a']\"",
    "an octal number": "b'[01]'",
    "a hexadecimal number": "b'[0x1]'",
    "a number with a plus": "b'[+1]'",
    "digits that are not ASCII": "'[\\u0661]'.encode()",
    "a part": "b'{\"a\": [1, 2'",
    "pickle": "b'\\x80\\x04K\\x01.'",
}

# Each is an expression whose value a tool returns.
VALUES = {
    "NaN": "float('nan')",
    "an infinity": "[float('inf')]",
    "an integer of 5,000 digits": "10 ** 5_000",
    "a list in itself": "cyclic()",
    "100,000 levels": "deep(100_000)",
    "half a character": "'\\ud800'",
    "bytes": "b'x'",
    "a set": "{1}",
    "a generator": "(n for n in range(9))",
    "the tool": "self",
    "a function": "len",
    "a module": "os",
    "an object that says it is a list": "Liar()",
    "a dict of objects": "{Liar(): 1}",
    "a list without end": "Endless()",
    "a complex number": "1j",
    "a date": "__import__('datetime').date.today()",
    "an enum of an object": "type('E', (), {})",
    "an error": "OSError()",
}

_HELPERS = """
class Liar:
    __class__ = list
    def __iter__(self): return iter([1])
    def __len__(self): return 1
    def __hash__(self): return 1

class Endless(list):
    def __iter__(self):
        while True: yield "x" * 1000
    def __len__(self): return 1

def cyclic():
    value = []
    value.append(value)
    return value

def deep(levels):
    value = []
    for _ in range(levels): value = [value]
    return value
"""


@pytest.mark.parametrize("name", TEXTS)
def test_a_result_in_bytes_that_is(arena: Arena, name: str) -> None:
    arena.failure(attack(f"send(2, {TEXTS[name]})\ntime.sleep(60)"), timeout_seconds=10)


@pytest.mark.parametrize("name", VALUES)
def test_a_result_that_is(arena: Arena, name: str) -> None:
    answer = arena.failure(attack(f"return {VALUES[name]}", _HELPERS), timeout_seconds=10)
    assert answer["error"] in ("ToolExecutionError", "LimitExceededError")


def test_a_result_with_a_key_twice_becomes_one_that_all_read_alike(arena: Arena) -> None:
    source = attack('send(2, b\'{"role": "admin", "role": "none"}\')\ntime.sleep(60)')
    assert arena.result(source) == {"role": "none"}


def test_a_result_with_the_name_of_an_error_is_a_result(arena: Arena) -> None:
    assert arena.result(attack("return {'error': 'x', 'limit': 'memory_bytes'}")) == {
        "error": "x",
        "limit": "memory_bytes",
    }


@pytest.mark.parametrize(
    ("kind", "unit", "most"),
    [
        pytest.param(2, "b'[' * 63 + b'],' * 62 + b']],'", 1 << 20, id="a result of brackets"),
        pytest.param(2, "b'{},'", 1 << 20, id="a result of objects"),
        pytest.param(2, 'b\'[[""],""],\'', 1 << 20, id="a result of strings and brackets"),
        pytest.param(3, "b'[],'", 1 << 21, id="an error of brackets"),
        pytest.param(4, "b'[],'", 1 << 21, id="a request of brackets"),
        pytest.param(4, "b'[' * 62 + b'],' * 61 + b']],'", 1 << 21, id="requests of deep brackets"),
    ],
)
def test_what_takes_long_to_read(arena: Arena, kind: int, unit: str, most: int) -> None:
    # The tool-runner reads it in its one event loop, in which all other calls wait.
    body = f"""
    unit = {unit}
    text = b"[" + unit * (({most} - 400) // len(unit)) + b"0]"
    if {kind} == 3:
        text = b'{{"message": ' + text + b"}}"
    for _ in range(5):
        send({kind}, request(json=0).replace(b'"json": 0', b'"json": ' + text) if {kind} == 4 else text)
        os.read(3, 1 << 16)
    """
    before = arena.cpu_seconds()
    arena.call(attack(body), timeout_seconds=60)
    # 0.35 s a frame before the number of lists and objects had a cap.
    frames = 5 if kind == 4 else 1
    assert arena.cpu_seconds() - before < 0.25 * frames
