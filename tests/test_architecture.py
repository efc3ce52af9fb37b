"""The house rules of README's map hold, and a planted violation of each is found."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
PACKAGE = "clinical_lakehouse"
DOMAINS = (
    *("ingestion", "standardization", "quality", "trials", "safety", "features", "training"),
    *("monitoring", "alerting", "reporting", "governance", "maintenance"),
)
# Who may import whom: a part imports parts of lower layers and itself, never of its own layer.
LAYERS = {
    "errors": 0,
    "tables": 1,
    "methods": 2,
    "rendering": 2,
    "runtime": 2,
    "operators": 3,
    **dict.fromkeys(DOMAINS, 4),
    "registry": 5,
    "local": 6,
    "simulation": 6,
    "pages": 6,
    "cli": 7,
}
BANNED_CALLS = {
    "datetime.now", "datetime.utcnow", "date.today", "F.current_timestamp", "F.current_date",
    "F.now", "spark.read", "spark.table", "lake.spark", "SparkSession.builder",
}  # fmt: skip
BANNED_MODULES = {"utils", "util", "common", "helpers", "helper", "base", "misc"}
BANNED_SUFFIXES = ("Manager", "Helper", "Impl")
NO_SPARK = ("errors", "tables", "rendering", "simulation")


def _files() -> list[Path]:
    return sorted((SOURCE / PACKAGE).rglob("*.py"))


def _part(path: Path) -> str:
    parts = path.relative_to(SOURCE / PACKAGE).with_suffix("").parts
    return parts[0] if parts[0] != "__init__" else ""


def _imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def _tasks(tree: ast.Module) -> list[ast.FunctionDef]:
    return [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(d, ast.Call) and _dotted(d.func) == "task" for d in node.decorator_list)
    ]


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _length(node: ast.AST, text: str) -> int:
    """Lines of a function without its docstring and decorators."""
    body = node.body
    documented = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    first = body[1] if documented and len(body) > 1 else body[0]
    return node.end_lineno - first.lineno + 1


def layering(path: Path, text: str) -> list[str]:
    """A part imports lower layers and itself; tables and errors import no pyspark."""
    part, faults = _part(path), []
    for line, name in _imports(ast.parse(text)):
        if name.split(".")[0] in ("pyspark", "delta") and part in NO_SPARK:
            faults.append(f"{path.name}:{line} {part} imports pyspark")
        if not name.startswith(f"{PACKAGE}.") or part == "":
            continue
        other = name.split(".")[1]
        if other in LAYERS and other != part and LAYERS[other] >= LAYERS[part]:
            faults.append(f"{path.name}:{line} {part} imports {other}")
    return faults


def purity(path: Path, text: str) -> list[str]:
    """In a domain only the module that holds tasks imports the runtime; methods never do."""
    part, tree = _part(path), ast.parse(text)
    if part not in (*DOMAINS, "methods", "rendering") or _tasks(tree):
        return []
    names = [name for _, name in _imports(tree) if name.startswith(f"{PACKAGE}.runtime")]
    return [f"{path.name} is pure but imports {name}" for name in names]


def sizes(path: Path, text: str) -> list[str]:
    """File 400 lines, function 40, task body 20, 5 positional parameters, line 100."""
    lines, tree = text.splitlines(), ast.parse(text)
    faults = [f"{path.name} has {len(lines)} lines"] if len(lines) > 400 else []
    faults += [f"{path.name}:{n} is long" for n, line in enumerate(lines, 1) if len(line) > 100]
    tasks = _tasks(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            length, cap = _length(node, text), 20 if node in tasks else 40
            if length > cap:
                faults.append(f"{path.name}:{node.name} has {length} lines, {cap} allowed")
            if len([a for a in node.args.args if a.arg not in ("self", "cls")]) > 5:
                faults.append(f"{path.name}:{node.name} has over 5 positional parameters")
    return faults


def bans(path: Path, text: str) -> list[str]:
    """No clock, catalog or session outside the runtime, no f-string SQL, no print, no escape."""
    part, tree, faults = _part(path), ast.parse(text), []
    for node in ast.walk(tree):
        dotted = _dotted(node) if isinstance(node, ast.Attribute) else ""
        if part != "runtime" and any(dotted.endswith(banned) for banned in BANNED_CALLS):
            faults.append(f"{path.name}:{node.lineno} uses {dotted}")
        if isinstance(node, ast.Call) and _dotted(node.func) == "print":
            faults.append(f"{path.name}:{node.lineno} prints")
        called = _dotted(node.func) if isinstance(node, ast.Call) else ""
        if (
            called.endswith(".sql")
            and part != "runtime"
            and isinstance(node.args[0], ast.JoinedStr)
        ):
            faults.append(f"{path.name}:{node.lineno} builds SQL from an f-string")
    names = {name for _, name in _imports(tree)}
    if "typing.TYPE_CHECKING" in names or "__future__.annotations" in names:
        faults.append(f"{path.name} hides imports from Python")
    return faults


def naming(path: Path, text: str) -> list[str]:
    """Modules and classes say what they are; errors end in Error; dataclasses are frozen."""
    faults = [f"{path.name} says nothing"] if path.stem in BANNED_MODULES else []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.ClassDef):
            continue
        if node.name.endswith(BANNED_SUFFIXES) or node.name.startswith("Base"):
            faults.append(f"{path.name}: class {node.name} says nothing")
        if any(_dotted(b).endswith(("Error", "Exception")) for b in node.bases):
            faults += [] if node.name.endswith("Error") else [f"{node.name} must end in Error"]
        for decorator in node.decorator_list:
            if "dataclass" in ast.unparse(decorator) and "frozen=True" not in ast.unparse(
                decorator
            ):
                faults.append(f"{path.name}: dataclass {node.name} is not frozen")
    return faults


def documentation(path: Path, text: str) -> list[str]:
    """Every module, public class and public function has a docstring; all are annotated."""
    tree, faults = ast.parse(text), []
    if text.strip() and not ast.get_docstring(tree):
        faults.append(f"{path.name} has no docstring")
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node) and node in _public(tree):
            faults.append(f"{path.name}: {node.name} has no docstring")
    return faults


def _public(tree: ast.Module) -> list[ast.AST]:
    classes = [n for n in tree.body if isinstance(n, ast.ClassDef) and not n.name.startswith("_")]
    methods = [m for c in classes for m in c.body if isinstance(m, ast.FunctionDef)]
    return [*tree.body, *methods]


RULES = (layering, purity, sizes, bans, naming, documentation)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_house_rule_holds(rule):
    files = _files()
    assert len(files) > 20
    assert [f for path in files for f in rule(path, path.read_text(encoding="utf-8"))] == []


PLANTED = {
    "layering": [
        ("tables/x.py", "from pyspark.sql import DataFrame"),
        ("features/x.py", "from clinical_lakehouse.ingestion import flatten"),
        ("runtime/x.py", "from clinical_lakehouse.registry import tasks"),
        ("methods/x.py", "import clinical_lakehouse.runtime.run"),
    ],
    "purity": [("features/x.py", "from clinical_lakehouse.runtime.run import Run")],
    "sizes": [
        ("features/x.py", "x = 1\n" * 401),
        ("features/x.py", f"x = '{'y' * 100}'"),
        ("features/x.py", "def f() -> None:\n" + "    x = 1\n" * 41),
        ("features/x.py", "@task()\ndef f(run: Run) -> None:\n" + "    x = 1\n" * 21),
        ("features/x.py", "def f(a, b, c, d, e, g): ..."),
    ],
    "bans": [
        ("features/x.py", "y = datetime.now()"),
        ("features/x.py", "y = spark.read.json('x')"),
        ("features/x.py", "y = SparkSession.builder"),
        ("features/x.py", "y = F.current_timestamp()"),
        ("features/x.py", "y = run.lake.query.sql(f'SELECT {x}')"),
        ("features/x.py", "print(1)"),
        ("features/x.py", "from __future__ import annotations"),
    ],
    "naming": [
        ("features/utils.py", "x = 1"),
        ("features/x.py", "class LakeManager: ..."),
        ("features/x.py", "class Broken(ValueError): ..."),
        ("features/x.py", "@dataclass\nclass Row: ..."),
    ],
    "documentation": [("features/x.py", '"""X."""\ndef f() -> None: ...'), ("a/x.py", "x = 1")],
}


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    [(rule, name, text) for rule in RULES for name, text in PLANTED[rule.__name__]],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_planted_violation_is_found(rule, name, text):
    assert rule(SOURCE / PACKAGE / name, text), f"{rule.__name__} missed {text[:60]!r}"


def test_errors_have_one_root_and_are_few():
    tree = ast.parse((SOURCE / PACKAGE / "errors.py").read_text(encoding="utf-8"))
    classes = {
        c.name: [_dotted(b) for b in c.bases] for c in tree.body if isinstance(c, ast.ClassDef)
    }
    root = classes.pop("LakehouseError")
    assert root == ["Exception"]
    assert set(map(tuple, classes.values())) == {("LakehouseError",)}
    assert len(classes) <= 10


def test_tables_load_without_pyspark():
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['pyspark'] = None;"
        "from clinical_lakehouse.tables.catalog import all_tables; assert len(all_tables()) > 20"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(SOURCE)})
