from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    import torch

    from dgmpipe.data.batches import to_float
    from dgmpipe.data.mnist import evenly_spread, load_mnist
    from dgmpipe.evaluation.energy import energy_distance
    from dgmpipe.files import save_arrays
    from dgmpipe.streams import random_stream

    size = snakemake.params.held_out_size
    folder = Path(snakemake.input[0]).parent
    (training, _), (test, _) = (load_mnist(folder, split) for split in ("train", "t10k"))
    held_out = to_float(test[evenly_spread(size, len(test))])
    stream = random_stream(snakemake.params.seed, "energy floor")
    draws = (
        to_float(training[torch.randperm(len(training), generator=stream)[:size]])
        for _ in range(snakemake.params.num_draws)
    )
    distances = [energy_distance(draw, held_out).value for draw in draws]
    save_arrays(snakemake.output[0], {"energy_distances": distances})
