"""Shapes of arguments (`("list", ("int",))`), found from annotations, from values or by trying; and values of a shape.

Values are source text, so that every call gets fresh ones, and a person can read the call that went wrong.
"""

from __future__ import annotations

import collections.abc
import enum
import inspect
import random
import types
import typing
from typing import Any

Shape = tuple[Any, ...]
"""Kind and inner shapes: `int`, `float`, `str`, `bool`, `none`, `bytes`, `list`, `set`, `frozenset`, `tuple` (of fixed
length), `tuple_of`, `dict`, `iterator`, `union`, `graph` (numbers to lists of them); `one_of` has expressions to
choose from, `object` the name of a class and its arguments' shapes."""

INT: Shape = ("int",)
STR: Shape = ("str",)
FLOAT: Shape = ("float",)
GRAPH: Shape = ("graph",)
STEPS = (7919, 7907, 7901)
"""Between the values of large arguments, one step an argument, so that no two are alike; primes."""
LADDER: list[Shape] = [
    ("list", INT),
    INT,
    STR,
    ("list", STR),
    ("list", ("list", INT)),
    ("dict", STR, INT),
    FLOAT,
    ("list", ("tuple", INT, INT)),
    ("list", ("list", STR)),
    GRAPH,
    ("bool",),
]
"""Tried in this order where nothing says what an argument is."""

