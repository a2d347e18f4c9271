from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    import json
    from pathlib import Path

    import pandas as pd

    from dgmpipe.files import replacing

    rows = []
    for summary_file, time_file, benchmark in zip(
        snakemake.input.summaries,
        snakemake.input.times,
        snakemake.input.benchmarks,
        strict=True,
    ):
        summary, time = (
            json.loads(Path(path).read_text(encoding="utf-8")) for path in (summary_file, time_file)
        )
        measured = pd.read_csv(benchmark, sep="\t").iloc[-1]
        steps = summary["hyperparameters"]["steps"]
        rows.append(
            {
                "model": summary["model"],
                "seed": summary["seed"],
                "steps": steps,
                **time,
                "milliseconds_per_step": 1000 * time["seconds"] / steps,
                "memory_mb": measured["max_rss"],
            }
        )
    with replacing(snakemake.output[0]) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
