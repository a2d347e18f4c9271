from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    import pandas as pd

    from dgmpipe.data.mnist import load_mnist
    from dgmpipe.evaluation.clusters import Clusters
    from dgmpipe.evaluation.evidence import summarise_evidence
    from dgmpipe.files import replacing

    tables = zip(snakemake.params.seeds, map(pd.read_csv, snakemake.input.tables), strict=True)
    test, _ = load_mnist(Path(snakemake.input.images[0]).parent, "t10k")
    clusters = Clusters.in_order(len(test), **snakemake.params.clusters)
    with replacing(snakemake.output[0]) as temporary:
        summarise_evidence(dict(tables), clusters).to_csv(temporary, index=False)
