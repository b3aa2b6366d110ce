"""Requirements of the import: NumPy and tqdm, and nothing that happens to be installed beside them."""

import subprocess
import sys

# Every module, where whatever is neither fastnn's, nor of Python, nor needed by NumPy or tqdm, cannot be found.
IMPORT_ALL = """
import importlib, pkgutil, sys
import numpy, tqdm.auto

class Nothing:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in {"fastnn", "numpy", "tqdm"} and top not in sys.stdlib_module_names and top not in sys.modules:
            raise ModuleNotFoundError(f"no {name} here", name=name)

sys.modules.pop("typing_extensions", None)
sys.meta_path.insert(0, Nothing())
import fastnn

names = [module.name for module in pkgutil.walk_packages(fastnn.__path__, "fastnn.")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def test_all_modules_are_imported_with_numpy_and_tqdm_alone() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100
