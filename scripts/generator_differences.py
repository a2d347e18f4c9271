from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    import json
    from itertools import product
    from pathlib import Path

    import pandas as pd

    from dgmpipe.data.mnist import load_mnist
    from dgmpipe.evaluation.clusters import Clusters
    from dgmpipe.evaluation.differences import generator_differences, load_contributions
    from dgmpipe.files import replacing

    names = product(snakemake.params.sources, snakemake.params.seeds)
    results = {
        name: (json.loads(Path(numbers).read_text())["energy_distance"], load_contributions(arrays))
        for name, numbers, arrays in zip(
            names, snakemake.input.energy, snakemake.input.contributions, strict=True
        )
    }
    test, _ = load_mnist(Path(snakemake.input.images[0]).parent, "t10k")
    clusters = Clusters.in_order(len(test), **snakemake.params.clusters)
    tables = []
    for seed in snakemake.params.seeds:
        energy = {source: results[source, seed] for source in snakemake.params.sources}
        table = generator_differences(energy, snakemake.params.latent_dims, clusters)
        tables.append(table.assign(seed=seed)[["seed", *table.columns]])
    with replacing(snakemake.output[0]) as temporary:
        pd.concat(tables).to_csv(temporary, index=False)
