from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    import json
    from itertools import product
    from pathlib import Path

    import pandas as pd

    from dgmpipe.evaluation.seeds import mean_and_deviation
    from dgmpipe.files import replacing

    names = product(snakemake.params.sources, snakemake.params.seeds)
    table = pd.DataFrame({"model": m, "seed": s} for m, s in names)
    energy, quality = (
        pd.DataFrame([json.loads(Path(file).read_text(encoding="utf-8")) for file in files])
        for files in (snakemake.input.energy, snakemake.input.quality)
    )
    tested = ["energy_distance", "standard_error", "null_95", "pvalue", "statistic"]
    table = pd.concat([table, energy[tested], quality], axis="columns")
    with replacing(snakemake.output.generators) as temporary:
        table.to_csv(temporary, index=False)
    with replacing(snakemake.output.summary) as temporary:
        mean_and_deviation(table).to_csv(temporary, index=False)
