"""Data sets that trainings make, in a configuration: what they are, and mistakes in one line each."""

import pytest

from jetloom.config import DerivedDataset, merge, parse_experiment
from jetloom.config.derived import JETS_PER_FILE
from jetloom.errors import JetloomError

CODES = {"tokenise": {"dataset": "jetclass-sim", "model": "kmeans", "seed": 1}}
DRAW = {"generate": {"dataset": "tokens", "model": "generator", "seed": 1, "jets": {"train": 25_000, "test": 10}}}
CHAIN = {
    "experiment": "chain",
    "datasets": ["closure", "tokens", "jetclass-sim", "decoded", "generated"],
    "models": [],
    "seeds": [1, 2],
    "preset": "tiny",
    "per_dataset": {
        "jetclass-sim": {"models": ["kmeans"]},
        "tokens": {"made_by": CODES, "kind": "tokens", "models": ["generator", "tagger"]},
        "decoded": {"made_by": CODES},
        "generated": {"made_by": DRAW},
        "closure": {"made_by": {"compare": ["decoded", "generated"]}, "models": ["pfn"]},
    },
    "per_model": {
        "generator": {"based_on": "omnijet", "task": "next_token", "seeds": [1]},
        "tagger": {"based_on": "omnijet"},
    },
}


def chain(**changes):
    return parse_experiment(merge(CHAIN, changes))


