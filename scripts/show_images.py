from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    import torch

    from dgmpipe.data.batches import to_float
    from dgmpipe.data.mnist import load_mnist
    from dgmpipe.files import save_arrays
    from dgmpipe.streams import random_stream

    images, labels = load_mnist(Path(snakemake.input[0]).parent, "train")
    stream = random_stream(snakemake.params.seed, "shown images")
    chosen = torch.randperm(len(images), generator=stream)[: snakemake.params.num_images]
    save_arrays(
        snakemake.output[0],
        {
            "latent": torch.randn(1000, 2, generator=stream),
            "images": to_float(images[chosen])[:, 0],
            "labels": labels[chosen],
        },
    )
