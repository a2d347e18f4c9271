from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    from dataclasses import asdict
    from pathlib import Path

    import numpy as np

    from dgmpipe.data.batches import to_float
    from dgmpipe.data.mnist import load_mnist
    from dgmpipe.evaluation.latent import latent_structure
    from dgmpipe.files import save_arrays
    from dgmpipe.models.storage import load_model
    from dgmpipe.streams import random_stream

    settings, seed = snakemake.params.settings, int(snakemake.wildcards.seed)
    images, labels = load_mnist(Path(snakemake.input.images[0]).parent, "t10k")
    structure = latent_structure(
        load_model(Path(snakemake.input.model[0]).parent),
        to_float(images),
        **settings,
        noise=random_stream(seed, "latent structure"),
    )
    edges = np.linspace(-settings["limit"], settings["limit"], settings["resolution"] // 2 + 1)
    draws = structure.samples.flatten(0, 1).numpy()
    histogram, _, _ = np.histogram2d(draws[:, 0], draws[:, 1], bins=[edges, edges])
    arrays = asdict(structure) | {"labels": labels, "histogram": histogram, "edges": edges}
    save_arrays(snakemake.output[0], arrays)