def test_what_is_not_said_is_that_of_the_source():
    experiment = chain()
    source, tokens, decoded = (experiment.dataset(name) for name in ("jetclass-sim", "tokens", "decoded"))
    assert isinstance(tokens, DerivedDataset) and isinstance(decoded, DerivedDataset)
    assert tokens.classes == decoded.classes == source.classes
    assert tokens.background == "QCD" and tokens.working_points == source.working_points
    assert (tokens.kind, tokens.feature_set, tokens.codes) == ("tokens", "codes", 512)
    # A code stands for a momentum: of the 17 inputs of the source the kinematic ones are left.
    assert (decoded.kind, decoded.feature_set) == ("jets", "kin")
    assert tokens.buckets == source.buckets and tokens.selection == {}
    assert [tokens.raw_files(split) for split in tokens.splits] == [["train_000"], ["val_000"], ["test_000"]]
    generated, closure = experiment.dataset("generated"), experiment.dataset("closure")
    assert generated.classes == ["generated"] and closure.classes == ["decoded", "generated"]
    assert len(generated.raw_files("train")) == -(-25_000 // JETS_PER_FILE) == 3
    # The splits that all of them have, a file for each of them.
    assert {split: len(closure.raw_files(split)) for split in closure.splits} == {"train": 2, "test": 2}


def test_the_number_of_codes_is_that_of_the_tokenizer():
    assert chain(per_model={"kmeans": {"options": {"codes": 64}}}).dataset("generated").codes == 64
    assert chain(per_model={"kmeans": {"preset": "published"}}).dataset("tokens").codes == 8192


def test_a_released_tokenizer_has_the_options_that_are_said():
    released = {
        "dataset": "jetclass-sim",
        "checkpoint": "vqvae.pt",
        "architecture": "vqvae",
        "model": None,
        "seed": None,
    }
    made = {"made_by": {"tokenise": released}}
    assert chain(per_dataset={"decoded": made}).dataset("decoded").codes == 8192
    made["made_by"]["tokenise"]["options"] = {"codes": 2048}
    assert chain(per_dataset={"decoded": made}).dataset("decoded").codes == 2048
    made["made_by"]["tokenise"]["options"] = {"code": 2048}
    with pytest.raises(JetloomError, match=r"decoded.made_by.tokenise.options.code: vqvae has no such option"):
        chain(per_dataset={"decoded": made})


def test_halves_are_two_classes_of_one_set():
    halves = {"halves": {"made_by": {"halves": "decoded"}, "models": ["pfn"]}}
    dataset = chain(datasets=[*CHAIN["datasets"], "halves"], per_dataset=halves).dataset("halves")
    assert dataset.classes == ["decoded_1", "decoded_2"] and dataset.background is None
    assert {split: len(dataset.raw_files(split)) for split in dataset.splits} == {"train": 2, "val": 2, "test": 2}


def test_some_classes_and_a_generator_of_one():
    experiment = chain(per_dataset={"tokens": {"classes": ["Tbqq"]}}, per_model={"tagger": {"task": "next_token"}})
    assert experiment.dataset("tokens").background is None
    assert experiment.dataset("generated").classes == ["Tbqq"]


def test_tasks_come_from_the_model_where_nothing_is_said():
    experiment = chain(task="classification")
    assert [experiment.tasks_of(name)[0].name for name in ("kmeans", "generator", "tagger")] == [
        "tokenisation", "next_token", "classification",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": {"based_on": "jetclass-sim"}}, "per_dataset.tokens.made_by: .* leave based_on out"),
        ({"tokens": {"splits": {"train": ["x"]}}}, "leave splits out"),
        ({"tokens": {"made_by": {"tokenise": {"dataset": "elsewhere"}}}}, "unknown name 'elsewhere'"),
        ({"tokens": {"made_by": {"tokenise": {"dataset": "tokens"}}}}, "wait for itself .*tokens waits for tokens"),
        (
            {
                "tokens": {"made_by": {"tokenise": {"dataset": "decoded"}}},
                "decoded": {"made_by": {"tokenise": {"dataset": "tokens"}}},
            },
            "wait for itself .* waits for .* waits for",
        ),
        ({"tokens": {"made_by": {"tokenise": {"seed": 7}}}}, "no training of kmeans .* with seed 7 .* it has 1, 2"),
        ({"tokens": {"made_by": {"tokenise": {"model": "pfn"}}}}, "pfn is no tokenizer; expected kmeans or vqvae"),
        (
            {"tokens": {"made_by": {"tokenise": {"model": None}}}},
            "expected model and seed of a training, or checkpoint",
        ),
        ({"tokens": {"made_by": {"tokenise": {"options": {"codes": 9}}}}}, "options: expected beside checkpoint"),
        (
            {"generated": {"made_by": {"generate": {"model": "tagger"}}}},
            "tagger is trained for classification, which makes no jets",
        ),
        (
            {"generated": {"made_by": {"generate": {"dataset": "decoded"}}}},
            "decoded holds no tokens; give it `kind: tokens`",
        ),
        ({"generated": {"made_by": {"generate": {"jets": {"test": 0}}}}}, "jets.test: .*greater than or equal to 1"),
        ({"generated": {"made_by": {"compare": ["tokens", "decoded"]}}}, "expected one of tokenise, generate, compare"),
        ({"closure": {"made_by": {"compare": ["decoded", "tokens"]}}}, "compare: expected data sets of one kind"),
        ({"closure": {"made_by": {"compare": ["decoded"]}}}, "compare: .*at least 2"),
        ({"closure": {"made_by": {"truth": "decoded"}}}, "truth: expected beside `compare`, and none of its data sets"),
        ({"closure": {"made_by": {"truth": "elsewhere"}}}, "made_by.truth: unknown name 'elsewhere'"),
        (
            {"closure": {"made_by": {"truth": "tokens"}}},
            "truth: expected jets with the features kin; tokens has codes",
        ),
        ({"closure": {"models": ["omnijet"]}}, "omnijet reads tokens, closure holds jets"),
        (
            {"tokens": {"classes": ["Tbqq"]}},
            "task classification of tagger: tokens has one class, Tbqq; expected two or more",
        ),
        ({"decoded": {"feature_set": "full"}}, "feature_set: .*'full'"),
        ({"decoded": {"unknown": 1}}, "unknown key 'unknown'"),
    ],
)
def test_mistakes_are_one_line(changes, message):
    with pytest.raises(JetloomError, match=message) as error:
        chain(per_dataset=changes)
    assert "\n" not in str(error.value)


def test_next_token_of_jets_says_what_to_make_first():
    with pytest.raises(JetloomError, match=r"holds jets; make a token set first: made_by.tokenise"):
        chain(
            per_dataset={"decoded": {"models": ["wrong"]}},
            per_model={"wrong": {"based_on": "pfn", "task": "next_token"}},
        )


def test_sixteen_bits_spoil_a_codebook():
    with pytest.raises(JetloomError, match=r"per_model.kmeans.training.precision: 16 spoils task tokenisation"):
        chain(per_model={"kmeans": {"training": {"precision": "16"}}})


def test_a_start_that_waits_for_what_it_is_made_into():
    start = {"starts_from": {"dataset": "decoded", "model": "kmeans", "seed": 1}}
    with pytest.raises(JetloomError, match="wait for itself"):
        chain(per_model={"kmeans": start}, per_dataset={"decoded": {"models": ["kmeans"]}})


def test_an_experiment_that_trains_nothing():
    with pytest.raises(JetloomError, match="models: nothing to train"):
        parse_experiment(CHAIN | {"datasets": ["jetclass-sim"], "per_dataset": {}, "per_model": {}})
