"""Dynamic Axial Parallelism (DAP): one sample over many devices, parameters on each (FastFold, Cheng et al. 2022).

`dap` has the table of sharded modules, `collectives` Duality Async Operations; `ring` and `channel_groups` have the two
ways to multiply sharded operands.
"""
