from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    import pandas as pd

    from dgmpipe.evaluation.evidence import summarise_evidence
    from dgmpipe.files import replacing

    tables = zip(snakemake.params.seeds, map(pd.read_csv, snakemake.input), strict=True)
    with replacing(snakemake.output[0]) as temporary:
        summarise_evidence(dict(tables)).to_csv(temporary, index=False)
