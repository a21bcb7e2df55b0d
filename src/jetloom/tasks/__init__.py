"""A task is a room: what is learnt (``learn``), how it is measured (``measure``), what the page shows (``show``)."""
