from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    import torch

    from dgmpipe.data.moons import MoonsDensity, sample_moons
    from dgmpipe.files import save_arrays
    from dgmpipe.streams import random_stream

    n, noise = snakemake.params.moons["num_points"], snakemake.params.moons["noise"]
    stream = random_stream(snakemake.params.seed, "shown moons")
    save_arrays(
        snakemake.output[0],
        {
            "latent": torch.randn(n, 2, generator=stream),
            "samples": sample_moons(n, noise, stream),
            "noise": noise,
            "entropy": MoonsDensity(noise).entropy(),
        },
    )
