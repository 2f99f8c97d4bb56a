"""Which modules of the package import which, those inside functions too."""

import ast
from pathlib import Path


def all_modules(package):
    """Names of the modules of a package, by their files."""
    names = {}
    for path in sorted(Path(package).rglob("*.py")):
        parts = path.relative_to(Path(package).parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imported_modules(package, module):
    """Modules of the package that one imports anywhere in its file; `module` without the package's name."""
    known = all_modules(package)
    found = set()
    for node in ast.walk(ast.parse(known[f"{Path(package).name}.{module}"].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports relatively"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    rooms = {name for name in known if known[name].name == "__init__.py"}
    return (found & set(known)) - rooms
