"""The project's source files as the architecture tests read them."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Folders that hold code which is deployed or run; tests are held to fewer rules.
FOLDERS = ("api", "functions", "sandbox", "scripts")


@dataclass(frozen=True)
class Import:
    """One imported name: `from a.b import c` is module `a.b` and name `c`; `import a.b` has no name."""

    module: str
    name: str | None
    line: int
    at_import_time: bool

    @property
    def full(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module


@dataclass(frozen=True)
class Source:
    path: Path

    @property
    def relative(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def module(self) -> str:
        return self.relative.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def package(self) -> str:
        return self.module if self.path.stem == "__init__" else self.module.rpartition(".")[0]

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))

    @cached_property
    def imports(self) -> list[Import]:
        return list(self._imports(self.tree, at_import_time=True))

    def _imports(self, node: ast.AST, *, at_import_time: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, None, child.lineno, at_import_time)
            elif isinstance(child, ast.ImportFrom):
                for alias in child.names:
                    yield Import(self._absolute(child), alias.name, child.lineno, at_import_time)
            elif isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
                continue
            else:
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from self._imports(child, at_import_time=at_import_time and not inside)

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parent = self.package.split(".")
        kept = parent[: len(parent) - node.level + 1]
        return ".".join([*kept, *([node.module] if node.module else [])])


@lru_cache
def sources(folder: str) -> tuple[Source, ...]:
    """Every Python file below a folder of the checkout."""
    return tuple(Source(path) for path in sorted((ROOT / folder).rglob("*.py")))


def within(module: str, package: str) -> bool:
    """Whether a module is the package or inside of it."""
    return module == package or module.startswith(f"{package}.")
