"""Everything that asks how a network is run: device, gradients, a graph that is recorded."""