_BY_NAME = {
    INT: """n k m i j num number limit size count target start end lo hi low high width height depth amount index step
    total x value item key element v node vertex source root""",
    GRAPH: "graph adjacency adj edges neighbours neighbors",
    STR: "s t text word string sentence line pattern a_string name sub substring prefix",
    ("list", STR): "words strings names lines tokens sentences texts",
    ("list", ("list", INT)): "matrix grid board mat rows table",
    ("dict", STR, INT): "mapping counts d dictionary",
}
_NAMED = {name: shape for shape, names in _BY_NAME.items() for name in names.split()}
_SEQUENCES = (list, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_SIMPLE = {int: "int", float: "float", str: "str", bool: "bool", bytes: "bytes", type(None): "none"}


def ladder(name: str) -> list[Shape]:
    """What to try for a parameter of this name, likeliest first."""
    first = _NAMED.get(name.lower().lstrip("_"))
    return LADDER if first is None else [first, *(shape for shape in LADDER if shape != first)]


def of_annotation(kind: Any, module: types.ModuleType) -> Shape | None:
    """The shape that an annotation asks for; None where it leaves it open."""
    if kind is None or (isinstance(kind, type) and kind in _SIMPLE):
        return (_SIMPLE[kind or type(None)],)
    origin, args = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is collections.abc.Callable:
        return ("one_of", "(lambda *a: a[0] if a else 0)")
    if origin is typing.Annotated:
        return of_annotation(args[0], module)
    if origin is typing.Literal:
        return ("one_of", *map(repr, args))
    inner = [of_annotation(arg, module) for arg in args if arg is not ...]
    if origin in (typing.Union, types.UnionType):
        known = tuple(shape for shape in inner if shape is not None)
        return ("union", *known) if known else None
    if isinstance(origin, type) and issubclass(origin, enum.Enum):
        return ("one_of", *(f"{origin.__name__}.{member.name}" for member in origin))
    if isinstance(origin, type) and origin.__module__ == module.__name__:
        given = parameters(origin, module, {})
        if given is None or any(parameter.why == "trying" for parameter in given if parameter.required):
            return None
        return ("object", origin.__name__, *(parameter.shapes[0] for parameter in given if parameter.required))
    if not inner or None in inner:
        return None
    if origin in _SEQUENCES:
        return ("list", inner[0])
    if origin in (set, frozenset, collections.abc.Set, collections.abc.MutableSet):
        return ("frozenset" if origin is frozenset else "set", inner[0])
    if origin in (collections.abc.Iterator, collections.abc.Generator):
        return ("iterator", inner[0])
    if origin is tuple:
        return ("tuple", *inner) if ... not in args else ("tuple_of", inner[0])
    if origin in (dict, collections.abc.Mapping, collections.abc.MutableMapping) and len(inner) == 2:
        return ("dict", *inner)
    return None


def of_value(value: Any, depth: int = 0) -> Shape | None:
    """The shape of a value that was seen; None for what cannot be made anew."""
    if type(value) in _SIMPLE:
        return (_SIMPLE[type(value)],)
    if depth > 4:
        return None
    if isinstance(value, range):
        return ("list", INT)
    if isinstance(value, dict):
        inner = [_merged(of_value(item, depth + 1) for item in list(part)[:20]) for part in (value, value.values())]
        return None if None in inner else ("dict", *inner)
    if isinstance(value, tuple) and type(value) is tuple and len(value) <= 4:
        shapes = [of_value(item, depth + 1) for item in value]
        return None if None in shapes else ("tuple", *shapes)
    for kind, name in ((list, "list"), (tuple, "tuple_of"), (set, "set"), (frozenset, "frozenset")):
        if type(value) is kind:
            part = _merged(of_value(item, depth + 1) for item in list(value)[:20])
            return None if part is None else (name, part)
    return None


def _merged(shapes: collections.abc.Iterable[Shape | None]) -> Shape | None:
    """One shape for all of them; of nothing: numbers."""
    return merged(list(shapes) or [INT])


def merged(shapes: list[Shape | None]) -> Shape | None:
    """The union of shapes; None as soon as one is unknown."""
    known = list(dict.fromkeys(shape for shape in shapes if shape is not None))
    if len(known) < len(set(shapes)):
        return None
    return known[0] if len(known) == 1 else ("union", *known)


class Parameter(typing.NamedTuple):
    """A parameter of a function, the shapes that its argument may have (the first that works is taken), and why."""

    name: str
    kind: Any
    required: bool
    shapes: list[Shape]
    why: str


def parameters(function: Any, module: types.ModuleType, seen: dict[str, list[Shape]]) -> list[Parameter] | None:
    """The parameters that a call gives; None when it cannot be told.

    Args:
        function: to be called; of a class, its constructor.
        module: it is from.
        seen: shapes of arguments in calls of it, by parameter.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    try:
        target = vars(function).get("__init__", function) if isinstance(function, type) else function
        hints = typing.get_type_hints(inspect.unwrap(target), vars(module))
    except Exception:  # an annotation may name what does not exist
        hints = {}
    found = []
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        required = parameter.default is parameter.empty
        annotated = of_annotation(hints[name], module) if name in hints else None
        default = None if required or parameter.default is None else of_value(parameter.default)
        if annotated:
            shapes, why = [annotated], "annotations"
        elif name in seen:
            shapes, why = [typing.cast(Shape, merged(list(seen[name])))], "calls"
        elif default:
            shapes, why = [default], "defaults"
        elif required:
            shapes, why = _allowed(hints.get(name), ladder(name)), "trying"
        else:
            continue
        found.append(Parameter(name, parameter.kind, required, shapes, why))
    return found


def _allowed(hint: Any, shapes: list[Shape]) -> list[Shape]:
    """What a bare `list` or `dict` leaves of the ladder; of a class that cannot be made here, nothing."""
    origin = typing.get_origin(hint) or hint
    if origin in (set, frozenset):
        return [("set", INT), ("set", STR)]
    if origin is tuple:
        return [("tuple_of", INT), ("tuple_of", STR)]
    for kinds, head in ((_SEQUENCES, "list"), ((dict, collections.abc.Mapping), "dict")):
        if origin in kinds:
            return [shape for shape in shapes if shape[0] == head]
    return [] if isinstance(origin, type) and origin is not object else shapes


def strategy(shape: Shape, constants: tuple[list[str], list[str]], *, small: bool) -> Any:
    """Hypothesis strategy of expressions of a shape.

    Args:
        shape: of the argument.
        constants: numbers and texts of the code, near which something may change.
        small: keep whole numbers small, for functions that take very long with larger ones.
    """
    from hypothesis import strategies as st

    def of(inner: Shape) -> Any:
        return strategy(inner, constants, small=small)

    def joined(left: str, right: str) -> Any:
        return lambda items: left + ", ".join(items) + right

    match shape:
        case ("int",):
            numbers = (
                [st.integers(-3, 12)] if small else [st.integers(-3, 12), st.integers(-3, 12), st.integers(-100, 200)]
            )
            near = [st.sampled_from(constants[0])] if constants[0] and not small else []
            return st.one_of(*(kind.map(repr) for kind in numbers), *near)
        case ("float",):
            odd = st.sampled_from(["0.0", "-0.0", "nan", "inf", "-inf"])
            usual = st.floats(-1000, 1000, allow_nan=False, width=32).map(repr)
            return st.one_of(usual, usual, usual, odd)
        case ("str",):
            usual = st.text(alphabet="aAbcB 012,.-é", max_size=12).map(repr)
            return st.one_of(usual, st.sampled_from(constants[1])) if constants[1] else usual
        case ("bool",):
            return st.sampled_from(["True", "False"])
        case ("graph",):
            rows = st.lists(st.lists(st.integers(0, 6), max_size=4), max_size=7)
            return rows.map(lambda rows: str({at: [to % len(rows) for to in row] for at, row in enumerate(rows)}))
        case ("none",):
            return st.just("None")
        case ("bytes",):
            return st.binary(max_size=12).map(repr)
        case ("list", inner):
            return st.lists(of(inner), max_size=9).map(joined("[", "]"))
        case ("tuple_of", inner):
            return st.lists(of(inner), max_size=9).map(lambda items: f"({''.join(item + ', ' for item in items)})")
        case ("iterator", inner):
            return st.lists(of(inner), max_size=9).map(joined("iter([", "])"))
        case ("set" | "frozenset" as kind, inner):
            return st.lists(of(inner), max_size=9).map(joined(f"{kind}([", "])"))
        case ("tuple", *inner):
            return st.tuples(*map(of, inner)).map(lambda items: f"({''.join(item + ', ' for item in items)})")
        case ("dict", key, value):
            pair = st.tuples(of(key), of(value)).map(": ".join)
            return st.lists(pair, max_size=7).map(joined("{", "}"))
        case ("union", *inner):
            return st.one_of(*map(of, inner))
        case ("one_of", *texts):
            return st.sampled_from(texts)
        case ("object", name, *inner):
            return st.tuples(*map(of, inner)).map(joined(f"{name}(", ")"))
    raise ValueError(f"no such shape: {shape}")


def large(shape: Shape, size: int, *, repeating: bool, step: int = STEPS[0], depth: int = 0) -> str:
    """An expression of a shape with about `size` parts in each of its containers; the same one every time.

    Args:
        shape: of the argument.
        size: length of containers, and of a number outside of them.
        repeating: few different values rather than many.
        step: between its values.
        depth: how many containers it is in.
    """
    index = "ijkl"[depth - 1] if depth else ""
    scattered = f"{index} * {step} % {13 if repeating else 1_000_003}"
    if depth > 1:
        scattered = f"({' + '.join('ijkl'[d] for d in range(depth))}) * {step} % {13 if repeating else 1_000_003}"
    inside = f"for {'ijkl'[depth]} in range({size})" if depth < 4 else ""

    def of(inner: Shape) -> str:
        return large(inner, size, repeating=repeating, step=step, depth=depth + 1)

    match shape:
        case ("int",):
            return scattered if depth else str(size)
        case ("float",):
            return f"{scattered} / 8" if depth else f"{size}.5"
        case ("str",):
            letters = f"chr(97 + i * i * {step} % {3 if repeating else 26})"
            return f'"w" + str({scattered})' if depth else f'"".join({letters} for i in range({size}))'
        case ("bool",):
            return f"{index} % 2 == 0" if depth else "True"
        case ("none",):
            return "None"
        case ("graph",):
            return f"{{i: [(i * 7 + j) % {size} for j in range(4)] for i in range({size})}}"
        case ("bytes",):
            return f"bytes(i % 256 for i in range({size}))" if not depth else 'b"abc"'
        case ("list", inner):
            return f"[{of(inner)} {inside}]"
        case ("tuple_of" | "iterator" | "set" | "frozenset" as kind, inner):
            return f"{ {'tuple_of': 'tuple', 'iterator': 'iter'}.get(kind, kind) }([{of(inner)} {inside}])"
        case ("tuple", *inner):
            return (
                f"({''.join(large(part, size, repeating=repeating, step=step, depth=depth) + ', ' for part in inner)})"
            )
        case ("dict", key, value):
            return f"{{{of(key)}: {of(value)} {inside}}}"
        case ("union", first, *_):
            return large(first, size, repeating=repeating, step=step, depth=depth)
        case ("one_of", first, *_):
            return str(first)
        case ("object", name, *inner):
            return (
                f"{name}({', '.join(large(part, size, repeating=repeating, step=step, depth=depth) for part in inner)})"
            )
    raise ValueError(f"no such shape: {shape}")


def has_container(shape: Shape) -> bool:
    """Whether it grows by having more parts, rather than by a larger number."""
    return shape[0] in ("graph", "list", "tuple_of", "iterator", "set", "frozenset", "dict", "str", "bytes") or any(
        has_container(part) for part in shape[1:] if isinstance(part, tuple)
    )


def examples(shape: Shape, count: int) -> list[str]:
    """A few small expressions of a shape."""
    chance = random.Random(0)  # noqa: S311 - not for secrets

    def one(inner: Shape) -> str:
        match inner:
            case ("int",):
                return str(chance.choice([3, 1, 2, 5, 4]))
            case ("float",):
                return str(chance.choice([0.5, 2.0, 3.25]))
            case ("str",):
                return repr(chance.choice(["abca", "hello world", "b", "racecar"]))
            case ("bool",):
                return "True"
            case ("graph",):
                return "{1: [2, 3], 2: [1, 3], 3: [4], 4: [5, 1], 5: []}"
            case ("list", part):
                return f"[{', '.join(one(part) for _ in range(3))}]"
            case ("tuple", *parts):
                return f"({''.join(one(part) + ', ' for part in parts)})"
            case ("dict", key, value):
                return f"{{{one(key)}: {one(value)}}}"
        return large(inner, 3, repeating=False)

    return [one(shape) for _ in range(count)]


def said(shape: Shape) -> str:
    """A shape in words: `list of int`."""
    match shape:
        case ("dict", key, value):
            return f"dict of {said(key)} to {said(value)}"
        case ("tuple", *inner):
            return f"({', '.join(map(said, inner))})"
        case ("union", *inner):
            return " or ".join(map(said, inner))
        case ("one_of", *texts):
            return "one of " + ", ".join(texts[:3])
        case ("object", name, *_):
            return str(name)
        case ("tuple_of", inner):
            return f"tuple of {said(inner)}"
        case (kind, inner):
            return f"{kind} of {said(inner)}"
    return str(shape[0])
