"""Contents of result files."""

METRICS = {
    "accuracy": {"value": 0.7},
    "auc": {"value": 0.9},
    "loss": {"value": 1.1},
    "rejection": {
        "Hbb": {"efficiency": 0.5, "value": 200.0},
        "Tbl": {"efficiency": 0.995, "value": None},
    },
}
COST = {
    "run": {"dataset": "sim", "model": "salt"},
    "parameters": 10,
    "macs": 20,
    "flops": 40,
    "latency": [{"batch_size": 4, "milliseconds": {"median": 1.5}, "jets_per_second": 2666.0}],
    "length_scan": [{"particles": 16, "milliseconds": {"median": 2.5}, "peak_memory_mb": None}],
}
MAKER = {"dataset": "sim", "model": "kmeans", "seed": 1}


def closeness(derived, name, run=MAKER, w1=3.5):
    floor = None if w1 is None else {"mean": 1.25, "low": 1.0, "high": 2.0}
    return {"set": name, "run": run, "derived": derived, "observables": {"mass": {"w1": w1, "floor": floor}}}
