"""One module per raw format: where its files' columns are and how they become canonical jets.

A source module has one function::

    def chunks(raw: Path, dataset: Dataset, size: int) -> Iterator[awkward.Array]

that streams a raw file (or directory) as records of at most ``size`` jets. Their fields are canonical: jagged
``part_*`` named as the JetClass branches (GeV, mm, radians), flat ``jet_*``, for point clouds jagged ``points_x``,
``points_y``, ``points_z``; and ``label``, the index into ``dataset.classes``, -1 for a class that is not among them.
What is wrong with the file is one JetloomError.
"""
