from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    import torch

    from dgmpipe.data.batches import to_float
    from dgmpipe.data.mnist import load_mnist
    from dgmpipe.evaluation.energy import energy_distance
    from dgmpipe.files import save_arrays
    from dgmpipe.streams import random_stream

    size = snakemake.params.held_out_size
    folder = Path(snakemake.input[0]).parent
    held_out = to_float(load_mnist(folder, "t10k")[0][:size])
    training, _ = load_mnist(folder, "train")
    stream = random_stream(snakemake.params.seed, "energy floor")
    draws = (
        to_float(training[torch.randperm(len(training), generator=stream)[:size]])
        for _ in range(snakemake.params.num_draws)
    )
    distances = [energy_distance(draw, held_out).value for draw in draws]
    save_arrays(snakemake.output[0], {"energy_distances": distances})
