from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    from itertools import product

    import pandas as pd

    from dgmpipe.files import replacing

    names = product(snakemake.params.sources, snakemake.params.seeds)
    tables = [
        pd.read_csv(path).assign(model=model, seed=seed)
        for (model, seed), path in zip(names, snakemake.input, strict=True)
    ]
    table = pd.concat(tables)[["model", "seed", "digit", "generated", "test"]]
    with replacing(snakemake.output[0]) as temporary:
        table.to_csv(temporary, index=False)
