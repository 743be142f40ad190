"""Faults planted in the real updater, one at a time: made from its own code, by name, and only here.

Three kinds, found by reading the source: every sync (left out), every order of a record and the act that it
announces or confirms, and of a rename that replaces (turned round), every verification (answered "good").
"""

from __future__ import annotations

import ast
import copy
import functools
import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

# Where the updater keeps its promises. Making a device is no act of the harness, so `create` is not here.
MODULES = (
    "deltaseal.storage.recipes",
    "deltaseal.trees.applier",
    "deltaseal.trees.scanned",
    "deltaseal.bundle.checked",
    "deltaseal.device.fetch",
    "deltaseal.device.journal",
    "deltaseal.device.rebase",
    "deltaseal.device.recovery",
    "deltaseal.device.removal",
    "deltaseal.device.stage",
    "deltaseal.device.store",
    "deltaseal.device.switch",
)

_SYNCS = {"sync", "sync_dir"}
_RECORDS = {"record", "record_attempt"}
_ACTS = {"point", "finish_switch", "finish_removal", "finish_rollback", "finish_rebase"}
_FAULTS = {"faults", "baseline", "live", "other"}  # what the answers of Store's questions are called


@dataclass(frozen=True)
class Site:
    """A place where a fault can be planted."""

    kind: str  # sync, order, verification
    module: str
    function: str  # qualified name
    line: int
    words: str

    @property
    def name(self) -> str:
        """What it is called: without the line, which changes."""
        return f"{self.kind}: {self.module.removeprefix('deltaseal.')}.{self.function}: {self.words}"


def sites() -> list[Site]:
    """Every place, in the order of the source; names that are equal are numbered."""
    found: list[Site] = []
    for module in MODULES:
        for function, node in _functions(_tree(module)):
            found += [Site(kind, module, function, line, words) for kind, line, words in _in(node)]
    counts: dict[str, int] = {}
    numbered = []
    for site in found:
        counts[site.name] = counts.get(site.name, 0) + 1
        again = f" ({counts[site.name]})" if counts[site.name] > 1 else ""
        numbered.append(Site(site.kind, site.module, site.function, site.line, site.words + again))
    return numbered


@functools.cache
def _tree(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(importlib.import_module(module)))


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    yield f"{node.name}.{inner.name}", inner


def _in(function: ast.FunctionDef) -> Iterator[tuple[str, int, str]]:
    for block in _blocks(function):
        for statement, following in zip(block, [*block[1:], None], strict=True):
            called = _called(statement)
            if called in _SYNCS:
                yield "sync", statement.lineno, f"without {ast.unparse(statement)}"
            if called == "rename" and _replaces(statement):
                yield "order", statement.lineno, f"removed before {ast.unparse(statement)}"
            after = _called(following) if following else ""
            if (called in _RECORDS and after in _ACTS) or (called in _ACTS and after in _RECORDS):
                yield "order", statement.lineno, f"{after} before {called}"
            if isinstance(statement, ast.If) and _verifies(statement):
                yield "verification", statement.lineno, f"not asked whether {ast.unparse(statement.test)}"


def _replaces(rename: ast.stmt) -> bool:
    """Whether it may replace something: a directory is renamed to a name that is free."""
    return not any(word in ast.unparse(rename) for word in ("fresh", "beside", "aside"))


def _blocks(function: ast.FunctionDef) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(function):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
                yield block


def _called(statement: ast.stmt) -> str:
    """The name of the function that a statement does nothing but call."""
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
        return ""
    function = statement.value.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _verifies(statement: ast.If) -> bool:
    """Whether it asks if bytes are as they must be."""
    asked = copy.deepcopy(statement.test)
    return ast.dump(_Believing().visit(asked)) != ast.dump(statement.test) and "digest" in _words_of(
        statement
    )


def _words_of(statement: ast.If) -> str:
    """What it asks and says; names of faults stand for digests."""
    words = ast.unparse(statement)
    return "digest" if any(name in ast.unparse(statement.test) for name in (*_FAULTS, "_faults")) else words


@contextmanager
def planted(site: Site) -> Iterator[None]:
    """The updater with this one fault, inside the ``with``."""
    tree = _Planter(site).visit(copy.deepcopy(_tree(site.module)))
    module = importlib.import_module(site.module)
    code = _code_of(compile(ast.fix_missing_locations(tree), module.__file__ or "", "exec"), site.function)
    function = _live(module, site.function)
    before = function.__code__
    function.__code__ = code
    try:
        yield
    finally:
        function.__code__ = before


class _Planter(ast.NodeTransformer):
    def __init__(self, site: Site) -> None:
        self._site = site

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
                setattr(node, field, self._planted(block))
        return node

    def _planted(self, block: list[ast.stmt]) -> list[ast.stmt]:
        at = next((place for place, each in enumerate(block) if self._is_it(each)), None)
        if at is None:
            return block
        here = block[at]
        if self._site.kind == "sync":
            return [*block[:at], ast.Pass(), *block[at + 1 :]]
        if self._site.kind == "verification":
            assert isinstance(here, ast.If)
            here.test = _Believing().visit(here.test)
            return block
        if self._site.words.startswith("removed before"):
            call = here.value  # type: ignore[attr-defined]
            gone = ast.parse("try:\n    x\nexcept Exception:\n    pass").body[0]
            removal = ast.Call(ast.Attribute(call.func.value, "unlink", ast.Load()), call.args[2:4], [])
            gone.body = [ast.Expr(removal)]  # type: ignore[attr-defined]
            return [*block[:at], gone, *block[at:]]
        return [*block[:at], block[at + 1], here, *block[at + 2 :]]

    def _is_it(self, statement: ast.stmt) -> bool:
        if statement.lineno != self._site.line:
            return False
        if self._site.kind == "verification":
            return isinstance(statement, ast.If)
        return isinstance(statement, ast.Expr)


class _Believing(ast.NodeTransformer):
    """Answers a question about bytes with "good": no faults, the same digest."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        return ast.Dict([], []) if name.endswith("faults") else node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Dict([], []) if node.id in _FAULTS else node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        return ast.Constant(False) if isinstance(node.ops[0], ast.NotEq) else node


def _code_of(module: CodeType, function: str) -> CodeType:
    todo = [module]
    while todo:
        code = todo.pop()
        if code.co_qualname == function:
            return code
        todo += [each for each in code.co_consts if isinstance(each, CodeType)]
    raise LookupError(function)


def _live(module: Any, function: str) -> FunctionType:
    """The function as it is called, without what wraps it."""
    *holders, name = function.split(".")
    holder = functools.reduce(getattr, holders, module)
    found = inspect.getattr_static(holder, name)
    found = getattr(found, "fget", None) or getattr(found, "__func__", None) or found
    found = inspect.unwrap(found)
    assert isinstance(found, FunctionType), found
    return found
