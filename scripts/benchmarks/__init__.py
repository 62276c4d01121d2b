import ncf  # noqa: F401  (before torch, as in the commands: it says how threads wait)
