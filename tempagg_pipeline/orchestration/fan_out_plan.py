"""How waiting files are spread over runs: pure arithmetic."""


def batch_sizes(waiting: int, free_runs: int, most_files: int) -> list[int]:
    """Sizes of the batches to hand out now: as even as can be, over no more runs than are free.

    Few files go one a run, so that they are done at once; many go in large batches, so that runs stay few.

    Args:
        waiting: files ready to be claimed.
        free_runs: how many more runs may be queued or running.
        most_files: most files that one run may get.
    """
    runs = min(waiting, free_runs)
    if runs <= 0:
        return []
    each, more = divmod(min(waiting, runs * most_files), runs)
    return [each + 1] * more + [each] * (runs - more)
