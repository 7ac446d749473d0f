"""AutoChunk (Zhao et al. 2024): a compiler that fits a module into a memory budget by running parts of it in chunks.

Its passes, in order:

1. Capture (`capture.py`): record what a module calls as a `graph.Graph` whose sizes are symbols, so that one capture
   serves every length.
2. Shape propagation (`shape_prop.py`): the graph at given sizes, with each value's shape and storage and each call's
   memory, traffic and arithmetic (`footprint.py`).
3. Scheduling (`split_calls.py`, `scheduling.py`): split calls with several results, give each reader its own view, and
   order calls as late as possible, so that less is alive at once. Where that does not fit, each reader also makes its
   own copy of what is cheap to make from something smaller (`recomputation.py`).
4. Dimension flow (`dimensions.py`, `rules_*.py`): along which dimensions each call may run in chunks, by operator.
5. Memory estimation (`liveness.py`, `region_cost.py`, `peel_cost.py`): what is alive before each call; peak and time of
   a region by chunk size, with the device's speed as calibrated (`cost.py`).
6. Chunk search (`region_search.py`): chunk regions, calls in a row through which one dimension flows (chunk flow); and
   `peeling.py`: calls through which two flow, whose result takes the place of what it is computed from.
7. Chunk selection (`region_selection.py`): the regions and chunk sizes of the fastest plan within a budget (`plan.py`),
   for each way to order and rewrite the calls (`planner.py`), with `offloading.py` to host memory as the last.
8. Execution (`executor.py`, `loop_bodies.py`), in place of code generation: run a plan's calls and loops.

`chunked.py` puts them together: `Chunked` wraps a module and plans for inputs of new shapes when they come.
"""

from foldcli.autochunk.chunked import Chunked, autochunk

__all__ = ["Chunked", "autochunk"]
