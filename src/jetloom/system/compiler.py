"""torch.compile's front end, which torch imports to tell it what not to look into, although nothing is compiled."""

from jetloom.system.later import later, stand_in


def compile_later() -> None:
    """Import it when something is compiled: it takes 2 s, SymPy included; to be called before it is imported.

    Optimisers and modes that watch operators ask it for the first two, Lightning for the third.
    """
    later(
        "torch._dynamo",
        # Where nothing is compiled both do nothing.
        disable=lambda function, *_, **__: function,
        graph_break=lambda *_, **__: None,
        OptimizedModule=stand_in("torch._dynamo", "OptimizedModule"),
    )
