from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    import json
    from pathlib import Path

    import pandas as pd

    from dgmpipe.files import replacing

    rows = []
    for model_file, benchmark in zip(
        snakemake.input.summaries, snakemake.input.benchmarks, strict=True
    ):
        summary = json.loads(Path(model_file).read_text())
        measured = pd.read_csv(benchmark, sep="\t").iloc[-1]
        steps = summary["hyperparameters"]["steps"]
        rows.append(
            {
                "model": summary["model"],
                "seed": summary["seed"],
                "steps": steps,
                "seconds": measured["s"],
                "milliseconds_per_step": 1000 * measured["s"] / steps,
                "memory_mb": measured["max_rss"],
            }
        )
    with replacing(snakemake.output[0]) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
