"""Whether the kernels are installed."""

import importlib
import pkgutil

from foldcli.errors import first_line


def kernel_import_error() -> str:
    """Why not every module of foldcli_kernels can be imported, "" if all can."""
    try:
        import foldcli_kernels

        for module in pkgutil.walk_packages(foldcli_kernels.__path__, "foldcli_kernels."):
            importlib.import_module(module.name)
    except ImportError as error:
        return first_line(error)
    return ""
